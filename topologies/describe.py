"""A topology as plain data for people and scripts: what it has, how far things are, who has which address."""

from __future__ import annotations

from collections import Counter
from typing import Any

from topologies.addressing import plan_addresses
from topologies.graph import nearest_edges, shortest_path_tree
from topologies.layers import LAYER_KEYS, link_key
from topologies.spec import Role, Topology


def describe(topology: Topology, description: str = "") -> dict[str, Any]:
    """Counts, links by kind, addresses, and the nearest edge of every user; ready for JSON.

    Delays are one way in milliseconds, propagation only. `equally_near` names the edges among which
    only their order decided, and is empty where one edge is the nearest.
    """
    counts = Counter(str(node.role) for node in topology)
    return {
        "name": topology.name,
        "description": description,
        "nodes": {str(role): counts[role] for role in Role},
        "links": len(topology.links),
        "layers": _layers(topology),
        "service": {"name": topology.service.name, "address": topology.service.address},
        "origin": str(topology.origin),
        "routers": str(topology.routers),
        "control": {"delay_ms": topology.control.delay_ms, "at": topology.control.at},
        "addresses": _addresses(topology),
        "users": _users(topology),
    }


def summary(described: dict[str, Any]) -> str:
    """One line on a description: nodes, links, and how near the users' edges are."""
    nodes = described["nodes"]
    switches = sum(nodes[role] for role in Role if role.is_switch)
    distances = [user["edge_ms"] for user in described["users"]]
    used = len({user["edge"] for user in described["users"]})
    return (
        f"{described['name']}: {switches} switches, {sum(nodes.values()) - switches} hosts "
        f"({nodes['edge']} edges, {nodes['user']} users), {described['links']} links; "
        f"users reach {used} nearest edge{'' if used == 1 else 's'} in "
        f"{min(distances):g} to {max(distances):g} ms one way"
    )


def notes(described: dict[str, Any]) -> list[str]:
    """What is allowed but may surprise: users for whom only the order of the edges decides."""
    return [
        f"{user['name']}: {', '.join(user['equally_near'])} are equally near ({user['edge_ms']:g} ms); "
        f"{user['edge']} comes first in the file and is taken"
        for user in described["users"]
        if user["equally_near"]
    ]


def _layers(topology: Topology) -> list[dict[str, Any]]:
    rows = []
    for key in LAYER_KEYS:
        links = [link for link in topology.links if link_key(topology, link) == key]
        if links:
            rows.append(
                {
                    "kind": key,
                    "links": len(links),
                    "delay_ms": [min(link.delay_ms for link in links), max(link.delay_ms for link in links)],
                    "rate_mbps": [
                        min(link.rate_mbps for link in links),
                        max(link.rate_mbps for link in links),
                    ],
                }
            )
    return rows


def _addresses(topology: Topology) -> list[dict[str, Any]]:
    plan = plan_addresses(topology)
    switches = [
        {
            "name": name,
            "role": str(topology.role(name)),
            "mac": plan.router_macs[name],
            "addresses": [
                str(known[name]) for known in (plan.user_prefixes, plan.router_addresses) if name in known
            ],
        }
        for name in topology.switches
    ]
    hosts = [
        {
            "name": name,
            "role": str(topology.role(name)),
            "mac": host.mac,
            "addresses": [str(address) for address in host.addresses],
        }
        for name, host in plan.hosts.items()
    ]
    return switches + hosts


def _users(topology: Topology) -> list[dict[str, Any]]:
    nearest = nearest_edges(topology)
    to_origin = shortest_path_tree(topology, topology.of_role(Role.ORIGIN)[0])
    return [
        {
            "name": user,
            "access": topology.access_port(user).node,
            "edge": nearest[user].edge,
            "edge_ms": nearest[user].distance_ms,
            "equally_near": list(nearest[user].equally_near if len(nearest[user].equally_near) > 1 else ()),
            "origin_ms": to_origin.distance_ms[user],
        }
        for user in topology.of_role(Role.USER)
    ]

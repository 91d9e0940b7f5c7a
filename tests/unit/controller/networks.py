"""Topologies, facts and packets for the controller's tests."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address

from controller.plan.facts import Binding, Facts, Membership, ServiceAt, port_id
from topologies.addressing import plan_addresses
from topologies.spec import Link, Node, Role, Topology


def small() -> Topology:
    """Two core, two distribution and three access switches, each of the last with an edge and a user."""
    core = [Node(name, Role.CORE) for name in ("c1", "c2")]
    distribution = [Node(name, Role.DISTRIBUTION) for name in ("d1", "d2")]
    access = [Node(f"a{index}", Role.ACCESS) for index in (1, 2, 3)]
    edges = [Node(f"edge{index}", Role.EDGE) for index in (1, 2, 3)]
    users = [Node(f"user{index}", Role.USER) for index in (1, 2, 3, 4)]
    others = [Node("origin", Role.ORIGIN), Node("dns", Role.DNS)]
    delays_ms = {
        ("c1", "c2"): 2.0,
        ("d1", "c1"): 1.5,
        ("d1", "c2"): 1.6,
        ("d2", "c1"): 1.7,
        ("d2", "c2"): 1.8,
        ("a1", "d1"): 0.5,
        ("a1", "d2"): 0.6,
        ("a2", "d1"): 0.55,
        ("a2", "d2"): 0.65,
        ("a3", "d1"): 0.8,
        ("a3", "d2"): 0.4,
        ("edge1", "a1"): 0.1,
        ("edge2", "a2"): 0.1,
        ("edge3", "a3"): 0.1,
        ("user1", "a1"): 1.0,
        ("user2", "a2"): 1.0,
        ("user3", "a3"): 1.0,
        ("user4", "a1"): 1.0,
        ("origin", "c1"): 5.0,
        ("dns", "c2"): 1.0,
    }
    links = tuple(Link(a, b, delay_ms, 1000.0) for (a, b), delay_ms in delays_ms.items())
    return Topology("small", (*core, *distribution, *access, *edges, *users, *others), links)


def user_address(topology: Topology, user: str) -> IPv6Address:
    """The address the tests give a user."""
    port = topology.access_port(user)
    return plan_addresses(topology).user_prefixes[port.node][0x100 + port.number]


def facts_of(
    topology: Topology,
    *,
    members: Iterable[str] | None = None,
    down_links: Iterable[str] = (),
    allowed: frozenset[str] | None = None,
    service_at: ServiceAt = ServiceAt.EDGES,
) -> Facts:
    """Facts with every user bound, these edges (default: all) alive and members, these links down."""
    addresses = plan_addresses(topology)
    edges = tuple(topology.of_role(Role.EDGE) if members is None else members)
    origin = addresses.hosts["origin"].unicast
    down = set(down_links)
    alive = tuple(edge for edge in edges if topology.access_port(edge).link.name not in down)
    return Facts(
        topology,
        addresses,
        service_at,
        down_ports=frozenset(
            port_id(port)
            for name in topology.switches
            for port in topology.ports[name]
            if port.link.name in down
        ),
        accepting=tuple(edge for edge in alive if allowed is None or edge in allowed),
        alive=alive,
        bindings=tuple(
            Binding(
                port_id(topology.access_port(user)), user_address(topology, user), addresses.hosts[user].mac
            )
            for user in topology.of_role(Role.USER)
        ),
        members=frozenset(
            Membership(port_id(topology.access_port(edge)), addresses.static_group, origin) for edge in edges
        ),
    )

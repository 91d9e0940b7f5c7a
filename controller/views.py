"""What a controller knows, as plain data for JSON (docs/operations.md): pure functions, one row per thing.

Every row has the same keys in the same order whatever there is to say, so that tables and scripts need not
ask. Ports are given with what lies behind them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any

from controller.plan.facts import Facts
from controller.plan.pipeline import TableId
from controller.plan.rules import ANY_TAG, Action, Output, Punt, Rule, RuleKey, Tables, ToGroup, Track
from controller.verify.network import Network
from topologies.spec import Role

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A moment of the controller. `tables` are the ones to show, planned or dumped, `choices` the edge that
    new connections go to for every access switch that reaches one; `packets` says for dumped
    ones how many packets and bytes each rule has seen, `neighbour_states` what is known of bindings."""

    facts: Facts
    tables: Mapping[str, Tables]
    choices: Mapping[str, str]
    drained: frozenset[str] = frozenset()
    load_percent: Mapping[str, int] = field(default_factory=dict)
    packets: Mapping[str, Mapping[RuleKey, tuple[int, int]]] = field(default_factory=dict)
    neighbour_states: Mapping[IPv6Address, str] = field(default_factory=dict)


def show(what: str, seen: Seen, switch: str | None = None) -> list[Row]:
    """The rows of one of SHOWN, of one switch or of all. Raises ValueError for anything else."""
    if what not in SHOWN:
        raise ValueError(f'"what" is {what!r}; there are {", ".join(SHOWN)}')
    if switch is not None and switch not in seen.facts.topology.switches:
        raise ValueError(f"{switch!r} is no switch of the topology {seen.facts.topology.name}")
    return [row for row in SHOWN[what](seen) if switch is None or row.get("switch", switch) == switch]


def show_request(request: Mapping[str, Any], seen: Seen) -> dict[str, Any]:
    """The answer to `{"op": "show", "what": …, "switch": …}`. Raises ValueError."""
    what, switch = request.get("what"), request.get("switch")
    if not isinstance(what, str) or not (switch is None or isinstance(switch, str)):
        raise ValueError(f'"show" needs "what", one of {", ".join(SHOWN)}, and "switch", a name or null')
    return {"ok": True, "rows": show(what, seen, switch)}


def routes(seen: Seen) -> Iterator[Row]:
    """Where every switch sends unicast packets: the next node, and the next one when its link is down."""
    for switch, tables in seen.tables.items():
        found = [rule for rule in tables.rules.values() if rule.table is TableId.UNICAST]
        for rule in sorted(found, key=_destination):
            destination = rule.match.ipv6_dst
            if destination is None:
                continue
            nodes = _next_nodes(seen.facts, switch, tables, rule)
            yield {
                "switch": switch,
                "destination": str(destination),
                "edge": edge_of_tag(seen.facts, rule.match.edge_tag),
                "via": nodes[0] if nodes else None,
                "alternate": nodes[1] if len(nodes) > 1 else None,
                "origin": origin_of(rule),
            }


def groups(seen: Seen) -> Iterator[Row]:
    """Every OpenFlow group: its buckets, which of them is used now, and by how many rules it is."""
    network = Network(seen.facts.topology, seen.tables, seen.facts.down_ports)
    for switch, tables in seen.tables.items():
        users = Counter(
            action.group
            for rule in tables.rules.values()
            for action in rule.actions
            if isinstance(action, ToGroup)
        )
        for number in sorted(tables.groups):
            group = tables.groups[number]
            used = {place for place, _ in network.group(switch, number) or ()}
            yield {
                "switch": switch,
                "group": f"{number:#x}",
                "kind": str(group.kind),
                "rules": users[number],
                "buckets": [
                    {
                        "to": _nodes(seen.facts, switch, bucket.actions),
                        "watch": peer_of(seen.facts, switch, bucket.watch_port),
                        "used": place in used,
                    }
                    for place, bucket in enumerate(group.buckets)
                ],
            }


def neighbours(seen: Seen) -> Iterator[Row]:
    """Every address that a user's port is bound to."""
    opened: dict[IPv6Address, list[str]] = {}
    names = {6: "tcp", 17: "udp"}
    for opening in sorted(seen.facts.openings):
        protocol = names.get(opening.protocol, str(opening.protocol))
        opened.setdefault(opening.address, []).append(f"{protocol}/{opening.port}")
    for binding in seen.facts.bindings:
        yield {
            "host": peer_of(seen.facts, binding.port.switch, binding.port.number),
            "address": str(binding.address),
            "mac": binding.mac,
            "switch": binding.port.switch,
            "port": binding.port.number,
            "state": seen.neighbour_states.get(binding.address, "valid"),
            "open": opened.get(binding.address, []),
        }


def edges(seen: Seen) -> Iterator[Row]:
    """Every edge: whether it gets new connections (`accepting`), keeps those it has (`keeping`) or is
    `dead`; the access switches it is the choice of, those with connections to keep, and the users bound
    to it."""
    facts = seen.facts
    for edge in facts.topology.of_role(Role.EDGE):
        yield {
            "edge": edge,
            "switch": facts.topology.access_port(edge).node,
            "state": edge_state(facts, edge),
            "drained": edge in seen.drained,
            "load_percent": seen.load_percent.get(edge, 0),
            "choice_of": [switch for switch, choice in seen.choices.items() if choice == edge],
            "kept_for": sorted(pin.switch for pin in facts.pins if pin.edge == edge),
            "bound": sorted(bound.user for bound in facts.bound if bound.edge == edge),
        }


def flows(seen: Seen) -> Iterator[Row]:
    """Every rule in the order in which packets may meet it, with what it has counted where that is known."""
    for switch, tables in seen.tables.items():
        counted = seen.packets.get(switch, {})
        ordered = sorted(tables.rules.values(), key=lambda rule: (rule.table, -rule.priority, str(rule)))
        for rule in ordered:
            packets, octets = counted.get(rule.key, (None, None))
            yield {"switch": switch, **rule_row(rule), "packets": packets, "bytes": octets}


def members(seen: Seen) -> Iterator[Row]:
    """Every listener to a group; `source` is null where any source will do."""
    ordered = sorted(seen.facts.members, key=lambda member: (member.group, str(member.source), member.port))
    for member in ordered:
        yield {
            "group": str(member.group),
            "source": None if member.source is None else str(member.source),
            "host": peer_of(seen.facts, member.port.switch, member.port.number),
            "switch": member.port.switch,
            "port": member.port.number,
        }


SHOWN: Mapping[str, Callable[[Seen], Iterable[Row]]] = {
    "routes": routes,
    "groups": groups,
    "neighbours": neighbours,
    "edges": edges,
    "flows": flows,
    "members": members,
}
"""What can be shown."""


def rule_row(rule: Rule) -> Row:
    """One rule; `argument` is what it tells the controller about packets that it punts."""
    outcome = [str(action) for action in rule.actions]
    if rule.source_class is not None:
        outcome.append(f"class:={rule.source_class}")
    if rule.goto is not None:
        outcome.append(f"goto:{rule.goto.name.lower()}")
    return {
        "table": rule.table.name.lower(),
        "priority": rule.priority,
        "match": str(rule.match),
        "actions": outcome or ["drop"],
        "origin": origin_of(rule),
        "cookie": f"{rule.cookie:#x}",
        "argument": rule.argument,
        "meter": rule.meter,
    }


def edge_state(facts: Facts, edge: str) -> str:
    """Whether an edge gets new connections (`accepting`), keeps those it has (`keeping`) or is `dead`."""
    return "accepting" if edge in facts.accepting else "keeping" if edge in facts.alive else "dead"


def peer_of(facts: Facts, switch: str, number: int | None) -> str | None:
    """What lies behind a port, None when the topology has no such port."""
    if number is None:
        return None
    ports = (port.peer for port in facts.topology.ports[switch] if port.number == number)
    return next(ports, None)


def edge_of_tag(facts: Facts, tag: int | None) -> str | None:
    """The edge that a VLAN tag or a connection mark names, `any` for a match of all tags."""
    known = facts.topology.of_role(Role.EDGE)
    if tag is None or tag == ANY_TAG:
        return None if tag is None else "any"
    return known[tag - 1] if 0 < tag <= len(known) else f"tag {tag}"


def origin_of(rule: Rule) -> str:
    """Which part of the plan made a rule."""
    return rule.origin.name.lower().replace("_", "-")


def _destination(rule: Rule) -> tuple[int, int, int]:
    prefix = rule.match.ipv6_dst
    tag = rule.match.edge_tag or 0
    return (0, 0, tag) if prefix is None else (prefix.value, -prefix.length, tag)


def _next_nodes(facts: Facts, switch: str, tables: Tables, rule: Rule) -> list[str]:
    """The nodes that a rule may send to, the preferred one first."""
    found = _nodes(facts, switch, rule.actions)
    for action in rule.actions:
        if isinstance(action, ToGroup) and action.group in tables.groups:
            for bucket in tables.groups[action.group].buckets:
                found += _nodes(facts, switch, bucket.actions)
        elif isinstance(action, Track):
            found += facts.topology.of_role(Role.USER)[action.zone - 1 : action.zone]
    return found


def _nodes(facts: Facts, switch: str, actions: Iterable[Action]) -> list[str]:
    nodes = []
    for action in actions:
        if isinstance(action, Output):
            nodes.append(peer_of(facts, switch, action.port) or f"port {action.port}")
        elif isinstance(action, Punt):
            nodes.append("controller")
    return nodes

"""A trace as plain data for JSON (docs/operations.md): pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from controller.plan.facts import Facts
from controller.plan.rules import Tables
from controller.verify.packet import Packet
from controller.verify.results import Committed, End, Event, GroupMet, RuleMet, Sent, Tracked, Walk
from controller.verify.trace import Question, Trace, trace
from controller.views import Row, edge_of_tag, origin_of, peer_of, rule_row


def trace_request(request: Mapping[str, Any], facts: Facts, tables: Mapping[str, Tables]) -> dict[str, Any]:
    """The answer to `{"op": "trace", "source": …, "target": …}` with the fields of `Question`. Raises
    ValueError."""
    given = {name: value for name, value in request.items() if name != "op" and value is not None}
    for name, value in given.items():
        expected = _KINDS.get(name)
        if expected is None:
            raise ValueError(f'"trace" takes no {name!r}; it takes {", ".join(_KINDS)}')
        if not isinstance(value, expected) or isinstance(value, bool):
            raise ValueError(f'"{name}" must be {"a text" if expected is str else "a whole number"}')
    for name in ("source", "target"):
        if name not in given:
            raise ValueError(f'"trace" needs "{name}"')
    question = Question(**given)
    return {"ok": True, **trace_row(facts, question.source, trace(facts, tables, question))}


_KINDS: Mapping[str, type] = {entry.name: int if entry.type == "int" else str for entry in fields(Question)}


def trace_row(facts: Facts, source: str, found: Trace) -> Row:
    """A trace: the packet, its walk, and the answer's walk or null. Delays count from the sending host."""
    first = facts.topology.access_port(source)
    answer = None
    if found.back is not None:
        (arrived,) = found.there.delivered
        answer = walk_row(facts, found.back, facts.topology.access_port(arrived.where).link.delay_ms)
    return {
        "packet": packet_row(facts, found.packet),
        "there": walk_row(facts, found.there, first.link.delay_ms),
        "back": answer,
    }


def walk_row(facts: Facts, walk: Walk, first_ms: float) -> Row:
    """A walk; `first_ms` is the delay from the sending host to the first switch."""
    hops = [
        {
            "switch": hop.at.switch,
            "from": peer_of(facts, hop.at.switch, hop.at.number),
            "after": hop.parent,
            "delay_ms": _ms(first_ms + hop.delay_ms),
            "packet": packet_row(facts, hop.packet),
            "met": [_event(facts, hop.at.switch, event) for event in hop.events],
        }
        for hop in walk.hops
    ]
    return {"hops": hops, "ends": [_end(facts, end, first_ms) for end in walk.ends]}


def _end(facts: Facts, end: End, first_ms: float) -> Row:
    return {
        "fate": str(end.fate),
        "where": end.where,
        "after": end.hop,
        "reason": end.reason,
        "origin": None if end.rule is None else origin_of(end.rule),
        "argument": None if end.rule is None else end.rule.argument,
        "delay_ms": _ms(first_ms + end.delay_ms),
        "packet": packet_row(facts, end.packet),
    }


def _event(facts: Facts, switch: str, event: Event) -> Row:
    match event:
        case RuleMet(table, None):
            return {"kind": "miss", "table": table.name.lower()}
        case RuleMet(_, rule, rivals) if rule is not None:
            return {"kind": "rule", **rule_row(rule), "rivals": [rule_row(rival) for rival in rivals]}
        case GroupMet(number, buckets):
            return {"kind": "group", "group": f"{number:#x}", "buckets": list(buckets)}
        case Tracked(zone, state, mark):
            edge = edge_of_tag(facts, mark or None)
            return {"kind": "tracked", "zone": zone, "state": str(state), "edge": edge}
        case Committed(zone, mark):
            return {"kind": "committed", "zone": zone, "edge": edge_of_tag(facts, mark)}
        case Sent(port):
            return {"kind": "sent", "port": port, "to": peer_of(facts, switch, port)}
    raise TypeError(f"no event: {event!r}")


def packet_row(facts: Facts, packet: Packet) -> Row:
    """A packet; `edge` is the one that its outermost tag names."""
    return {
        "eth_src": packet.eth_src,
        "eth_dst": packet.eth_dst,
        "src": str(packet.src),
        "dst": str(packet.dst),
        "protocol": packet.ip_proto,
        "port_src": packet.port_src,
        "port_dst": packet.port_dst,
        "icmpv6_type": packet.icmpv6_type,
        "hop_limit": packet.hop_limit,
        "frame_bytes": packet.frame_bytes,
        "is_fragment": packet.is_fragment,
        "edge": edge_of_tag(facts, packet.tag),
    }


def _ms(value: float) -> float:
    return round(value, 6)

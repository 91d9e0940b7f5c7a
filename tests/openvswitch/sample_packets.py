"""Random packets for a switch with given tables, aimed at one rule after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from random import Random
from typing import Any

from controller.openflow.probe import CT_FLAGS, FRAGMENT, Probe
from controller.plan.pipeline import TableId
from controller.plan.rules import ANY_TAG, CONTROLLER_PORT, CheckLarger, CtState, Match, Prefix, Rule, Tables
from controller.verify.packet import TCP, Packet
from controller.wire.frames import ICMPV6, UDP, multicast_mac

ENTRIES = {
    TableId.PERMIT: (TableId.PERMIT,),
    TableId.GATEWAY: (TableId.PERMIT,),
    TableId.FLOW: (TableId.PERMIT,),
    TableId.ROUTER: (TableId.ROUTER, TableId.PERMIT),
    TableId.UNICAST: (TableId.ROUTER, TableId.PERMIT),
    TableId.DELIVER: (TableId.ROUTER, TableId.PERMIT),
    TableId.MULTICAST: (TableId.MULTICAST,),
}
"""Where INGRESS sends packets that may come to a table."""
FLAGS: tuple[Mapping[CtState, str], ...] = (
    CT_FLAGS,
    {**CT_FLAGS, CtState.ESTABLISHED: "trk,est,rpl", CtState.RELATED: "trk,rel,rpl"},
    {**CT_FLAGS, CtState.RELATED: "trk,new,rel"},
    {**CT_FLAGS, CtState.RELATED: "trk,est,rel"},
)
"""Ways in which connection tracking says each state."""
_PROTOCOLS = (TCP, UDP, ICMPV6, ICMPV6, FRAGMENT, 1, 50, 59, 89, 135)
_LONGEST_HEADERS_BYTES = 14 + 40 + 8 + 8 + 20
_TRIES = 30


class Sampler:
    """Makes packets for one switch."""

    def __init__(self, tables: Tables, router_mac: str, random: Random) -> None:
        self.rules = tuple(tables.rules.values())
        self._random = random
        self._router_mac = router_mac
        self._entries: dict[TableId, list[Rule]] = {}
        self._known: dict[str, list[Any]] = {name: [] for name in Match.__slots__}
        for rule in self.rules:
            if rule.table is TableId.INGRESS and rule.goto is not None:
                self._entries.setdefault(rule.goto, []).append(rule)
            for name, value in rule.match.fields().items():
                self._known[name].append(value)
        checks = {a.frame_bytes for rule in self.rules for a in rule.actions if isinstance(a, CheckLarger)}
        self._lengths = [
            _LONGEST_HEADERS_BYTES,
            120,
            1514,
            *(at + more for at in checks for more in (0, 1, 4)),
        ]

    def probe(self, rule: Rule) -> Probe:
        """A packet that may meet the rule, or one that differs from such a packet in one field."""
        entry = self._entry(rule)
        wanted = _merged(rule.match.fields(), {} if entry is None else entry.match.fields())
        assert wanted is not None
        probe = Probe(
            self._in_port(wanted), self._packet(wanted), self._states(rule, entry), self._mark(wanted)
        )
        return self._disturbed(probe) if self._random.random() < 0.4 else probe

    def _entry(self, rule: Rule) -> Rule | None:
        """The rule of INGRESS by which the packet goes on."""
        tables = ENTRIES.get(rule.table, ())
        entries = [entry for table in tables for entry in self._entries.get(table, ())]
        for entry in self._random.sample(entries, min(_TRIES, len(entries))):
            fits = rule.match.source_class in (None, entry.source_class)
            if fits and _merged(rule.match.fields(), entry.match.fields()) is not None:
                return entry
        return None

    def _in_port(self, wanted: Mapping[str, Any]) -> int:
        return int(wanted.get("in_port") or self._random.choice([*self._known["in_port"], CONTROLLER_PORT]))

    def _mark(self, wanted: Mapping[str, Any]) -> int:
        return int(wanted.get("ct_mark") or self._random.choice((0, 0, 1, *self._known["ct_mark"])))

    def _states(self, rule: Rule, entry: Rule | None) -> tuple[CtState, ...]:
        state = rule.match.ct_state or self._random.choice(list(CtState))
        other = self._random.choice((CtState.NEW, CtState.ESTABLISHED, CtState.RELATED, CtState.INVALID))
        is_second = rule.table is TableId.DELIVER and entry is not None and entry.goto is TableId.PERMIT
        return (other, state) if is_second else (state, other)

    def _packet(self, wanted: Mapping[str, Any]) -> Packet:
        random = self._random
        dst = self._address("ipv6_dst", wanted)
        if "scope" in wanted:
            dst = IPv6Address(
                0xFF << 120 | random.choice((0, 3)) << 116 | wanted["scope"] << 112 | random.getrandbits(112)
            )
        protocol = wanted.get("ip_proto") or random.choice(_PROTOCOLS)
        has_ports = protocol in (TCP, UDP)
        tag = wanted.get("edge_tag")
        tags = () if tag is None else (random.choice((0, 1, 4095)),) if tag == ANY_TAG else (tag,)
        default_mac = multicast_mac(dst) if dst.is_multicast else self._router_mac
        return Packet(
            eth_src=wanted.get("eth_src") or self._any("eth_src", "02:00:00:00:00:09"),
            eth_dst=wanted.get("eth_dst") or default_mac,
            src=self._address("ipv6_src", wanted),
            dst=dst,
            ip_proto=protocol,
            port_src=random.randrange(0x10000) if has_ports else None,
            port_dst=wanted.get("port_dst", self._any("port_dst", 80)) if has_ports else None,
            icmpv6_type=wanted.get("icmpv6_type", self._any("icmpv6_type", 129))
            if protocol == ICMPV6
            else None,
            hop_limit=wanted.get("hop_limit", random.choice((64, 64, 64, 255, 2, 1, 0))),
            frame_bytes=1514 if "too_big" in wanted else random.choice(self._lengths),
            tags=tags,
            is_fragment=protocol == FRAGMENT or wanted.get("is_fragment", random.random() < 0.1),
        )

    def _address(self, name: str, wanted: Mapping[str, Any]) -> IPv6Address:
        prefix = wanted.get(name) or self._any(name, Prefix(0x20 << 120, 8))
        assert isinstance(prefix, Prefix)
        host = self._random.getrandbits(128) & ~prefix.mask
        return IPv6Address(prefix.value | self._random.choice((host, host & 3)))

    def _any(self, name: str, other: Any) -> Any:
        """A value of this field that some rule names, or another one."""
        known = self._known[name]
        return self._random.choice(known) if known and self._random.random() < 0.8 else other

    def _disturbed(self, probe: Probe) -> Probe:
        """The same with one field changed."""
        random, packet = self._random, probe.packet
        match random.choice(
            ("in_port", "eth_src", "eth_dst", "src", "dst", "hop", "tags", "piece", "rest", "states", "mark")
        ):
            case "in_port":
                return replace(probe, in_port=self._in_port({}))
            case "states":
                return replace(probe, states=tuple(random.choices(list(CtState), k=random.randrange(3))))
            case "mark":
                return replace(probe, mark=random.choice((0, 1, 0xFFFF_FFFF)))
            case "eth_src":
                packet = replace(packet, eth_src=self._any("eth_src", "33:33:00:00:00:01"))
            case "eth_dst":
                packet = replace(packet, eth_dst=self._any("eth_dst", random.choice(_ODD_MACS)))
            case "src":
                packet = replace(packet, src=self._address("ipv6_src", {}))
            case "dst":
                packet = replace(packet, dst=self._address("ipv6_dst", {}))
            case "hop":
                packet = replace(packet, hop_limit=random.randrange(256))
            case "tags":
                tags = (0, 1, 2, 3, 100, 4095)
                packet = replace(packet, tags=tuple(random.choices(tags, k=random.randrange(3))))
            case "piece":
                packet = replace(packet, is_fragment=packet.ip_proto == FRAGMENT or not packet.is_fragment)
            case "rest":
                other = self._packet({})
                packet = replace(
                    other, eth_src=packet.eth_src, eth_dst=packet.eth_dst, src=packet.src, dst=packet.dst
                )
        return replace(probe, packet=packet)


_ODD_MACS = (
    "ff:ff:ff:ff:ff:ff",
    "33:33:00:00:00:01",
    "01:80:c2:00:00:00",
    "01:80:c2:00:00:02",
    "02:00:00:00:00:08",
)


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    """What both matches want; None when no packet can be right for both."""
    merged = dict(one)
    for name, value in other.items():
        if name == "ipv6_dst" and "scope" in merged:
            continue
        if name not in merged:
            merged[name] = value
        elif isinstance(value, Prefix):
            shorter, longer = sorted((value, merged[name]), key=lambda prefix: prefix.length)
            if not shorter.covers(longer.value):
                return None
            merged[name] = longer
        elif merged[name] != value:
            return None
    return merged

"""Packets to shoot at tables: all that is planned, and what comes close to some rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import product
from random import Random

from controller.plan.anycast import edge_tag
from controller.plan.facts import Facts
from controller.plan.rules import ANY_TAG, CtState, Prefix, Rule
from controller.verify.failures import single_failures
from controller.verify.packet import TCP, Packet
from controller.verify.spread import Wiring
from controller.wire.frames import ICMPV6, UDP, multicast_mac
from tests.unit.controller.judge import BELONGING, Judge, Outage, Shot
from topologies.spec import Role, Topology

_OTHER_MAC = "02:00:00:00:00:77"
_LARGE_BYTES = 1514


def outages(topology: Topology) -> list[Outage]:
    """Nothing, and each single failure."""
    wiring = Wiring(topology)
    return [
        Outage(),
        *(Outage(failure.text, wiring.closed(failure.ports)) for failure in single_failures(topology)),
    ]


def planned(judge: Judge) -> list[Shot]:
    """A shot for every planned pair, and for the states of its connection."""
    return [shot for shot in _likely(judge) if judge.is_planned(shot)]


def _likely(judge: Judge) -> Iterator[Shot]:
    facts, topology = judge.facts, judge.topology
    service = facts.addresses.service
    marks = [edge_tag(facts, edge) for edge in topology.of_role(Role.EDGE)]
    targets = [service, *judge.bound]
    for host in topology.of_role(Role.EDGE, Role.ORIGIN, Role.DNS):
        targets += [interface.ip for interface in facts.addresses.hosts[host].addresses]
    for sender in topology.hosts:
        for source, target in product(sorted(judge.sources[sender]), targets):
            packet = _packet(judge, sender, source, target)
            if target == service:
                yield Shot(sender, packet)
                for state, mark in product(BELONGING, marks):
                    yield Shot(sender, packet, state, mark=mark)
                continue
            for own, theirs in ((CtState.NEW, BELONGING[0]), BELONGING):
                yield Shot(sender, packet, own, theirs)
            yield Shot(sender, replace(packet, frame_bytes=_LARGE_BYTES), BELONGING[0], BELONGING[0])
            yield Shot(sender, replace(packet, ip_proto=TCP, port_dst=443), BELONGING[0], BELONGING[0])
        for group in sorted({member.group for member in facts.members}):
            for source in sorted(judge.sources[sender]):
                yield Shot(sender, _packet(judge, sender, source, group))


def _packet(judge: Judge, sender: str, source: IPv6Address, target: IPv6Address) -> Packet:
    switch = judge.ports[sender].switch
    router = judge.facts.addresses.router_macs[switch]
    eth_dst = multicast_mac(target) if target.is_multicast else router
    return Packet(mac_of(judge.facts, sender), eth_dst, source, target, UDP, port_src=4000, port_dst=4001)


def mac_of(facts: Facts, host: str) -> str:
    """The Ethernet address of a host."""
    return facts.addresses.hosts[host].mac


class Marksman:
    """Shoots at rules: packets that meet one of them or come close to it, from whatever port."""

    def __init__(self, judge: Judge, rules: Sequence[Rule], switch: str, random: Random) -> None:
        self._judge, self._rules, self._switch, self._random = judge, rules, switch, random
        facts, topology = judge.facts, judge.topology
        self._known = [
            facts.addresses.service,
            *judge.bound,
            *(each.ip for host in topology.hosts for each in facts.addresses.hosts[host].addresses),
            *sorted({member.group for member in facts.members}),
            *map(IPv6Address, ("fe80::1", "ff02::1", "ff0e::8000:1", "2001:db8:fffd::1", "2001:db8:77::1")),
        ]
        here = [host for host, port in judge.ports.items() if port.switch == switch]
        at = {rule.match.in_port for rule in rules}
        aimed = [host for host in here if judge.ports[host].number in at]
        self._senders = [*topology.hosts, *here * 3, *aimed * 12]

    def shot(self) -> Shot:
        """One of them."""
        random, judge = self._random, self._judge
        rule = random.choice(self._rules) if self._rules else None
        sender = random.choice(self._senders)
        match = None if rule is None else rule.match
        target = self._address(None if match is None else match.ipv6_dst, 0.7)
        if match is not None and match.scope is not None and random.random() < 0.7:
            groups = [
                each for each in self._known if each.is_multicast and each.packed[1] & 15 == match.scope
            ]
            target = random.choice(groups or [IPv6Address(f"ff3{match.scope:x}::8000:1")])
        own = sorted(judge.sources[sender])
        source = (
            random.choice(own)
            if own and random.random() < 0.6
            else self._address(match and match.ipv6_src, 0.7)
        )
        packet = _packet(judge, sender, source, target)
        for change in self._changes(rule):
            packet = replace(packet, **change)
        states = random.choices(list(CtState), (4, 4, 1, 1), k=2)
        marks = (0, *(edge_tag(judge.facts, edge) for edge in judge.topology.of_role(Role.EDGE)))
        if match is not None and match.ct_state is not None and random.random() < 0.7:
            states[random.randrange(2)] = match.ct_state
        mark = random.choice(marks)
        if match is not None and match.ct_mark is not None and random.random() < 0.5:
            mark = match.ct_mark
        return Shot(sender, packet, states[0], states[1], mark)

    def _address(self, prefix: Prefix | None, chance: float) -> IPv6Address:
        random = self._random
        if prefix is None or random.random() > chance:
            return random.choice(self._known)
        inside = [address for address in self._known if prefix.covers(int(address))]
        if inside and random.random() < 0.6:
            return random.choice(inside)
        rest = random.choice((0, 1, 2, 0x101, 0x105, random.getrandbits(128))) & ~prefix.mask
        return IPv6Address(prefix.value | rest)

    def _changes(self, rule: Rule | None) -> Iterator[dict[str, object]]:
        """What the rule asks for, mostly, and something odd, sometimes."""
        random, match = self._random, None if rule is None else rule.match
        if match is not None:
            if match.ip_proto is not None and random.random() < 0.8:
                yield self._upper(match.ip_proto, match.port_dst, match.icmpv6_type)
            if match.is_fragment and random.random() < 0.8:
                yield {"is_fragment": True, "port_src": None, "port_dst": None, "icmpv6_type": None}
            if match.eth_dst is not None and random.random() < 0.5:
                yield {"eth_dst": match.eth_dst}
            if match.eth_src is not None and random.random() < 0.5:
                yield {"eth_src": match.eth_src}
            if match.hop_limit is not None and random.random() < 0.8:
                yield {"hop_limit": match.hop_limit}
            if match.edge_tag is not None and random.random() < 0.4:
                yield {"tags": (1 if match.edge_tag == ANY_TAG else match.edge_tag,)}
        if random.random() < 0.5:
            return
        routers = list(self._judge.facts.addresses.router_macs.values())
        macs = [each.mac for each in self._judge.facts.addresses.hosts.values()]
        yield random.choice(
            (
                {"hop_limit": random.choice((1, 2, 3, 255))},
                {"tags": (random.choice((1, 2, 3)),)},
                {"eth_dst": random.choice((_OTHER_MAC, *routers))},
                {"eth_src": random.choice((_OTHER_MAC, *macs))},
                {"is_fragment": True, "port_src": None, "port_dst": None, "icmpv6_type": None},
                {"frame_bytes": random.choice((1200, 1294, 1298, _LARGE_BYTES))},
                self._upper(random.choice((TCP, UDP, ICMPV6, 59)), random.choice((53, 443)), 128),
            )
        )

    def _upper(self, protocol: int, port: int | None, kind: int | None) -> dict[str, object]:
        has_ports = protocol in (TCP, UDP)
        return {
            "ip_proto": protocol,
            "port_src": 4000 if has_ports else None,
            "port_dst": (port or 4001) if has_ports else None,
            "icmpv6_type": (kind or 128) if protocol == ICMPV6 else None,
        }

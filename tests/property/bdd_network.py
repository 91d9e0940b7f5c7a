"""A network as binary decision diagrams over the bits of packets: an oracle that knows neither atoms nor
regions.

What a table does is written as a transfer from sets of packets to sets of packets, and carried out from the
ports of hosts on until nothing new arrives anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from controller.plan.facts import Facts, PortId, port_id
from controller.plan.pipeline import TableId
from controller.plan.rules import (
    ANY_TAG,
    Action,
    Bucket,
    CheckLarger,
    Commit,
    CtState,
    DecHopLimit,
    Group,
    GroupKind,
    Match,
    Output,
    PopTag,
    Punt,
    PushTag,
    Rule,
    SetEthDst,
    SetEthSrc,
    Tables,
    ToGroup,
    Track,
)
from controller.plan.unicast import zone_of
from topologies.spec import Role

try:
    from dd.cudd import BDD
except ImportError:  # where there is no wheel with CUDD
    from dd.autoref import BDD

Set = Any
"""A set of packets, as a node of the diagram."""
HEADER = {
    "eth_dst": 48, "eth_src": 48, "dst": 128, "src": 128, "proto": 8, "port": 16, "type": 8, "fragment": 1,
    "hop": 8, "tagged": 1, "double": 1, "vid": 12, "size": 14,
}  # fmt: skip
FOUND = {"class": 4, "big": 3, "state": 3, "mark": 8}
"""What a switch finds out of a packet and forgets."""
MEMORY = {"own_state": 3, "their_state": 3, "known_mark": 8}
"""What connection tracking knows of a packet at the sender's port, and elsewhere."""
STATES = {state: number for number, state in enumerate(CtState, start=1)}
_UNKNOWN = 0


class Bits:
    """The diagram, and sets that are told by one field."""

    def __init__(self) -> None:
        self.bdd = BDD()
        self._widths = HEADER | FOUND | MEMORY | {"next_hop": 8, "next_mark": 8, "next_state": 3}
        names = {field: self.names(field) for field in self._widths}
        for field in self._widths:
            self.bdd.declare(*names[field])
        self.true, self.false = self.bdd.true, self.bdd.false
        self._matches: dict[Match, Set] = {}
        self._step = self.any(
            self.is_value("hop", limit) & self.is_value("next_hop", limit - 1) for limit in range(2, 256)
        )
        valid = [
            self.any(self.is_value(field, n) for n in STATES.values())
            for field in ("own_state", "their_state")
        ]
        found = self.all(self.is_value(field, 0) for field in FOUND)
        single = self.is_value("tagged", 1) | self.is_value("double", 0)
        self.fresh = self.all([*valid, found, single])

    def names(self, field: str) -> list[str]:
        return [f"{field}{number}" for number in range(self._widths[field])]

    def any(self, sets: Iterable[Set]) -> Set:
        found = self.bdd.false
        for each in sets:
            found |= each
        return found

    def all(self, sets: Iterable[Set]) -> Set:
        found = self.bdd.true
        for each in sets:
            found &= each
        return found

    def is_value(self, field: str, value: int, length: int | None = None) -> Set:
        """A field has a value, or begins with the first `length` bits of it."""
        width = self._widths[field]
        wanted = {
            f"{field}{number}": bool(value >> (width - 1 - number) & 1)
            for number in range(width if length is None else length)
        }
        return self.bdd.cube(wanted)

    def at_least(self, field: str, value: int) -> Set:
        """A field, as a number, is that or more."""
        width, found = self._widths[field], self.true
        for number in reversed(range(width)):
            bit = self.bdd.var(f"{field}{number}")
            found = bit & found if value >> (width - 1 - number) & 1 else bit | found
        return found

    def between(self, field: str, first: int, last: int) -> Set:
        """A field, as a number, is neither less than the first nor more than the last."""
        top = (1 << self._widths[field]) - 1
        return self.at_least(field, first) & (self.true if last == top else ~self.at_least(field, last + 1))

    def without(self, packets: Set, *fields: str) -> Set:
        """Whatever these fields are."""
        return self.bdd.exist([name for field in fields for name in self.names(field)], packets)

    def put(self, packets: Set, field: str, value: int) -> Set:
        """With a field rewritten."""
        return self.without(packets, field) & self.is_value(field, value)

    def copied(self, packets: Set, source: str, target: str) -> Set:
        """With a field rewritten to what another one is."""
        pairs = zip(self.names(source), self.names(target), strict=True)
        same = self.all(self.bdd.var(one).equiv(self.bdd.var(other)) for one, other in pairs)
        return self.without(packets, target) & same

    def one_hop_less(self, packets: Set) -> Set:
        """What is left after a router hop."""
        moved = self.without(packets & self._step, "hop")
        return self.bdd.let(dict(zip(self.names("next_hop"), self.names("hop"), strict=True)), moved)

    def matched(self, match: Match) -> Set:
        """The packets that a match stands for, whatever port they came in by."""
        found = self._matches.get(match)
        if found is None:
            found = self._matches[match] = self.all(self._asked(match))
        return found

    def _asked(self, match: Match) -> Iterable[Set]:
        for field, prefix in (("src", match.ipv6_src), ("dst", match.ipv6_dst)):
            if prefix is not None:
                yield self.is_value(field, prefix.value, prefix.length)
        for field, number in (
            ("class", match.source_class), ("mark", match.ct_mark), ("proto", match.ip_proto),
            ("hop", match.hop_limit), ("fragment", match.is_fragment),
        ):  # fmt: skip
            if number is not None:
                yield self.is_value(field, int(number))
        for field, mac in (("eth_src", match.eth_src), ("eth_dst", match.eth_dst)):
            if mac is not None:
                yield self.is_value(field, number_of(mac))
        for field, detail in (("port", match.port_dst), ("type", match.icmpv6_type)):
            if detail is not None:
                # A fragment shows neither.
                yield self.is_value(field, detail) & self.is_value("fragment", 0)
        if match.ct_state is not None:
            yield self.is_value("state", STATES[match.ct_state])
        if match.too_big is not None:
            yield self.bdd.var(f"big{match.too_big}")
        if match.edge_tag is not None:
            yield self.is_value("tagged", 1)
            if match.edge_tag != ANY_TAG:
                yield self.is_value("vid", match.edge_tag)
        if match.scope is not None:
            yield self.any(
                self.is_value("dst", (0xFF00 | flags << 4 | match.scope) << 112, 16) for flags in range(16)
            )


def number_of(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


class BddNetwork:
    """The tables of a network, asked about sets of packets."""

    def __init__(
        self, bits: Bits, facts: Facts, tables: Mapping[str, Tables], down: frozenset[PortId]
    ) -> None:
        self._bits, self._facts, self._tables, self._down = bits, facts, tables, down
        topology = facts.topology
        self._far: dict[PortId, PortId | str] = {}
        for switch in topology.switches:
            for port in topology.ports[switch]:
                is_link = topology.role(port.peer).is_switch
                self._far[port_id(port)] = port_id(topology.port(port.peer, switch)) if is_link else port.peer
        self._own = {
            port_id(topology.access_port(user)): zone_of(topology, user)
            for user in topology.of_role(Role.USER)
        }
        self._sorted = {
            switch: sorted(content.rules.values(), key=lambda rule: -rule.priority)
            for switch, content in tables.items()
        }

    def is_up(self, port: PortId) -> bool:
        far = self._far.get(port)
        return far is not None and port not in self._down and far not in self._down

    def delivered(self, host: str) -> dict[str, Set]:
        """What other hosts get of all that a host may send."""
        start = port_id(self._facts.topology.access_port(host))
        found: dict[str, Set] = {}
        if start in self._down:
            return found
        known: dict[PortId, Set] = {}
        waiting = {start: self._bits.fresh}
        while waiting:
            at, packets = waiting.popitem()
            packets &= ~known.get(at, self._bits.false)
            if packets == self._bits.false:
                continue
            known[at] = known.get(at, self._bits.false) | packets
            for number, sent in _Passage(self, at, start).of(packets).items():
                far = self._far.get(PortId(at.switch, number))
                if isinstance(far, str):
                    found[far] = found.get(far, self._bits.false) | sent
                elif far is not None:
                    waiting[far] = waiting.get(far, self._bits.false) | self.forgotten(sent)
        return found

    def forgotten(self, packets: Set) -> Set:
        """As the next switch sees them."""
        bits = self._bits
        return bits.without(packets, *FOUND) & bits.all(bits.is_value(field, 0) for field in FOUND)


class _Passage:
    """Sets of packets on their way through one switch."""

    def __init__(self, network: BddNetwork, at: PortId, start: PortId) -> None:
        self._network, self._at, self._bits = network, at, network._bits
        self._is_first = at == start
        self._sent: dict[int, Set] = {}

    def of(self, packets: Set) -> dict[int, Set]:
        """What leaves, by port. Two tags hide what is behind them."""
        bits = self._bits
        seen = packets & ~(bits.is_value("tagged", 1) & bits.is_value("double", 1))
        self._table(TableId.INGRESS, seen)
        return self._sent

    def _table(self, table: TableId, packets: Set) -> None:
        pending = packets
        for rule in self._network._sorted[self._at.switch]:
            if pending == self._bits.false:
                return
            if rule.table is table and rule.match.in_port in (None, self._at.number):
                hit = pending & self._bits.matched(rule.match)
                if hit != self._bits.false:
                    pending &= ~hit
                    self._apply(rule, hit)

    def _apply(self, rule: Rule, packets: Set) -> None:
        left = self._act(rule.actions, packets)
        if rule.source_class is not None:
            left = self._bits.put(left, "class", rule.source_class)
        if rule.goto is not None:
            self._table(rule.goto, left)

    def _act(self, actions: Sequence[Action], packets: Set) -> Set:
        bits = self._bits
        for action in actions:
            match action:
                case DecHopLimit():
                    packets = bits.one_hop_less(packets)
                case SetEthSrc(mac):
                    packets = bits.put(packets, "eth_src", number_of(mac))
                case SetEthDst(mac):
                    packets = bits.put(packets, "eth_dst", number_of(mac))
                case PushTag(tag):
                    bare, tagged = packets & bits.is_value("tagged", 0), packets & bits.is_value("tagged", 1)
                    bare = bits.put(bits.put(bare, "tagged", 1), "double", 0)
                    packets = bits.put(bare | bits.put(tagged, "double", 1), "vid", tag)
                case PopTag():
                    single = packets & bits.is_value("double", 0)
                    inner = bits.without(packets & bits.is_value("double", 1), "vid", "double")
                    packets = bits.put(single, "tagged", 0) | (inner & bits.is_value("double", 0))
                case CheckLarger(frame_bytes, bit):
                    larger = bits.at_least("size", frame_bytes + 1)
                    flag, others = bits.bdd.var(f"big{bit}"), bits.bdd.exist([f"big{bit}"], packets)
                    packets = (others & larger & flag) | (others & ~larger & ~flag)
                case Commit():
                    packets = bits.put(bits.put(packets, "state", _UNKNOWN), "mark", 0)
                case Track(zone, table):
                    is_own = self._is_first and self._network._own.get(self._at) == zone
                    known = bits.copied(packets, "own_state" if is_own else "their_state", "state")
                    self._table(table, bits.copied(known, "known_mark", "mark"))
                    packets = bits.put(bits.put(packets, "state", _UNKNOWN), "mark", 0)
                case Output(port):
                    self._output(port, packets)
                case ToGroup(number):
                    group = self._network._tables[self._at.switch].groups.get(number)
                    for bucket in self._used(group):
                        self._act(bucket.actions, packets)
                case Punt():
                    pass
        return packets

    def _used(self, group: Group | None) -> Sequence[Bucket]:
        if group is None or group.kind is GroupKind.ALL:
            return () if group is None else group.buckets
        for bucket in group.buckets:
            watched = bucket.watch_port
            if watched is None or self._network.is_up(PortId(self._at.switch, watched)):
                return (bucket,)
        return ()

    def _output(self, port: int, packets: Set) -> None:
        if port != self._at.number and self._network.is_up(PortId(self._at.switch, port)):
            self._sent[port] = self._sent.get(port, self._bits.false) | packets


def prefixes_of(bits: Bits, ranges: Iterable[tuple[Any, Any]]) -> Set:
    """The packets to some ranges of destinations."""
    return bits.any(bits.between("dst", int(first), int(last)) for first, last in ranges)

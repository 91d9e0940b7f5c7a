"""Whether Open vSwitch does with packets what the walker says, asked by `ofproto/trace`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

from controller.openflow.ofproto_trace import Bridge, MetRule, Verdict, bridges_of, passes_of, verdict_of
from controller.openflow.probe import Probe, trace_arguments
from controller.openflow.unixctl import Unixctl
from controller.plan.facts import PortId
from controller.plan.pipeline import TableId
from controller.plan.rules import CtState
from controller.verify.network import Network
from controller.verify.packet import Packet
from controller.verify.results import Committed, Fate, Hop, RuleMet, Tracked, Walk
from controller.verify.walk import Connection, Left, visit


@dataclass(frozen=True, slots=True)
class HopConfirmation:
    """Where a packet was, and how Open vSwitch differs from the walk there; None when it agrees."""

    at: PortId
    difference: str | None

    def __str__(self) -> str:
        return f"{self.at.switch} port {self.at.number}: {self.difference or 'Open vSwitch agrees'}"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What Open vSwitch says of every hop of a walk."""

    hops: tuple[HopConfirmation, ...]

    @property
    def agrees(self) -> bool:
        """Whether it says the same at each of them."""
        return all(hop.difference is None for hop in self.hops)


def bridges(unixctl: Unixctl) -> dict[str, Bridge]:
    """The bridges there are, by name. Raises UnixctlError."""
    return bridges_of(unixctl.call("dpif/show"))


def ask(unixctl: Unixctl, bridge: Bridge, probe: Probe) -> Verdict:
    """What a real switch would do with a packet. Raises UnixctlError, TraceError, and ValueError for a packet
    that no frame can be."""
    text = unixctl.call("ofproto/trace", *trace_arguments(bridge.name, probe))
    return verdict_of(passes_of(text), probe.packet, bridge.ports)


def expected(network: Network, switch: str, probe: Probe) -> Verdict:
    """What the walker says that a switch does with a packet."""
    states = iter(probe.states)

    def connection(_zone: int, _packet: Packet) -> Connection:
        return Connection(next(states, CtState.NEW), probe.mark)

    found = visit(network, probe.packet, PortId(switch, probe.in_port), connection)
    sent, punts = [], []
    for copy in found.copies:
        if isinstance(copy, Left):
            sent.append((copy.port, copy.packet))
        elif copy.fate is Fate.PUNTED and copy.rule is not None:
            punts.append(copy.rule.cookie)
    met = (_met(event) for event in found.events if isinstance(event, RuleMet))
    commits = ((event.zone, event.mark) for event in found.events if isinstance(event, Committed))
    return Verdict.of(met, sent, punts, commits)


def compare(network: Network, switch: str, probe: Probe, found: Verdict) -> str | None:
    """How what a switch does differs from what the walker says, in words; None when it does not."""
    return difference(expected(network, switch, probe), found)


def difference(walker: Verdict, switch: Verdict) -> str | None:
    """How the verdict of the switch differs from the walker's, in words; None when it does not."""
    if walker == switch:
        return None
    for walkers, switchs in zip_longest(walker.met, switch.met):
        if walkers != switchs:
            return f"it meets {_rule_text(switchs)} where the walk meets {_rule_text(walkers)}"
    for what, ours, theirs in (
        ("sends", list(map(_sent_text, walker.sent)), list(map(_sent_text, switch.sent))),
        ("punts by", list(map(hex, walker.punts)), list(map(hex, switch.punts))),
        ("commits", list(map(str, walker.commits)), list(map(str, switch.commits))),
    ):
        if ours != theirs:
            return f"it {what} {_listed(theirs)} where the walk {what} {_listed(ours)}"
    return None


def confirm(unixctl: Unixctl, bridges: Mapping[str, Bridge], network: Network, walk: Walk) -> Confirmation:
    """Ask the real switches about every hop of a walk through `network`; `bridges` are theirs, by switch.

    Ports are taken as they are: where the walk assumes that one is down, the switches may differ. Raises
    KeyError for a switch without a bridge, and what `ask` raises.
    """

    def confirmed(hop: Hop) -> HopConfirmation:
        switch, probe = hop.at.switch, _probe_of(hop)
        return HopConfirmation(hop.at, compare(network, switch, probe, ask(unixctl, bridges[switch], probe)))

    return Confirmation(tuple(map(confirmed, walk.hops)))


def _probe_of(hop: Hop) -> Probe:
    tracked = [event for event in hop.events if isinstance(event, Tracked)]
    mark = tracked[0].mark if tracked else 0
    return Probe(hop.at.number, hop.packet, tuple(event.state for event in tracked), mark)


def _met(event: RuleMet) -> MetRule:
    if event.rule is None:
        return MetRule(event.table, None, 0)
    return MetRule(event.table, event.rule.priority, event.rule.cookie)


def _rule_text(met: MetRule | None) -> str:
    if met is None:
        return "nothing more"
    table = TableId(met.table).name.lower() if met.table in set(TableId) else f"table {met.table}"
    if met.priority is None:
        return f"no rule of {table}"
    return f"a rule of {table} with priority {met.priority} and cookie {met.cookie:#x}"


def _listed(texts: list[str]) -> str:
    return "; ".join(texts) or "nothing"


def _sent_text(sent: tuple[int, Packet]) -> str:
    port, packet = sent
    tags = f" tags {packet.tags}" if packet.tags else ""
    return f"by port {port} from {packet.eth_src} to {packet.eth_dst}: {packet}{tags}"

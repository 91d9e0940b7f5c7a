"""What may fail, one thing at a time: a link, a switch, an edge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controller.plan.facts import PortId, port_id
from controller.plan.pipeline import TableId
from controller.plan.rules import GroupKind, Tables
from controller.verify.atoms import Bits
from controller.verify.outcomes import Ended, Sent
from controller.verify.spread import Spread
from topologies.spec import Role, Topology


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that fails: in words, and the ports that go down with it; `port` is that of the host whose
    link it is, `switch` the one that fails."""

    text: str
    ports: frozenset[PortId]
    port: PortId | None = None
    switch: str | None = None


def single_failures(topology: Topology) -> Iterator[Failure]:
    """Every single link, switch and edge; a host's link and the host fail in the same way."""
    for link in topology.links:
        ends = [(link.a, link.b), (link.b, link.a)]
        ports = frozenset(
            port_id(topology.port(here, there)) for here, there in ends if topology.role(here).is_switch
        )
        hosts = frozenset(end for end in (link.a, link.b) if not topology.role(end).is_switch)
        if any(topology.role(host) is Role.USER for host in hosts):
            continue
        text = f"edge {next(iter(hosts))}" if _is_edge(topology, hosts) else f"link {link.a}-{link.b}"
        yield Failure(text, ports, port=next(iter(ports)) if hosts else None)
    for switch in topology.switches:
        ports = frozenset(port_id(port) for port in topology.ports[switch])
        yield Failure(f"switch {switch}", ports, switch=switch)


def further_buckets(tables: Mapping[str, Tables]) -> Iterator[Failure]:
    """What brings the third and later buckets of fast-failover groups into use."""
    for switch, content in tables.items():
        for group in content.groups.values():
            if group.kind is GroupKind.FAST_FAILOVER:
                for used in range(2, len(group.buckets)):
                    earlier = group.buckets[:used]
                    watched = [bucket.watch_port for bucket in earlier if bucket.watch_port is not None]
                    if len(watched) == used:
                        ports = frozenset(PortId(switch, port) for port in watched)
                        yield Failure(f"ports {sorted(watched)} of {switch}", ports)


class Ends:
    """Where the ways to every destination end while nothing has failed."""

    def __init__(self, spreads: Iterable[Spread]) -> None:
        self._at_switch: dict[str, Bits] = {}
        self._at_port: dict[PortId, Bits] = {}
        for spread in spreads:
            for place, outcome, destinations in spread.outcomes():
                if isinstance(outcome, Ended) and outcome.table in _FORWARDING:
                    self._add(place.switch, destinations)
                elif isinstance(outcome, Sent) and spread.model.target(place, outcome) is None:
                    self._add(place.switch, destinations)
                    port = PortId(place.switch, outcome.port)
                    self._at_port[port] = self._at_port.get(port, 0) | destinations
        self._twice_switch = _twice(self._at_switch.values())
        self._twice_port = _twice(self._at_port.values())

    def _add(self, switch: str, destinations: Bits) -> None:
        self._at_switch[switch] = self._at_switch.get(switch, 0) | destinations

    def cut_off(self, failure: Failure) -> Bits:
        """The destinations that no way is left to: all their ways end at what fails."""
        found = 0
        if failure.switch is not None:
            found = self._at_switch.get(failure.switch, 0) & ~self._twice_switch
        if failure.port is not None:
            found |= self._at_port.get(failure.port, 0) & ~self._twice_port
        return found


_FORWARDING = (TableId.UNICAST, TableId.DELIVER)


def _twice(sets: Iterable[Bits]) -> Bits:
    once = twice = 0
    for bits in sets:
        twice |= once & bits
        once |= bits
    return twice


def _is_edge(topology: Topology, hosts: frozenset[str]) -> bool:
    return any(topology.role(host) is Role.EDGE for host in hosts)

"""What may fail, one thing at a time: a link, a switch, an edge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controller.plan.facts import PortId, port_id
from controller.plan.rules import GroupKind, Tables
from controller.verify.atoms import Bits
from controller.verify.ground import Ground
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


class Homes:
    """Where every unicast destination is at home by the address plan: behind a host's port, or at an access
    switch."""

    def __init__(self, ground: Ground, edges: Iterable[str]) -> None:
        """`edges` are those that the service is at home at."""
        self._ground = ground
        self._edges = [ground.ports[edge] for edge in edges]
        self._at_switch = {
            switch: ground.destinations(block) for switch, block in ground.addresses.access_blocks.items()
        }
        self._at_port: dict[PortId, Bits] = {}
        for host, plan in ground.addresses.hosts.items():
            for interface in plan.addresses:
                bits = ground.destinations(interface.network)
                port = ground.ports[host]
                self._at_port[port] = self._at_port.get(port, 0) | bits
        for edge, address in ground.addresses.edge_addresses.items():
            self._at_port[ground.ports[edge]] |= ground.destinations(address)

    def cut_off(self, failure: Failure) -> Bits:
        """The destinations whose homes are all in what fails."""
        found = 0 if failure.switch is None else self._at_switch.get(failure.switch, 0)
        for port, bits in self._at_port.items():
            if self._is_in(port, failure):
                found |= bits
        if all(self._is_in(port, failure) for port in self._edges):
            found |= self._ground.service
        return found

    @staticmethod
    def _is_in(port: PortId, failure: Failure) -> bool:
        return port == failure.port or port.switch == failure.switch


def _is_edge(topology: Topology, hosts: frozenset[str]) -> bool:
    return any(topology.role(host) is Role.EDGE for host in hosts)

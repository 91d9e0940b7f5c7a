"""What the planner knows: the intended network, the policy, and what the switches and hosts have reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv6Address
from typing import NamedTuple

from topologies.addressing import AddressPlan
from topologies.graph import PathTree, shortest_path_tree
from topologies.spec import OriginMode, Port, Role, Topology


class ServiceAt(StrEnum):
    """Where the service address leads: the nearest healthy edge, or the origin (central cloud baseline)."""

    EDGES = "edges"
    ORIGIN = "origin"


class PortId(NamedTuple):
    """A port of a switch."""

    switch: str
    number: int


class Binding(NamedTuple):
    """An address that a user's port has claimed (a SAVI binding, RFC 7039), and the MAC it has there."""

    port: PortId
    address: IPv6Address
    mac: str


class Membership(NamedTuple):
    """A listener behind a port; `source` None stands for any source."""

    port: PortId
    group: IPv6Address
    source: IPv6Address | None


class Sender(NamedTuple):
    """A host that has sent to an any-source group, with the address it used."""

    source: IPv6Address
    group: IPv6Address


class Pin(NamedTuple):
    """At an access switch there may be connections with an edge that is not the choice for new ones there."""

    switch: str
    edge: str


class Bound(NamedTuple):
    """A policy: the new connections of a user go to an edge other than the nearest."""

    user: str
    edge: str


class Opening(NamedTuple):
    """An inbound service that the host at a bound address has subscribed to (RFC 6887)."""

    address: IPv6Address
    protocol: int
    port: int


class GatewayMode(StrEnum):
    """Whether users are closed to what they did not ask for, or open (for comparison)."""

    STATEFUL = "stateful"
    OPEN = "open"


@dataclass(frozen=True)
class Facts:
    """Everything the tables depend on.

    `accepting` are the edges that may get new connections, `alive` those that may keep the ones they have;
    both in the order of the topology. `pins` are (access switch, edge) pairs with connections to keep;
    `bound` is the policy for single users. The planner ignores pins to edges that are not alive, and
    policies for edges that do not accept.
    """

    topology: Topology
    addresses: AddressPlan
    service_at: ServiceAt = ServiceAt.EDGES
    gateway: GatewayMode = GatewayMode.STATEFUL
    down_ports: frozenset[PortId] = frozenset()
    accepting: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()
    pins: frozenset[Pin] = frozenset()
    bound: frozenset[Bound] = frozenset()
    bindings: tuple[Binding, ...] = ()
    openings: frozenset[Opening] = frozenset()
    members: frozenset[Membership] = frozenset()
    senders: frozenset[Sender] = frozenset()

    @cached_property
    def down_links(self) -> frozenset[str]:
        """Names of the links with a switch port down at either end."""
        ports = self.topology.ports
        return frozenset(
            port.link.name
            for switch in {down.switch for down in self.down_ports}
            for port in ports[switch]
            if PortId(switch, port.number) in self.down_ports
        )

    @cached_property
    def service_hosts(self) -> tuple[str, ...]:
        """The hosts that answer new connections to the service address, in the order of the topology: the
        accepting edges; the origin in the central baseline, or as the last resort where the topology says
        so."""
        origins = self.topology.of_role(Role.ORIGIN)
        if self.service_at is ServiceAt.ORIGIN:
            return origins
        if not self.accepting and self.topology.origin is OriginMode.LAST_RESORT:
            return origins
        return self.accepting

    @cached_property
    def owners(self) -> dict[IPv6Address, str]:
        """The infrastructure host that each fixed address belongs to: who may send to groups."""
        return {
            interface.ip: name for name, host in self.addresses.hosts.items() for interface in host.addresses
        }


def port_id(port: Port) -> PortId:
    """The identity of a switch port of the topology."""
    return PortId(port.node, port.number)


class Paths:
    """The shortest-path trees of a topology without the links that are down, each computed once."""

    def __init__(self, topology: Topology, down_links: frozenset[str]) -> None:
        self.topology = topology
        self.down_links = down_links
        self._trees: dict[str, PathTree] = {}
        self._costs_ns: dict[str, dict[str, int]] = {}

    def towards(self, root: str) -> PathTree:
        """The shortest paths of all nodes to `root`."""
        tree = self._trees.get(root)
        if tree is None:
            tree = shortest_path_tree(self.topology, root, down_links=self.down_links)
            self._trees[root] = tree
        return tree

    def costs_ns(self, root: str) -> Mapping[str, int]:
        """How far each node that has a path is from `root`, in whole nanoseconds."""
        costs = self._costs_ns.get(root)
        if costs is None:
            costs = {node: round(ms * 1e6) for node, ms in self.towards(root).distance_ms.items()}
            self._costs_ns[root] = costs
        return costs

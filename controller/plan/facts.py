"""What the planner knows: the intended network, the policy, and what the switches and hosts have reported."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv6Address
from typing import NamedTuple

from topologies.addressing import AddressPlan
from topologies.graph import PathTree, shortest_path_tree
from topologies.spec import Port, Role, Topology


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


@dataclass(frozen=True)
class Facts:
    """Everything the tables depend on. `allowed_edges` None means all edges may answer."""

    topology: Topology
    addresses: AddressPlan
    service_at: ServiceAt = ServiceAt.EDGES
    allowed_edges: frozenset[str] | None = None
    down_ports: frozenset[PortId] = frozenset()
    bindings: tuple[Binding, ...] = ()
    members: frozenset[Membership] = frozenset()

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
    def static_channels(self) -> dict[tuple[IPv6Address, IPv6Address], str]:
        """The (S,G) of the static content and the origin that sends each."""
        return {
            (self.addresses.hosts[origin].unicast, self.addresses.static_group): origin
            for origin in self.topology.of_role(Role.ORIGIN)
        }

    @cached_property
    def static_members(self) -> dict[tuple[IPv6Address, IPv6Address], tuple[str, ...]]:
        """For each (S,G) of the static content the edges that listen to it on a port that is up."""
        ports = {edge: self.topology.access_port(edge) for edge in self.topology.of_role(Role.EDGE)}
        return {
            (source, group): tuple(
                edge
                for edge, port in ports.items()
                if Membership(port_id(port), group, source) in self.members
                and port_id(port) not in self.down_ports
            )
            for source, group in self.static_channels
        }

    @cached_property
    def healthy_edges(self) -> tuple[str, ...]:
        """The edges that may answer users, in the order of the topology: their port is up, they listen to
        the static group, and the policy allows them."""
        listening = {edge for edges in self.static_members.values() for edge in edges}
        return tuple(
            edge
            for edge in self.topology.of_role(Role.EDGE)
            if edge in listening and (self.allowed_edges is None or edge in self.allowed_edges)
        )


def port_id(port: Port) -> PortId:
    """The identity of a switch port of the topology."""
    return PortId(port.node, port.number)


class Paths:
    """The shortest-path trees of a topology without the links that are down, each computed once."""

    def __init__(self, topology: Topology, down_links: frozenset[str]) -> None:
        self.topology = topology
        self.down_links = down_links
        self._trees: dict[str, PathTree] = {}

    def towards(self, root: str) -> PathTree:
        """The shortest paths of all nodes to `root`."""
        tree = self._trees.get(root)
        if tree is None:
            tree = shortest_path_tree(self.topology, root, down_links=self.down_links)
            self._trees[root] = tree
        return tree

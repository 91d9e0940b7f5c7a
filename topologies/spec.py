"""What a network is: nodes, links and the service, as plain immutable data.

Everything else (the address plan, the Mininet build, the controller's plan, the report) is derived
from a `Topology`, so this module imports the standard library only and knows no file format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any


class Role(StrEnum):
    """What a node is for. The first three are switches, the others are hosts."""

    CORE = "core"
    DISTRIBUTION = "distribution"
    ACCESS = "access"
    EDGE = "edge"
    ORIGIN = "origin"
    USER = "user"
    DNS = "dns"

    @property
    def is_switch(self) -> bool:
        """Whether nodes of this role forward packets (every switch is an IPv6 router hop)."""
        return self in SWITCH_ROLES


SWITCH_ROLES = frozenset({Role.CORE, Role.DISTRIBUTION, Role.ACCESS})


@dataclass(frozen=True, slots=True)
class Node:
    """One switch or host; `name` is unique in its topology and at most 10 characters long."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Link:
    """A full-duplex link; delay, rate, loss and queue hold for each direction.

    `delay_ms` is the one-way propagation delay, `loss_percent` the independent loss of each packet,
    `queue_packets` the number of packets that may wait for transmission.
    """

    a: str
    b: str
    delay_ms: float
    rate_mbps: float
    loss_percent: float = 0.0
    mtu_bytes: int = 1500
    queue_packets: int = 1000

    @property
    def name(self) -> str:
        """The link's name, `a-b`, in the order the topology gives."""
        return f"{self.a}-{self.b}"

    def other(self, node: str) -> str:
        """The end of the link that is not `node`."""
        return self.b if node == self.a else self.a


@dataclass(frozen=True, slots=True)
class Service:
    """The service users ask for: one DNS name, one anycast address (one AAAA record)."""

    name: str = "www.nearcast.test"
    address: str = "2001:db8:ffff::1"


class OriginMode(StrEnum):
    """Whether the origin may ever answer users."""

    HIDDEN = "hidden"
    LAST_RESORT = "last-resort"
    """It holds the service address too and answers when no edge can."""


class RouterAddressing(StrEnum):
    """What addresses routers have: link-local only (RFC 7404), or a global one each, for comparison."""

    LINK_LOCAL = "link-local"
    GLOBAL = "global"


class EdgeAddressing(StrEnum):
    """Where users find edges: all at the one anycast address, or each at a global one of its own besides,
    for comparison with a service that is found by DNS. No topology file says the latter."""

    ANYCAST = "anycast"
    UNICAST = "unicast"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the controller is: `at` the place of a switch (each switch's control link is as long as its
    shortest path from there), and `delay_ms` more, one way, on every control link."""

    delay_ms: float = 0.0
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """One end of a link: the `number` of the port at `node`, and what lies at the other end."""

    node: str
    number: int
    link: Link
    peer: str

    @property
    def interface(self) -> str:
        """The name of the network interface (Mininet's convention), at most 15 characters."""
        return f"{self.node}-eth{self.number}"


@dataclass(frozen=True)
class Topology:
    """A validated network. `topologies.check` says what makes one valid."""

    name: str
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    service: Service = Service()
    origin: OriginMode = OriginMode.HIDDEN
    routers: RouterAddressing = RouterAddressing.LINK_LOCAL
    control: ControlPlane = ControlPlane()
    edges: EdgeAddressing = EdgeAddressing.ANYCAST

    @cached_property
    def _roles(self) -> dict[str, Role]:
        return {node.name: node.role for node in self.nodes}

    @cached_property
    def ports(self) -> Mapping[str, tuple[Port, ...]]:
        """Every node's ports: switches number theirs from 1 (OpenFlow), hosts from 0, in link order."""
        ports: dict[str, list[Port]] = {node.name: [] for node in self.nodes}
        for link in self.links:
            for node, peer in ((link.a, link.b), (link.b, link.a)):
                first = 1 if self._roles[node].is_switch else 0
                ports[node].append(Port(node, first + len(ports[node]), link, peer))
        return {node: tuple(entries) for node, entries in ports.items()}

    def role(self, name: str) -> Role:
        """The role of a node. Raises KeyError for an unknown name."""
        return self._roles[name]

    def of_role(self, *roles: Role) -> tuple[str, ...]:
        """Names of all nodes of these roles, in the order of the topology."""
        return tuple(node.name for node in self.nodes if node.role in roles)

    @property
    def switches(self) -> tuple[str, ...]:
        """Names of all switches, in the order of the topology."""
        return self.of_role(*SWITCH_ROLES)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of all hosts, in the order of the topology."""
        return tuple(node.name for node in self.nodes if not node.role.is_switch)

    def port(self, node: str, peer: str) -> Port:
        """The port of `node` that leads to its neighbour `peer`. Raises KeyError when there is none."""
        for port in self.ports[node]:
            if port.peer == peer:
                return port
        raise KeyError(f"{node} has no link to {peer}")

    def access_port(self, host: str) -> Port:
        """The switch port that `host` is attached to (a host has exactly one link)."""
        return self.port(self.ports[host][0].peer, host)

    def link_layer(self, link: Link) -> str:
        """The layer a link belongs to: `core` when an end is a core switch, then `distribution`
        (distribution to access), else the role of the host it attaches, e.g. `user`."""
        roles = (self.role(link.a), self.role(link.b))
        for role in roles:
            if not role.is_switch:
                return str(role)
        return str(Role.CORE if Role.CORE in roles else Role.DISTRIBUTION)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)


def to_json(topology: Topology) -> dict[str, Any]:
    """The topology as plain data, for handing it to another process (see `from_json`)."""
    return {
        "name": topology.name,
        "service": {"name": topology.service.name, "address": topology.service.address},
        "origin": str(topology.origin),
        "routers": str(topology.routers),
        "edges": str(topology.edges),
        "control": {"delay_ms": topology.control.delay_ms, "at": topology.control.at},
        "nodes": [{"name": node.name, "role": str(node.role)} for node in topology.nodes],
        "links": [
            {name: getattr(link, name) for name in Link.__dataclass_fields__} for link in topology.links
        ],
    }


def from_json(data: Mapping[str, Any]) -> Topology:
    """The inverse of `to_json`; trusts its input (files written by people go through `topologies.files`)."""
    return Topology(
        name=data["name"],
        nodes=tuple(Node(node["name"], Role(node["role"])) for node in data["nodes"]),
        links=tuple(Link(**link) for link in data["links"]),
        service=Service(**data["service"]),
        origin=OriginMode(data["origin"]),
        routers=RouterAddressing(data["routers"]),
        edges=EdgeAddressing(data.get("edges", EdgeAddressing.ANYCAST)),
        control=ControlPlane(**data["control"]),
    )

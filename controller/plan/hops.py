"""What a switch does to send a packet out of a port, as a router: whole hops, groups of two of them of which
the first that is alive is used, and the check of packets that leave by a narrow link."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.plan.alternates import PORT_BITS, PORT_MASK
from controller.plan.rules import (
    Action,
    Bucket,
    CheckLarger,
    DecHopLimit,
    Group,
    GroupKind,
    Output,
    SetEthDst,
    SetEthSrc,
    ToGroup,
)
from topologies.addressing import AddressPlan
from topologies.spec import Port, Topology

_ETHERNET_BYTES = 14
_PAIR = 0x2000_0000


def router_hop(addresses: AddressPlan, switch: str, next_mac: str, port: int) -> tuple[Action, ...]:
    """The actions of one router hop (RFC 8200 section 3, RFC 2464)."""
    return (DecHopLimit(), SetEthSrc(addresses.router_macs[switch]), SetEthDst(next_mac), Output(port))


def narrow_mtus(topology: Topology, switch: str) -> tuple[int, ...]:
    """The MTUs of a switch's ports that are below its largest, ascending: packets may have to be refused."""
    return tuple(sorted({port.link.mtu_bytes for port in topology.ports[switch]})[:-1])


@dataclass(slots=True)
class Hops:
    """The hops of one switch. A way is `primary port << PORT_BITS | alternate port`, 0 for none."""

    topology: Topology
    addresses: AddressPlan
    switch: str
    ports: dict[int, Port] = field(init=False)
    narrow: tuple[int, ...] = field(init=False)
    _known: dict[int, tuple[Action, ...]] = field(init=False, default_factory=dict)
    _groups: dict[int, Group] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = {port.number: port for port in self.topology.ports[self.switch]}
        self.narrow = narrow_mtus(self.topology, self.switch)

    def hop(self, number: int) -> tuple[Action, ...]:
        """The hop by a port to the switch or host there."""
        if number not in self._known:
            peer = self.ports[number].peer
            next_is_switch = self.topology.role(peer).is_switch
            mac = self.addresses.router_macs[peer] if next_is_switch else self.addresses.hosts[peer].mac
            self._known[number] = router_hop(self.addresses, self.switch, mac, number)
        return self._known[number]

    def actions(self, way: int) -> tuple[Action, ...]:
        """What sends a packet on its way."""
        if way & PORT_MASK:
            return (ToGroup(_PAIR | way),)
        return self.hop(way >> PORT_BITS)

    def group(self, way: int) -> Group | None:
        """The group that a way needs, if any."""
        if not way & PORT_MASK:
            return None
        if way not in self._groups:
            buckets = tuple(Bucket(self.hop(port), watch_port=port) for port in ports_of(way))
            self._groups[way] = Group(_PAIR | way, GroupKind.FAST_FAILOVER, buckets)
        return self._groups[way]

    def check(self, way: int) -> CheckLarger | None:
        """The check of a packet that may not fit through one of the ports of a way. A VLAN tag does not
        count: Linux keeps it beside the frame, and leaves it out of the length it checks and of the MTU."""
        if not self.narrow or not way:
            return None
        mtu_bytes = min(self.ports[number].link.mtu_bytes for number in ports_of(way))
        if mtu_bytes not in self.narrow:
            return None
        return CheckLarger(mtu_bytes + _ETHERNET_BYTES, self.narrow.index(mtu_bytes))


def ports_of(way: int) -> tuple[int, ...]:
    """The ports of a way, the primary one first."""
    primary, alternate = way >> PORT_BITS, way & PORT_MASK
    return (primary, alternate) if alternate else (primary,)

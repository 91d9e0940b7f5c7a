"""The Neighbor Discovery side of every first-hop router: what hosts ask and claim, what they are answered,
and what the router itself wants to know about them.

A host can speak for itself only: advertisements for the router, for the anycast address of the service
or for another host's address, router advertisements and redirects lead to nothing but a count
(RFC 6105, RFC 6620).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from random import Random

from controller.plan.facts import Binding, PortId, port_id
from controller.state.advertiser import Advertiser
from controller.state.deadlines import Deadlines
from controller.state.effects import Injection, Send
from controller.state.neighbours import Claim, Neighbours
from controller.state.resolver import Listening, Resolver, Sought, Started
from controller.state.router_frames import (
    Recipient,
    address_query,
    duplicate_defence,
    own_advertisement,
    proxy_advertisement,
    reachability_query,
    router_advertisement,
)
from controller.wire.frames import Frame, WireError
from controller.wire.icmpv6 import IcmpType
from controller.wire.nd import (
    UNSPECIFIED,
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterSolicitation,
    decode_nd,
    is_nd,
)
from topologies.addressing import GATEWAY, AddressPlan
from topologies.spec import Role, Topology

MAX_ANYCAST_DELAY_TIME_S = 1.0
"""RFC 4861 section 10."""
MAX_DELAYED_PER_PORT = 16

_ROUTERS_ONLY = {
    IcmpType.ROUTER_ADVERTISEMENT: "router-advertisement",
    IcmpType.REDIRECT: "redirect",
}


@dataclass(slots=True)
class Discovered:
    """What an event leads to. `released` are packets to put through the tables once the bindings that were
    learnt are in them, `unreachable` packets to send Destination Unreachable (code 3) about."""

    sends: list[Send] = field(default_factory=list)
    released: list[Injection] = field(default_factory=list)
    unreachable: list[Injection] = field(default_factory=list)
    learnt: list[Binding] = field(default_factory=list)
    forgotten: list[Binding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Delayed:
    """An answer that waits: for the anycast address, to this host behind this port."""

    port: PortId
    to: Recipient


class Discovery:
    """The state of ND at all switches. None is in reach at first (`switch_up`).

    `listening` tells the ports behind which a solicited-node group has listeners.
    """

    def __init__(
        self, topology: Topology, addresses: AddressPlan, listening: Listening, seed: int = 0
    ) -> None:
        self._counters: Counter[str] = Counter()
        self._macs = addresses.router_macs
        self._prefixes = addresses.user_prefixes
        self._service = addresses.service
        self._seed = seed
        self._user_ports = {
            port_id(port): port
            for switch in topology.of_role(Role.ACCESS)
            for port in topology.ports[switch]
            if topology.role(port.peer) is Role.USER
        }
        self.neighbours = Neighbours({port: self._prefixes[port.switch] for port in self._user_ports})
        self.advertiser = Advertiser(seed)
        self.resolver = Resolver(listening)
        self._delayed: Deadlines[_Delayed] = Deadlines()
        self._delayed_per_port: Counter[PortId] = Counter()
        self._answers = 0
        self._down: set[PortId] = set()
        self._reachable: set[str] = set()
        for switch in topology.switches:
            self.neighbours.pause(switch)

    @property
    def counters(self) -> Counter[str]:
        """What was refused, given up or answered, by reason."""
        return self._counters + self.neighbours.counters + self.advertiser.counters

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        parts = (self.neighbours, self.advertiser, self.resolver)
        moments = [part.deadline_s for part in parts] + [self._delayed.next_s]
        return min((moment for moment in moments if moment is not None), default=None)

    def switch_up(self, now_s: float, switch: str) -> Discovered:
        """The switch holds its tables: its hosts may be spoken to. What it had bound counts as just seen."""
        self._reachable.add(switch)
        self.neighbours.resume(now_s, switch)
        for port in self._user_ports:
            if port.switch == switch and port not in self._down:
                self.advertiser.start(now_s, port)
        return self.tick(now_s)

    def switch_down(self, switch: str) -> None:
        """The connection to the switch is lost. Its hosts keep what they have."""
        self._reachable.discard(switch)
        self.neighbours.pause(switch)
        self.resolver.forget(switch)
        for port in self._user_ports:
            if port.switch == switch:
                self.advertiser.stop(port)

    def port_changed(self, now_s: float, port: PortId, is_up: bool) -> Discovered:
        """A host port went up or down; one that comes up is advertised to at once."""
        self.neighbours.port_changed(port, is_up)
        if not is_up:
            self._down.add(port)
            self.advertiser.stop(port)
        else:
            self._down.discard(port)
            if port in self._user_ports and port.switch in self._reachable:
                self.advertiser.start(now_s, port)
        return self.tick(now_s)

    def packet(self, now_s: float, port: PortId, frame: Frame) -> Discovered:
        """A host has sent a packet of Neighbor Discovery. What is not valid is counted and ignored."""
        found = Discovered()
        # A frame from a group address has no sender; behind extension headers there is no ND (RFC 6980).
        if not is_nd(frame) or int(frame.eth_src[:2], 16) & 1:
            self._counters["malformed"] += 1
            return found
        kind = frame.payload[0]
        if kind in _ROUTERS_ONLY:
            self._counters[_ROUTERS_ONLY[IcmpType(kind)]] += 1
            return found
        try:
            message = decode_nd(frame)
        except WireError:
            self._counters["malformed"] += 1
            return found
        match message:
            case NeighborSolicitation(source_link=mac) if mac not in (None, frame.eth_src):
                self._counters["link-address"] += 1
            case NeighborAdvertisement(target_link=mac) if mac not in (None, frame.eth_src):
                self._counters["link-address"] += 1
            case RouterSolicitation(source_link=mac) if mac not in (None, frame.eth_src):
                self._counters["link-address"] += 1
            case NeighborSolicitation(target=target):
                self._solicitation(now_s, port, frame, target, found)
            case NeighborAdvertisement():
                self._advertisement(now_s, port, frame, message, found)
            case RouterSolicitation():
                self._claim(now_s, port, frame.src, frame.eth_src, found)
                self.advertiser.solicited(now_s, port, Recipient(frame.src, frame.eth_src))
        return found

    def claim(self, now_s: float, port: PortId, address: IPv6Address, mac: str) -> Discovered:
        """A host uses an address: the first packet of an unbound source claims it as a probe does (RFC 6620
        section 3.2.3)."""
        found = Discovered()
        self._claim(now_s, port, address, mac, found)
        return found

    def resolve(self, now_s: float, switch: str, address: IPv6Address, packet: bytes) -> Discovered:
        """A switch has a packet to an address of its users that nobody is bound to."""
        found = Discovered()
        if self.neighbours.binding(address) is not None:
            # It was bound while the packet was on its way here. Were it sent back before the rule is in
            # place, it would go round in circles.
            self._counters["bound-meanwhile"] += 1
            return found
        is_theirs = switch in self._prefixes and address in self._prefixes[switch]
        started = self.resolver.start(now_s, Sought(switch, address), packet) if is_theirs else Started.NOBODY
        if started is Started.NOBODY:
            self._counters["nobody-listens"] += 1
            found.unreachable.append(Injection(switch, packet))
        elif started is Started.FULL:
            self._counters["too-many-searches"] += 1
        return self._tick(now_s, found)

    def restore(self, now_s: float, bindings: tuple[Binding, ...]) -> None:
        """What a controller before this one has left in the tables of the switches."""
        self.neighbours.restore(now_s, bindings)

    def tick(self, now_s: float) -> Discovered:
        """Do what is due."""
        return self._tick(now_s, Discovered())

    def _tick(self, now_s: float, found: Discovered) -> Discovered:
        aged = self.neighbours.tick(now_s)
        found.forgotten += aged.ended
        for binding in aged.probes:
            self._send(binding.port, reachability_query(self._macs[binding.port.switch], binding), found)
        questions, failed = self.resolver.tick(now_s)
        for port, address in questions:
            self._send(port, address_query(self._macs[port.switch], address), found)
        for sought, packet in failed:
            self._counters["nobody-answers"] += 1
            found.unreachable.append(Injection(sought.switch, packet))
        for port, to in self.advertiser.tick(now_s):
            prefix, mtu_bytes = self._prefixes[port.switch], self._user_ports[port].link.mtu_bytes
            frame = router_advertisement(self._macs[port.switch], prefix, mtu_bytes, to)
            self._send(port, frame, found)
        for answer in self._delayed.pop_due(now_s):
            self._delayed_per_port[answer.port] -= 1
            frame = proxy_advertisement(self._macs[answer.port.switch], self._service, answer.to)
            self._send(answer.port, frame, found)
        return found

    def _solicitation(
        self, now_s: float, port: PortId, frame: Frame, target: IPv6Address, found: Discovered
    ) -> None:
        router_mac, is_probe = self._macs[port.switch], frame.src == UNSPECIFIED
        if not is_probe:
            self._claim(now_s, port, frame.src, frame.eth_src, found)
        if target == GATEWAY:
            self._send(port, own_advertisement(router_mac, frame), found)
        elif target == self._service:
            # Nobody is the only one to have an anycast address, so a probe for it goes unanswered
            # (RFC 4862 section 5.4).
            if not is_probe:
                self._answer_later(now_s, port, Recipient(frame.src, frame.eth_src))
        elif is_probe:
            if self._claim(now_s, port, target, frame.eth_src, found) is Claim.TAKEN:
                self._send(port, duplicate_defence(router_mac, target), found)
        else:
            holder = self.neighbours.binding(target)
            if holder is not None and holder.port != port and holder.port.switch == port.switch:
                to = Recipient(frame.src, frame.eth_src)
                self._send(port, proxy_advertisement(router_mac, target, to), found)

    def _advertisement(
        self, now_s: float, port: PortId, frame: Frame, message: NeighborAdvertisement, found: Discovered
    ) -> None:
        target = message.target
        if target in (GATEWAY, self._service):
            self._counters["gateway-address" if target == GATEWAY else "service-address"] += 1
        elif message.router:
            self._counters["router-flag"] += 1
        else:
            holder = self.neighbours.binding(target)
            is_other_mac = holder is not None and holder.port == port and holder.mac != frame.eth_src
            # Without Override an advertisement changes no address that is known (RFC 4861 section 7.2.5).
            if not (is_other_mac and not message.override):
                self._claim(now_s, port, target, frame.eth_src, found)

    def _claim(self, now_s: float, port: PortId, address: IPv6Address, mac: str, found: Discovered) -> Claim:
        claim, ended = self.neighbours.claim(now_s, port, address, mac)
        found.forgotten += ended
        if claim is Claim.NEW:
            found.learnt.append(Binding(port, address, mac))
            packet = self.resolver.found(Sought(port.switch, address))
            if packet is not None:
                found.released.append(Injection(port.switch, packet))
        return claim

    def _answer_later(self, now_s: float, port: PortId, to: Recipient) -> None:
        """Many nodes may have an anycast address; delays keep them from answering all at once (RFC 4861
        section 7.2.7)."""
        answer = _Delayed(port, to)
        if answer in self._delayed:
            return
        if self._delayed_per_port[port] >= MAX_DELAYED_PER_PORT:
            self._counters["too-many-answers"] += 1
            return
        self._answers += 1
        chance = Random(f"anycast:{self._seed}:{port.switch}:{port.number}:{self._answers}")
        self._delayed_per_port[port] += 1
        self._delayed.set(answer, now_s + chance.uniform(0.0, MAX_ANYCAST_DELAY_TIME_S))

    def _send(self, port: PortId, frame: bytes, found: Discovered) -> None:
        if port not in self._down:
            found.sends.append(Send(port, frame))

"""Throws random and mutated packets at the parsers and machines of a first-hop router: they may refuse
with a WireError, and what they remember stays within bounds.

`python -m tests.fuzz_controller --packets 1000000`
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import replace
from ipaddress import IPv6Address
from random import Random

from controller.plan.facts import PortId, port_id
from controller.state.advertiser import MAX_PENDING_PER_PORT
from controller.state.discovery import MAX_DELAYED_PER_PORT, Discovery
from controller.state.filters import MAX_SOURCES_PER_GROUP
from controller.state.icmp_errors import MAX_BUCKETS, IcmpErrors, Reason
from controller.state.membership import MAX_GROUPS_PER_PORT, MAX_SOLICITED_NODES_PER_PORT, Listeners
from controller.state.neighbours import MAX_BINDINGS_PER_PORT
from controller.state.resolver import MAX_ADDRESSES_PER_SWITCH
from controller.state.router_frames import echo_reply
from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import (
    ICMPV6,
    Frame,
    WireError,
    encode_frame,
    ipv6_packet,
    multicast_mac,
    parse_frame,
    upper_layer,
)
from controller.wire.icmpv6 import icmp_message
from controller.wire.mld import Query, Record, RecordType, Report, decode_mld, encode_mld
from controller.wire.nd import (
    ALL_NODES,
    UNSPECIFIED,
    NeighborAdvertisement,
    NeighborSolicitation,
    PrefixInformation,
    RouterAdvertisement,
    RouterSolicitation,
    decode_nd,
    encode_nd,
    solicited_node,
)
from tests.unit.controller import kernel_packets as kernel
from tests.unit.controller.networks import small
from topologies.addressing import GATEWAY, plan_addresses
from topologies.spec import Role

TOPOLOGY = small()
ADDRESSES = plan_addresses(TOPOLOGY)
HOST_PORTS = [
    port_id(port)
    for switch in TOPOLOGY.switches
    for port in TOPOLOGY.ports[switch]
    if not TOPOLOGY.role(port.peer).is_switch
]
USER_PORTS = [port_id(TOPOLOGY.access_port(user)) for user in TOPOLOGY.of_role(Role.USER)]
ALL_MLD_ROUTERS = IPv6Address("ff02::16")
CAPTURED = [value for value in vars(kernel).values() if isinstance(value, bytes) and len(value) > 60]

_CHECKSUM_AT = 2
_LONG_ENOUGH = 54


class OutOfBoundsError(AssertionError):
    """A machine remembers more than it may."""


class Fuzzer:
    """Makes packets and feeds them to all machines; the same seed makes the same packets."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)
        self.accepted: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self.listeners = Listeners(user_ports=USER_PORTS)
        self.discovery = Discovery(TOPOLOGY, ADDRESSES, self.listeners.solicited_node_listeners, seed)
        self.errors = IcmpErrors(ADDRESSES)
        self._now_s = 0.0
        for switch in TOPOLOGY.switches:
            self.discovery.switch_up(self._now_s, switch)
        for port in HOST_PORTS:
            self.listeners.port_up(self._now_s, port)

    def step(self) -> None:
        """One packet, and now and then something else that happens to a switch. Raises OutOfBoundsError."""
        random = self.random
        self._now_s += random.choice((0.0, 0.0, 0.001, 0.001, 0.03))
        self._feed(random.choice(HOST_PORTS), self.packet())
        if random.random() < 0.0005:
            self._disturb()
        if random.random() < 0.02:
            self.discovery.tick(self._now_s)
            self.listeners.tick(self._now_s)
            self.check()

    def packet(self) -> bytes:
        """A frame: random, well made, or spoilt."""
        random = self.random
        form = random.random()
        if form < 0.02:
            return random.randbytes(random.randrange(200))
        data = random.choice(CAPTURED) if form < 0.3 else self._made()
        if random.random() < 0.5:
            data = self._mutated(data)
            if random.random() < 0.8:
                data = with_right_checksum(data)
        return data

    def check(self) -> None:
        """Raises OutOfBoundsError when a machine remembers too much."""
        discovery, listeners = self.discovery, self.listeners
        bindings = Counter(binding.port for binding in discovery.neighbours.bindings)
        searches = Counter(sought.switch for sought in discovery.resolver._searches)
        pending = [len(state.pending) for state in discovery.advertiser._ports.values()]
        groups: dict[tuple[PortId, IPv6Address], int] = Counter(
            (member.port, member.group) for member in listeners.members
        )
        groups_of_port = Counter(port for port, _ in groups)
        solicited = Counter(port for ports in listeners._solicited.values() for port in ports)
        sizes = {
            "bindings of a port": (max(bindings.values(), default=0), MAX_BINDINGS_PER_PORT),
            "searches of a switch": (max(searches.values(), default=0), MAX_ADDRESSES_PER_SWITCH),
            "waiting solicitors of a port": (max(pending, default=0), MAX_PENDING_PER_PORT),
            "waiting answers of a port": (
                max(discovery._delayed_per_port.values(), default=0),
                MAX_DELAYED_PER_PORT,
            ),
            "groups of a port": (max(groups_of_port.values(), default=0), MAX_GROUPS_PER_PORT),
            "sources of a group": (max(groups.values(), default=0), MAX_SOURCES_PER_GROUP + 1),
            "solicited-node groups of a port": (
                max(solicited.values(), default=0),
                MAX_SOLICITED_NODES_PER_PORT,
            ),
            "buckets": (len(self.errors), MAX_BUCKETS),
            "counters": (len(discovery.counters) + len(self.errors.counters), 64),
            "ports known": (len({*bindings, *groups_of_port, *solicited} - set(HOST_PORTS)), 0),
            "heap of bindings": (
                len(discovery.neighbours._deadlines._heap),
                2 * len(USER_PORTS) * MAX_BINDINGS_PER_PORT + 65,
            ),
        }
        for what, (size, bound) in sizes.items():
            self.peaks[what] = max(self.peaks[what], size)
            if size > bound:
                raise OutOfBoundsError(f"{what}: {size}, at most {bound} are allowed")

    def _feed(self, port: PortId, data: bytes) -> None:
        reason = self.random.choice(list(Reason))
        if self.errors.about(self._now_s, port.switch, reason, data, mtu_bytes=1280) is not None:
            self.accepted["error"] += 1
        for name, decode in (("packet", _walk), ("frame", parse_frame)):
            try:
                decode(data)
                self.accepted[name] += 1
            except WireError:
                continue
        try:
            frame = parse_frame(data)
        except WireError:
            return
        for name, read in (("nd", decode_nd), ("mld", decode_mld), ("echo", _echo)):
            try:
                read(frame)
                self.accepted[name] += 1
            except WireError:
                continue
        if frame.router_alert:
            self.listeners.message(self._now_s, port, frame)
        self.discovery.packet(self._now_s, port, frame)
        self.discovery.claim(self._now_s, port, frame.src, frame.eth_src)
        if self.random.random() < 0.3:
            self.discovery.resolve(self._now_s, port.switch, self._address(), data)

    def _disturb(self) -> None:
        port = self.random.choice(HOST_PORTS)
        event = self.random.randrange(4)
        if event == 0:
            self.discovery.port_changed(self._now_s, port, is_up=False)
            self.listeners.port_down(port)
        elif event == 1:
            self.discovery.switch_down(port.switch)
        elif event == 2:
            self.discovery.switch_up(self._now_s, port.switch)
        if event in (0, 3):
            self.discovery.port_changed(self._now_s, port, is_up=True)
            self.listeners.port_up(self._now_s, port)
        self._now_s += self.random.choice((0.0, 5.0, 400.0))

    def _address(self) -> IPv6Address:
        random = self.random
        prefix = random.choice(list(ADDRESSES.user_prefixes.values()))
        return random.choice(
            (
                prefix[random.randrange(200)],
                prefix[random.getrandbits(64)],
                IPv6Address(0xFE80 << 112 | random.randrange(64)),
                IPv6Address(random.getrandbits(128)),
                IPv6Address(random.getrandbits(32) | random.choice((0xFF35, 0xFF3E, 0xFF02, 0xFF0E)) << 112),
                random.choice((GATEWAY, UNSPECIFIED, ADDRESSES.service, ALL_NODES)),
            )
        )

    def _mac(self) -> str:
        return f"02:00:00:00:00:{self.random.randrange(8):02x}"

    def _made(self) -> bytes:
        random = self.random
        source, destination, mac = self._address(), self._address(), self._mac()
        router_alert, hop_limit = False, 255
        match random.randrange(7):
            case 0:
                target, is_probe = self._address(), random.random() < 0.5
                source = UNSPECIFIED if is_probe else source
                destination = solicited_node(target)
                payload = encode_nd(
                    source, destination, NeighborSolicitation(target, None if is_probe else mac)
                )
            case 1:
                flags = (random.random() < 0.2, random.random() < 0.5, random.random() < 0.5)
                advert = NeighborAdvertisement(self._address(), *flags, random.choice((None, mac)))
                payload = encode_nd(source, destination, advert)
            case 2:
                payload = encode_nd(source, destination, RouterSolicitation(random.choice((None, mac))))
            case 3:
                prefix = PrefixInformation(ADDRESSES.user_prefixes["a1"], True, True, 1, 1)
                payload = encode_nd(
                    source, destination, RouterAdvertisement(9, 9, mac, 1280, (prefix,) * random.randrange(4))
                )
            case 4:
                source = IPv6Address(0xFE80 << 112 | random.randrange(9))
                destination, router_alert, hop_limit = ALL_MLD_ROUTERS, True, 1
                payload = encode_mld(source, destination, self._report())
            case 5:
                source = IPv6Address(0xFE80 << 112 | random.randrange(9))
                router_alert, hop_limit = True, 1
                asked = tuple(self._address() for _ in range(random.randrange(4)))
                payload = encode_mld(
                    source, destination, Query(random.randrange(99_999), self._address(), asked)
                )
            case _:
                kind = random.choice((1, 2, 3, 4, 128, 129, 137, random.randrange(256)))
                payload = icmp_message(source, destination, kind, random.randbytes(random.randrange(60)))
        to = multicast_mac(destination) if destination.is_multicast else ADDRESSES.router_macs["a1"]
        return encode_frame(Frame(mac, to, source, destination, hop_limit, ICMPV6, payload, router_alert))

    def _report(self) -> Report:
        random = self.random
        if random.random() < 0.3:
            kind = random.choice((RecordType.CHANGE_TO_INCLUDE, RecordType.MODE_IS_EXCLUDE))
            return Report((Record(kind, self._group()),), version=1)
        return Report(
            tuple(
                Record(
                    random.choice(list(RecordType)),
                    self._group(),
                    tuple(self._address() for _ in range(random.choice((0, 1, 3, 90)))),
                )
                for _ in range(random.randrange(5))
            )
        )

    def _group(self) -> IPv6Address:
        if self.random.random() < 0.3:
            return solicited_node(self._address())
        scope = self.random.choice((0xFF05, 0xFF0E, 0xFF35, 0xFF3E))
        return IPv6Address(scope << 112 | self.random.randrange(100))

    def _mutated(self, data: bytes) -> bytes:
        random, spoilt = self.random, bytearray(data)
        for _ in range(random.randrange(1, 4)):
            match random.randrange(5):
                case 0 if spoilt:
                    spoilt[random.randrange(len(spoilt))] = random.randrange(256)
                case 1 if spoilt:
                    del spoilt[random.randrange(len(spoilt)) :]
                case 2:
                    spoilt += random.randbytes(random.randrange(1, 40))
                case 3 if len(spoilt) > _LONG_ENOUGH:
                    at = random.randrange(_LONG_ENOUGH, len(spoilt))
                    spoilt[at:at] = bytes((random.choice((1, 2, 3, 5, 14)), random.randrange(4))) + bytes(6)
                case 4 if len(spoilt) > _LONG_ENOUGH:
                    following = spoilt[20]
                    spoilt[20] = random.choice((0, 43, 44, 51, 60, 135))
                    spoilt[_LONG_ENOUGH:_LONG_ENOUGH] = bytes((following, random.randrange(3))) + bytes(6)
        if len(spoilt) > _LONG_ENOUGH and random.random() < 0.8:
            spoilt[18:20] = (len(spoilt) - _LONG_ENOUGH).to_bytes(2, "big")
        return bytes(spoilt)


def with_right_checksum(data: bytes) -> bytes:
    """The frame with the checksum of its ICMPv6 message set right, if it has one."""
    try:
        frame = parse_frame(data)
    except WireError:
        return data
    if frame.protocol != ICMPV6 or len(frame.payload) < 4:
        return data
    payload = bytearray(frame.payload)
    payload[_CHECKSUM_AT : _CHECKSUM_AT + 2] = bytes(2)
    checksum = upper_layer_checksum(frame.src, frame.dst, ICMPV6, bytes(payload))
    payload[_CHECKSUM_AT : _CHECKSUM_AT + 2] = checksum.to_bytes(2, "big")
    return encode_frame(replace(frame, payload=bytes(payload)))


def _walk(data: bytes) -> None:
    upper_layer(ipv6_packet(data))


def _echo(frame: Frame) -> None:
    echo_reply(ADDRESSES.router_macs["a1"], frame)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    fuzzer = Fuzzer(arguments.seed)
    started_s = time.process_time()
    for _ in range(arguments.packets):
        fuzzer.step()
    fuzzer.check()
    spent_s = time.process_time() - started_s
    print(f"{arguments.packets} packets, {arguments.packets / spent_s:.0f} per second of processor time")
    for title, counts in (
        ("accepted", fuzzer.accepted),
        ("largest", fuzzer.peaks),
        ("discovery", fuzzer.discovery.counters),
        ("errors", fuzzer.errors.counters),
    ):
        print(f"{title}: " + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())))


if __name__ == "__main__":
    main()

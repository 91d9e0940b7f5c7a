"""The ICMPv6 errors that routers send (RFC 4443): about what, how often, from whom and to whom.

A punted packet comes in, an error packet or nothing comes out. How often: a token bucket for every /64 that
packets come from and one for every switch (section 2.4 (f)); Packet Too Big has buckets of its own, because
without it connections stall, while the other errors only tell what happened.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address
from typing import NamedTuple

from controller.plan.pipeline import Origin
from controller.wire.frames import (
    ICMPV6,
    IPV6_LENGTH,
    Frame,
    WireError,
    encode_frame,
    ipv6_packet,
    mac_text,
    upper_layer,
)
from controller.wire.icmpv6 import IcmpType, icmp_message
from topologies.addressing import ERROR_SOURCE, AddressPlan

MAX_ERROR_BYTES = 1280
"""The whole packet fits the least MTU of IPv6 (RFC 4443 section 2.4 (c))."""
ERROR_HOP_LIMIT = 64

SOURCE_RATE_PER_S, SOURCE_BURST = 10.0, 10.0
"""Per /64 of sources and group of kinds: what RFC 4443 section 2.4 (f) gives for a small device. A traceroute
or a browser's attempts stay below, a flood does not."""
SWITCH_RATE_PER_S, SWITCH_BURST = 100.0, 50.0
"""Per switch and group of kinds: all its sources together, so that the controller is not the bottleneck."""
MAX_BUCKETS = 1024
"""Sources are remembered for this many buckets; the one unused for longest is forgotten first."""

_FIRST_INFORMATIONAL = 128
_UPPER_64_BITS = ~0xFFFF_FFFF_FFFF_FFFF


class Reason(Enum):
    """Why a packet goes no further; the values are type and code of the error."""

    NO_ROUTE = (IcmpType.DESTINATION_UNREACHABLE, 0)
    PROHIBITED = (IcmpType.DESTINATION_UNREACHABLE, 1)
    ADDRESS_UNREACHABLE = (IcmpType.DESTINATION_UNREACHABLE, 3)
    TOO_BIG = (IcmpType.PACKET_TOO_BIG, 0)
    TIME_EXCEEDED = (IcmpType.TIME_EXCEEDED, 0)


REASONS = {
    Origin.NO_ROUTE: Reason.NO_ROUTE,
    Origin.ADDRESS_UNREACHABLE: Reason.ADDRESS_UNREACHABLE,
    Origin.TOO_BIG: Reason.TOO_BIG,
    Origin.TIME_EXCEEDED: Reason.TIME_EXCEEDED,
}
"""What a rule's origin says about the packets it punts."""


class IcmpError(NamedTuple):
    """An error as a whole frame. `to_all_edges`: it is about a packet from the anycast address, and only one
    of the edges has the connection; each of them gets a copy (`readdressed`), as in RFC 7690."""

    frame: bytes
    to_all_edges: bool = False


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_s: float

    def fill(self, now_s: float, rate_per_s: float, burst: float) -> bool:
        """Whether there is a token now."""
        self.tokens = min(burst, self.tokens + max(0.0, now_s - self.filled_s) * rate_per_s)
        self.filled_s = now_s
        return self.tokens >= 1.0


_Key = tuple[bool, str | int]


class IcmpErrors:
    """The errors of all switches. `counters` counts errors by reason, and what was not sent by why."""

    def __init__(self, addresses: AddressPlan) -> None:
        self.counters: Counter[str] = Counter()
        self._macs = addresses.router_macs
        self._service = addresses.service
        self._own = addresses.router_addresses
        self._anycast = {prefix.network_address for prefix in addresses.user_prefixes.values()}
        self._routers = frozenset((ERROR_SOURCE, *self._own.values()))
        self._sources: OrderedDict[_Key, _Bucket] = OrderedDict()
        self._switches: dict[_Key, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def about(
        self,
        now_s: float,
        switch: str,
        reason: Reason,
        data: bytes,
        *,
        mtu_bytes: int = 0,
        from_host: bool = False,
    ) -> IcmpError | None:
        """The error that `switch` sends about the punted frame `data`, None when there must be none.

        The frame is for the switch's tables (in_port=CONTROLLER); with `from_host`, about a packet that
        came in by a host port, it is addressed to that host and goes straight out of the port, which
        works before the connection tracking of the port knows the packet. `mtu_bytes` is that of the link
        a packet is too big for.
        """
        try:
            packet = ipv6_packet(data)
            refusal = self._refusal(reason, data, packet)
        except WireError:
            refusal = "malformed"
        if refusal is not None:
            self.counters[refusal] += 1
            return None
        source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        is_anycast = source == self._service
        # All users of the service share its source address: there the receiver tells the flows apart.
        if not self._has_token(now_s, switch, reason, destination if is_anycast else source):
            self.counters["rate-limited"] += 1
            return None
        self.counters[reason.name.lower().replace("_", "-")] += 1
        kind, code = reason.value
        body = struct.pack("!I", mtu_bytes) + packet[: MAX_ERROR_BYTES - IPV6_LENGTH - 8]
        own = self._own.get(switch, ERROR_SOURCE)
        router_mac = self._macs[switch]
        error = Frame(
            eth_src=router_mac,
            eth_dst=mac_text(data[6:12]) if from_host else router_mac,
            src=own,
            dst=source,
            hop_limit=ERROR_HOP_LIMIT,
            protocol=ICMPV6,
            payload=icmp_message(own, source, kind, body, code),
        )
        return IcmpError(encode_frame(error), is_anycast and not from_host)

    def _refusal(self, reason: Reason, data: bytes, packet: bytes) -> str | None:
        """Why there must be no error about the packet (RFC 4443 section 2.4 (e)), None if there may be."""
        source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        is_group = destination.is_multicast or data[0] & 1
        if is_group and reason is not Reason.TOO_BIG:
            return "about-multicast"
        if data[6] & 1 or source.is_multicast or source.is_unspecified or source in self._anycast:
            return "source-not-one-node"
        if source.is_link_local or source.is_loopback or source in self._routers:
            return "source-unreachable"
        # The service's address is anycast too, but a Packet Too Big it never hears of breaks it (RFC 7690).
        if source == self._service and reason is not Reason.TOO_BIG:
            return "source-not-one-node"
        protocol, offset = upper_layer(packet)
        if protocol == ICMPV6 and offset is not None:
            if offset >= len(packet):
                raise WireError("ICMPv6 message is cut short")
            kind = packet[offset]
            if kind < _FIRST_INFORMATIONAL or kind == IcmpType.REDIRECT:
                return "about-an-error"
        return None

    def _has_token(self, now_s: float, switch: str, reason: Reason, sender: IPv6Address) -> bool:
        """Take a token from the sender's and the switch's bucket; both or none."""
        is_too_big = reason is Reason.TOO_BIG
        key = (is_too_big, int(sender) & _UPPER_64_BITS)
        mine = self._sources.pop(key, None) or _Bucket(SOURCE_BURST, now_s)
        self._sources[key] = mine
        if len(self._sources) > MAX_BUCKETS:
            self._sources.popitem(last=False)
        everyones = self._switches.setdefault((is_too_big, switch), _Bucket(SWITCH_BURST, now_s))
        has_mine = mine.fill(now_s, SOURCE_RATE_PER_S, SOURCE_BURST)
        if not (everyones.fill(now_s, SWITCH_RATE_PER_S, SWITCH_BURST) and has_mine):
            return False
        mine.tokens -= 1.0
        everyones.tokens -= 1.0
        return True

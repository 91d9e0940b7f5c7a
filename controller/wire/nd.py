"""Neighbor Discovery messages (RFC 4861 section 4) with the validity rules of sections 6.1 and 7.1."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from controller.wire.frames import ICMPV6, Frame, WireError, mac_bytes, mac_text
from controller.wire.icmpv6 import IcmpType, icmp_body, icmp_message

ND_HOP_LIMIT = 255
UNSPECIFIED = IPv6Address("::")
ALL_NODES = IPv6Address("ff02::1")
SOLICITED_NODE = IPv6Network("ff02::1:ff00:0/104")

_SOURCE_LINK, _TARGET_LINK, _PREFIX, _MTU = 1, 2, 3, 5


@dataclass(frozen=True, slots=True)
class NeighborSolicitation:
    """Who has `target`? `source_link` is absent in duplicate address detection."""

    target: IPv6Address
    source_link: str | None = None


@dataclass(frozen=True, slots=True)
class NeighborAdvertisement:
    """`target` is at `target_link`; the flags are R, S and O of RFC 4861 section 4.4."""

    target: IPv6Address
    router: bool
    solicited: bool
    override: bool
    target_link: str | None = None


@dataclass(frozen=True, slots=True)
class RouterSolicitation:
    """A host asks for an advertisement now."""

    source_link: str | None = None


@dataclass(frozen=True, slots=True)
class PrefixInformation:
    """One prefix of an advertisement; L is `on_link`, A is `autonomous` (RFC 4861 section 4.6.2)."""

    prefix: IPv6Network
    on_link: bool
    autonomous: bool
    valid_s: int
    preferred_s: int


@dataclass(frozen=True, slots=True)
class RouterAdvertisement:
    """What a router tells its hosts; a lifetime of 0 means "not a default router"."""

    lifetime_s: int
    hop_limit: int = 0
    source_link: str | None = None
    mtu_bytes: int | None = None
    prefixes: tuple[PrefixInformation, ...] = ()


NdMessage = NeighborSolicitation | NeighborAdvertisement | RouterSolicitation | RouterAdvertisement


_ND_TYPES = frozenset(
    bytes((kind,)) for kind in IcmpType if IcmpType.ROUTER_SOLICITATION <= kind <= IcmpType.REDIRECT
)


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The multicast group of all nodes whose addresses end like this one (RFC 4291 section 2.7.1)."""
    return IPv6Address(SOLICITED_NODE.network_address.packed[:13] + address.packed[13:])


def is_nd(frame: Frame) -> bool:
    """Whether a packet is one of the messages that `decode_nd` is for, valid or not."""
    return frame.protocol == ICMPV6 and frame.payload[:1] in _ND_TYPES


def decode_nd(frame: Frame) -> NdMessage:
    """Decode and validate an ND message. Raises WireError where the RFC says "silently discard"."""
    kind, body = icmp_body(frame)
    if frame.hop_limit != ND_HOP_LIMIT:
        raise WireError(f"ND message with hop limit {frame.hop_limit}")
    if frame.src.is_multicast:
        raise WireError("ND message from a multicast address")
    if kind == IcmpType.NEIGHBOR_SOLICITATION:
        return _solicitation(frame, body)
    if kind == IcmpType.NEIGHBOR_ADVERTISEMENT:
        return _advertisement(frame, body)
    if kind == IcmpType.ROUTER_SOLICITATION:
        source_link = _link_address(_options(body, 4), _SOURCE_LINK)
        if frame.src == UNSPECIFIED and source_link is not None:
            raise WireError("RS from :: with a link-layer address")
        return RouterSolicitation(source_link)
    if kind == IcmpType.ROUTER_ADVERTISEMENT:
        return _router_advertisement(frame, body)
    raise WireError(f"ICMPv6 type {kind} is not a known ND message")


def encode_nd(source: IPv6Address, destination: IPv6Address, message: NdMessage) -> bytes:
    """The ICMPv6 bytes of a message between these addresses."""
    match message:
        case NeighborSolicitation():
            kind = IcmpType.NEIGHBOR_SOLICITATION
            body = bytes(4) + message.target.packed + _link_option(_SOURCE_LINK, message.source_link)
        case NeighborAdvertisement():
            kind = IcmpType.NEIGHBOR_ADVERTISEMENT
            flags = message.router << 31 | message.solicited << 30 | message.override << 29
            body = struct.pack("!I", flags) + message.target.packed
            body += _link_option(_TARGET_LINK, message.target_link)
        case RouterSolicitation():
            kind = IcmpType.ROUTER_SOLICITATION
            body = bytes(4) + _link_option(_SOURCE_LINK, message.source_link)
        case RouterAdvertisement():
            kind = IcmpType.ROUTER_ADVERTISEMENT
            body = struct.pack("!BBHII", message.hop_limit, 0, message.lifetime_s, 0, 0)
            body += _link_option(_SOURCE_LINK, message.source_link)
            if message.mtu_bytes is not None:
                body += struct.pack("!BBHI", _MTU, 1, 0, message.mtu_bytes)
            body += b"".join(_prefix_option(prefix) for prefix in message.prefixes)
    return icmp_message(source, destination, kind, body)


def _solicitation(frame: Frame, body: bytes) -> NeighborSolicitation:
    target = _target(body)
    source_link = _link_address(_options(body, 20), _SOURCE_LINK)
    if frame.src == UNSPECIFIED and (frame.dst not in SOLICITED_NODE or source_link is not None):
        raise WireError("NS from :: must go to a solicited-node address without a link-layer address")
    return NeighborSolicitation(target, source_link)


def _advertisement(frame: Frame, body: bytes) -> NeighborAdvertisement:
    target = _target(body)
    flags = body[0]
    if frame.dst.is_multicast and flags & 0x40:
        raise WireError("solicited NA to a multicast address")
    target_link = _link_address(_options(body, 20), _TARGET_LINK)
    return NeighborAdvertisement(
        target, bool(flags & 0x80), bool(flags & 0x40), bool(flags & 0x20), target_link
    )


def _router_advertisement(frame: Frame, body: bytes) -> RouterAdvertisement:
    if not frame.src.is_link_local:
        raise WireError("RA from an address that is not link-local")
    options = _options(body, 12)
    hop_limit, _flags, lifetime_s = struct.unpack_from("!BBH", body)
    mtu_bytes, prefixes = None, []
    for kind, value in options:
        if kind == _MTU and len(value) == 6:
            (mtu_bytes,) = struct.unpack_from("!I", value, 2)
        elif kind == _PREFIX and len(value) == 30:
            length, flags, valid_s, preferred_s = struct.unpack_from("!BBII", value)
            if length > 128:
                raise WireError(f"prefix length {length}")
            network = IPv6Network((value[14:30], length), strict=False)
            prefixes.append(
                PrefixInformation(network, bool(flags & 0x80), bool(flags & 0x40), valid_s, preferred_s)
            )
    source_link = _link_address(options, _SOURCE_LINK)
    return RouterAdvertisement(lifetime_s, hop_limit, source_link, mtu_bytes, tuple(prefixes))


def _target(body: bytes) -> IPv6Address:
    if len(body) < 20:
        raise WireError("ND message is cut short")
    target = IPv6Address(body[4:20])
    if target.is_multicast:
        raise WireError("ND target is a multicast address")
    return target


def _options(body: bytes, start: int) -> list[tuple[int, bytes]]:
    if len(body) < start:
        raise WireError("ND message is cut short")
    return list(_each_option(body, start))


def _each_option(body: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    while start < len(body):
        end = start + body[start + 1] * 8 if start + 2 <= len(body) else start
        if not start < end <= len(body):
            raise WireError("ND option has no length or runs over the message")
        yield body[start], body[start + 2 : end]
        start = end


def _link_address(options: list[tuple[int, bytes]], kind: int) -> str | None:
    for found, value in options:
        if found == kind and len(value) == 6:
            return mac_text(value)
    return None


def _link_option(kind: int, mac: str | None) -> bytes:
    return b"" if mac is None else bytes((kind, 1)) + mac_bytes(mac)


def _prefix_option(option: PrefixInformation) -> bytes:
    flags = option.on_link << 7 | option.autonomous << 6
    head = struct.pack(
        "!BBBBIII", _PREFIX, 4, option.prefix.prefixlen, flags, option.valid_s, option.preferred_s, 0
    )
    return head + option.prefix.network_address.packed

"""One concrete packet, and whether a rule is for it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from controller.plan.rules import ANY_TAG, CtState, Match, Prefix
from controller.wire.frames import UDP

TCP = 6
ETHERNET_BYTES = 14


@dataclass(frozen=True, slots=True)
class Packet:
    """The header fields that the pipeline knows, `frame_bytes` with the Ethernet header but without a tag.

    `tags` are the VLAN tags it has, the outermost first. `port_src` and `port_dst` are those of TCP or UDP,
    `icmpv6_type` that of ICMPv6; None where the packet has no such field, and in fragments.
    """

    eth_src: str
    eth_dst: str
    src: IPv6Address
    dst: IPv6Address
    ip_proto: int = UDP
    port_src: int | None = None
    port_dst: int | None = None
    icmpv6_type: int | None = None
    hop_limit: int = 64
    frame_bytes: int = 100
    tags: tuple[int, ...] = ()
    is_fragment: bool = False

    @property
    def tag(self) -> int | None:
        """The outermost VLAN tag."""
        return self.tags[0] if self.tags else None

    @property
    def scope(self) -> int | None:
        """The scope of the destination if it is multicast (RFC 4291 section 2.7)."""
        return self.dst.packed[1] & 0xF if self.dst.is_multicast else None

    def __str__(self) -> str:
        tag = "" if self.tag is None else f" tag {self.tag}"
        more = "" if self.port_dst is None else f" port {self.port_dst}"
        more += " fragment" if self.is_fragment else ""
        return f"{self.src} -> {self.dst} protocol {self.ip_proto}{more} hop limit {self.hop_limit}{tag}"


@dataclass(frozen=True, slots=True)
class Context:
    """What a switch knows about a packet that is not in it: where it came in, and what earlier tables found.

    `ct_state` is None before `Track`; `too_big` holds the bits that `CheckLarger` has set. `is_opaque` says
    that the packet came in with two VLAN tags: Open vSwitch looks behind one only, and sees no IPv6. What is
    tagged twice by its own rules it still knows.
    """

    in_port: int
    source_class: int | None = None
    ct_state: CtState | None = None
    ct_mark: int = 0
    too_big: frozenset[int] = frozenset()
    is_opaque: bool = False

    @classmethod
    def arriving(cls, in_port: int, packet: Packet) -> Context:
        """What is known of a packet that has just come in."""
        return cls(in_port, is_opaque=len(packet.tags) > 1)


def matches(match: Match, packet: Packet, context: Context) -> bool:
    """Whether the packet is one that `match` stands for."""
    exact = (
        (match.in_port, context.in_port),
        (match.source_class, context.source_class),
        (match.ct_state, context.ct_state),
        (match.ct_mark, context.ct_mark),
        (match.eth_src, packet.eth_src),
        (match.eth_dst, packet.eth_dst),
        (match.ip_proto, packet.ip_proto),
        (match.hop_limit, packet.hop_limit),
        (match.is_fragment, packet.is_fragment),
        (match.icmpv6_type, packet.icmpv6_type),
        (match.scope, packet.scope),
        (match.port_dst, packet.port_dst),
    )
    if context.is_opaque or any(wanted is not None and wanted != found for wanted, found in exact):
        return False
    if match.too_big is not None and match.too_big not in context.too_big:
        return False
    if match.edge_tag is not None and not _tag_matches(match.edge_tag, packet.tag):
        return False
    return _covers(match.ipv6_src, packet.src) and _covers(match.ipv6_dst, packet.dst)


def _tag_matches(wanted: int, found: int | None) -> bool:
    return found is not None and wanted in (ANY_TAG, found)


def _covers(prefix: Prefix | None, address: IPv6Address) -> bool:
    return prefix is None or prefix.covers(int(address))

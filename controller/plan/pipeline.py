"""The pipeline, declared once: the planner keeps to it, the tests check that it does, and
`docs/pipeline.md` is generated from it (`controller.plan.reference`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class TableId(IntEnum):
    """The tables, in the order packets pass them."""

    INGRESS = 0
    PERMIT = 1
    GATEWAY = 2
    FLOW = 3
    ROUTER = 4
    UNICAST = 5
    DELIVER = 6
    MULTICAST = 7


class SourceClass(IntEnum):
    """Who sent a packet, as INGRESS has proved it (OpenFlow metadata)."""

    USER = 1
    INFRASTRUCTURE = 2
    SERVICE = 3
    DNS = 4


class Origin(IntEnum):
    """Which part of the plan made a rule: the low bits of its cookie. The controller knows from it what a
    punted packet is about; those with an argument (cookie bits 16 to 31) say so."""

    CONTROL = 1
    """ND, RS and MLD of a host."""
    NOT_FORWARDED = 2
    SOURCE = 3
    BACKBONE = 4
    PERMIT = 5
    ROUTE = 6
    SERVICE = 7
    TREE = 8
    CLAIM = 9
    """The first packet of a source that no port is bound to."""
    HEALTH = 10
    """Heartbeats of edges."""
    REQUEST = 11
    """What hosts ask of their gateway: PCP (RFC 6887), echo."""
    GATEWAY = 12
    SCOPE = 13
    """Where a zone ends."""
    TIME_EXCEEDED = 14
    NO_ROUTE = 15
    ADDRESS_UNREACHABLE = 16
    TOO_BIG = 17
    """The argument is the MTU in bytes."""
    SENDER = 18
    """The first packet of a sender to an any-source group."""
    PIN = 19
    """Connections that stay with their edge."""
    FRAGMENT = 20
    """Fragments that connection tracking is to put together."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: what it may match and write, and where it may send a packet. A miss drops."""

    table: TableId
    purpose: str
    match: frozenset[str]
    actions: frozenset[str]
    next_tables: frozenset[TableId]
    writes_class: bool = False


PIPELINE = (
    Table(
        TableId.INGRESS,
        "What may enter by a port. Host ports: ND, RS, MLD, PCP and heartbeats go to the controller, each"
        " at a limited rate; other packets only from a source bound to the port, addressed to the "
        "router's MAC and without a VLAN tag; the first packet from an address of a user's prefix that "
        "nobody is bound to goes to the controller, which binds it. Backbone ports: only from router to "
        "router. The controller's own packets go on as if they came from a router. ND and MLD that no "
        "rule wants end here.",
        frozenset(
            {
                "in_port",
                "edge_tag",
                "eth_src",
                "eth_dst",
                "ip_proto",
                "icmpv6_type",
                "ipv6_src",
                "ipv6_dst",
                "port_dst",
            }
        ),
        frozenset({"Punt"}),
        frozenset({TableId.PERMIT, TableId.ROUTER, TableId.MULTICAST}),
        writes_class=True,
    ),
    Table(
        TableId.PERMIT,
        "Where a class of sources may send. Users: the service, the name server, other users; for "
        "anything else they hear that there is no route, whether it exists or not. The ULA plane: itself."
        " The service address and the name server: users.",
        frozenset({"source_class", "ipv6_dst"}),
        frozenset({"Punt"}),
        frozenset({TableId.GATEWAY, TableId.ROUTER}),
    ),
    Table(
        TableId.GATEWAY,
        "Users' own packets enter the connection tracking of their port (RFC 6092). It puts fragments "
        "together, in a memory that all users share: each user's come at a limited rate.",
        frozenset({"in_port", "is_fragment"}),
        frozenset({"Track"}),
        frozenset({TableId.FLOW, TableId.ROUTER}),
    ),
    Table(
        TableId.FLOW,
        "What a user's packet belongs to. A new connection is remembered, one to the service with the "
        "edge that it begins at as its mark; a connection whose edge is no longer the choice for new ones"
        " is tagged for its edge; what belongs to nothing is dropped.",
        frozenset({"in_port", "ct_state", "ct_mark", "ipv6_dst"}),
        frozenset({"Commit", "PushTag"}),
        frozenset({TableId.ROUTER}),
    ),
    Table(
        TableId.ROUTER,
        "What a router looks at before it forwards: a hop limit of 0 or 1 ends here with Time Exceeded; a"
        " packet to a destination behind a narrow link is measured.",
        frozenset({"hop_limit", "edge_tag", "ipv6_dst"}),
        frozenset({"Punt", "CheckLarger"}),
        frozenset({TableId.UNICAST}),
    ),
    Table(
        TableId.UNICAST,
        "The way to a unicast or anycast destination, as a router hop: hop limit, Ethernet addresses, "
        "port; by a fast-failover group where a loop-free alternate exists (RFC 5286). The longest prefix"
        " wins. Users' addresses are known only while they are bound; what an access switch has no "
        "neighbour for is unreachable. Packets found too big end here with Packet Too Big.",
        frozenset({"too_big", "edge_tag", "ipv6_dst"}),
        frozenset(
            {
                "Punt",
                "DecHopLimit",
                "SetEthSrc",
                "SetEthDst",
                "PushTag",
                "PopTag",
                "Output",
                "ToGroup",
                "Track",
            }
        ),
        frozenset({TableId.DELIVER}),
    ),
    Table(
        TableId.DELIVER,
        "What may come in to a user: what belongs to a connection the user opened, errors about it, and "
        "services the user subscribed to.",
        frozenset({"ct_state", "ip_proto", "ipv6_dst", "port_dst"}),
        frozenset({"Commit", "DecHopLimit", "SetEthSrc", "SetEthDst", "Output"}),
        frozenset(),
    ),
    Table(
        TableId.MULTICAST,
        "Zones first: a packet of limited scope does not enter by a port where its zone ends (RFC 4007). "
        "Then source-specific trees: a packet of (S,G) that comes in by the port towards S goes to the "
        "group with one bucket per branch.",
        frozenset({"in_port", "scope", "ipv6_src", "ipv6_dst"}),
        frozenset({"Punt", "DecHopLimit", "SetEthSrc", "ToGroup"}),
        frozenset(),
    ),
)

"""What a name server is told so that users find the edges: one anycast address, or an address for each edge
and a table of who is near which (geo-DNS). Pure: files as text, and counts of what is in them.

The files are for gdnsd 3 and its plugin geoip, made for this: a line for each address and each prefix,
where a server with views (BIND) takes a view with a zone of its own for each edge.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network

from topologies.addressing import EDGE_PREFIX, AddressPlan
from topologies.graph import nearest_edges
from topologies.spec import Role, Service, Topology

MAX_EDGES = 64
"""How far the counts go."""


class Way(StrEnum):
    """How users find an edge."""

    ANYCAST = "anycast"
    GEO = "geo"


@dataclass(frozen=True, slots=True)
class Place:
    """An edge as a name server knows it: its address, and the prefixes of the users that it is nearest to."""

    edge: str
    address: IPv6Address
    prefixes: tuple[IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class NameCount:
    """What so many edges take: addresses of the service, address records, lines of the name server's files
    (comments and empty ones left out), and the lines that change when one more edge comes."""

    way: str
    edges: int
    addresses: int
    records: int
    lines: int
    changed_lines: int


def places(topology: Topology, plan: AddressPlan, edges: Sequence[str]) -> tuple[Place, ...]:
    """Which of `edges` is nearest to the users of each access switch, by delay over the whole network.

    Edges without an address of their own in the plan are left out.
    """
    nearest = nearest_edges(topology, edges) if edges else {}
    near: dict[str, list[IPv6Network]] = {edge: [] for edge in edges}
    for switch in topology.of_role(Role.ACCESS):
        users = [port.peer for port in topology.ports[switch] if topology.role(port.peer) is Role.USER]
        if users and users[0] in nearest:
            near[nearest[users[0]].edge].append(plan.access_blocks[switch])
    return tuple(
        Place(edge, plan.edge_addresses[edge], tuple(prefixes))
        for edge, prefixes in near.items()
        if edge in plan.edge_addresses
    )


def geo_table(known: Sequence[Place]) -> str:
    """The table of `python -m origin dns --geo`."""
    return "".join(f"{prefix} {place.address}\n" for place in known for prefix in place.prefixes)


def zone_file(service: Service, way: Way, name_server: str, ttl_s: int) -> str:
    """The zone of the service's domain (RFC 1035 section 5)."""
    host, _, domain = service.name.partition(".")
    target = f"AAAA {service.address}" if way is Way.ANYCAST else "DYNA geoip!service"
    return (
        f"; the zone {domain}\n"
        f"@ SOA ns hostmaster 1 3600 600 86400 {ttl_s}\n"
        "@ NS ns\n"
        f"ns AAAA {name_server}\n"
        f"{host} {ttl_s} {target}\n"
    )


def server_file(known: Sequence[Place], way: Way) -> str:
    """The name server's own file: nothing but a comment where every user is told the same."""
    if way is Way.ANYCAST:
        return "# everybody is told the same address: there is nothing to say\n"
    lines = [
        "service_types => { web => { plugin => http_status, port => 80 } }",
        "plugins => { geoip => {",
        "  maps => { nearest => {",
        f"    datacenters => [{', '.join(place.edge for place in known)}],",
        "    nets => {",
        *(f"      {prefix} => [{place.edge}]," for place in known for prefix in place.prefixes),
        "    }",
        "  } }",
        "  resources => { service => {",
        "    map => nearest",
        "    service_types => web",
        "    dcmap => {",
        *(f"      {place.edge} => {place.address}," for place in known),
        "    }",
        "  } }",
        "} }",
    ]
    return "\n".join(lines) + "\n"


def files(known: Sequence[Place], service: Service, way: Way, server: str, ttl_s: int) -> Mapping[str, str]:
    """All files of the name server, by name."""
    _, _, domain = service.name.partition(".")
    return {"config": server_file(known, way), f"zones/{domain}": zone_file(service, way, server, ttl_s)}


def config_lines(texts: Mapping[str, str]) -> list[str]:
    """The lines that say something."""
    lines = (line for text in texts.values() for line in text.splitlines())
    return [line for line in lines if line.strip() and line.lstrip()[0] not in "#;"]


def count(known: Sequence[Place], service: Service, way: Way, server: str, ttl_s: int) -> NameCount:
    """The counts for these edges; the one more is of a kind with the last."""
    before = config_lines(files(known, service, way, server, ttl_s))
    after = config_lines(files([*known, imagined(len(known) + 1)], service, way, server, ttl_s))
    steps = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    changed = sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in steps if tag != "equal")
    number = 1 if way is Way.ANYCAST else len(known)
    return NameCount(str(way), len(known), number, number, len(before), changed)


def imagined(number: int) -> Place:
    """The edge of this number in a network where each access switch has one."""
    block = IPv6Network((0x20010DB8 << 96 | number << 80, 48))
    return Place(f"edge{number}", EDGE_PREFIX[number], (block,))


def sweep(service: Service, server: str, ttl_s: int) -> tuple[NameCount, ...]:
    """Both ways for 1 to 64 edges."""
    return tuple(
        count([imagined(number) for number in range(1, edges + 1)], service, way, server, ttl_s)
        for way in Way
        for edges in range(1, MAX_EDGES + 1)
    )

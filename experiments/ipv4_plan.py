"""The IPv4 plan of the same network, worked out and not measured: what subnets, routers and translation take.

What is assumed, in favour of IPv4 wherever there was a choice:
- a link between two routers, or to a server, is a /31 (RFC 3021), not a /30, and routers have no loopbacks;
- the users of an access switch share the smallest subnet that holds them, a router, the subnet's own address
  and the broadcast address (RFC 919, 950); nothing is kept free for growth;
- servers are found by geo-DNS: a public address and an A record for each edge;
- where users have private addresses (RFC 1918) they share one public address for each access switch
  (RFC 6888), and an edge behind a translator needs a port map for each port of the service.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from experiments.names_records import Ipv4Count
from topologies.spec import Role, Topology

SPACE = IPv4Network("10.0.0.0/8")
PUBLIC = IPv4Network("198.18.0.0/15")
"""For documents: where the public addresses of the plan are written from (RFC 2544)."""
SERVICE_PORTS = (80, 443)
_SUBNET_AND_BROADCAST = 2
_POINT_TO_POINT = 31


@dataclass(frozen=True, slots=True)
class Ipv4Plan:
    """The subnets, and what edges and users need besides: lines of configuration of each kind."""

    subnets: tuple[Ipv4Count, ...]
    interfaces: tuple[str, ...]
    records: tuple[str, ...]
    port_maps: tuple[str, ...]
    pools: tuple[str, ...]

    @property
    def addresses(self) -> int:
        """All addresses of all subnets."""
        return sum(1 << (32 - int(subnet.prefix.partition("/")[2])) for subnet in self.subnets)

    @property
    def lost(self) -> int:
        """Those that no host can have."""
        return sum(subnet.lost for subnet in self.subnets)

    @property
    def text(self) -> str:
        """The plan as a file: the addresses of routers, A records, port maps, pools of translators."""
        parts = {
            "addresses of routers": self.interfaces,
            "records (geo-DNS, public addresses)": self.records,
            "port maps, if edges are behind translators": self.port_maps,
            "translation of users, if they have private addresses": self.pools,
        }
        return "".join("\n".join((f"# {title}", *lines, "")) for title, lines in parts.items())


def ipv4_plan(topology: Topology) -> Ipv4Plan:
    """The plan of a topology. Raises ValueError when 10/8 is too small for it."""
    subnets: list[Ipv4Count] = []
    interfaces: list[str] = []
    wanted = sorted(_wanted(topology), key=lambda want: want[1])
    at = int(SPACE.network_address)
    inside: dict[str, IPv4Address] = {}
    for purpose, length, routers, hosts in wanted:
        size = 1 << (32 - length)
        at = -(-at // size) * size
        network = IPv4Network((at, length))
        if not network.subnet_of(SPACE):
            raise ValueError(f"{SPACE} is too small for {topology.name}; use a smaller topology")
        at += size
        reserved = 0 if length == _POINT_TO_POINT else _SUBNET_AND_BROADCAST
        spare = size - reserved - len(routers) - len(hosts)
        subnets.append(Ipv4Count(str(network), purpose, len(routers), len(hosts), reserved, spare))
        free = iter(network) if length == _POINT_TO_POINT else network.hosts()
        addresses = dict(zip((*routers, *hosts), free, strict=False))
        interfaces += [f"{router}: ip address {addresses[router]}/{length}" for router in routers]
        inside |= {host: addresses[host] for host in hosts}
    edges = topology.of_role(Role.EDGE)
    public = {edge: PUBLIC[number] for number, edge in enumerate(edges, start=1)}
    access = topology.of_role(Role.ACCESS)
    return Ipv4Plan(
        tuple(subnets),
        tuple(interfaces),
        tuple(f"{topology.service.name.partition('.')[0]} A {address}" for address in public.values()),
        tuple(
            f"ip daddr {public[edge]} tcp dport {port} dnat to {inside[edge]}:{port}"
            for edge in edges
            for port in SERVICE_PORTS
        ),
        tuple(
            f"oif {switch}-out snat to {PUBLIC[len(edges) + number]}"
            for number, switch in enumerate(access, start=1)
        ),
    )


def _wanted(topology: Topology) -> Iterator[tuple[str, int, tuple[str, ...], tuple[str, ...]]]:
    """Every subnet: what for, length, routers and hosts in it."""
    for switch in topology.switches:
        peers = [port.peer for port in topology.ports[switch]]
        users = tuple(peer for peer in peers if topology.role(peer) is Role.USER)
        if users:
            yield f"users of {switch}", _length(len(users) + 1), (switch,), users
    for link in topology.links:
        ends = (link.a, link.b)
        hosts = tuple(end for end in ends if not topology.role(end).is_switch)
        if not any(topology.role(host) is Role.USER for host in hosts):
            routers = tuple(end for end in ends if end not in hosts)
            yield f"link {link.name}", _POINT_TO_POINT, routers, hosts


def _length(interfaces: int) -> int:
    """The length of the smallest prefix with room for so many interfaces."""
    return 32 - (interfaces + _SUBNET_AND_BROADCAST - 1).bit_length()

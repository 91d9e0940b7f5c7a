"""The same user, link by link, behind a Linux router that masquerades: NAT66 and NAT44, for comparison.

A user, a router in the access switch's place and a server in the edge's, with links of the same delay and
rate: nothing else differs from the way between a user and its edge.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from pyroute2 import IPRoute

from experiments.acts.context import Context
from experiments.acts.gateway import SCAN_COLUMNS, scan_row
from experiments.acts.peers import COLUMNS as FLOW_COLUMNS
from experiments.acts.peers import flow_row, peer_process
from experiments.scan import scan
from experiments.testbed import TestbedError
from topologies.mininet_net import IFA_F_NODAD
from topologies.namespaces import NetworkNamespace
from topologies.netem import add_netem
from topologies.spec import Link


@dataclass(frozen=True, slots=True)
class Numbering:
    """The addresses of a router between a user and a server, and nftables' name for the family."""

    name: str
    family: str
    forwarding: str
    user: IPv4Interface | IPv6Interface
    inside: IPv4Interface | IPv6Interface
    outside: IPv4Interface | IPv6Interface
    server: IPv4Interface | IPv6Interface


NUMBERINGS = (
    Numbering(
        "nat66",
        "ip6",
        "net.ipv6.conf.all.forwarding",
        *map(IPv6Interface, ("fd00:0:0:1::2/64", "fd00:0:0:1::1/64")),
        *map(IPv6Interface, ("2001:db8:fffc::1/64", "2001:db8:fffc::2/64")),
    ),
    Numbering(
        "nat44",
        "ip",
        "net.ipv4.ip_forward",
        *map(IPv4Interface, ("192.168.0.2/24", "192.168.0.1/24")),
        *map(IPv4Interface, ("198.51.100.1/24", "198.51.100.2/24")),
    ),
)


def run(context: Context, *, inside: str, edge: str) -> None:
    """Measure both kinds of translation over copies of the links of user `inside` and of `edge`."""
    topology = context.testbed.topology
    links = topology.ports[inside][0].link, topology.ports[edge][0].link
    for numbering in NUMBERINGS:
        with ExitStack() as stack:
            names = [f"{numbering.name}-{part}" for part in ("user", "router", "server")]
            user, router, server = (NetworkNamespace.create(name) for name in names)
            for namespace in (user, router, server):
                stack.callback(namespace.close)
            _connect(router, user, "inside", numbering.inside, numbering.user, links[0])
            _connect(router, server, "outside", numbering.outside, numbering.server, links[1])
            _route(user, str(numbering.inside.ip))
            router.sysctl(numbering.forwarding, 1)
            _masquerade(router, numbering.family)
            words = [f"{names[2]}={server.fd}"]
            address = str(numbering.server.ip)
            stack.enter_context(peer_process(context.testbed.processes, names[2], address, words))
            context.write("flows.csv", FLOW_COLUMNS, [flow_row(numbering.name, user, address)])
            knocks = scan(user, server, str(numbering.outside.ip))
            rows = [scan_row(numbering.name, "closed", knock) for knock in knocks]
            context.write("scans.csv", SCAN_COLUMNS, rows)


def _connect(
    router: NetworkNamespace,
    host: NetworkNamespace,
    name: str,
    router_address: IPv4Interface | IPv6Interface,
    host_address: IPv4Interface | IPv6Interface,
    link: Link,
) -> None:
    """A shaped link between the router's interface `name` and `eth0` of a host."""
    with router.entered():
        near = IPRoute()
    with host.entered():
        far = IPRoute()
    with near, far:
        peer = {"ifname": "eth0", "net_ns_fd": host.fd, "mtu": link.mtu_bytes}
        near.link("add", ifname=name, kind="veth", mtu=link.mtu_bytes, peer=peer)
        for netlink, interface, address in ((near, name, router_address), (far, "eth0", host_address)):
            index = netlink.link_lookup(ifname=interface)[0]
            add_netem(netlink, index, link, 1)
            length = address.network.prefixlen
            netlink.addr("add", index=index, address=str(address.ip), prefixlen=length, flags=IFA_F_NODAD)
            netlink.link("set", index=index, state="up", gso_max_segs=1)


def _route(host: NetworkNamespace, gateway: str) -> None:
    with host.entered():
        netlink = IPRoute()
    with netlink:
        netlink.route("add", dst="default", gateway=gateway)


def _masquerade(router: NetworkNamespace, family: str) -> None:
    """What a home router does: everything that leaves has the router's own address."""
    rules = f"""table {family} nat {{
        chain leaving {{
            type nat hook postrouting priority 100
            oifname "outside" masquerade
        }}
    }}
    """
    with router.entered():
        try:
            done = subprocess.run(
                ["nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise TestbedError(f"cannot run nft ({error.strerror}); install the package nftables") from None
    if done.returncode != 0:
        raise TestbedError(f"nft: {(done.stderr.strip().splitlines() or ['no message'])[0]}")

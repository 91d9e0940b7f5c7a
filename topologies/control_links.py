"""Control links with a delay: the controller in a namespace of its own, joined to each switch by a link
whose delay is the switch's distance from the controller's place.

Without a delay the controller shares the switches' namespace and listens on its loopback.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address
from pathlib import Path

from pyroute2 import IPRoute

from topologies.graph import shortest_path_tree
from topologies.mininet_net import IFA_F_NODAD
from topologies.namespaces import NetworkNamespace
from topologies.netem import add_netem
from topologies.spec import Link, Topology

CONTROL_PREFIX = 0xFD6E_6361_7375 << 80
CONTROL_RATE_MBPS = 1000.0


def control_delays_ms(topology: Topology) -> Mapping[str, float]:
    """The one-way delay of each switch's control link; empty when the control plane is at hand."""
    place = topology.control
    if place.at is None and not place.delay_ms:
        return {}
    distances = {} if place.at is None else shortest_path_tree(topology, place.at).distance_ms
    return {switch: place.delay_ms + distances.get(switch, 0.0) for switch in topology.switches}


def make_control_links(topology: Topology, seed: int) -> tuple[NetworkNamespace, Mapping[str, str]]:
    """Make the controller's namespace and a shaped link to it for every switch, in the calling process's
    namespace. Returns the namespace and, for each switch, the address it finds the controller at."""
    controller = NetworkNamespace.create("controller")
    addresses = {}
    with controller.entered():
        inside = IPRoute()
    with IPRoute() as outside, inside:
        inside.link("set", index=1, state="up")
        for number, (switch, delay_ms) in enumerate(control_delays_ms(topology).items(), start=1):
            here, there = f"ctl{number}", f"sw{number}"
            peer = {"ifname": there, "net_ns_fd": controller.fd}
            outside.link("add", ifname=here, kind="veth", peer=peer)
            link = Link(switch, "controller", delay_ms, CONTROL_RATE_MBPS)
            for side, name, end in ((outside, here, 2), (inside, there, 1)):
                index = side.link_lookup(ifname=name)[0]
                add_netem(side, index, link, (seed << 20) + 0x8_0000 + 2 * number + end)
                if side is outside:
                    Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")
                address = str(IPv6Address(CONTROL_PREFIX + (number << 64) + end))
                side.addr("add", index=index, address=address, prefixlen=64, flags=IFA_F_NODAD)
                side.link("set", index=index, state="up")
            addresses[switch] = str(IPv6Address(CONTROL_PREFIX + (number << 64) + 1))
    return controller, addresses

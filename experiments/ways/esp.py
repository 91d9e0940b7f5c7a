"""IPsec tunnels between sites (RFC 4303, ESP in tunnel mode): the kernel's own, keyed by hand.

A site is a prefix behind an edge's or the origin's ULA; no switch has a route to it, so what arrives there
came through a tunnel.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import shake_128
from ipaddress import IPv6Address, IPv6Network

from pyroute2 import IPRoute

from experiments.testbed import TestbedError
from topologies.addressing import GATEWAY
from topologies.mininet_net import IFA_F_NODAD, LabHost

SITES = IPv6Network("fd76:706e:7369::/48")
CIPHER, ICV_BITS, KEY_BYTES = "rfc4106(gcm(aes))", 128, 20
"""AES-128 with Galois/Counter Mode (RFC 4106): 16 bytes of key, 4 of salt."""
REPLAY_WINDOW = 32
_FIRST_SPI = 0x1000


@dataclass(frozen=True, slots=True)
class Gateway:
    """One end of tunnels: its number (the origin is 0), its address in the network, its site behind it."""

    number: int
    outer: str

    @property
    def site(self) -> IPv6Network:
        """The prefix behind it."""
        return IPv6Network((int(SITES.network_address) + (self.number << 64), 64))

    @property
    def inner(self) -> IPv6Address:
        """Its own address there."""
        return self.site[1]


@dataclass(frozen=True, slots=True)
class Configured:
    """Security associations and policies that a kernel holds."""

    associations: int
    policies: int

    @property
    def total(self) -> int:
        """Both together: what somebody has to keep right."""
        return self.associations + self.policies


def tunnel_words(own: Gateway, peer: Gateway, seed: int) -> Iterator[str]:
    """The lines of `ip -batch` that set up one end of a tunnel: an association for each direction, and what
    each end of a tunnel between sites has as policies: out, in and forward."""
    for source, target in ((own, peer), (peer, own)):
        spi = _FIRST_SPI + 2 * max(own.number, peer.number) + (source.number > target.number)
        key = shake_128(f"{seed} {spi}".encode()).hexdigest(KEY_BYTES)
        yield (
            f"xfrm state add src {source.outer} dst {target.outer} proto esp spi {spi:#x} reqid {spi}"
            f" mode tunnel replay-window {REPLAY_WINDOW} aead {CIPHER} 0x{key} {ICV_BITS}"
        )
        for direction in ("out",) if source == own else ("in", "fwd"):
            yield (
                f"xfrm policy add src {source.site} dst {target.site} dir {direction}"
                f" tmpl src {source.outer} dst {target.outer} proto esp reqid {spi} mode tunnel"
            )


def configure(host: LabHost, own: Gateway, peers: list[Gateway], seed: int) -> Configured:
    """Tunnels from a host to `peers`, its site's address, and routes; what its kernel holds afterwards.

    Raises TestbedError.
    """
    lines = [line for peer in peers for line in tunnel_words(own, peer, seed)]
    _ip(host, ["-batch", "-"], "\n".join(lines) + "\n")
    with host.namespace.entered():
        netlink = IPRoute()
    with netlink:
        netlink.addr("add", index=1, address=str(own.inner), prefixlen=128, flags=IFA_F_NODAD)
        index = next(link["index"] for link in netlink.get_links() if link["index"] != 1)
        for peer in peers:
            route = {"dst": str(peer.site), "gateway": str(GATEWAY), "oif": index}
            netlink.route("add", **route, prefsrc=str(own.inner))
    return held(host)


def remove(host: LabHost, own: Gateway, peers: list[Gateway]) -> None:
    """Undo `configure`. Raises TestbedError."""
    _ip(host, ["-batch", "-"], "xfrm policy flush\nxfrm state flush\n")
    with host.namespace.entered():
        netlink = IPRoute()
    with netlink:
        for peer in peers:
            netlink.route("del", dst=str(peer.site))
        netlink.addr("del", index=1, address=str(own.inner), prefixlen=128)


def held(host: LabHost) -> Configured:
    """What the kernel says it holds. Raises TestbedError."""
    states = _ip(host, ["xfrm", "state", "count"])
    policies = _ip(host, ["xfrm", "policy", "count"])
    # SAD count 4 / SPD IN  2 OUT 2 FWD 2
    numbers = [int(word) for word in policies.replace(",", " ").split() if word.isdigit()]
    return Configured(int(states.split()[-1]), sum(numbers[:3]))


def protected(host: LabHost, own: Gateway) -> tuple[int, int]:
    """Bytes and packets that the host has put into its tunnels so far, by the kernel's own count for each
    association: inner packets, before ESP. Raises TestbedError."""
    size = packets = 0
    for entry in ("\n" + _ip(host, ["-s", "xfrm", "state"])).split("\nsrc ")[1:]:
        # ADDRESS dst … lifetime current: 123(bytes), 4(packets)
        if entry.split()[0] == own.outer:
            words = entry.partition("lifetime current:")[2].replace("(", " ").split()
            size, packets = size + int(words[0]), packets + int(words[2])
    return size, packets


def _ip(host: LabHost, words: list[str], text: str | None = None) -> str:
    pipe = subprocess.PIPE
    process = host.popen(["ip", "-6", *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    output, problem = process.communicate(text or "")
    if process.returncode != 0:
        what = (problem.strip().splitlines() or ["no message"])[0]
        raise TestbedError(
            f"{host.name}: ip {' '.join(words)}: {what}; does the kernel have XFRM_USER and ESP?"
        )
    return str(output)

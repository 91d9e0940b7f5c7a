"""What the kernel's connection tracking is told in a lab: how long it remembers, and how much memory it may
take for fragments (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from controller.plan.meters import PORT_LIMITS
from controller.plan.pipeline import Origin
from topologies.spec import Role, Topology

TIMERS_S: Mapping[str, int] = {
    "tcp_timeout_established": 7440,
    "tcp_timeout_syn_sent": 240,
    "tcp_timeout_syn_recv": 240,
    "tcp_timeout_fin_wait": 240,
    "tcp_timeout_close_wait": 240,
    "tcp_timeout_last_ack": 240,
    "tcp_timeout_time_wait": 240,
    "udp_timeout": 300,
    "udp_timeout_stream": 300,
    "icmpv6_timeout": 60,
}
"""RFC 6092: REC-35 and REC-36 (2 h 4 min, 4 min for TCP), REC-14 (5 min for UDP, the recommended default)."""
REASSEMBLY_S = 2
"""How long fragments wait for the rest of their datagram. Linux waits 60 s, as a receiver does (RFC 8200
section 4.5); but they leave their host together, and so come within milliseconds of each other."""
_WAITS = 2
"""At the gateway of the sender, and at that of a user it sends to if the network loses one of them."""
_HEADROOM_BYTES, _NOTES_BYTES = 400, 1024
_LINUX_BYTES = 4 << 20


def reassembly_bytes(topology: Topology) -> int:
    """The memory for fragments with which no user takes another one's, at least what Linux has.

    The switches of a lab share one kernel and its memory, so it is for all users: each may have `burst + rate
    x waiting time` fragments in it, by the meter of its port. On a link of 1,500 bytes one fragment takes
    2,488; with the 60 s of Linux one user could take 30 MB of its 4 MB, with 2 s it is 1.2 MB.
    """
    rate_pps, burst_packets = PORT_LIMITS[Origin.FRAGMENT]
    fragments = burst_packets + rate_pps * REASSEMBLY_S * _WAITS
    links = (topology.access_port(user).link for user in topology.of_role(Role.USER))
    return max(_LINUX_BYTES, fragments * sum(fragment_bytes(link.mtu_bytes) for link in links))


def fragment_bytes(mtu_bytes: int) -> int:
    """The most that a fragment takes: the next power of two, and the kernel's notes.

    Measured on Linux 6.12, by the least `frag6_high_thresh` at which another datagram still gets through:
    1,016 bytes for 8 of payload, 1,464 for 512, 2,488 for 1,232 to 1,640, 4,536 for 3,600, 9,208 for 4,096,
    13,304 for 8,944.
    """
    return (1 << (mtu_bytes + _HEADROOM_BYTES).bit_length()) + _NOTES_BYTES


def settings(topology: Topology) -> dict[str, int]:
    """The settings below `net.netfilter.nf_conntrack_`."""
    fragments = {"frag6_timeout": REASSEMBLY_S, "frag6_high_thresh": reassembly_bytes(topology)}
    return {**TIMERS_S, **fragments}

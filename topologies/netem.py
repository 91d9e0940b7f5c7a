"""A netem queueing discipline with 64-bit rates and a seed, as a pyroute2 plugin.

pyroute2's own plugin carries neither `TCA_NETEM_RATE64` (needed above 34 Gbit/s) nor
`TCA_NETEM_PRNG_SEED` (the same seed loses the same packets; Linux 6.6 and later).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pyroute2.netlink.rtnl import TC_H_ROOT
from pyroute2.netlink.rtnl.tcmsg import plugins, sched_netem

from topologies.spec import Link

_RATE32_MAX = 2**32 - 1
_RANDOM_MAX = 2**32 - 1


class NetemOptions(sched_netem.options):
    """The options block of `struct tc_netem_qopt` with the attributes nearcast uses."""

    nla_map = (
        *sched_netem.options.nla_map,
        ("TCA_NETEM_ECN", "none"),
        ("TCA_NETEM_RATE64", "uint64"),
        ("TCA_NETEM_PAD", "none"),
        ("TCA_NETEM_LATENCY64", "int64"),
        ("TCA_NETEM_JITTER64", "int64"),
        ("TCA_NETEM_SLOT", "none"),
        ("TCA_NETEM_SLOT_DIST", "none"),
        ("TCA_NETEM_PRNG_SEED", "uint64"),
    )


def netem_options(link: Link, seed: int) -> dict[str, Any]:
    """The netem options that make one direction of `link`: rate, then propagation delay, loss, queue.

    netem counts packets on the way against its limit, so the limit is the queue plus what fits the
    wire (rate times delay in full-size packets).
    """
    bytes_per_s = round(link.rate_mbps * 1e6 / 8)
    in_flight = int(bytes_per_s * link.delay_ms / 1e3 / link.mtu_bytes) + 1
    return {
        "limit": link.queue_packets + in_flight,
        "loss": round(link.loss_percent / 100 * _RANDOM_MAX),
        "attrs": [
            ["TCA_NETEM_LATENCY64", round(link.delay_ms * 1e6)],
            ["TCA_NETEM_RATE64", bytes_per_s],
            ["TCA_NETEM_RATE", {"rate": min(bytes_per_s, _RATE32_MAX)}],
            ["TCA_NETEM_PRNG_SEED", seed],
        ],
    }


def add_netem(netlink: Any, index: int, link: Link, seed: int) -> None:
    """Make netem the root queueing discipline of interface `index`; it shapes what leaves there."""
    netlink.tc("add", kind="netem", index=index, handle=0x10000, nearcast=netem_options(link, seed))


def _parameters(context: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = context["nearcast"]
    return options


plugins["netem"] = SimpleNamespace(parent=TC_H_ROOT, get_parameters=_parameters, options=NetemOptions)

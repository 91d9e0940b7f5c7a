"""Prometheus metrics of the origin, made from its status when they are asked for.

The statuses of `nearcast_object_delivery_total` are words of ETSI TS 103 769, Annex N: `cache-hit-m` for
objects that went to all by multicast, `cache-hit-a` for those that an edge fetched by unicast (interface A).
prometheus-client is imported then, not before: that costs time at the start of a lab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_PREFIX = "nearcast_origin_"
_COUNTERS = (
    ("datagrams", "Datagrams sent to the group."),
    ("wire_bytes", "Bytes of Ethernet frames sent to the group."),
    ("source_symbols", "Source symbols sent."),
    ("spare_symbols", "Symbols beyond the source sent unasked."),
    ("repair_symbols", "Symbols sent because an edge lacked some."),
    ("carousel_symbols", "Symbols that the carousel has sent."),
    ("fdt_packets", "FDT packets sent."),
    ("repair_rounds", "Repairs sent to all."),
    ("send_errors", "Datagrams that the kernel refused."),
    ("unicast_bytes", "Bytes of blobs fetched by unicast."),
)
_GAUGES = (
    ("version", "The newest version."),
    ("files", "Files of the newest version."),
    ("bytes", "Bytes of the files of the newest version."),
    ("rate_mbps", "The rate at which the session may send, in Mbit/s."),
)
_DELIVERIES = (("cache-hit-m", "objects"), ("cache-hit-a", "unicast_objects"))


def exposition(status: Mapping[str, Any]) -> bytes:
    """The text format of Prometheus, of a status as `Service.status` gives it."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(lambda: families(status)))
    return generate_latest(registry)


def families(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Every metric with its values."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    sessions: list[Mapping[str, Any]] = status["sessions"]
    for kind, rows in ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS)):
        for name, what in rows:
            family = kind(_PREFIX + name, what, labels=["session"])
            for session in sessions:
                family.add_metric([session["name"]], session[name])
            yield family
    deliveries = CounterMetricFamily(
        "nearcast_object_delivery",
        "Objects sent, by the way they went (ETSI TS 103 769, Annex N).",
        labels=["session", "status"],
    )
    for session in sessions:
        for word, count in _DELIVERIES:
            deliveries.add_metric([session["name"], word], session[count])
    yield deliveries
    for name, what, key in (
        ("edge_complete", "Whether the edge holds the newest version.", "complete"),
        ("edge_version", "The version that the edge reported last.", "version"),
        ("edge_missing_symbols", "Symbols that the edge missed when it last said.", "missing_symbols"),
    ):
        family = GaugeMetricFamily(_PREFIX + name, what, labels=["session", "edge"])
        for session in sessions:
            for edge, row in session["edges"].items():
                if row[key] is not None:
                    family.add_metric([session["name"], edge], float(row[key]))
        yield family


class _Collector:
    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        return self._read()

"""Prometheus metrics in the text format, for the control socket and `controller.metrics_server`.

prometheus-client is imported when somebody asks, not before: that costs time at the start of a lab, and the
controller must run without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from controller.control_socket import OperationError
from controller.measures import Distribution, Snapshot

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

PREFIX = "nearcast_controller_"
EDGE_STATES = ("accepting", "keeping", "dead")


class MetricsError(OperationError):
    """There are no metrics to be had."""


def exposition(snapshot: Snapshot) -> str:
    """The text format of Prometheus. Raises MetricsError when prometheus-client is not installed."""
    registry = registry_of(lambda: snapshot)
    from prometheus_client import generate_latest

    return generate_latest(registry).decode()


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Every metric with its values."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    def gauge(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
        family = GaugeMetricFamily(PREFIX + name, what, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family

    def counter(name: str, what: str, labels: list[str], values: Iterable[tuple[list[str], int]]) -> Metric:
        family = CounterMetricFamily(PREFIX + name, what, labels=labels)
        for keys, value in values:
            family.add_metric(keys, value)
        return family

    def single(values: Mapping[str, int]) -> Iterator[tuple[list[str], int]]:
        return (([key], value) for key, value in values.items())

    now = snapshot
    connected = {switch: float(is_connected) for switch, is_connected in now.connected.items()}
    yield gauge("switch_connected", "Whether the switch is connected.", "switch", connected)
    yield gauge("rules", "Rules that the switch is to hold.", "switch", now.rules)
    yield gauge("groups", "OpenFlow groups that the switch is to hold.", "switch", now.groups)
    yield gauge("meters", "Meters that the switch is to hold.", "switch", now.meters)
    yield gauge("bindings", "Addresses bound to the user ports of the switch.", "switch", now.bindings)
    yield gauge("memberships", "Group memberships behind the ports of the switch.", "switch", now.memberships)
    states = GaugeMetricFamily(
        PREFIX + "edge_state", "1 for the state the edge is in.", labels=["edge", "state"]
    )
    for edge, state in now.edges.items():
        for possible in EDGE_STATES:
            states.add_metric([edge, possible], float(state == possible))
    yield states
    drained = {edge: float(edge in now.drained) for edge in now.edges}
    yield gauge("edge_drained", "Whether an operator drains the edge.", "edge", drained)
    loads = {edge: now.load_percent.get(edge, 0) / 100 for edge in now.edges}
    yield gauge("edge_load_ratio", "The share of its capacity that the edge has in use.", "edge", loads)
    for name, what, value in (
        ("pins", "Pairs of access switch and edge with connections to keep.", now.pins),
        ("openings", "Inbound services that users have subscribed to.", now.openings),
        ("ports_down", "Switch ports that are down.", now.down_ports),
        ("synced", "Whether every switch has confirmed the newest plan.", now.synced),
    ):
        yield GaugeMetricFamily(PREFIX + name, what, value=float(value))
    yield counter(
        "modifications", "Modifications that switches have confirmed.", ["kind"], single(now.modifications)
    )
    yield counter("packet_ins", "Packets handed over by switches.", ["origin"], single(now.packet_ins))
    yield counter("punts_dropped", "Packets handed over and ignored.", ["reason"], single(now.punts_dropped))
    guards = (([guard, reason], count) for (guard, reason), count in now.guards.items())
    yield counter("guard_refusals", "What hosts have asked for in vain.", ["guard", "reason"], guards)
    for name, what, total in (
        ("foreign_rules", "Rules of somebody else found in switches and removed.", now.foreign_rules),
        ("failovers", "Ports and edges that went down.", now.failovers),
    ):
        yield CounterMetricFamily(PREFIX + name, what, value=total)
    yield _histogram("plan_seconds", "Time to compute a plan.", now.plans)
    yield _histogram("install_seconds", "Time until a switch has confirmed a plan.", now.installs)


def _histogram(name: str, what: str, values: Distribution) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    buckets = [(str(bound_s), count) for bound_s, count in values.up_to]
    buckets.append(("+Inf", values.count))
    return HistogramMetricFamily(PREFIX + name, what, buckets=buckets, sum_value=values.sum_s)


def registry_of(read: Callable[[], Snapshot]) -> CollectorRegistry:
    """A registry of its own, without what the client says about this process. Raises MetricsError."""
    try:
        from prometheus_client import CollectorRegistry
    except ImportError:
        raise MetricsError("metrics need the Python package prometheus-client; install it") from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(read))
    return registry


class _Collector:
    def __init__(self, read: Callable[[], Snapshot]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        return families(self._read())

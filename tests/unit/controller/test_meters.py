"""Limits on what reaches the controller and what is kept: each host port and kind of error for itself."""

from __future__ import annotations

import pytest

from controller.plan.meters import ERROR_METER, plan_meters, port_meter
from controller.plan.pipeline import Origin
from controller.plan.rules import Meter
from tests.unit.controller.networks import facts_of, small
from topologies.heartbeat import HEARTBEAT_INTERVAL_S, SILENCE_S
from topologies.spec import Role

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)
METERS: dict[str, dict[int, Meter]] = {}
for _switch, _meter in plan_meters(FACTS):
    assert _meter.number not in METERS.setdefault(_switch, {}), "every number is given once"
    METERS[_switch][_meter.number] = _meter

ASKED = {
    Role.USER: {Origin.CONTROL, Origin.REQUEST, Origin.CLAIM, Origin.FRAGMENT},
    Role.EDGE: {Origin.CONTROL, Origin.REQUEST, Origin.HEALTH},
    Role.ORIGIN: {Origin.CONTROL, Origin.REQUEST},
    Role.DNS: {Origin.CONTROL, Origin.REQUEST},
}


class Bucket:
    """A meter as Open vSwitch has it: a token bucket."""

    def __init__(self, meter: Meter) -> None:
        self.meter, self.tokens, self.at_s = meter, float(meter.burst_packets), 0.0

    def takes(self, now_s: float) -> bool:
        """Whether a packet gets through."""
        refilled = self.tokens + (now_s - self.at_s) * self.meter.rate_pps
        self.tokens, self.at_s = min(refilled, float(self.meter.burst_packets)), now_s
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def test_every_host_port_has_a_meter_for_each_thing_that_is_limited_there() -> None:
    for switch in TOPOLOGY.switches:
        wanted = set(ERROR_METER.values())
        for port in TOPOLOGY.ports[switch]:
            kinds = ASKED.get(TOPOLOGY.role(port.peer), set())
            wanted |= {port_meter(port.number, origin) for origin in kinds}
        assert set(METERS[switch]) == wanted


def test_meters_of_ports_and_of_errors_never_share_a_number() -> None:
    numbers = [port_meter(port, origin) for port in range(1, 200) for origin in ASKED[Role.USER]]
    numbers += [port_meter(port, Origin.HEALTH) for port in range(1, 200)]
    numbers += ERROR_METER.values()
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) >= 1


def test_what_no_host_asks_has_no_meter_of_a_port() -> None:
    with pytest.raises(ValueError, match="not in"):
        port_meter(1, Origin.ROUTE)


def test_every_error_that_a_router_sends_has_a_limit() -> None:
    assert set(ERROR_METER) == {
        Origin.TIME_EXCEEDED,
        Origin.NO_ROUTE,
        Origin.ADDRESS_UNREACHABLE,
        Origin.TOO_BIG,
        Origin.SENDER,
    }


@pytest.mark.parametrize(
    "origin", [Origin.ADDRESS_UNREACHABLE, Origin.NO_ROUTE, Origin.CONTROL, Origin.FRAGMENT]
)
def test_of_a_sweep_of_ten_thousand_packets_a_second_little_gets_through(origin: Origin) -> None:
    number = ERROR_METER.get(origin) or port_meter(TOPOLOGY.access_port("user1").number, origin)
    bucket = Bucket(METERS["a1"][number])
    through = sum(bucket.takes(packet / 10_000) for packet in range(20_000))
    assert through <= 2 * bucket.meter.rate_pps + bucket.meter.burst_packets + 1 <= 301


def test_heartbeats_get_through_even_when_many_come_at_once() -> None:
    bucket = Bucket(METERS["a1"][port_meter(TOPOLOGY.access_port("edge1").number, Origin.HEALTH)])
    beats = round(10 / HEARTBEAT_INTERVAL_S)
    assert all(bucket.takes(beat * HEARTBEAT_INTERVAL_S) for beat in range(beats))
    late = round(2 * SILENCE_S / HEARTBEAT_INTERVAL_S)
    assert all(bucket.takes(11.0) for _ in range(late))


def test_the_largest_datagram_gets_through_in_the_smallest_fragments_every_second() -> None:
    bucket = Bucket(METERS["a1"][port_meter(TOPOLOGY.access_port("user1").number, Origin.FRAGMENT)])
    fragments = -(-0xFFFF // (1280 - 40 - 8))
    for second in range(10):
        assert all(bucket.takes(float(second)) for _ in range(fragments))


def test_a_host_that_starts_is_heard_in_full() -> None:
    bucket = Bucket(METERS["a1"][port_meter(TOPOLOGY.access_port("user1").number, Origin.CONTROL)])
    # Two addresses: DAD, resolution of the gateway, reports for their solicited nodes, twice each, and more.
    assert all(bucket.takes(0.0) for _ in range(40))

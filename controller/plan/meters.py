"""Limits on what switches hand to the controller or keep, so that no host can starve the others (RFC 6583).

Every host port has limits of its own for what it may ask, and for fragments (RFC 8900 section 3.7); errors
about forwarded packets are limited for each kind and switch (RFC 4443 section 2.4 (f)), so that a flood of
one kind leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.plan.facts import Facts
from controller.plan.pipeline import Origin
from controller.plan.rules import Meter
from topologies.spec import Role

PORT_LIMITS: Mapping[Origin, tuple[int, int]] = {
    # A host that starts sends about 20 ND and MLD messages within its first second.
    Origin.CONTROL: (100, 50),
    # A host has at most 16 addresses.
    Origin.CLAIM: (20, 20),
    Origin.REQUEST: (20, 20),
    # Ten a second, and a few at once after a pause of Open vSwitch.
    Origin.HEALTH: (50, 20),
    # The largest datagram is 54 fragments on the narrowest link.
    Origin.FRAGMENT: (100, 100),
}
SWITCH_LIMITS: Mapping[Origin, tuple[int, int]] = {
    Origin.TIME_EXCEEDED: (100, 50),
    Origin.NO_ROUTE: (100, 50),
    Origin.ADDRESS_UNREACHABLE: (100, 50),
    Origin.TOO_BIG: (200, 100),
    Origin.SENDER: (20, 20),
}
_PORT_KINDS = tuple(PORT_LIMITS)
ERROR_METER: Mapping[Origin, int] = {origin: number for number, origin in enumerate(SWITCH_LIMITS, start=1)}
"""The meters of a switch, by what they limit."""


def port_meter(port: int, origin: Origin) -> int:
    """The meter of a host port for what `origin` says. Raises ValueError for one without."""
    return 16 * port + _PORT_KINDS.index(origin)


def plan_meters(facts: Facts) -> Iterator[tuple[str, Meter]]:
    """Every switch's meters, as (switch, meter); they depend on the topology alone."""
    for switch in facts.topology.switches:
        for origin, (rate_pps, burst_packets) in SWITCH_LIMITS.items():
            yield switch, Meter(ERROR_METER[origin], rate_pps, burst_packets)
        for port in facts.topology.ports[switch]:
            for origin in limited(facts.topology.role(port.peer)):
                rate_pps, burst_packets = PORT_LIMITS[origin]
                yield switch, Meter(port_meter(port.number, origin), rate_pps, burst_packets)


def limited(role: Role) -> tuple[Origin, ...]:
    """What is limited of a host of this role; nothing for a switch."""
    if role.is_switch:
        return ()
    more = {Role.USER: (Origin.CLAIM, Origin.FRAGMENT), Role.EDGE: (Origin.HEALTH,)}
    return (Origin.CONTROL, Origin.REQUEST, *more.get(role, ()))

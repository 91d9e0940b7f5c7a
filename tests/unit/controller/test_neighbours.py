from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from controller.plan.facts import Binding, PortId
from controller.state.neighbours import (
    BINDING_LIFETIME_S,
    IN_USE_S,
    MAX_BINDINGS_PER_PORT,
    REACHABLE_S,
    RETRANS_TIMER_S,
    Claim,
    Neighbours,
    State,
)

PORT, OTHER = PortId("a1", 4), PortId("a1", 5)
PREFIX = IPv6Network("2001:db8:1::/64")
ADDRESS = PREFIX[9]
MAC, RIVAL = "02:00:00:00:00:01", "02:00:00:00:00:02"


def made() -> Neighbours:
    return Neighbours({PORT: PREFIX, OTHER: PREFIX})


def probe_times(neighbours: Neighbours) -> tuple[list[float], float]:
    """Let time pass until a binding ends: when its host was asked, and when it ended."""
    asked = []
    while True:
        now_s = neighbours.deadline_s
        assert now_s is not None
        aged = neighbours.tick(now_s)
        if aged.ended:
            return asked, now_s
        asked += [now_s] * len(aged.probes)


def test_first_come_first_served() -> None:
    neighbours = made()
    assert neighbours.claim(0.0, PORT, ADDRESS, MAC) == (Claim.NEW, ())
    assert neighbours.claim(1.0, PORT, ADDRESS, MAC) == (Claim.KNOWN, ())
    assert neighbours.claim(2.0, OTHER, ADDRESS, RIVAL) == (Claim.TAKEN, ())
    assert neighbours.bindings == (Binding(PORT, ADDRESS, MAC),)
    assert neighbours.binding(ADDRESS) == Binding(PORT, ADDRESS, MAC)
    assert neighbours.counters == {"taken": 1}


def test_the_same_port_may_change_its_mac() -> None:
    neighbours = made()
    neighbours.claim(0.0, PORT, ADDRESS, MAC)
    assert neighbours.bindings[0].mac == MAC
    assert neighbours.claim(1.0, PORT, ADDRESS, RIVAL).claim is Claim.NEW
    assert neighbours.bindings == (Binding(PORT, ADDRESS, RIVAL),)


def test_an_address_moves_when_the_port_of_its_holder_is_down() -> None:
    neighbours = made()
    neighbours.claim(0.0, PORT, ADDRESS, MAC)
    neighbours.port_changed(PORT, is_up=False)
    ended = (Binding(PORT, ADDRESS, MAC),)
    assert neighbours.claim(1.0, OTHER, ADDRESS, RIVAL) == (Claim.NEW, ended)
    assert neighbours.bindings == (Binding(OTHER, ADDRESS, RIVAL),)
    neighbours.port_changed(PORT, is_up=True)
    assert neighbours.claim(2.0, PORT, ADDRESS, MAC).claim is Claim.TAKEN


@pytest.mark.parametrize(
    ("port", "address"),
    [
        (PORT, "fe80::9"),
        (PORT, "2001:db8:2::9"),
        (PORT, "2001:db8:1::"),
        (PORT, "2001:db8:1:0:fdff:ffff:ffff:ff80"),
        (PORT, "2001:db8:1:0:fdff:ffff:ffff:ffff"),
        (PORT, "ff02::1"),
        (PORT, "::"),
        (PortId("a1", 1), "2001:db8:1::9"),
    ],
)
def test_only_unicast_addresses_of_the_ports_prefix_are_bound(port: PortId, address: str) -> None:
    neighbours = made()
    assert neighbours.claim(0.0, port, IPv6Address(address), MAC).claim is Claim.OUTSIDE
    assert (neighbours.bindings, neighbours.deadline_s) == ((), None)


@pytest.mark.parametrize(
    "identifier", ["fdff:ffff:ffff:ff7f", "fe00:0:0:0", "fed8:50ec:5a56:26a5", "ffff:ffff:ffff:ffff"]
)
def test_random_identifiers_beside_the_reserved_ones_are_bound(identifier: str) -> None:
    """One random identifier in 128 lies above the reserved ones: its host was cut off once."""
    address = IPv6Address(f"2001:db8:1:0:{identifier}")
    assert made().claim(0.0, PORT, address, MAC).claim is Claim.NEW


def test_a_silent_host_is_asked_three_times_and_then_forgotten() -> None:
    neighbours = made()
    neighbours.claim(10.0, PORT, ADDRESS, MAC)
    assert neighbours.state(ADDRESS) is State.VALID
    first_s = 10.0 + BINDING_LIFETIME_S
    assert neighbours.tick(first_s - 0.1).probes == []
    assert probe_times(neighbours) == ([first_s, first_s + 1.0, first_s + 2.0], first_s + 3.0)
    assert (neighbours.bindings, neighbours.deadline_s, neighbours.state(ADDRESS)) == ((), None, None)
    assert neighbours.counters == {"expired": 1}
    assert neighbours.claim(999.0, OTHER, ADDRESS, RIVAL) == (Claim.NEW, ())


def test_an_answer_keeps_the_binding() -> None:
    neighbours = made()
    neighbours.claim(0.0, PORT, ADDRESS, MAC)
    assert neighbours.tick(300.0).probes == [Binding(PORT, ADDRESS, MAC)]
    assert neighbours.state(ADDRESS) is State.TESTING
    neighbours.touch(300.5, PORT, ADDRESS)
    assert neighbours.state(ADDRESS) is State.VALID
    assert neighbours.deadline_s == 300.5 + BINDING_LIFETIME_S


def test_whoever_is_seen_now_and_then_is_never_asked() -> None:
    neighbours = made()
    neighbours.claim(0.0, PORT, ADDRESS, MAC)
    for now_s in range(0, 3000, 250):
        neighbours.touch(float(now_s), PORT, ADDRESS)
        assert neighbours.tick(float(now_s)).probes == []
    neighbours.touch(2750.0, OTHER, ADDRESS)
    neighbours.touch(2900.0, OTHER, ADDRESS)
    neighbours.touch(2900.0, PORT, PREFIX[77])
    asked, _ = probe_times(neighbours)
    assert asked[0] == 2750.0 + BINDING_LIFETIME_S


def test_a_rival_puts_a_holder_that_was_not_seen_lately_to_the_test() -> None:
    neighbours = made()
    neighbours.claim(0.0, PORT, ADDRESS, MAC)
    assert neighbours.claim(REACHABLE_S - 1, OTHER, ADDRESS, RIVAL).claim is Claim.TAKEN
    assert neighbours.deadline_s == BINDING_LIFETIME_S
    now_s = REACHABLE_S + 1
    for _ in range(3):
        assert neighbours.claim(now_s, OTHER, ADDRESS, RIVAL).claim is Claim.TAKEN
    assert probe_times(neighbours) == ([now_s, now_s + 1, now_s + 2], now_s + 3 * RETRANS_TIMER_S)
    assert neighbours.claim(now_s + 4, OTHER, ADDRESS, RIVAL).claim is Claim.NEW


def test_a_holder_that_passes_the_test_keeps_its_address() -> None:
    neighbours = made()
    neighbours.claim(0.0, PORT, ADDRESS, MAC)
    neighbours.claim(100.0, OTHER, ADDRESS, RIVAL)
    assert neighbours.tick(100.0).probes == [Binding(PORT, ADDRESS, MAC)]
    neighbours.claim(100.1, PORT, ADDRESS, MAC)
    assert neighbours.claim(100.2, OTHER, ADDRESS, RIVAL).claim is Claim.TAKEN
    assert neighbours.deadline_s == 100.1 + BINDING_LIFETIME_S


def test_stable_and_temporary_addresses_live_side_by_side() -> None:
    neighbours = made()
    for index in range(1, MAX_BINDINGS_PER_PORT + 1):
        assert neighbours.claim(0.0, PORT, PREFIX[index], MAC).claim is Claim.NEW
    assert len(neighbours.bindings) == MAX_BINDINGS_PER_PORT
    assert list(neighbours.bindings) == sorted(neighbours.bindings)


def test_above_the_limit_the_one_not_used_for_longest_gives_way() -> None:
    neighbours = made()
    neighbours.claim(0.0, OTHER, PREFIX[999], MAC)
    for index in range(1, MAX_BINDINGS_PER_PORT + 1):
        neighbours.claim(float(index), PORT, PREFIX[index], MAC)
    neighbours.touch(50.0, PORT, PREFIX[1])
    claimed = neighbours.claim(51.0, PORT, PREFIX[500], MAC)
    assert claimed == (Claim.NEW, (Binding(PORT, PREFIX[2], MAC),))
    held = {binding.address for binding in neighbours.bindings if binding.port == PORT}
    assert (len(held), PREFIX[1] in held, PREFIX[2] in held) == (MAX_BINDINGS_PER_PORT, True, False)
    assert neighbours.claim(52.0, OTHER, PREFIX[2], MAC).claim is Claim.NEW
    assert neighbours.binding(PREFIX[999]) is not None
    assert neighbours.counters == {"gave-way": 1}


def test_addresses_in_use_give_way_to_none() -> None:
    neighbours = made()
    for index in range(1, MAX_BINDINGS_PER_PORT + 1):
        neighbours.claim(0.0, PORT, PREFIX[index], MAC)
    assert neighbours.claim(IN_USE_S - 0.1, PORT, PREFIX[500], MAC) == (Claim.FULL, ())
    assert neighbours.counters["full"] == 1
    assert neighbours.claim(IN_USE_S, PORT, PREFIX[500], MAC).claim is Claim.NEW


def test_a_full_port_takes_nothing_from_a_port_that_is_down() -> None:
    neighbours = made()
    neighbours.claim(0.0, OTHER, PREFIX[500], RIVAL)
    neighbours.port_changed(OTHER, is_up=False)
    for index in range(1, MAX_BINDINGS_PER_PORT + 1):
        neighbours.claim(1.0, PORT, PREFIX[index], MAC)
    assert neighbours.claim(2.0, PORT, PREFIX[500], MAC) == (Claim.FULL, ())
    assert neighbours.binding(PREFIX[500]) == Binding(OTHER, PREFIX[500], RIVAL)


def test_what_is_restored_counts_as_just_seen() -> None:
    neighbours = made()
    kept = Binding(PORT, ADDRESS, MAC)
    strangers = [Binding(PORT, IPv6Address("2001:db8:2::1"), MAC), Binding(PortId("zz", 1), PREFIX[3], MAC)]
    crowd = [Binding(PORT, PREFIX[100 + index], MAC) for index in range(40)]
    neighbours.restore(1000.0, [kept, Binding(OTHER, ADDRESS, RIVAL), *strangers, *crowd])
    assert len(neighbours.bindings) == MAX_BINDINGS_PER_PORT
    assert neighbours.binding(ADDRESS) == kept
    assert neighbours.deadline_s == 1000.0 + BINDING_LIFETIME_S
    assert neighbours.claim(1001.0, OTHER, ADDRESS, RIVAL).claim is Claim.TAKEN
    assert neighbours.state(ADDRESS) is State.VALID


def test_bindings_of_a_switch_out_of_reach_do_not_age() -> None:
    neighbours = made()
    neighbours.claim(0.0, PORT, ADDRESS, MAC)
    neighbours.tick(300.0)
    neighbours.pause("a1")
    assert neighbours.deadline_s is None
    assert neighbours.tick(9000.0).ended == []
    neighbours.touch(9000.0, PORT, ADDRESS)
    neighbours.restore(9000.0, [Binding(PORT, PREFIX[10], MAC)])
    assert neighbours.deadline_s is None
    neighbours.resume(9001.0, "a1")
    assert neighbours.deadline_s == 9001.0 + BINDING_LIFETIME_S
    assert len(neighbours.bindings) == 2


def test_claims_without_end_leave_nothing_behind() -> None:
    neighbours = made()
    for step in range(5000):
        neighbours.claim(step * 20.0, PORT, PREFIX[1 + step], MAC)
    assert len(neighbours.bindings) == MAX_BINDINGS_PER_PORT
    assert len(neighbours._deadlines._heap) < 200

from __future__ import annotations

from ipaddress import IPv6Address
from itertools import pairwise

from controller.plan.facts import PortId
from controller.state.advertiser import (
    MAX_PENDING_PER_PORT,
    MAX_RESPONSE_DELAY_S,
    MIN_DELAY_BETWEEN_S,
    Advertisement,
    Advertiser,
)
from controller.state.router_frames import EVERYBODY, Recipient
from controller.wire.nd import UNSPECIFIED

PORT, OTHER = PortId("a1", 4), PortId("a1", 5)
HOST = Recipient(IPv6Address("fe80::9"), "02:00:00:00:00:01")
NAMELESS = Recipient(UNSPECIFIED, "02:00:00:00:00:01")


def moments(advertiser: Advertiser, until_s: float, port: PortId = PORT) -> list[tuple[float, Recipient]]:
    """Everything sent out of a port until then."""
    found = []
    while advertiser.deadline_s is not None and advertiser.deadline_s <= until_s:
        now_s = advertiser.deadline_s
        found += [(now_s, sent.to) for sent in advertiser.tick(now_s) if sent.port == port]
    return found


def settled() -> Advertiser:
    """An advertiser long past its first advertisements, and nothing due soon."""
    advertiser = Advertiser(seed=7)
    advertiser.start(0.0, PORT)
    last_s, _ = moments(advertiser, 2000.0)[-1]
    assert advertiser.deadline_s is not None
    assert 2000.0 - last_s > MIN_DELAY_BETWEEN_S
    assert advertiser.deadline_s > 2010.0
    return advertiser


def test_the_first_three_come_within_16_s_of_each_other_and_the_others_at_200_to_600_s() -> None:
    for seed in range(20):
        advertiser = Advertiser(seed)
        advertiser.start(5.0, PORT)
        sent = moments(advertiser, 5000.0)
        assert all(to == EVERYBODY for _, to in sent)
        gaps = [later - earlier for (earlier, _), (later, _) in pairwise(sent)]
        assert sent[0][0] == 5.0
        assert gaps[:2] == [16.0, 16.0]
        assert len(gaps) > 8
        assert all(200.0 <= gap <= 600.0 for gap in gaps[2:])
        assert len(set(gaps[2:])) == len(gaps[2:])


def test_ports_keep_their_own_time_and_the_seed_fixes_it() -> None:
    def both(seed: int) -> tuple[list[float], list[float]]:
        found = []
        for port in (PORT, OTHER):
            advertiser = Advertiser(seed)
            for started in (PORT, OTHER):
                advertiser.start(0.0, started)
            found.append([now_s for now_s, _ in moments(advertiser, 5000.0, port)])
        return found[0], found[1]

    assert both(1) == both(1)
    assert both(1)[0] != both(1)[1]
    assert both(1)[0] != both(2)[0]


def test_a_host_with_an_address_is_answered_alone_within_half_a_second() -> None:
    delays = []
    for turn in range(40):
        advertiser = settled()
        for _ in range(turn):
            advertiser.solicited(2000.0, PORT, HOST)
            advertiser.tick(2001.0)
        advertiser.solicited(2001.0, PORT, HOST)
        ((moment, to),) = moments(advertiser, 2002.0)
        assert to == HOST
        delays.append(moment - 2001.0)
    assert all(0.0 <= delay <= MAX_RESPONSE_DELAY_S for delay in delays)
    assert max(delays) - min(delays) > 0.3


def test_a_host_that_asks_again_while_it_waits_is_answered_once() -> None:
    advertiser = settled()
    for _ in range(5):
        advertiser.solicited(2000.0, PORT, HOST)
    assert [to for _, to in moments(advertiser, 2001.0)] == [HOST]
    advertiser.solicited(2001.0, PORT, HOST)
    assert [to for _, to in moments(advertiser, 2002.0)] == [HOST]
    assert advertiser.counters == {"solicited": 6}


def test_a_host_without_an_address_is_answered_by_one_to_all_nodes() -> None:
    advertiser = settled()
    advertiser.solicited(2000.0, PORT, NAMELESS)
    ((moment, to),) = moments(advertiser, 2003.0)
    assert to == EVERYBODY
    assert 2000.0 <= moment <= 2000.5


def test_those_to_all_nodes_are_three_seconds_apart() -> None:
    advertiser = settled()
    sent: list[float] = []
    for tenth in range(200):
        now_s = 2000.0 + tenth / 10
        sent += [moment for moment, _ in moments(advertiser, now_s)]
        advertiser.solicited(now_s, PORT, NAMELESS)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert len(gaps) >= 4
    assert all(MIN_DELAY_BETWEEN_S <= gap <= MIN_DELAY_BETWEEN_S + MAX_RESPONSE_DELAY_S for gap in gaps)


def test_an_advertisement_that_is_due_earlier_anyway_answers() -> None:
    advertiser = Advertiser()
    advertiser.start(0.0, PORT)
    advertiser.tick(0.0)
    advertiser.solicited(15.9999, PORT, NAMELESS)
    assert [moment for moment, _ in moments(advertiser, 18.0)] == [16.0]


def test_a_solicited_one_to_all_nodes_starts_the_interval_anew() -> None:
    advertiser = settled()
    advertiser.solicited(2000.0, PORT, NAMELESS)
    ((moment, _),) = moments(advertiser, 2003.0)
    assert advertiser.deadline_s is not None
    assert 200.0 <= advertiser.deadline_s - moment <= 600.0


def test_a_crowd_is_answered_by_one_to_all_nodes() -> None:
    advertiser = settled()
    for index in range(1000):
        advertiser.solicited(2000.0, PORT, Recipient(IPv6Address(0xFE80 << 112 | index), HOST.mac))
    sent = [to for _, to in moments(advertiser, 2001.0)]
    assert len(sent) <= MAX_PENDING_PER_PORT + 1
    assert EVERYBODY in sent


def test_a_port_that_stops_says_nothing_more_not_even_farewell() -> None:
    advertiser = settled()
    advertiser.solicited(2000.0, PORT, HOST)
    advertiser.stop(PORT)
    assert (advertiser.deadline_s, advertiser.tick(9000.0)) == (None, [])
    advertiser.solicited(9000.0, PORT, HOST)
    advertiser.stop(OTHER)
    assert advertiser.deadline_s is None
    advertiser.start(9001.0, PORT)
    assert advertiser.tick(9001.0) == [Advertisement(PORT, EVERYBODY)]

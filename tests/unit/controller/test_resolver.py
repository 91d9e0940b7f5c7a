from __future__ import annotations

from ipaddress import IPv6Address

from controller.plan.facts import PortId
from controller.state.resolver import MAX_ADDRESSES_PER_SWITCH, Failed, Question, Resolver, Sought, Started
from controller.wire.nd import solicited_node

PORT, OTHER, ELSEWHERE = PortId("a1", 4), PortId("a1", 5), PortId("a2", 4)
ADDRESS = IPv6Address("2001:db8:1::9")
SOUGHT = Sought("a1", ADDRESS)


def test_only_those_who_listen_at_the_switch_are_asked_three_times_a_second_apart() -> None:
    groups = []

    def listening(group: IPv6Address) -> list[PortId]:
        groups.append(group)
        return [OTHER, ELSEWHERE, PORT]

    resolver = Resolver(listening)
    assert resolver.start(5.0, SOUGHT, b"packet") is Started.WAITS
    asked = []
    while resolver.deadline_s is not None:
        now_s = resolver.deadline_s
        questions, failed = resolver.tick(now_s)
        asked.append((now_s, questions, failed))
    both = [Question(PORT, ADDRESS), Question(OTHER, ADDRESS)]
    assert asked == [
        (5.0, both, []),
        (6.0, both, []),
        (7.0, both, []),
        (8.0, [], [Failed(SOUGHT, b"packet")]),
    ]
    assert set(groups) == {solicited_node(ADDRESS)} == {IPv6Address("ff02::1:ff00:9")}
    assert len(resolver) == 0


def test_where_nobody_listens_nobody_is_asked() -> None:
    resolver = Resolver(lambda group: [ELSEWHERE])
    assert resolver.start(0.0, SOUGHT, b"packet") is Started.NOBODY
    assert (resolver.deadline_s, len(resolver)) == (None, 0)


def test_the_newest_packet_waits() -> None:
    resolver = Resolver(lambda group: [PORT])
    for packet in (b"first", b"second", b"third"):
        assert resolver.start(0.0, SOUGHT, packet) is Started.WAITS
    assert resolver.found(SOUGHT) == b"third"
    assert resolver.found(SOUGHT) is None
    assert resolver.tick(9.0) == ([], [])


def test_a_sweep_fills_the_table_of_its_switch_only() -> None:
    resolver = Resolver(lambda group: [PORT, ELSEWHERE])
    outcomes = [
        resolver.start(0.0, Sought("a1", IPv6Address(int(ADDRESS) + index)), b"") for index in range(1000)
    ]
    assert outcomes.count(Started.WAITS) == MAX_ADDRESSES_PER_SWITCH == len(resolver)
    assert set(outcomes[MAX_ADDRESSES_PER_SWITCH:]) == {Started.FULL}
    assert resolver.start(0.0, Sought("a2", ADDRESS), b"") is Started.WAITS
    for now_s in (0.0, 1.0, 2.0, 3.0):
        resolver.tick(now_s)
    assert len(resolver) == 0
    assert resolver.start(4.0, SOUGHT, b"") is Started.WAITS


def test_a_switch_out_of_reach_is_forgotten() -> None:
    resolver = Resolver(lambda group: [PORT, ELSEWHERE])
    resolver.start(0.0, SOUGHT, b"")
    resolver.start(0.5, Sought("a2", ADDRESS), b"")
    resolver.forget("a1")
    assert (len(resolver), resolver.deadline_s) == (1, 0.5)

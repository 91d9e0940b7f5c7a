"""Who may stay when a web server is full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_node.connections import ConnectionLimits, Connections, Phase, prefix_of

A, B = "2001:db8:1::1", "2001:db8:2::1"
SMALL = ConnectionLimits(connections=3, per_prefix=2, leaving=1)


def test_there_is_room_until_there_is_none() -> None:
    table: Connections[str] = Connections(ConnectionLimits(connections=2, per_prefix=9))
    for key in "ab":
        assert not table.open(key, A, 0).refused
        table.enter(key, Phase.WORKING, 0)
    assert table.open("c", B, 1).refused
    assert len(table) == 2
    assert table.phase("c") is Phase.LEAVING


def test_who_has_been_idle_for_longest_gives_way() -> None:
    table: Connections[str] = Connections(ConnectionLimits(connections=3, per_prefix=9))
    for moment, key in enumerate("abc"):
        table.open(key, A, moment)
        table.enter(key, Phase.IDLE, moment)
    table.enter("a", Phase.IDLE, 3)  # asked once more
    assert table.open("d", A, 4).victim == "b"
    assert table.phase("b") is None


def test_a_head_that_does_not_end_gives_way_before_idle_users() -> None:
    table: Connections[str] = Connections(ConnectionLimits(connections=3, per_prefix=9))
    table.open("served", A, 0)
    table.enter("served", Phase.IDLE, 0)
    table.open("slow loris", B, 1)
    table.open("just come", B, 5)
    assert table.open("new", A, 5).victim == "slow loris"
    assert table.open("newer", A, 5).victim == "served"
    assert table.open("newest", A, 5.5).victim == "just come"


def test_a_full_prefix_makes_room_among_its_own() -> None:
    table: Connections[str] = Connections(SMALL)
    table.open("other", A, 0)
    table.open("first", B, 1)
    table.open("second", B, 2)
    assert table.open("third", "2001:db8:2::ffff", 3).victim == "first"
    assert table.phase("other") is Phase.HEAD


def test_what_is_being_answered_never_gives_way() -> None:
    table: Connections[str] = Connections(SMALL)
    for key, phase in (("a", Phase.WORKING), ("b", Phase.UNREAD)):
        table.open(key, B, 0)
        table.enter(key, phase, 0)
    admission = table.open("c", B, 100)
    assert admission.refused
    assert admission.victim is None


def test_patience_ends_phase_by_phase() -> None:
    table: Connections[str] = Connections(ConnectionLimits())
    for key in ("head", "content", "idle", "working", "unread"):
        table.open(key, A, 0)
    for phase in (Phase.CONTENT, Phase.IDLE, Phase.WORKING, Phase.UNREAD):
        table.enter(phase.name.lower(), phase, 5)
    assert table.deadline_s() == 10
    assert table.expired(9.9) == []
    assert table.expired(10) == [("head", Phase.HEAD)]
    assert {key for key, _ in table.expired(65)} == {"head", "content", "unread"}
    assert {key for key, _ in table.expired(10**9)} == {"head", "content", "unread", "idle"}


def test_progress_begins_patience_anew() -> None:
    table: Connections[str] = Connections(ConnectionLimits())
    table.open("a", A, 0)
    table.enter("a", Phase.CONTENT, 1)
    table.enter("a", Phase.CONTENT, 30)
    assert table.expired(59.9) == []
    assert table.expired(60) == [("a", Phase.CONTENT)]


def test_who_is_leaving_does_not_come_back_and_frees_its_place() -> None:
    table: Connections[str] = Connections(SMALL)
    table.open("a", A, 0)
    table.enter("a", Phase.LEAVING, 0)
    table.enter("a", Phase.IDLE, 0)
    assert table.phase("a") is Phase.LEAVING
    assert len(table) == 0
    for key in "bc":
        assert not table.open(key, A, 0).refused


def test_a_prefix_is_64_bits() -> None:
    assert prefix_of("2001:db8:1::1") == prefix_of("2001:db8:1:0:ffff::2")
    assert prefix_of("2001:db8:1::1") != prefix_of("2001:db8:1:1::1")
    assert prefix_of("fe80::1%eth0") == prefix_of("fe80::2")
    assert prefix_of("somebody") == 0


steps = st.lists(
    st.tuples(
        st.sampled_from(["open", "enter", "close", "expire"]),
        st.integers(0, 9),
        st.sampled_from(list(Phase)),
        st.sampled_from([A, B, "::1"]),
        st.floats(0, 50),
    ),
    max_size=60,
)


@given(steps)
def test_limits_hold_whatever_happens(steps: list[tuple[str, int, Phase, str, float]]) -> None:
    table: Connections[int] = Connections(SMALL)
    prefixes: dict[int, str] = {}
    now_s = 0.0
    for action, key, phase, address, pause_s in steps:
        now_s += pause_s
        if action == "open" and table.phase(key) is None:
            served = {k for k in prefixes if table.phase(k) in (Phase.WORKING, Phase.CONTENT, Phase.UNREAD)}
            admission = table.open(key, address, now_s)
            assert admission.victim not in served
            prefixes[key] = address
        elif action == "enter":
            table.enter(key, phase, now_s)
        elif action == "close":
            table.close(key)
        else:
            for late, _ in table.expired(now_s):
                table.close(late)
            deadline_s = table.deadline_s()
            assert deadline_s is None or deadline_s > now_s
        here = [k for k in prefixes if table.phase(k) not in (None, Phase.LEAVING)]
        assert len(table) == len(here) <= SMALL.connections
        for each in (A, B, "::1"):
            assert sum(prefixes[k] == each for k in here) <= SMALL.per_prefix

"""Edges come, go, are drained and overloaded: who gets new connections, and who keeps the ones it has."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.plan.facts import Bound, Pin
from controller.state.edges import (
    BEATS_TO_RETURN,
    CALM_S,
    CONNECTION_LIFETIME_S,
    FLAP_WINDOW_S,
    MAX_RETURNS,
    Edges,
)
from topologies.heartbeat import HEARTBEAT_INTERVAL_S, SILENCE_S, EdgeState, Heartbeat

NAMES = ("edge1", "edge2", "edge3")
HOMES = {"user1": "a1", "user2": "a2"}
SERVING = Heartbeat(EdgeState.SERVING, 10, 1)
OVERLOADED = Heartbeat(EdgeState.OVERLOADED, 95, 1)
STOPPING = Heartbeat(EdgeState.STOPPING, 0, 1)


class Clock:
    """Lets time pass: beats of the edges that beat, ticks when they are due."""

    def __init__(self, edges: Edges) -> None:
        self.edges = edges
        self.now_s = 0.0
        self.beating: dict[str, Heartbeat] = {}

    def run(self, duration_s: float) -> None:
        """Beats fall between the ticks of a tenth of a second."""
        for _ in range(round(duration_s / HEARTBEAT_INTERVAL_S)):
            for name, heartbeat in self.beating.items():
                self.edges.heartbeat(self.now_s, name, heartbeat)
            end_s = self.now_s + HEARTBEAT_INTERVAL_S
            while (due_s := self.edges.deadline_s) is not None and due_s <= end_s:
                self.edges.tick(max(due_s, self.now_s))
            self.now_s = end_s


def all_alive() -> Clock:
    clock = Clock(Edges(NAMES, homes=HOMES))
    clock.beating = dict.fromkeys(NAMES, SERVING)
    clock.run(0.5)
    assert clock.edges.accepting == NAMES
    return clock


def test_an_edge_is_believed_after_two_heartbeats() -> None:
    edges = Edges(NAMES)
    assert edges.deadline_s is None
    edges.heartbeat(0.0, "edge2", SERVING)
    assert edges.alive == ()
    edges.heartbeat(0.1, "edge2", SERVING)
    assert edges.alive == edges.accepting == ("edge2",)
    assert edges.loads == {"edge2": 10}


def test_silence_is_death_at_the_moment_it_has_lasted_long_enough() -> None:
    clock = all_alive()
    edges = clock.edges
    del clock.beating["edge1"]
    heard_s = clock.now_s - HEARTBEAT_INTERVAL_S
    assert edges.deadline_s == pytest.approx(heard_s + SILENCE_S)
    edges.tick(heard_s + SILENCE_S - 1e-6)
    assert "edge1" in edges.alive
    assert not edges.urgent
    for name in clock.beating:
        edges.heartbeat(clock.now_s, name, SERVING)
    edges.tick(heard_s + SILENCE_S + 1e-6)
    assert edges.alive == edges.accepting == ("edge2", "edge3")
    assert edges.urgent


def test_a_single_heartbeat_after_death_is_not_enough_however_late_the_second_comes() -> None:
    clock = all_alive()
    del clock.beating["edge1"]
    clock.run(1.0)
    for _ in range(3):
        clock.edges.heartbeat(clock.now_s, "edge1", SERVING)
        clock.run(1.0)
        assert "edge1" not in clock.edges.alive
    clock.beating["edge1"] = SERVING
    clock.run(0.3)
    assert "edge1" in clock.edges.accepting


@pytest.mark.parametrize("how", ["port", "stopping"])
def test_a_port_that_goes_down_or_a_farewell_is_death_at_once(how: str) -> None:
    clock = all_alive()
    if how == "port":
        clock.edges.port_changed("edge1", False)
    else:
        clock.edges.heartbeat(clock.now_s, "edge1", STOPPING)
    assert clock.edges.alive == ("edge2", "edge3")
    assert clock.edges.urgent


def test_heartbeats_that_were_under_way_do_not_revive_a_port_that_is_down() -> None:
    clock = all_alive()
    clock.edges.port_changed("edge1", False)
    clock.run(1.0)
    assert "edge1" not in clock.edges.alive
    clock.edges.port_changed("edge1", True)
    assert "edge1" not in clock.edges.alive
    clock.run(0.3)
    assert "edge1" in clock.edges.alive


def test_the_death_of_the_dead_is_not_urgent() -> None:
    edges = Edges(NAMES)
    edges.heartbeat(0.0, "edge1", STOPPING)
    edges.port_changed("edge1", False)
    assert not edges.urgent


def test_when_the_controller_was_busy_edges_get_the_time_to_be_heard() -> None:
    clock = all_alive()
    late_s = clock.now_s + 2.0
    clock.edges.tick(late_s)
    assert clock.edges.alive == NAMES, "their heartbeats are still to be read"
    for name in ("edge1", "edge2"):
        clock.edges.heartbeat(late_s + 0.01, name, SERVING)
    assert clock.edges.deadline_s is not None
    assert clock.edges.deadline_s < late_s + SILENCE_S
    clock.edges.tick(clock.edges.deadline_s)
    assert clock.edges.alive == ("edge1", "edge2"), "who was not heard then is dead"


def test_who_is_silent_is_excused_only_once() -> None:
    clock = all_alive()
    clock.edges.tick(clock.now_s + 2.0)
    clock.edges.tick(clock.now_s + 4.0)
    assert clock.edges.alive == ()


def test_an_overloaded_edge_keeps_its_connections_and_gets_no_new_ones() -> None:
    clock = all_alive()
    clock.beating["edge1"] = OVERLOADED
    clock.run(0.1)
    assert clock.edges.accepting == ("edge2", "edge3")
    assert clock.edges.alive == NAMES
    assert not clock.edges.urgent
    clock.beating["edge1"] = SERVING
    clock.run(CALM_S - 0.3)
    assert clock.edges.accepting == ("edge2", "edge3")
    clock.run(0.5)
    assert clock.edges.accepting == NAMES


def test_a_moment_of_overload_begins_the_calm_anew() -> None:
    clock = all_alive()
    clock.edges.heartbeat(clock.now_s, "edge1", OVERLOADED)
    clock.run(CALM_S - 1.0)
    clock.edges.heartbeat(clock.now_s, "edge1", OVERLOADED)
    clock.run(CALM_S - 1.0)
    assert "edge1" not in clock.edges.accepting
    clock.run(1.5)
    assert "edge1" in clock.edges.accepting


def test_when_all_are_overloaded_all_serve() -> None:
    clock = all_alive()
    clock.beating = dict.fromkeys(NAMES, OVERLOADED)
    clock.edges.drained = frozenset({"edge3"})
    clock.run(0.5)
    assert clock.edges.accepting == ("edge1", "edge2")


def test_a_drained_edge_stays_alive_and_comes_back_at_once() -> None:
    clock = all_alive()
    clock.edges.drained = frozenset({"edge2"})
    assert clock.edges.accepting == ("edge1", "edge3")
    assert clock.edges.alive == NAMES
    clock.edges.drained = frozenset()
    assert clock.edges.accepting == NAMES


def test_draining_everything_leaves_nobody_for_new_connections() -> None:
    clock = all_alive()
    clock.edges.drained = frozenset(NAMES)
    assert clock.edges.accepting == ()
    assert clock.edges.alive == NAMES


def test_only_allowed_edges_accept() -> None:
    clock = all_alive()
    clock.edges.allowed = frozenset({"edge3"})
    assert clock.edges.accepting == ("edge3",)
    clock.edges.allowed = frozenset()
    assert clock.edges.accepting == ()


def test_an_edge_that_flaps_is_made_to_wait() -> None:
    clock = all_alive()
    returns = 1
    while "edge1" in clock.edges.accepting:
        assert clock.now_s < FLAP_WINDOW_S
        del clock.beating["edge1"]
        clock.run(0.5)
        clock.beating["edge1"] = SERVING
        clock.run(0.5)
        returns += "edge1" in clock.edges.accepting
    assert returns == MAX_RETURNS
    assert "edge1" in clock.edges.alive, "its connections are kept all the same"
    clock.run(FLAP_WINDOW_S)
    assert "edge1" in clock.edges.accepting


def test_an_edge_that_must_wait_serves_when_there_is_no_other() -> None:
    clock = all_alive()
    for _ in range(MAX_RETURNS + 1):
        clock.edges.heartbeat(clock.now_s, "edge1", STOPPING)
        clock.run(0.5)
    assert "edge1" not in clock.edges.accepting
    clock.beating = {"edge1": SERVING}
    clock.run(0.5)
    assert clock.edges.accepting == ("edge1",)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=80))
def test_no_edge_returns_more_often_than_allowed_however_it_behaves(plan: list[tuple[bool, int]]) -> None:
    clock = all_alive()
    returns_s = [0.1]
    for beats, tenths in plan:
        clock.beating = dict.fromkeys(NAMES if beats else NAMES[1:], SERVING)
        for _ in range(tenths):
            before = "edge1" in clock.edges.accepting
            clock.run(0.1)
            if not before and "edge1" in clock.edges.accepting:
                returns_s.append(clock.now_s)
    for first_s, later_s in zip(returns_s, returns_s[MAX_RETURNS:], strict=False):
        assert later_s - first_s > FLAP_WINDOW_S - 0.3
    assert all(later_s > earlier_s for earlier_s, later_s in pairwise(returns_s))


def test_where_the_choice_moves_away_from_a_living_edge_its_connections_are_pinned() -> None:
    clock = all_alive()
    edges = clock.edges
    edges.chosen(1.0, {"a1": "edge1", "a2": "edge2"})
    assert edges.pins == frozenset()
    edges.chosen(2.0, {"a1": "edge2", "a2": "edge2"})
    assert edges.pins == {Pin("a1", "edge1")}
    clock.now_s = 2.0
    edges.tick(2.0)
    # Back again: a choice is no pin, and the other one is.
    edges.chosen(3.0, {"a1": "edge1", "a2": "edge2"})
    assert edges.pins == {Pin("a1", "edge2")}


def test_a_pin_ends_when_no_connection_can_be_left() -> None:
    clock = all_alive()
    clock.edges.chosen(clock.now_s, {"a1": "edge1"})
    clock.edges.chosen(clock.now_s, {"a1": "edge2"})
    pinned_s = clock.now_s
    clock.beating = {}
    for _ in range(3):
        # Nothing but the pin matters here.
        for name in NAMES:
            clock.edges.heartbeat(pinned_s + CONNECTION_LIFETIME_S, name, SERVING)
    assert clock.edges.deadline_s == pinned_s + CONNECTION_LIFETIME_S
    clock.edges.tick(pinned_s + CONNECTION_LIFETIME_S)
    assert clock.edges.pins == frozenset()


def test_a_pin_ends_with_its_edge_and_the_dead_are_not_pinned() -> None:
    clock = all_alive()
    edges = clock.edges
    edges.chosen(clock.now_s, {"a1": "edge1", "a2": "edge3"})
    edges.chosen(clock.now_s, {"a1": "edge2", "a2": "edge3"})
    edges.port_changed("edge1", False)
    edges.port_changed("edge3", False)
    edges.chosen(clock.now_s, {"a1": "edge2", "a2": "edge2"})
    assert edges.pins == frozenset()


def test_when_every_edge_is_drained_all_keep_their_connections() -> None:
    clock = all_alive()
    clock.edges.chosen(clock.now_s, {"a1": "edge1", "a2": "edge2"})
    clock.edges.drained = frozenset(NAMES)
    clock.edges.chosen(clock.now_s, {})
    assert clock.edges.pins == {Pin("a1", "edge1"), Pin("a2", "edge2")}


def test_when_the_origin_takes_over_the_living_keep_their_connections() -> None:
    clock = all_alive()
    clock.edges.chosen(clock.now_s, {"a1": "edge1"})
    clock.edges.chosen(clock.now_s, {"a1": "origin"})
    assert clock.edges.pins == {Pin("a1", "edge1")}
    clock.edges.chosen(clock.now_s, {"a1": "edge1"})
    assert clock.edges.pins == frozenset()


def test_connections_made_by_a_policy_outlive_it() -> None:
    clock = all_alive()
    edges = clock.edges
    plain = {"a1": "edge1", "a2": "edge2"}
    edges.bound = frozenset({Bound("user1", "edge3")})
    edges.chosen(clock.now_s, plain)
    assert edges.pins == frozenset(), "the policy itself keeps them"
    edges.bound = frozenset()
    edges.chosen(clock.now_s, plain)
    assert edges.pins == {Pin("a1", "edge3")}


def test_connections_made_by_a_policy_survive_the_draining_of_its_edge() -> None:
    clock = all_alive()
    edges = clock.edges
    edges.bound = frozenset({Bound("user1", "edge3")})
    edges.chosen(clock.now_s, {"a1": "edge1"})
    edges.drained = frozenset({"edge3"})
    edges.chosen(clock.now_s, {"a1": "edge1"})
    assert edges.pins == {Pin("a1", "edge3")}


def test_a_restarted_controller_goes_on_with_what_it_finds() -> None:
    edges = Edges(NAMES, homes=HOMES)
    edges.port_changed("edge3", False)
    edges.restore(100.0, [Pin("a1", "edge2"), Pin("a2", "edge3")], {"a1": "edge1", "a2": "edge1"})
    assert edges.alive == edges.accepting == ("edge1", "edge2"), "as just heard, if the port is up"
    assert Pin("a1", "edge2") in edges.pins
    edges.chosen(100.0, {"a1": "edge1", "a2": "edge1"})
    assert Pin("a1", "edge2") in edges.pins
    assert edges.deadline_s == pytest.approx(100.0 + SILENCE_S)
    edges.heartbeat(100.1, "edge1", SERVING)
    edges.tick(100.0 + SILENCE_S)
    assert edges.alive == ("edge1",)
    assert not any(pin.edge == "edge2" for pin in edges.pins)


def test_changes_are_told_once() -> None:
    clock = all_alive()
    edges = clock.edges
    assert [(note.event, note.fields["edge"]) for note in edges.notes()] == [
        ("edge-accepting", name) for name in NAMES
    ]
    assert edges.notes() == []
    edges.drained = frozenset({"edge1"})
    edges.port_changed("edge2", False)
    told = [(note.event, note.fields["edge"]) for note in edges.notes()]
    assert told == [("edge-keeping", "edge1"), ("edge-dead", "edge2")]


def test_two_heartbeats_are_enough() -> None:
    assert BEATS_TO_RETURN * HEARTBEAT_INTERVAL_S < SILENCE_S

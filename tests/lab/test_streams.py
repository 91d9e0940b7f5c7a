"""A channel and local content on the real network: on which links, how much, and when."""

from __future__ import annotations

from collections import Counter

import pytest

from experiments.stream_loads import backbone_directions, tree
from tests.lab.lab_catalogue import ITEM_BYTES, OFFERING, topology
from tests.lab.labs import Finished

NETWORK = topology()
PATHS = {
    "nobody": frozenset(),
    "one": tree(NETWORK, "origin", ("edge1",)),
    "both": tree(NETWORK, "origin", ("edge1", "edge3")),
    "nobody-again": frozenset(),
}


def carried(lab: Finished, phase: str, way: str) -> Counter[tuple[str, str]]:
    """Bytes on each direction of a link that had any."""
    found: Counter[tuple[str, str]] = Counter()
    for row in lab.rows("streams.csv"):
        if (row["phase"], row["way"]) == (phase, way):
            found[row["from"], row["to"]] += int(row["bytes"])
    return found


@pytest.mark.parametrize("phase", PATHS)
def test_a_channel_takes_the_paths_to_those_who_watch_once_each(streams_lab: Finished, phase: str) -> None:
    found = carried(streams_lab, phase, "multicast")
    assert found.keys() == PATHS[phase]
    assert len(set(found.values())) <= 1
    both_ways = PATHS[phase] | {(target, source) for source, target in PATHS[phase]}
    assert carried(streams_lab, phase, "unicast").keys() <= both_ways


def test_the_tap_missed_nothing(streams_lab: Finished) -> None:
    rows = streams_lab.rows("phases.csv")
    assert {row["lost"] for row in rows} == {"0"}
    assert sum(int(row["seen"]) for row in rows) > 1000


def test_viewers_see_everything_in_time(streams_lab: Finished) -> None:
    rows = streams_lab.rows("viewing.csv")
    assert {(row["status"], row["error"]) for row in rows} == {("200", "")}
    assert {float(row["still_s"]) for row in rows} == {0.0}
    seen: dict[str, set[int]] = {}
    for row in rows:
        if row["kind"] == "segment":
            seen.setdefault(row["user"], set()).add(int(row["number"]))
    assert seen.keys() == {"user1", "user5"}
    for numbers in seen.values():
        assert numbers == set(range(min(numbers), max(numbers) + 1)), "none is skipped"
    assert {row["edge"] for row in rows} == {"edge1", "edge3"}


def test_branches_come_at_once_and_go_when_two_questions_were_not_answered(streams_lab: Finished) -> None:
    rows = [row for row in streams_lab.rows("branches.csv") if row["stream"] == "live/news"]
    assert sorted((row["edge"], row["is_join"]) for row in rows) == [
        *(("edge1", "0"), ("edge1", "1"), ("edge3", "0"), ("edge3", "1"))
    ]
    for row in rows:
        assert float(row["synced_s"]) - float(row["controller_s"]) < 0.05
        if row["is_join"] == "0":
            assert 2.0 < float(row["synced_s"]) - float(row["edge_s"]) < 2.1


def test_an_edge_leaves_when_nobody_has_asked_for_so_long(streams_lab: Finished) -> None:
    viewings = streams_lab.rows("viewing.csv")
    for row in streams_lab.rows("branches.csv"):
        if row["stream"] == "live/news" and row["is_join"] == "0":
            last_s = max(float(each["started_s"]) for each in viewings if each["edge"] == row["edge"])
            idle_s = float(row["edge_s"]) - last_s
            assert OFFERING.idle_s <= idle_s <= OFFERING.idle_s * 5 / 4 + 0.1


def test_what_is_uploaded_stays_until_another_edge_asks_and_then_goes_there_once(
    streams_lab: Finished,
) -> None:
    backbone = set(backbone_directions(NETWORK))
    for way in ("multicast", "unicast"):
        assert not backbone & carried(streams_lab, "unasked", way).keys()
    path = tree(NETWORK, "edge1", ("edge3",))
    found = carried(streams_lab, "subscribed", "multicast")
    assert found.keys() == path
    assert set(found.values()) == {found["edge1", "access1"]}
    assert ITEM_BYTES < found["edge1", "access1"] < 1.3 * ITEM_BYTES
    assert not backbone & carried(streams_lab, "read", "unicast").keys()


def test_uploads_are_answered_and_read_as_they_should(streams_lab: Finished) -> None:
    rows = [
        (row["window"], row["user"], row["edge"], row["status"]) for row in streams_lab.rows("requests.csv")
    ]
    assert rows == [
        ("upload", "user1", "edge1", "201"),
        ("neighbour", "user2", "edge1", "200"),
        ("asking", "user5", "edge3", "200"),
        ("upload", "user1", "edge1", "201"),
        ("subscribed", "user5", "edge3", "200"),
        ("too-large", "user1", "edge1", "413"),
        ("upload", "user1", "edge1", "201"),
        ("upload", "user1", "edge1", "201"),
        ("too-much", "user1", "edge1", "429"),
    ]
    assert {row["error"] for row in streams_lab.rows("requests.csv")} == {""}

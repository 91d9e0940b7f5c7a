"""What is shown of a controller, from tables as the planner makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.control_socket import OperationError, answer_line
from controller.inquiries import Inquiries
from controller.measures import Measures, Snapshot
from controller.plan.anycast import choices
from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, Opening, Pin
from controller.plan.pipeline import TableId
from controller.plan.rules import RuleKey, Tables
from controller.views import SHOWN, Row, Seen, show
from tests.unit.controller.networks import facts_of, small, user_address

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)


def seen_of(facts: Facts, **fields: Any) -> Seen:
    return Seen(facts, plan(facts), choices(facts), **fields)


SEEN = seen_of(FACTS)


def one(rows: list[Row], **wanted: Any) -> Row:
    (found,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return found


@pytest.mark.parametrize("what", SHOWN)
def test_rows_are_json_with_the_same_keys_every_time(what: str) -> None:
    rows = show(what, SEEN)
    assert rows
    assert json.loads(json.dumps(rows)) == rows
    assert len({tuple(row) for row in rows}) == 1


@pytest.mark.parametrize("what", SHOWN)
def test_one_switch_has_its_share_of_the_rows(what: str) -> None:
    rows = show(what, SEEN)
    assert show(what, SEEN, "a1") == [row for row in rows if row["switch"] == "a1"] != []


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="there are routes, groups, neighbours, edges, flows, members"):
        show("weather", SEEN)
    with pytest.raises(ValueError, match="'user1' is no switch of the topology small"):
        show("routes", SEEN, "user1")


def test_a_route_names_the_next_node_and_the_alternate() -> None:
    rows = show("routes", SEEN, "a1")
    service = one(rows, destination=str(FACTS.addresses.service), edge=None)
    assert (service["via"], service["origin"]) == ("edge1", "service")
    assert service["alternate"] in ("d1", "d2")
    assert one(rows, destination="2001:db8:1::/48")["via"] == "controller"
    own = one(rows, destination=str(user_address(TOPOLOGY, "user4")))
    assert (own["via"], own["alternate"]) == ("user4", None)


def test_a_tagged_route_names_its_edge() -> None:
    pinned = seen_of(replace(FACTS, pins=frozenset({Pin("a1", "edge3")})))
    service = str(FACTS.addresses.service)
    assert one(show("routes", pinned, "a1"), destination=service, edge="edge3")["via"] in ("d1", "d2")
    assert one(show("routes", pinned, "a3"), destination=service, edge="edge3")["via"] == "edge3"


def test_a_group_says_which_bucket_is_used_now() -> None:
    for row in show("groups", SEEN):
        assert row["rules"] > 0, "no group is there for nothing"
        used = [bucket["used"] for bucket in row["buckets"]]
        assert used == ([True] * len(used) if row["kind"] == "all" else [True, False])
    # The tables of before a failure, seen after it.
    cut = replace(SEEN, facts=facts_of(TOPOLOGY, down_links=["a1-d1"]))
    by_d1 = [row for row in show("groups", cut, "a1") if row["buckets"][0]["watch"] == "d1"]
    assert by_d1
    assert all([bucket["used"] for bucket in row["buckets"]] == [False, True] for row in by_d1)


def test_neighbours_with_what_they_opened() -> None:
    address = user_address(TOPOLOGY, "user1")
    openings = frozenset({Opening(address, 6, 8080), Opening(address, 17, 53), Opening(address, 132, 9)})
    states = {address: "testing"}
    rows = show("neighbours", seen_of(replace(FACTS, openings=openings), neighbour_states=states))
    row = one(rows, host="user1")
    assert row["address"] == str(address)
    assert (row["state"], sorted(row["open"])) == ("testing", ["132/9", "tcp/8080", "udp/53"])
    assert one(rows, host="user2")["state"] == "valid"


def test_edges_with_all_that_concerns_them() -> None:
    facts = replace(
        FACTS,
        accepting=("edge1", "edge2"),
        alive=("edge1", "edge2", "edge3"),
        pins=frozenset({Pin("a3", "edge3"), Pin("a1", "edge3")}),
        bound=frozenset({Bound("user3", "edge2")}),
    )
    rows = show("edges", seen_of(facts, drained=frozenset({"edge3"}), load_percent={"edge1": 40}))
    drained = one(rows, edge="edge3")
    assert (drained["state"], drained["drained"], drained["choice_of"]) == ("keeping", True, [])
    assert drained["kept_for"] == ["a1", "a3"]
    assert one(rows, edge="edge2")["bound"] == ["user3"]
    assert one(rows, edge="edge1")["load_percent"] == 40
    assert sorted(switch for row in rows for switch in row["choice_of"]) == ["a1", "a2", "a3"]
    dead = seen_of(replace(FACTS, accepting=("edge1",), alive=("edge1",)))
    assert one(show("edges", dead), edge="edge2")["state"] == "dead"


def test_flows_stand_in_the_order_packets_meet_them() -> None:
    rows = show("flows", SEEN, "a1")
    places = [(TableId[row["table"].upper()], -row["priority"]) for row in rows]
    assert places == sorted(places)
    assert len(rows) == len(SEEN.tables["a1"].rules)
    assert all(row["packets"] is None for row in rows)


def test_members_with_their_sources() -> None:
    rows = show("members", SEEN)
    assert [row["host"] for row in rows] == ["edge1", "edge2", "edge3"]
    assert {row["source"] for row in rows} == {str(FACTS.addresses.hosts["origin"].unicast)}
    member = next(iter(FACTS.members))._replace(source=None)
    (row,) = show("members", replace(SEEN, facts=replace(FACTS, members=frozenset({member}))))
    assert row["source"] is None


class Dumped:
    """What one switch says it holds."""

    def __init__(self, tables: Tables, counters: Mapping[RuleKey, tuple[int, int]]) -> None:
        self.tables = tables
        self.counters = counters


def inquiries(dumps: Mapping[str, Dumped]) -> Inquiries:
    def dump(switch: str) -> Dumped:
        if switch not in dumps:
            raise TimeoutError(f"{switch} is not connected")
        return dumps[switch]

    def snapshot() -> Snapshot:
        return Measures().snapshot(FACTS, SEEN.tables, frozenset(), synced=True)

    return Inquiries(lambda: SEEN, snapshot, dump)


def test_show_by_request() -> None:
    handlers = inquiries({}).handlers
    answer = handlers["show"]({"op": "show", "what": "edges", "switch": None})
    assert answer == {"ok": True, "rows": show("edges", SEEN)}
    for request in ({"op": "show"}, {"what": 1}, {"what": "edges", "switch": 5}):
        with pytest.raises(ValueError, match='"show" needs "what"'):
            handlers["show"](request)


def test_the_switches_are_asked_what_they_hold() -> None:
    (rule,) = [rule for rule in SEEN.tables["a1"].rules.values() if rule.table is TableId.GATEWAY][:1]
    dumped = Dumped(Tables({rule.key: rule}), {rule.key: (3, 270)})
    handlers = inquiries({"a1": dumped}).handlers
    (row,) = handlers["show"]({"what": "flows", "switch": "a1", "installed": True})["rows"]
    assert (row["table"], row["packets"], row["bytes"]) == ("gateway", 3, 270)
    with pytest.raises(OperationError, match="a2 is not connected"):
        handlers["show"]({"what": "flows", "switch": "a2", "installed": True})


def test_a_trace_through_what_the_switches_hold() -> None:
    held = {switch: Dumped(tables, {}) for switch, tables in SEEN.tables.items()}
    held["a1"] = Dumped(Tables(), {})
    handlers = inquiries(held).handlers
    question = {"op": "trace", "source": "user1", "target": "service"}
    assert handlers["trace"](question)["there"]["ends"][0]["fate"] == "delivered"
    assert handlers["trace"](question | {"installed": True})["there"]["ends"][0]["fate"] == "dropped"


def test_metrics_by_request() -> None:
    answer = inquiries({}).handlers["metrics"]({"op": "metrics"})
    assert "nearcast_controller_synced 1.0\n" in answer["text"]


def test_errors_on_the_socket_say_whose_fault_they_are() -> None:
    def handler(request: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ValueError("no sense") if request["op"] == "bad" else OperationError("no luck")

    assert answer_line(b'{"op": "bad"}', handler) == {"ok": False, "error": "no sense", "usage": True}
    assert answer_line(b'{"op": "good"}', handler) == {"ok": False, "error": "no luck", "usage": False}
    assert answer_line(b"[]", handler)["usage"] is True


def test_the_documentation_names_everything_that_can_be_shown() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for what in SHOWN:
        assert f"| `{what}` |" in page

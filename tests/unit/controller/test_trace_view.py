"""`trace`: questions in people's words, walked through the tables that the planner makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, Opening, Pin
from controller.plan.rules import Tables
from controller.trace_view import trace_request
from controller.verify.packet import TCP
from tests.unit.controller.networks import facts_of, small, user_address

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)
TABLES = plan(FACTS)


def ask(facts: Facts = FACTS, tables: dict[str, Tables] | None = None, **request: Any) -> dict[str, Any]:
    return trace_request({"op": "trace"} | request, facts, plan(facts) if tables is None else tables)


def asked(**request: Any) -> dict[str, Any]:
    return ask(FACTS, TABLES, **request)


def end(walk: dict[str, Any]) -> tuple[str, str]:
    (only,) = walk["ends"]
    return only["fate"], only["where"]


def test_a_user_reaches_the_nearest_edge_and_hears_from_it() -> None:
    answer = asked(source="user3", target="service")
    assert end(answer["there"]) == ("delivered", "edge3")
    assert end(answer["back"]) == ("delivered", "user3")
    assert answer["packet"]["dst"] == str(FACTS.addresses.service)
    assert answer["packet"]["src"] == str(user_address(TOPOLOGY, "user3"))
    assert answer["packet"]["port_dst"] == 80
    assert answer["there"]["ends"][0]["delay_ms"] == pytest.approx(1.1), "user's link, edge's link"
    assert answer["back"]["ends"][0]["delay_ms"] == pytest.approx(1.1)
    committed = [met for met in answer["there"]["hops"][0]["met"] if met["kind"] == "committed"]
    assert [met["edge"] for met in committed] == ["edge3"]


def test_the_name_of_the_service_means_the_service() -> None:
    answer = asked(source="user1", target=TOPOLOGY.service.name)
    assert end(answer["there"]) == ("delivered", "edge1")


def test_a_user_hears_that_there_is_no_way_to_the_origin() -> None:
    answer = asked(source="user1", target="origin")
    (only,) = answer["there"]["ends"]
    assert (only["fate"], only["where"], only["origin"]) == ("punted", "a1", "no-route")
    assert answer["back"] is None


def test_users_are_closed_to_each_other_but_for_what_they_opened() -> None:
    answer = asked(source="user1", target="user3", port=8080)
    assert end(answer["there"]) == ("dropped", "a3")
    opening = Opening(user_address(TOPOLOGY, "user3"), TCP, 8080)
    opened = replace(FACTS, openings=frozenset({opening}))
    answer = ask(opened, source="user1", target="user3", port=8080)
    assert end(answer["there"]) == ("delivered", "user3")
    assert end(answer["back"]) == ("delivered", "user1")
    assert end(ask(opened, source="user1", target="user3", port=8081)["there"]) == ("dropped", "a3")


def test_a_kept_connection_travels_tagged_to_the_edge_where_it_began() -> None:
    pinned = replace(FACTS, pins=frozenset({Pin("a1", "edge3")}))
    answer = ask(pinned, source="user1", target="service", began_at="edge3")
    assert end(answer["there"]) == ("delivered", "edge3")
    assert answer["there"]["hops"][1]["packet"]["edge"] == "edge3"
    assert answer["there"]["ends"][0]["packet"]["edge"] is None, "the edge sees no tag"
    assert end(ask(pinned, source="user1", target="service")["there"]) == ("delivered", "edge1")


def test_a_bound_user_goes_elsewhere_and_its_neighbour_does_not() -> None:
    bound = replace(FACTS, bound=frozenset({Bound("user1", "edge2")}))
    assert end(ask(bound, source="user1", target="service")["there"]) == ("delivered", "edge2")
    assert end(ask(bound, source="user4", target="service")["there"]) == ("delivered", "edge1")


def test_a_last_hop_ends_in_time_exceeded() -> None:
    (only,) = asked(source="user1", target="service", hop_limit=1)["there"]["ends"]
    assert (only["fate"], only["origin"]) == ("punted", "time-exceeded")


def test_a_large_packet_meets_the_narrow_link() -> None:
    links = tuple(replace(link, mtu_bytes=1400) if link.b == "a3" else link for link in TOPOLOGY.links)
    links = tuple(replace(link, mtu_bytes=1400) if link.a == "user3" else link for link in links)
    narrow = facts_of(replace(TOPOLOGY, links=links))
    answer = ask(narrow, source="edge3", target="user3", size_bytes=1401)
    (only,) = answer["there"]["ends"]
    assert (only["fate"], only["origin"], only["argument"]) == ("punted", "too-big", 1400)
    answer = ask(narrow, source="user3", target="service", size_bytes=1400)
    assert end(answer["back"]) == ("delivered", "user3")


def test_a_group_has_one_end_per_listener_and_no_answer() -> None:
    answer = asked(source="origin", target=str(FACTS.addresses.static_group), protocol="udp", port=4001)
    delivered = [only["where"] for only in answer["there"]["ends"] if only["fate"] == "delivered"]
    assert sorted(delivered) == ["edge1", "edge2", "edge3"]
    assert answer["back"] is None


def test_links_that_are_down_are_gone_round() -> None:
    cut = facts_of(TOPOLOGY, down_links=["a1-d1"])
    answer = ask(
        cut, TABLES, source="user1", target=str(FACTS.addresses.hosts["dns"].unicast), protocol="udp"
    )
    assert end(answer["there"]) == ("delivered", "dns")
    assert answer["there"]["hops"][1]["switch"] == "d2", "by the alternate, with the tables as they were"


def test_an_echo_request_is_answered_by_an_echo_reply() -> None:
    answer = asked(source="user1", target="service", protocol="icmp")
    assert answer["packet"]["icmpv6_type"] == 128
    assert answer["back"]["hops"][0]["packet"]["icmpv6_type"] == 129
    assert end(answer["back"]) == ("delivered", "user1")


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({"target": "service"}, '"trace" needs "source"'),
        ({"source": "user1"}, '"trace" needs "target"'),
        ({"source": "a1", "target": "service"}, "'a1' is no host of the topology small"),
        ({"source": "user1", "target": "moon"}, "'moon' is no host of the topology small, no IPv6 address"),
        ({"source": "user1", "target": "service", "protocol": "sctp"}, "there are tcp, udp, icmp"),
        ({"source": "user1", "target": "service", "port": 70000}, "70000 is no port"),
        ({"source": "user1", "target": "service", "size_bytes": 20}, "20 is no size in bytes"),
        ({"source": "user1", "target": "service", "port": "80"}, '"port" must be a whole number'),
        ({"source": "user1", "target": "service", "port": True}, '"port" must be a whole number'),
        ({"source": 1, "target": "service"}, '"source" must be a text'),
        ({"source": "user1", "target": "service", "colour": "red"}, "takes no 'colour'"),
        ({"source": "user1", "target": "service", "began_at": "user2"}, "'user2' is no edge"),
    ],
)
def test_questions_that_make_no_sense(request_: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        asked(**request_)


def test_a_user_without_an_address_cannot_be_asked_about() -> None:
    with pytest.raises(ValueError, match="user1 has no address yet"):
        ask(replace(FACTS, bindings=()), source="user1", target="service")

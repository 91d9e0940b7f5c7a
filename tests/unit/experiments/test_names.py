"""What name servers are told, the IPv4 plan, and the claims of `names` on records made up to be spoiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.acts.names import LAST_ADDRESS
from experiments.claims.model import Claim, Evidence
from experiments.claims.names import counted, found, longest_waits_s, numbered, waited
from experiments.ipv4_plan import ipv4_plan
from experiments.names import scenarios
from experiments.names_config import (
    Place,
    Way,
    config_lines,
    count,
    files,
    geo_table,
    imagined,
    places,
    sweep,
)
from experiments.names_records import Resolution
from experiments.options import Options
from experiments.records import Request, ScenarioRecords
from origin.geo import parse_geo
from topologies.addressing import EDGE_PREFIX, plan_addresses
from topologies.files import load
from topologies.graph import nearest_edges
from topologies.spec import EdgeAddressing, Role, Topology, from_json, to_json

FIGURE2 = load("figure2")
NUMBERED = replace(FIGURE2, edges=EdgeAddressing.UNICAST)
SERVER = "2001:db8:fffe::5e"
EDGES = FIGURE2.of_role(Role.EDGE)


def known(topology: Topology = NUMBERED) -> tuple[Place, ...]:
    return places(topology, plan_addresses(topology), topology.of_role(Role.EDGE))


def test_every_user_is_told_the_address_of_the_nearest_edge() -> None:
    plan, table = plan_addresses(NUMBERED), parse_geo(geo_table(known()))
    nearest = nearest_edges(NUMBERED)
    for user in NUMBERED.of_role(Role.USER):
        client = plan.user_prefixes[NUMBERED.access_port(user).node][77]
        assert table.address_for(client) == plan.edge_addresses[nearest[user].edge]
    assert table.address_for(IPv6Address("2001:db8:77::1")) is None


def test_an_edge_that_is_gone_is_told_to_nobody() -> None:
    plan = plan_addresses(NUMBERED)
    rest = places(NUMBERED, plan, EDGES[1:])
    assert plan.edge_addresses[EDGES[0]] not in {place.address for place in rest}
    assert sum(len(place.prefixes) for place in rest) == sum(len(place.prefixes) for place in known())
    assert places(NUMBERED, plan, ()) == ()


def test_only_this_baseline_has_addresses_of_edges() -> None:
    assert plan_addresses(FIGURE2).edge_addresses == {}
    assert from_json(to_json(NUMBERED)) == NUMBERED
    assert all(address in EDGE_PREFIX for address in plan_addresses(NUMBERED).edge_addresses.values())


def test_files_for_a_name_server() -> None:
    geo = files(known(), FIGURE2.service, Way.GEO, SERVER, 60)
    assert "      2001:db8:2::/48 => [edge2],\n" in geo["config"]
    assert "      edge2 => 2001:db8:fffe:1::2,\n" in geo["config"]
    assert geo["config"].count("{") == geo["config"].count("}")
    assert geo["zones/nearcast.test"].endswith("www 60 DYNA geoip!service\n")
    one = files(known(), FIGURE2.service, Way.ANYCAST, SERVER, 60)
    assert one["zones/nearcast.test"].endswith(f"www 60 AAAA {FIGURE2.service.address}\n")
    assert len(config_lines(one)) == 4


@given(st.integers(1, 64))
def test_counts_by_number_of_edges(edges: int) -> None:
    some = [imagined(number) for number in range(1, edges + 1)]
    one = count(some, FIGURE2.service, Way.ANYCAST, SERVER, 60)
    geo = count(some, FIGURE2.service, Way.GEO, SERVER, 60)
    assert (one.addresses, one.records, one.lines, one.changed_lines) == (1, 1, 4, 0)
    assert (geo.addresses, geo.records, geo.changed_lines) == (edges, edges, 3)
    more = count([*some, imagined(edges + 1)], FIGURE2.service, Way.GEO, SERVER, 60)
    assert more.lines == geo.lines + 2


@pytest.mark.parametrize("name", ["figure2", "metro"])
def test_the_ipv4_plan_numbers_every_interface_once(name: str) -> None:
    topology = load(name)
    plan = ipv4_plan(topology)
    networks = [IPv4Network(subnet.prefix) for subnet in plan.subnets]
    assert not any(a.overlaps(b) for at, a in enumerate(networks) for b in networks[at + 1 :])
    assert sum(subnet.hosts for subnet in plan.subnets) == len(topology.hosts)
    assert plan.addresses == plan.lost + len(topology.hosts)
    told = [line.rpartition(" ")[2] for line in plan.interfaces]
    assert len(set(told)) == len(told) == sum(subnet.routers for subnet in plan.subnets)
    assert len(plan.port_maps) == 2 * len(plan.records) == 2 * len(topology.of_role(Role.EDGE))
    assert all(subnet.spare >= 0 for subnet in plan.subnets)


def request(user: str, edge: str, started_s: float, window: str, error: str = "", **more: str) -> Request:
    status = 0 if error else 200
    source = more.get("source", "2001:db8:1::5")
    return Request(window, user, "/", source, started_s, 0.004, 0.008, 0.01, 53, status, edge, error)


def is_felt(name: str, window: str) -> bool:
    """Nobody with one address notices an edge that is unplugged."""
    return (name, window) != ("edge", "unplug")


def sound() -> dict[str, ScenarioRecords]:
    """Users move after 0.2 s with one address, and after 60 s with geo-DNS."""
    nearest, plan = nearest_edges(FIGURE2), plan_addresses(NUMBERED)
    users = FIGURE2.of_role(Role.USER)
    found = {}
    for name, topology, back_s in (("edge", FIGURE2, 0.2), ("geo", NUMBERED, 60.0)):
        rows = [request(user, nearest[user].edge, 1.0, "nearest") for user in users]
        for window in ("kill", "unplug"):
            rows += [
                request("user1", "edge1" if tick < 5 else "edge2", tick / 10, window, error)
                for tick in range(650)
                for error in ["refused" if 5 <= tick < 5 + back_s * 10 and is_felt(name, window) else ""]
            ]
        last = plan.user_prefixes["access1"][-1]
        rows.append(request("user1", "edge1", 200.0, LAST_ADDRESS, source=str(last)))
        told = {user: str(plan.edge_addresses[nearest[user].edge]) for user in users}
        resolutions = [
            Resolution(
                "nearest", user, 0.9, 0.01, told[user] if name == "geo" else str(plan.service), 60, 1, True
            )
            for user in users
        ]
        way = Way.GEO if name == "geo" else Way.ANYCAST
        counts = [count(known(), FIGURE2.service, way, SERVER, 60)]
        counts += sweep(FIGURE2.service, SERVER, 60) if name == "edge" else ()
        found[name] = ScenarioRecords(
            name,
            Path("/nowhere"),
            topology,
            requests=tuple(rows),
            resolutions=tuple(resolutions),
            name_counts=tuple(counts),
            ipv4=ipv4_plan(FIGURE2).subnets if name == "edge" else (),
        )
    return found


def claims(records: dict[str, ScenarioRecords]) -> list[Claim]:
    evidence = Evidence(FIGURE2, records)
    made = [claim for function in (found, waited, counted, numbered) for claim in function(evidence)]
    return [claim for claim in made if not claim.statement.startswith("routes")]


def test_a_sound_run_holds() -> None:
    made = claims(sound())
    assert [claim.statement for claim in made if not claim.holds] == []
    waits = [(claim.value, claim.baseline) for claim in made if claim.statement.startswith("longest")]
    assert waits == [(210.0, 60010.0), (0.0, 60010.0)]


def test_nothing_holds_without_data() -> None:
    assert not any(claim.holds for claim in claims({}))


def _spoil(**changes: Callable[[ScenarioRecords], object]) -> dict[str, ScenarioRecords]:
    records = sound()
    new = {field: change(records["edge"]) for field, change in changes.items()}
    return records | {"edge": replace(records["edge"], **new)}


@pytest.mark.parametrize(
    ("records", "broken"),
    [
        (
            _spoil(requests=lambda edge: (*edge.requests, request("user1", "edge3", 1.1, "nearest"))),
            "users answered by their nearest edge",
        ),
        (
            _spoil(
                resolutions=lambda edge: (
                    replace(edge.resolutions[0], address="2001:db8::2"),
                    *edge.resolutions[1:],
                )
            ),
            "addresses of the service that users were told",
        ),
        (
            _spoil(resolutions=lambda edge: edge.resolutions[1:]),
            "addresses of the service that users were told",
        ),
        (
            _spoil(
                requests=lambda edge: tuple(
                    replace(row, error="refused") if row.window == "kill" and row.started_s > 0.5 else row
                    for row in edge.requests
                )
            ),
            "longest time without an answer when its process is killed",
        ),
        (
            _spoil(name_counts=lambda edge: (replace(edge.name_counts[0], lines=5), *edge.name_counts[1:])),
            "lines of the name server's configuration",
        ),
        (
            _spoil(ipv4=lambda _edge: ()),
            "addresses for routers, for subnets themselves and for broadcast, or left over",
        ),
        (
            _spoil(
                requests=lambda edge: tuple(
                    replace(row, source="2001:db8:1::5") if row.window == LAST_ADDRESS else row
                    for row in edge.requests
                )
            ),
            "users answered at the last address of their subnet, which is for broadcast in IPv4",
        ),
    ],
)
def test_what_breaks_a_claim(records: dict[str, ScenarioRecords], broken: str) -> None:
    assert broken in [claim.statement for claim in claims(records) if not claim.holds]


def test_a_wait_lasts_until_the_answer_to_any_later_request() -> None:
    rows = (
        request("user1", "edge1", 0.0, "kill"),
        replace(request("user1", "edge2", 1.0, "kill"), total_s=1.03),
        request("user1", "edge2", 1.02, "kill"),
        request("user1", "", 1.5, "kill", "refused"),
        request("user1", "", 1.8, "kill", "refused"),
    )
    records = replace(sound()["edge"], requests=rows)
    assert longest_waits_s(records, "kill") == {"user1": pytest.approx(0.3)}
    assert longest_waits_s(None, "kill") == {}


def test_both_scenarios_ask_the_same_at_the_same_times() -> None:
    geo, edge = scenarios(Options(FIGURE2, 1, site=Path("/site")))
    assert (geo.name, edge.name) == ("geo", "edge")
    assert geo.windows == edge.windows
    assert geo.topology.edges is EdgeAddressing.UNICAST
    assert replace(geo.topology, edges=EdgeAddressing.ANYCAST) == edge.topology
    assert all(window.resolves for window in edge.windows)
    assert IPv6Network("2001:db8:1::/48") in known()[0].prefixes

"""Claims of the experiments with windows and acts: what holds in a sound run, and what breaks each claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from experiments.claims.catalogue import claims_of
from experiments.claims.failover import next_answers, probe_gaps
from experiments.claims.model import Claim, Evidence
from experiments.claims.neighbours import Solicitation, wakings
from experiments.claims.scope import area, is_allowed
from experiments.records import Delivery, Flow
from experiments.summary import analyse
from tests.unit.experiments.synthetic_windows import (
    BUILDERS,
    METRO,
    Scenarios,
    probes,
    request,
    solicitation,
    write_capture,
    write_run,
)
from topologies.addressing import ERROR_SOURCE, plan_addresses
from topologies.files import load
from topologies.spec import ControlPlane

Spoiler = Callable[[Scenarios], None]


def _claims(experiment: str, scenarios: Scenarios) -> list[Claim]:
    return claims_of(experiment, Evidence(METRO, scenarios))


@pytest.mark.parametrize("experiment", sorted(BUILDERS))
def test_a_sound_run_holds_every_claim(tmp_path: Path, experiment: str) -> None:
    failing = [claim for claim in _claims(experiment, BUILDERS[experiment](tmp_path)) if not claim.holds]
    assert failing == []


@pytest.mark.parametrize("experiment", sorted(BUILDERS))
def test_a_sound_run_is_read_from_its_files_and_drawn(tmp_path: Path, experiment: str) -> None:
    write_run(tmp_path, BUILDERS[experiment](tmp_path / "raw"))
    context = {"lab": "guest", "clock": "virtual", "commit": "0123", "command": "nearcast run"}
    summary = analyse(tmp_path, METRO, experiment, seed=1, context=context)
    assert summary.receipt.reasons == ()
    assert [claim.label for claim in summary.claims if not claim.holds] == []
    drawn = {path.stem for path in (tmp_path / "plots").glob("*.svg")}
    wanted = {"failover": {"probes", "failover"}, "scope": {"groups", "answers"}, "drain": {"answers"}}
    assert drawn >= {"topology"} | wanted.get(experiment, set())


def _edit(scenario: str, **changes: Any) -> Spoiler:
    """Replace records of a scenario; a value that is a function is given the old ones."""

    def spoil(scenarios: Scenarios) -> None:
        old = scenarios[scenario]
        new = {
            name: value(getattr(old, name)) if callable(value) else value for name, value in changes.items()
        }
        scenarios[scenario] = replace(old, **new)

    return spoil


def _drop(scenario: str) -> Spoiler:
    return lambda scenarios: scenarios.pop(scenario) and None


def _first(**changes: Any) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    return lambda rows: (replace(rows[0], **changes), *rows[1:])


def _each(change: Callable[[Any], dict[str, Any]]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    return lambda rows: tuple(replace(row, **change(row)) for row in rows)


def _without(window: str, kind: str = "") -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    return lambda rows: tuple(row for row in rows if row.window != window or (kind and row.kind != kind))


def _restarted_with(modifications: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda facts: {
        **facts,
        "windows": [{"name": "controller", "after": {"modifications": modifications}}],
    }


@pytest.mark.parametrize(
    ("experiment", "spoil", "broken"),
    [
        (
            "failover",
            _edit(
                "links",
                probes=_each(
                    lambda p: (
                        {"rtt_ms": None}
                        if 500 <= round((p.sent_s - 10) * 1000) < 510 and p.window == "alternate"
                        else {}
                    )
                ),
            ),
            "loop-free alternate",
        ),
        (
            "failover",
            _edit(
                "links",
                probes=_each(
                    lambda p: (
                        {"rtt_ms": None}
                        if 500 <= round((p.sent_s - 10) * 1000) < 551 and p.window == "repair"
                        else {}
                    )
                ),
            ),
            "link without an alternate",
        ),
        (
            "failover",
            _edit(
                "links",
                probes=_each(lambda p: {"rtt_ms": None} if p.sent_s > 10.97 and p.window == "switch" else {}),
            ),
            "a switch fails",
        ),
        ("failover", _edit("links", faults=_without("repair")), "link without an alternate"),
        ("failover", _edit("edge", faults=_without("unplug")), "unplugged"),
        ("failover", _edit("edge", faults=_without("requests")), "link to an edge"),
        (
            "failover",
            _edit(
                "edge", requests=_each(lambda r: {"error": "refused"} if 10.5 <= r.started_s < 10.82 else {})
            ),
            "process is killed",
        ),
        ("failover", _edit("edge", faults=_without("kill")), "process is killed"),
        (
            "failover",
            _edit(
                "edge",
                probes=_each(
                    lambda p: {"rtt_ms": None} if (p.window, p.sent_s) == ("controller", 10.7) else {}
                ),
            ),
            "probes lost while the controller",
        ),
        ("failover", _edit("edge", facts=_restarted_with(3)), "restarted controller"),
        ("failover", _drop("links"), "loop-free alternate"),
        ("drain", _edit("edge", requests=_first(error="reset")), "requests failed"),
        (
            "drain",
            _edit(
                "edge",
                requests=_each(
                    lambda r: (
                        {"edge": "edge1"}
                        if (r.user, r.path) == ("user1", "/") and 13 < r.started_s < 14.5
                        else {}
                    )
                ),
            ),
            "new connections",
        ),
        (
            "drain",
            _edit("edge", requests=_each(lambda r: {"error": "reset"} if r.path == "/long.bin" else {})),
            "long downloads",
        ),
        ("drain", _edit("edge", requests=_first(edge="edge2")), "before drain"),
        (
            "drain",
            _edit(
                "edge",
                requests=_each(
                    lambda r: {"edge": "edge3"} if r.user == "user2" and r.started_s > 21.6 else {}
                ),
            ),
            "after drain",
        ),
        ("drain", _edit("edge", faults=_without("drain", "Overload")), "requests failed"),
        ("gateway", _edit("edge", knocks=_first(has_arrived=True)), "arrive at a user"),
        ("gateway", _edit("edge", knocks=_each(lambda k: {"has_arrived": False})), "arrive at a user"),
        (
            "gateway",
            _edit("edge", knocks=_each(lambda k: {"has_arrived": True} if k.round == "subscribed" else {})),
            "one TCP port",
        ),
        ("gateway", _edit("edge", flows=_first(seen="2001:db8:1::99 5000")), "own address and port"),
        (
            "gateway",
            _edit("edge", flows=_first(handshake_ms=4.5)),
            "handshake through the gateway, against NAT66",
        ),
        ("gateway", _edit("edge", flows=_first(mbps=90.0)), "against NAT44"),
        (
            "gateway",
            _edit("edge", flows=_first(is_complete=False)),
            "throughput through the gateway, against NAT66",
        ),
        ("gateway", _edit("narrow", paths=_first(path_mtu=1500)), "narrow link"),
        ("gateway", _edit("narrow", paths=_first(is_complete=False)), "narrow link"),
        ("private-routing", _edit("edge", hops=_first(answered_by="2001:db8:fffd::1")), "traceroute shows"),
        ("private-routing", _edit("edge", hops=()), "traceroute shows"),
        ("private-routing", _edit("edge", pings=_each(lambda p: {"answered": True})), "answer users"),
        ("private-routing", _edit("edge", pings=_each(lambda p: {"answered": False})), "answer users"),
        ("private-routing", _edit("global", pings=_each(lambda p: {"answered": False})), "answer users"),
        ("private-routing", _drop("global"), "traceroute shows"),
        ("neighbours", _edit("edge", probes=_first(rtt_ms=None)), "sweeps its /64"),
        ("neighbours", _edit("edge", captures=_first(dropped=1)), "on average"),
        ("neighbours", _drop("arp"), "on average"),
        ("scope", _edit("edge", deliveries=_first(received=1)), "beyond the zone"),
        (
            "scope",
            _edit(
                "edge",
                deliveries=_each(
                    lambda d: {"received": 0} if (d.group, d.receiver) == ("ff35::8000:2", "edge5") else {}
                ),
            ),
            "missing within",
        ),
        (
            "scope",
            _edit(
                "edge",
                deliveries=_each(
                    lambda d: {"received": 5} if (d.group, d.receiver) == ("ff35::8000:2", "user5") else {}
                ),
            ),
            "after joining it",
        ),
        (
            "scope",
            _edit("edge", links=_each(lambda s: {"bytes": 600} if s.t_s == 2.0 else {})),
            "content of one region",
        ),
        (
            "scope",
            _edit("edge", requests=_each(lambda r: {"edge": "edge1"} if r.started_s == 11.5 else {})),
            "policy names",
        ),
        ("scope", _edit("edge", faults=()), "policy names"),
        ("privacy", _edit("edge", requests=_first(error="timeout")), "requests failed"),
        (
            "privacy",
            _edit("edge", requests=_each(lambda r: {"error": "reset"} if r.path == "/long.bin" else {})),
            "long downloads",
        ),
        (
            "privacy",
            _edit("edge", requests=_each(lambda r: {"source": "2001:db8::1"})),
            "addresses that edges see",
        ),
        ("privacy", _drop("stable"), "addresses that edges see"),
    ],
)
def test_what_goes_wrong_breaks_the_claim_it_concerns(
    tmp_path: Path, experiment: str, spoil: Spoiler, broken: str
) -> None:
    scenarios = BUILDERS[experiment](tmp_path)
    spoil(scenarios)
    failing = [claim.statement for claim in _claims(experiment, scenarios) if not claim.holds]
    assert any(broken in statement for statement in failing), failing


def test_a_gap_is_between_probes_that_were_answered_by_when_they_were_sent() -> None:
    (gap,) = probe_gaps(probes("w", "user1", lost=(500, 501, 502)))
    assert (gap.begin_s, gap.end_s) == (pytest.approx(10.499), pytest.approx(10.503))
    assert gap.milliseconds == pytest.approx(4)


def test_probes_without_any_answer_are_one_gap_from_the_first_to_the_last() -> None:
    (gap,) = probe_gaps(probes("w", "user1", lost=range(1000)))
    assert gap.milliseconds == pytest.approx(999)


def test_a_slow_controller_is_allowed_its_round_trip(tmp_path: Path) -> None:
    scenarios = BUILDERS["failover"](tmp_path)
    _edit("links", topology=replace(METRO, control=ControlPlane(delay_ms=5.0)))(scenarios)
    lost = range(500, 555)
    _edit(
        "links",
        probes=lambda rows: (
            *(row for row in rows if row.window != "repair"),
            *probes("repair", "user9", lost),
        ),
    )(scenarios)
    by_name = {claim.statement: claim for claim in _claims("failover", scenarios)}
    claim = by_name["gap when a link without an alternate fails"]
    assert claim.value == pytest.approx(56)
    assert claim.holds
    assert "10 ms of it for the control links" in claim.rule


def test_a_window_the_topology_has_no_link_for_makes_no_claim(tmp_path: Path) -> None:
    scenarios = BUILDERS["failover"](tmp_path)
    asked = scenarios["links"].facts["scenario"] | {"windows": [{"name": "alternate"}, {"name": "switch"}]}
    _edit("links", facts={"scenario": asked})(scenarios)
    statements = [claim.statement for claim in _claims("failover", scenarios)]
    assert not any("without an alternate" in statement for statement in statements)


def test_the_next_answer_is_of_a_request_made_after_the_moment() -> None:
    rows = [
        request("kill", "user1", 9.9, "edge1", total_s=5.0),
        request("kill", "user1", 10.1, "", error="refused"),
        request("kill", "user1", 10.2, "edge2", total_s=0.02),
        request("kill", "user2", 10.1, "", error="timeout"),
    ]
    assert next_answers(rows, 10.0) == {"user1": pytest.approx(0.22), "user2": None}


def test_a_switchs_solicitation_wakes_who_hears_it_and_concerns_the_owner_only() -> None:
    plan = plan_addresses(METRO)
    router = plan.router_macs["access1"]
    own = str(plan.user_prefixes["access1"][5])
    dad = _solicited(plan.hosts["user1"].mac, "::", own)
    asked = _solicited(router, "fe80::1", own)
    found = wakings({"user1": [dad, asked], "user2": [asked]}, plan)
    assert (found.sent, found.heard, found.needless) == (3, 2, 1)
    leaked = wakings({"user1": [dad], "user2": [dad]}, plan)
    assert (leaked.sent, leaked.heard, leaked.needless) == (1, 1, 1)


def _solicited(mac: str, source: str, target: str) -> Solicitation:
    return Solicitation(0, mac, IPv6Address(source), IPv6Address(target))


def test_a_solicitation_that_others_hear_breaks_the_claim(tmp_path: Path) -> None:
    scenarios = BUILDERS["neighbours"](tmp_path)
    mac = plan_addresses(METRO).hosts["user1"].mac
    write_capture(scenarios["edge"], "user2", [solicitation(mac, "::", "2001:db8:1::77")] * 2)
    failing = [claim.statement for claim in _claims("neighbours", scenarios) if not claim.holds]
    assert failing == ["hosts woken by a solicitation that was not for them"]


@pytest.mark.parametrize(
    ("group", "sender", "receiver", "allowed"),
    [
        ("ff33::8000:1", "edge1", "edge2", False),
        ("ff34::8000:1", "edge1", "edge4", True),
        ("ff34::8000:1", "edge1", "edge5", False),
        ("ff34::8000:1", "origin", "edge1", False),
        ("ff35::8000:1", "origin", "edge8", True),
        ("ff38::8000:1", "edge8", "edge1", True),
        ("ff38::8000:1", "edge1", "user1", False),
        ("ff3e::8000:1", "edge1", "user16", True),
        ("ff05::8000:1", "origin", "user1", False),
        ("ff0e::8000:1", "origin", "user1", True),
    ],
)
def test_zones_end_where_their_scope_says(group: str, sender: str, receiver: str, allowed: bool) -> None:
    assert is_allowed(METRO, group, sender, receiver) is allowed


def test_a_distribution_area_does_not_reach_beyond_the_core() -> None:
    assert area(METRO, "edge1") == {"dist1", "dist2", "access1", "access2", "access3", "access4"}
    assert area(METRO, "origin") == {"core1"}


def test_users_hear_nothing_is_no_proof_when_they_hear_nothing_at_all(tmp_path: Path) -> None:
    scenarios = BUILDERS["scope"](tmp_path)
    _edit("edge", deliveries=_each(_silence))(scenarios)
    by_name = {claim.statement: claim.holds for claim in _claims("scope", scenarios)}
    assert not by_name["users who hear a group of limited scope after joining it"]


def _silence(row: Delivery) -> dict[str, Any]:
    return {"received": 0} if row.receiver.startswith("user") else {}


def test_less_than_the_longer_header_costs_is_slower_than_nat44(tmp_path: Path) -> None:
    scenarios = BUILDERS["gateway"](tmp_path)
    _edit("edge", flows=_each(_slower))(scenarios)
    failing = {claim.statement for claim in _claims("gateway", scenarios) if not claim.holds}
    assert "throughput through the gateway, against NAT44" in failing


def _slower(flow: Flow) -> dict[str, Any]:
    return {"mbps": 92.0} if flow.gateway == "stateful" else {}


def test_errors_from_the_shared_address_are_what_hides_routers(tmp_path: Path) -> None:
    claim = _claims("private-routing", BUILDERS["private-routing"](tmp_path))[0]
    assert (claim.value, claim.baseline) == (0, 3)
    assert claim.notes == (f"3 errors, all from {ERROR_SOURCE}",)


def test_a_network_that_is_one_region_makes_no_claim_about_regions(tmp_path: Path) -> None:
    scenarios = {
        "edge": replace(
            BUILDERS["scope"](tmp_path)["edge"], topology=load("figure2"), deliveries=(), requests=()
        )
    }
    ids = {
        claim.id
        for claim in claims_of("scope", Evidence(load("figure2"), scenarios))
        if "region" in claim.statement
    }
    assert ids == set()

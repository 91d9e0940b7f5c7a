"""Claims: their numbers against values worked out by hand, and every way in which one must not hold."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from experiments.claims.catalogue import CLAIMS, claims_of
from experiments.claims.failover import longest_gaps
from experiments.claims.isolation import UserSources, scoped
from experiments.claims.model import Claim, Evidence
from experiments.claims.service import answered_by_nearest
from experiments.loads import backbone, most_loaded, page_load_times, phase_loads, rates
from experiments.plots import PAINTERS
from experiments.records import LinkSample, Transfer, load_run
from experiments.report import QUESTIONS
from lab.pcap import CapturedFrame
from tests.unit.experiments.synthetic import CONTENT_BYTES, SOUND, Fault, frame, write_demo, write_failover
from topologies.addressing import plan_addresses
from topologies.files import load
from topologies.spec import Topology

METRO = load("metro")


def _claims(tmp_path: Path, fault: Fault = SOUND, off: tuple[str, ...] = ()) -> dict[str, Claim]:
    write_demo(tmp_path, METRO, fault)
    evidence = Evidence(METRO, load_run(tmp_path, METRO), off)
    return {claim.label.split(",")[0]: claim for claim in claims_of("demo", evidence)}


def _holding(claims: dict[str, Claim]) -> set[str]:
    return {name.split()[0] for name, claim in claims.items() if claim.holds}


ALL = {"C1", "C2", "C3", "C5", "C8", "C10"}


def test_a_sound_run_holds_every_claim_with_these_numbers(tmp_path: Path) -> None:
    claims = _claims(tmp_path)
    assert all(claim.holds for claim in claims.values())
    assert [claim.id for claim in claims.values()] == ["C1", "C1", "C2", "C3", "C5", "C8", "C10"]
    by_id = {claim.id: claim for claim in claims.values()}
    assert by_id["C3"].value == pytest.approx(1.06)
    assert by_id["C3"].baseline == pytest.approx(8 * 1.03, abs=0.01)
    assert (by_id["C5"].value, by_id["C5"].total) == (16, 16)
    assert (by_id["C8"].value, by_id["C8"].baseline) == (0, 900)
    assert by_id["C10"].value == 0
    assert any("48 other multicast frames" in note for note in by_id["C10"].notes)


@pytest.mark.parametrize(
    ("fault", "broken", "note"),
    [
        (Fault(failed_transfers=2), {"C1", "C5"}, "transfers failed in edge"),
        (Fault(edge_off="edge3"), {"C5", "C3"}, "not user5, user6"),
        (Fault(damaged_on="edge2"), {"C3"}, "not bit-identical on edge2"),
        (Fault(leak_to_origin=1), {"C8"}, ""),
        (Fault(leak_to_user=1), {"C10"}, ""),
        (Fault(capture_drops=3), {"C8"}, "the capture of origin lost 3 frames"),
        (Fault(dead_capture="origin"), {"C8"}, "the capture of origin saw nothing at all"),
        (Fault(dead_capture="user9"), {"C10"}, "the capture of user9 saw nothing at all"),
    ],
)
def test_what_goes_wrong_breaks_the_claims_it_concerns(
    tmp_path: Path, fault: Fault, broken: set[str], note: str
) -> None:
    claims = _claims(tmp_path, fault)
    failing = {claim.id for claim in claims.values() if not claim.holds}
    assert failing == broken
    assert any(note in text for claim in claims.values() if not claim.holds for text in (*claim.notes, ""))


def test_an_edge_switched_off_on_purpose_changes_c5_but_need_not_be_in_sync(tmp_path: Path) -> None:
    claims = _claims(tmp_path, Fault(edge_off="edge3"), off=("edge3",))
    assert _holding(claims) == ALL - {"C5"}
    c5 = claims["C5 users answered by their nearest edge"]
    assert (c5.value, c5.total) == (14, 16)


@pytest.mark.parametrize("experiment", sorted(CLAIMS))
def test_a_run_that_left_nothing_holds_nothing(tmp_path: Path, experiment: str) -> None:
    (tmp_path / "raw").mkdir()
    claims = claims_of(experiment, Evidence(METRO, load_run(tmp_path, METRO)))
    assert claims
    assert not any(claim.holds for claim in claims)


def test_every_experiment_has_claims_pictures_and_a_question() -> None:
    assert CLAIMS.keys() == PAINTERS.keys() == QUESTIONS.keys()


def test_c3_counts_lost_packets_as_sent_and_knows_the_limit_for_loss(tmp_path: Path) -> None:
    write_demo(tmp_path, METRO)
    scenarios = load_run(tmp_path, METRO)
    lossy = replace(METRO, links=tuple(replace(link, loss_percent=2.0) for link in METRO.links))
    drops = CONTENT_BYTES // 1500 // 8
    samples = tuple(
        replace(sample, drops=drops if sample.t_s > 12 and sample.source == "origin" else 0)
        for sample in scenarios["edge"].links
    )
    scenarios["edge-loss2"] = replace(scenarios["edge"], name="edge-loss2", topology=lossy, links=samples)
    clean, lossy_claim = claims_of("backbone", Evidence(METRO, scenarios))
    assert clean.value == pytest.approx(1.06)
    assert lossy_claim.statement == "most-loaded backbone link at 2 % loss"
    assert lossy_claim.value == pytest.approx(1.06 + 1 / 8, abs=0.002)
    assert lossy_claim.holds
    assert "at most 1.25" in lossy_claim.rule


def _transfer(user: str, started: float, total: float, **changes: object) -> Transfer:
    plain = Transfer(
        user, "p1", "page", "http://x/", started, 0.001, 0.002, 0.003, total, 10, 200, "edge1", 0
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_page_load_spans_its_transfers_and_a_video_is_no_page() -> None:
    transfers = [
        _transfer("user1", 10.0, 0.2),
        _transfer("user1", 10.2, 0.3, kind="image"),
        _transfer("user1", 10.5, 0.1, kind="page-part"),
        _transfer("user1", 11.0, 9.0, kind="video"),
        _transfer("user2", 20.0, 0.4),
        _transfer("user2", 20.4, 0.4, kind="image", status=404),
    ]
    assert page_load_times(transfers) == [pytest.approx(0.6)]


def test_nearest_needs_every_answer_from_the_nearest_edge() -> None:
    rows = (
        _transfer("user1", 1, 1, edge="edge1"),
        _transfer("user1", 2, 1, edge="edge1"),
        _transfer("user2", 1, 1, edge="edge1"),
        _transfer("user2", 2, 1, edge="edge2"),
        _transfer("user3", 1, 1, edge="edge2", exitcode=28),
    )
    found = answered_by_nearest(METRO, rows)
    assert found["user1"]
    assert not any(found[user] for user in found if user != "user1")
    assert len(found) == 16


def test_failover_sees_the_gap_and_the_lost_request(tmp_path: Path) -> None:
    write_failover(tmp_path, METRO, gap_s=0.3)
    gap, lost, *_ = claims_of("failover", Evidence(METRO, load_run(tmp_path, METRO)))
    assert gap.value == pytest.approx(350, abs=1)
    assert gap.holds
    assert lost.value == 1
    assert lost.holds


def test_failover_with_a_long_gap_does_not_hold(tmp_path: Path) -> None:
    write_failover(tmp_path, METRO, gap_s=1.9)
    gap, *_ = claims_of("failover", Evidence(METRO, load_run(tmp_path, METRO)))
    assert gap.value == pytest.approx(1950, abs=1)
    assert not gap.holds


def test_the_longest_gap_is_between_answers_not_requests() -> None:
    rows = (
        _transfer("user1", 0.0, 0.1),
        _transfer("user1", 0.2, 2.0),
        _transfer("user1", 0.4, 0.1, exitcode=28),
        _transfer("user1", 2.3, 0.1),
    )
    (gap,) = longest_gaps(rows)
    assert (gap.begin_s, gap.end_s) == (pytest.approx(0.1), pytest.approx(2.2))


USER1_MAC = plan_addresses(METRO).hosts["user1"].mac
ROUTER = plan_addresses(METRO).router_macs["core1"]


@pytest.mark.parametrize(
    ("mac", "source", "from_user"),
    [
        (ROUTER, "2001:db8:1::5", True),
        (ROUTER, "2001:db8:8:0:abcd::1", True),
        (ROUTER, "2001:db8:9::5", False),
        (ROUTER, "fe80::1", False),
        (ROUTER, "fd6e:6361:7374:1::1", False),
        (USER1_MAC, "::", True),
        (USER1_MAC, "fe80::42", True),
    ],
)
def test_users_are_known_by_prefix_and_ethernet_address(mac: str, source: str, from_user: bool) -> None:
    users = UserSources(METRO, plan_addresses(METRO))
    assert users.sent(frame(mac, source, "2001:db8:ffff::1")) is from_user


def test_a_users_link_local_address_is_known_behind_a_router() -> None:
    octets = bytes.fromhex(USER1_MAC.replace(":", ""))
    link_local = IPv6Address(
        b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    )
    users = UserSources(METRO, plan_addresses(METRO))
    assert users.sent(frame(ROUTER, str(link_local), "2001:db8:ffff::1"))
    assert not users.sent(b"\0" * 12 + b"\x08\x06" + b"\0" * 46)


@pytest.mark.parametrize(
    ("group", "counted"),
    [
        ("ff35::8000:1", True),
        ("ff34::1", True),
        ("ff03::1", True),
        ("ff18::1", True),
        ("ff02::1", False),
        ("ff02::16", False),
        ("ff3e::1", False),
        ("ff0e::1", False),
        ("2001:db8:3::5", False),
    ],
)
def test_scoped_groups_are_told_from_others(group: str, counted: bool) -> None:
    data = frame(ROUTER, "fe80::1", group)
    assert scoped([CapturedFrame(0, len(data), data)]) == (int(counted), 1)


def test_loads_are_differences_within_a_phase() -> None:
    def sample(phase: str, t_s: float, size: int, drops: int) -> LinkSample:
        return LinkSample(phase, t_s, "a-b", "a", "b", "core", size, size // 100, drops)

    samples = [
        sample("publish", 1, 1000, 1),
        sample("publish", 2, 251_000, 1),
        sample("publish", 4, 501_000, 4),
        sample("requests", 9, 600_000, 4),
        sample("requests", 10, 600_500, 4),
    ]
    load = phase_loads(samples, "publish")["a", "b"]
    assert (load.bytes, load.drops, load.seconds) == (500_000, 3, 3)
    assert load.sent_bytes(1500) == 504_542
    assert [(rate.t_s, rate.mbps) for rate in rates(samples, "publish")["a", "b"]] == [(1.5, 2.0), (3.0, 1.0)]
    assert phase_loads(samples, "no such phase") == {}


def test_the_backbone_is_switch_links_and_the_origins(tmp_path: Path) -> None:
    names = {link.name for link in backbone(METRO)}
    assert len(names) == 26
    assert any("origin" in name for name in names)
    assert not any(word in name for name in names for word in ("user", "edge", "dns"))
    assert most_loaded(METRO, {}) is None


def test_a_topology_without_users_in_the_run_is_no_success(tmp_path: Path) -> None:
    empty = Topology("empty", (), ())
    (claim,) = [claim for claim in claims_of("demo", Evidence(empty, {})) if claim.id == "C5"]
    assert not claim.holds

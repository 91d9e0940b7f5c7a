"""Loss, a killed edge, a broken link: nothing is lost, the service goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.lab_catalogue import CUT, CUT_EDGE, FETCH_TIMES_S, KILLED, topology
from tests.lab.labs import Finished
from tests.lab.paths import by_distance
from tests.lab.site import FILES
from tests.lab.test_scenario import check_synced, most_loaded, site_bytes

NETWORK = topology()
BELOW_THE_CUT, ELSEWHERE = "user5", "user1"


def test_loss_on_every_link_loses_no_file(lossy_lab: Finished, large_site: Path) -> None:
    check_synced(lossy_lab, large_site)
    lost = max(int(row["drops"]) for row in lossy_lab.rows("links.csv"))
    assert lost > 0, "the links lost packets"


def test_loss_costs_little_on_the_backbone(lossy_lab: Finished, large_site: Path) -> None:
    assert most_loaded(lossy_lab) <= 1.25 * site_bytes(large_site)


def test_an_edge_killed_during_the_publication_is_complete_in_the_end(
    killed_lab: Finished, site: Path
) -> None:
    log = (killed_lab.out / "logs" / f"{KILLED}.log").read_text()
    first, second = log.split(f"{KILLED}: ready")[1:]
    assert "manifest:" in first, "the edge was killed after the publication began"
    assert "complete:" not in first, "and before it was complete"
    assert f"files {FILES}" in first + second
    assert "complete:" in second
    check_synced(killed_lab, site)


def test_the_service_goes_on_when_an_edge_is_cut_off(cut_lab: Finished) -> None:
    nearest, second, *_ = by_distance(NETWORK, BELOW_THE_CUT)
    assert nearest == CUT_EDGE
    rows = [row for row in cut_lab.rows("transfers.csv") if row["user"] == BELOW_THE_CUT]
    assert len(rows) == len(FETCH_TIMES_S)
    began = float(rows[0]["started_s"])
    answered = [(float(row["started_s"]) - began, row["edge"]) for row in rows if row["status"] == "200"]
    lost = [row for row in rows if row["status"] != "200"]
    assert len(lost) <= 1, "at most the request that was under way"
    assert {edge for at_s, edge in answered if at_s < CUT.at_s - 1e-3} == {nearest}
    assert CUT.mend_s is not None
    during = {edge for at_s, edge in answered if CUT.at_s + 1e-3 < at_s < CUT.mend_s - 1e-3}
    assert during == {second}


def test_the_edge_answers_again_when_its_link_is_mended(cut_lab: Finished) -> None:
    rows = [row for row in cut_lab.rows("transfers.csv") if row["user"] == BELOW_THE_CUT]
    assert rows[-1]["edge"] == CUT_EDGE


def test_others_do_not_notice_the_cut(cut_lab: Finished) -> None:
    rows = [row for row in cut_lab.rows("transfers.csv") if row["user"] == ELSEWHERE]
    assert {(row["status"], row["edge"]) for row in rows} == {("200", by_distance(NETWORK, ELSEWHERE)[0])}
    times = [float(row["total_s"]) for row in rows]
    assert max(times) == pytest.approx(min(times), rel=0.05)

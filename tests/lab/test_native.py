"""The native lab, proved on a kernel that has its features: the guest's, as root, on the real clock."""

from __future__ import annotations

import json

from tests.lab.labs import Finished


def test_the_kernel_has_every_feature(native_lab: Finished) -> None:
    features = native_lab.facts()["features"]
    assert features
    assert all(features.values()), features


def test_jobs_end_as_they_should(native_lab: Finished) -> None:
    facts = native_lab.facts()
    assert facts["ok"] == {"tiny": True, "failing": False, "network": True}, facts["errors"]
    assert facts["errors"]["failing"] == "what failed and why"
    assert facts["said"][0] == "grüße"
    assert (native_lab.out / "tiny" / "text.txt").read_text().startswith("grüße ")
    assert "RuntimeError" in (native_lab.out / "failing" / "traceback.txt").read_text()


def test_the_network_answers_a_user(native_lab: Finished) -> None:
    page = json.loads((native_lab.out / "network" / "page.json").read_text())
    assert page["status"] == 200
    # On the real clock of a busy machine heartbeats may be late, and the next edge answers.
    assert page["edge"] in ("edge1", "edge2", "edge3")


def test_nothing_is_left_in_the_surroundings(native_lab: Finished) -> None:
    facts = native_lab.facts()
    assert facts["left_in_shm"] == []
    assert facts["left_processes"] == []
    assert not any("eth" in link for link in facts["links"])

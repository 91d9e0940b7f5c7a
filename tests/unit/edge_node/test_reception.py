"""Edges that receive a site from the real origin over a network that loses packets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_two_edges_receive_repair_and_catch_up(tmp_path: Path) -> None:
    script = Path(__file__).with_name("lossy_network.py")
    command = ["unshare", "-rnmp", "--fork", "--kill-child", sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == 0
    assert result["first"]["complete"]
    assert sorted(result["first"]["edges"]) == ["edge1", "edge2"]
    assert result["lost"] > 100
    assert result["repairs"] >= 2, "with these losses somebody has to ask for repair"
    assert result["unicast_bytes"] < 100_000, "the content went by multicast"
    assert result["identical"] == [True] * 6
    assert result["back"] == ["complete", "ready", "manifest", "complete", "fetched"]
    assert result["resent"] < 60, "one edge that was away costs the others no second transmission"
    assert result["last_resort"], "with every symbol lost the edges fetch manifest and content by unicast"
    assert result["rejected"] == [{}, {}], "the group takes nothing from other sources"
    assert result["exits"] == [0, 0]

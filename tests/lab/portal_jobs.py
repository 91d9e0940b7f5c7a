"""Inside a lab: what curl sees of the portal and of what edges tell of themselves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from edge_node.about import WELL_KNOWN
from experiments.downloads import Download
from experiments.scenario import scenario_from_json
from experiments.testbed import Testbed


def portal(out: Path, work: Path, scenario: dict[str, Any], users: list[str]) -> None:
    """The page and the edge's words for each user; then for the first one whose edge is killed during a
    download, which goes on elsewhere. facts.json."""
    plan = scenario_from_json(scenario)
    name = plan.topology.service.name
    with Testbed(plan, work, out) as testbed:
        testbed.start()
        testbed.publish()
        told = {user: json.loads(_curl(testbed, user, f"http://{name}{WELL_KNOWN}")) for user in users}
        facts: dict[str, Any] = {
            "told": told,
            "page": _curl(testbed, users[0], f"http://{name}/"),
            "playlist": _curl(testbed, users[0], f"http://{name}/live/news/index.m3u8"),
        }
        download = Download(testbed.net, users[0], f"http://{name}/long.bin", work / "long.bin")
        download.start(rate_bytes_s=plan.long_file_bytes // 4)
        while download.size_bytes < plan.long_file_bytes // 2:
            testbed.net[users[0]].cmd("sleep 0.05")
        testbed.kill_edge(told[users[0]]["edge"])
        parts = [download.wait()]
        while not parts[-1].is_whole and len(parts) < 20:
            testbed.net[users[0]].cmd("sleep 0.1")
            download.start(etag=parts[0].etag)
            parts.append(download.wait())
        facts["parts"] = [(part.edge, part.status, part.exitcode, part.etag) for part in parts]
        facts["sha256"] = download.sha256
        facts["told_after"] = json.loads(_curl(testbed, users[0], f"http://{name}{WELL_KNOWN}"))
    (out / "facts.json").write_text(json.dumps(facts))


def _curl(testbed: Testbed, user: str, url: str) -> str:
    command = ["curl", "-s", "--fail", "--max-time", "10", url]
    process = testbed.net[user].popen(*command, stdout=subprocess.PIPE, text=True)
    return str(process.communicate()[0])

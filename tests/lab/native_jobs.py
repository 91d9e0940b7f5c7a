"""Inside a guest on the real clock: the native lab, as root on a kernel that has every feature."""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from pathlib import Path
from typing import Any

from experiments.scenario import scenario_from_json
from experiments.testbed import Testbed
from lab.inside import progress
from lab.jobs import Clock, Job, JobResult
from lab.native import run_natively
from lab.probe import probe_kernel


def outer(out: Path, work: Path, scenario: dict[str, Any]) -> None:
    """Run jobs natively and leave what came back and what stayed behind."""
    said: list[str] = []
    before = set(os.listdir("/dev/shm"))

    def run(function: str, name: str, arguments: dict[str, Any]) -> JobResult:
        entry = f"tests.lab.native_jobs:{function}"
        job = Job(entry, arguments, out / name, clock=Clock.REAL, wall_limit_s=120)
        return run_natively(job, said.append, threading.Event())

    results = {
        "tiny": run("tiny", "tiny", {"text": "grüße"}),
        "failing": run("failing", "failing", {}),
        "network": run("first_answer", "network", {"scenario": scenario}),
    }
    (out / "facts.json").write_text(
        json.dumps(
            {
                "features": {feature.name: feature.present for feature in probe_kernel()},
                "ok": {name: result.ok for name, result in results.items()},
                "errors": {name: result.error for name, result in results.items()},
                "said": said,
                "left_in_shm": sorted(set(os.listdir("/dev/shm")) - before),
                "left_processes": [name for name in os.listdir("/proc") if _is_daemon(name)],
                "links": sorted(os.listdir("/sys/class/net")),
            }
        )
    )


def _is_daemon(name: str) -> bool:
    try:
        return Path("/proc", name, "comm").read_text().strip() in ("ovs-vswitchd", "ovsdb-server")
    except OSError:
        return False


def tiny(out: Path, work: Path, text: str) -> None:
    """Say something and leave a file."""
    progress(text)
    (out / "text.txt").write_text(f"{text} {os.getpid()}")


def failing(out: Path, work: Path) -> None:
    """Raise."""
    raise RuntimeError("what failed\nand why")


def first_answer(out: Path, work: Path, scenario: dict[str, Any]) -> None:
    """The whole network, a publication, and a page fetched by a user from the service."""
    plan = scenario_from_json(scenario)
    with Testbed(plan, work, out) as testbed:
        testbed.start()
        testbed.publish()
        with testbed.net["user1"].namespace.entered():
            url = f"http://[{testbed.plan.service}]/index.html"
            with urllib.request.urlopen(url, timeout=10) as answer:
                page = {"status": answer.status, "edge": answer.headers["nearcast-edge"]}
        (out / "page.json").write_text(json.dumps(page))

"""Inside a lab: a user sends random and mutated control packets while others use the service."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

from experiments.scenario import scenario_from_json
from experiments.testbed import HTTP_PORT, Testbed
from tests.fuzz_controller import Fuzzer

SENDER = "user1"
OTHERS = ("user2", "user5")
BURST = 10
BURST_INTERVAL_S = 0.001
"""10,000 packets a second."""
BETWEEN_CHECKS = 500
SETTLE_S = 5.0


def fuzz(out: Path, work: Path, scenario: dict[str, Any], packets: int) -> None:
    """Send `packets` packets; facts.json tells what the others saw and what the controller has kept."""
    plan = scenario_from_json(scenario)
    with Testbed(plan, work, out) as testbed:
        testbed.start()
        source = Fuzzer(plan.seed)
        frames = [source.packet()[:1500].ljust(60, b"\0") for _ in range(packets)]
        interface = testbed.topology.ports[SENDER][0].interface
        with testbed.net[SENDER].namespace.entered():
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            raw.bind((interface, 0))
        tried: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        with raw:
            for number, frame in enumerate(frames, start=1):
                raw.send(frame)
                if number % BURST == 0:
                    time.sleep(BURST_INTERVAL_S)
                if number % BETWEEN_CHECKS == 0:
                    for user in OTHERS:
                        tried[user] += 1
                        failed[user] += not _reaches_service(testbed, user)
        time.sleep(SETTLE_S)
        for user in (SENDER, *OTHERS):
            tried[user] += 1
            failed[user] += not _reaches_service(testbed, user)
        testbed.check_processes()
        status = testbed.control.status()
    facts = {"sent": len(frames), "tried": tried, "failed": failed, "status": status}
    (out / "facts.json").write_text(json.dumps(facts))


def _reaches_service(testbed: Testbed, user: str) -> bool:
    with testbed.net[user].namespace.entered():
        connection = socket.socket(socket.AF_INET6)
    with connection:
        connection.settimeout(0.9)
        return connection.connect_ex((str(testbed.plan.service), HTTP_PORT)) == 0

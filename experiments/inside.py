"""What happens in one lab run, step by step: the job's entry (docs/architecture.md names the files)."""

from __future__ import annotations

import csv
import importlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments import flat, injection, lab_side
from experiments.acts.context import Context
from experiments.acts.window import play
from experiments.curl_users import fetch_all, write_transfers
from experiments.https import curl_words
from experiments.injection import injecting
from experiments.scenario import MOMENTS, Mode, Scenario, scenario_from_json
from experiments.testbed import HTTP_PORT, Testbed, TestbedError
from lab.counters import CounterSampler
from lab.inside import progress
from topologies.graph import round_trip_ms, shortest_path_tree
from topologies.spec import Role

SYN_FRAME_BYTES = 94
"""Ethernet 14, IPv6 40, TCP with the options Linux sends in a SYN and in its answer 40."""
SAMPLE_INTERVAL_S = 0.25
HANDSHAKES = 3
"""The shortest counts: an MLD report or a router advertisement may be on the line just then."""
SETTLE_S = 0.05
"""After a barrier Open vSwitch still revalidates the flows it has cached in the kernel."""


def run(out: Path, work: Path, scenario: dict[str, Any]) -> None:
    """Run one scenario and leave its raw data in `out`. Raises RuntimeError with a one-line message."""
    plan = scenario_from_json(scenario)
    steps = Steps()
    began = time.monotonic()
    if plan.mode is Mode.FLAT:
        flat.run(plan, work, out)
        _write_facts(out, plan, steps, {}, [])
        return
    with Testbed(plan, work, out) as testbed:
        with steps.step("start"):
            testbed.start(lambda text: progress(f"{plan.name}: {text}"))
        hosts = {name: testbed.net[name].namespace for name in plan.topology.hosts}
        sampler = CounterSampler(plan.topology, out / "links.csv", origin=began, namespaces=hosts)
        context = Context(testbed, out, work, began, sampler)
        _keep_tables(testbed, out / MOMENTS["before"])
        windows: list[dict[str, Any]] = []
        if plan.mode is Mode.EDGE and not testbed.plan.edge_addresses:
            with steps.step("rtt"):
                _measure_round_trips(testbed, out / "rtt.csv")
        if plan.mode is not Mode.CENTRAL and plan.site is not None and not plan.pull_through:
            with steps.step("publish"), sampler.phase("publish", SAMPLE_INTERVAL_S):
                progress(f"{plan.name}: publishing {plan.site} to {len(testbed.active_edges)} edges")
                (out / "publish.json").write_text(testbed.publish())
            with steps.step("verify"):
                _verify(testbed, out / "sync.csv", began)
        if plan.workload:
            with steps.step("requests"), sampler.phase("requests", SAMPLE_INTERVAL_S):
                fetches = sum(len(entries) for entries in plan.workload.values())
                progress(f"{plan.name}: {len(plan.workload)} users make {fetches} page loads and downloads")
                with injecting(testbed, plan.faults, "requests", began, time.monotonic()) as injector:
                    rows = fetch_all(
                        testbed.net, plan.workload, work / "curl", began, trust=curl_words(testbed.tls)
                    )
                write_transfers(out / "transfers.csv", rows)
            if plan.faults:
                context.write("faults.csv", injection.COLUMNS, injector.rows)
        for window in plan.windows:
            progress(f"{plan.name}: window {window.name}, {window.length_s:g} s")
            with steps.step(f"window {window.name}"):
                windows.append(play(context, window))
        for number, act in enumerate(plan.acts, start=1):
            progress(f"{plan.name}: {act.kind} ({number} of {len(plan.acts)})")
            with steps.step(f"act {number} {act.kind}"):
                importlib.import_module(f"experiments.acts.{act.kind}").run(context, **act.arguments)
        _keep_tables(testbed, out / MOMENTS["after"])
        sampler.close()
        testbed.stop_recording()
        testbed.stop_captures()
        final = testbed.control.status()
    _write_facts(out, plan, steps, final, windows)
    progress(f"{plan.name}: done")


class Steps:
    """How long each step took on the lab's clock."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the body."""
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 6)


def _keep_tables(testbed: Testbed, path: Path) -> None:
    """Save what the switches hold, and what is expected of it."""
    answer = lab_side.snapshot(testbed, {})
    path.write_text(json.dumps(answer["snapshot"] | {"controller": answer["controller"]}) + "\n")


def _verify(testbed: Testbed, path: Path, began: float) -> None:
    """Compare every edge's store with the site, bit by bit, by the edge's own verify command."""
    checks = []
    for edge in testbed.active_edges:
        argv = ["verify", "--store", str(testbed.store(edge)), "--against", str(testbed.site), "--json"]
        checks.append((edge, testbed.processes.start_module(f"verify-{edge}", "edge_node.__main__", argv)))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("edge", "files", "bytes", "identical", "completed_s"))
        for edge, check in checks:
            status = check.wait()
            testbed.processes.forget(check)
            text = check.log.read_text()
            report = json.loads(text[text.index("{") :]) if "{" in text else {}
            completed = _completed(testbed.raw / f"{edge}.jsonl")
            writer.writerow(
                (edge, report.get("files", 0), report.get("bytes", 0), int(status == 0),
                 "" if completed is None else f"{completed - began:.6f}")
            )  # fmt: skip


def _completed(events: Path) -> float | None:
    """When an edge had everything, by its own event file."""
    if not events.exists():
        return None
    times = [
        event["t"]
        for event in map(json.loads, events.read_text().splitlines())
        if event.get("event") == "complete"
    ]
    return times[-1] if times else None


def _measure_round_trips(testbed: Testbed, path: Path) -> None:
    """TCP handshakes from users to the service, timed by the users' own clocks.

    With `all_pairs` each edge in turn is the only one that may answer, so that every user meets every
    edge; otherwise each user meets its nearest.
    """
    topology = testbed.topology
    users = topology.of_role(Role.USER)
    trees = {edge: shortest_path_tree(topology, edge) for edge in testbed.active_edges}
    rounds: list[tuple[str, ...]] = [testbed.active_edges]
    if testbed.scenario.all_pairs:
        rounds = [(edge,) for edge in testbed.active_edges]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("user", "edge", "configured_ms", "measured_ms"))
        for edges in rounds:
            if testbed.scenario.all_pairs:
                testbed.control.set_edges(edges)
                time.sleep(SETTLE_S)
            for user in users:
                edge = min(edges, key=lambda name: trees[name].distance_ms[user])
                configured = round_trip_ms(topology, trees[edge].path(user), SYN_FRAME_BYTES, SYN_FRAME_BYTES)
                measured = min(_handshake_ms(testbed, user) for _ in range(HANDSHAKES))
                writer.writerow((user, edge, f"{configured:.6f}", f"{measured:.6f}"))
    if testbed.scenario.all_pairs:
        testbed.control.set_edges(None)


def _handshake_ms(testbed: Testbed, user: str) -> float:
    with testbed.net[user].namespace.entered():
        connection = socket.socket(socket.AF_INET6)
    with connection:
        connection.settimeout(5)
        began = time.monotonic()
        try:
            connection.connect((str(testbed.plan.service), HTTP_PORT))
        except OSError as error:
            raise TestbedError(f"{user} cannot reach the service: {error}") from None
        return (time.monotonic() - began) * 1000


def _write_facts(
    out: Path, plan: Scenario, steps: Steps, status: dict[str, Any], windows: list[dict[str, Any]]
) -> None:
    """scenario.json: what was asked and what ran."""
    versions = {}
    for name, command in {
        "curl": ["curl", "--version"],
        "openvswitch": ["ovs-vswitchd", "--version"],
    }.items():
        versions[name] = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.splitlines()[0]
    facts = {
        "scenario": plan.to_json(),
        "steps_s": steps.seconds,
        "versions": versions,
        "controller": status,
        "windows": windows,
    }
    (out / "scenario.json").write_text(json.dumps(facts, indent=1, sort_keys=True))

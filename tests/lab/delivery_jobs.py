"""Inside a lab: what becomes of delivery when edges are slow, lossy, away, or killed at any moment."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from delivery.keys import load_public_key
from edge_node.shelf import load
from experiments.scenario import scenario_from_json
from experiments.testbed import FLUTE_PORT, ORIGIN_PORT, Testbed
from lab.inside import progress
from lab.processes import LabProcess

RATE_MBPS = 100.0
_ALIVE_S = 2.0


class Delivery:
    """A long-lived origin in a testbed, the folder that it publishes, and what the edges say of it."""

    def __init__(self, testbed: Testbed, folder: Path, options: Sequence[str] = ()) -> None:
        self.testbed, self.folder, self.options = testbed, folder, tuple(options)
        self.origin: LabProcess | None = None

    def start_origin(self) -> None:
        testbed = self.testbed
        argv = ["watch", str(self.folder), "--source", str(testbed.plan.hosts[testbed.origin].unicast)]
        argv += ["--interface", testbed.topology.ports[testbed.origin][0].interface]
        argv += ["--key", str(testbed.key), "--state", str(testbed.work / "origin")]
        argv += ["--group", str(testbed.plan.static_group), "--port", str(FLUTE_PORT)]
        argv += ["--http-port", str(ORIGIN_PORT), "--rate-mbps", str(RATE_MBPS), "--interval-s", "0.5"]
        argv += ["--edges", ",".join(testbed.active_edges), *self.options]
        namespace = testbed.net[testbed.origin].namespace
        self.origin = testbed.processes.start_module("watch", "origin.__main__", argv, namespace)

    def kill_origin(self) -> None:
        assert self.origin is not None
        kill(self.testbed, self.origin)

    def events(self, edge: str, event: str) -> list[dict[str, Any]]:
        path = self.testbed.raw / f"{edge}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        # The last line of a process that was killed may be cut short.
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [each for each in found if each["event"] == event]

    def completed(self, edge: str, version: int) -> float | None:
        """When an edge first said that it held a version or a newer one."""
        times = [each["t"] for each in self.events(edge, "complete") if each["version"] >= version]
        return min(times, default=None)

    def wait(self, is_done: Callable[[], bool], what: str, timeout_s: float = 600.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_done():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what}: not within {timeout_s:.0f} s")
            time.sleep(0.05)

    def wait_complete(self, edges: Sequence[str], version: int) -> None:
        self.wait(
            lambda: all(self.completed(edge, version) is not None for edge in edges),
            f"version {version} at {', '.join(edges)}",
        )


def kill(testbed: Testbed, process: LabProcess) -> None:
    testbed.processes.forget(process)
    process.send_signal(signal.SIGKILL)
    process.wait()


def hardship(out: Path, work: Path, scenario: dict[str, Any], roles: dict[str, str], away_s: float) -> None:
    """Publish while one edge is away, another loses its disk, and two have bad links."""
    plan = scenario_from_json(scenario)
    folder = work / "content"
    shutil.copytree(str(plan.site), folder)
    with Testbed(plan, work, out) as testbed:
        testbed.start()
        delivery = Delivery(testbed, folder)
        away = roles["away"]
        switch = testbed.topology.ports[away][0].peer
        testbed.net.set_link(away, switch, up=False)
        began = time.monotonic()
        delivery.start_origin()
        present = [edge for edge in testbed.active_edges if edge != away]
        delivery.wait_complete([roles["healthy"], roles["lossy"]], 1)
        progress("the healthy edges are complete")
        kill(testbed, testbed.edges[roles["wiped"]])
        shutil.rmtree(testbed.store(roles["wiped"]))
        (out / f"{roles['wiped']}.jsonl").unlink()
        testbed.start_edge(roles["wiped"])
        delivery.wait_complete(present, 1)
        progress("all that are present are complete")
        time.sleep(away_s)
        testbed.net.set_link(away, switch, up=True)
        delivery.wait_complete(testbed.active_edges, 1)
        progress("the edge that was away is complete")
        (folder / "new.bin").write_bytes(random.Random(1).randbytes(1 << 20))
        second = time.monotonic()
        delivery.wait_complete(testbed.active_edges, 2)
        facts = {
            "first_s": {edge: (delivery.completed(edge, 1) or 0.0) - began for edge in testbed.active_edges},
            "second_s": {
                edge: (delivery.completed(edge, 2) or 0.0) - second for edge in testbed.active_edges
            },
            "away": {edge: len(delivery.events(edge, "away")) for edge in testbed.active_edges},
            "fetched": {edge: len(delivery.events(edge, "fetched")) for edge in testbed.active_edges},
            "damage": {edge: damage(testbed, edge, folder) for edge in testbed.active_edges},
        }
    (out / "facts.json").write_text(json.dumps(facts))


def kills(out: Path, work: Path, scenario: dict[str, Any], moments: int) -> None:
    """Kill edges and the origin at random moments while version after version is published; each time, what
    an edge had acknowledged must be on its disk. In the end everybody must be complete."""
    plan = scenario_from_json(scenario)
    chance = random.Random(plan.seed)
    folder = work / "content"
    folder.mkdir()
    problems: list[str] = []
    killed: dict[str, int] = {}
    with Testbed(plan, work, out) as testbed:
        testbed.start()
        delivery = Delivery(testbed, folder)
        _change(folder, chance)
        delivery.start_origin()
        for moment in range(moments):
            time.sleep(chance.uniform(0.0, _ALIVE_S))
            if chance.random() < 0.5:
                _change(folder, chance)
                time.sleep(chance.uniform(0.3, 0.8))
            victim = chance.choice((*testbed.active_edges, testbed.origin))
            killed[victim] = killed.get(victim, 0) + 1
            if victim == testbed.origin:
                delivery.kill_origin()
                delivery.start_origin()
                continue
            acknowledged = max((each["version"] for each in delivery.events(victim, "complete")), default=0)
            testbed.kill_edge(victim)
            problems += _lost(testbed, victim, acknowledged)
            testbed.start_edge(victim)
            if moment % 20 == 19:
                progress(f"{moment + 1} kills")
        _change(folder, chance)
        time.sleep(1.0)
        last = [sorted(folder.iterdir())]
        delivery.wait(
            lambda: all(not damage(testbed, edge, folder) for edge in testbed.active_edges), "the end"
        )
        problems += [problem for edge in testbed.active_edges for problem in damage(testbed, edge, folder)]
        versions = {edge: _newest(testbed, edge) for edge in testbed.active_edges}
    facts = {"problems": problems, "killed": killed, "versions": versions, "files": len(last[0])}
    (out / "facts.json").write_text(json.dumps(facts))


def damage(testbed: Testbed, edge: str, folder: Path) -> list[str]:
    """In what an edge's store differs from the folder; read from its disk, as it is."""
    store = testbed.store(edge)
    loaded = load(store / "manifests", load_public_key(testbed.public_key))
    if not loaded.versions:
        return [f"{edge}: no manifest"]
    entries = {entry.path: entry.sha256 for entry in loaded.versions[0].manifest.files}
    wanted = {path.name: _digest(path) for path in folder.iterdir()}
    problems = [
        f"{edge}: {name} is not listed as it is" for name in wanted if entries.get(name) != wanted[name]
    ]
    problems += [f"{edge}: {name} is listed but gone" for name in entries if name not in wanted]
    return problems + _damaged_blobs(edge, store, entries.values())


def _lost(testbed: Testbed, edge: str, acknowledged: int) -> list[str]:
    """What an edge had told that it held and that is not on its disk."""
    if not acknowledged:
        return []
    store = testbed.store(edge)
    loaded = load(store / "manifests", load_public_key(testbed.public_key))
    held = [version for version in loaded.versions if version.number >= acknowledged]
    if not held:
        return [f"{edge}: version {acknowledged} was acknowledged, and is not there"]
    oldest = min(held, key=lambda version: version.number)
    if (
        oldest.number > acknowledged
    ):  # newer than what was acknowledged, and complete before that could be told
        return []
    return _damaged_blobs(edge, store, oldest.wanted)


def _damaged_blobs(edge: str, store: Path, blobs: Any) -> list[str]:
    problems = []
    for sha256 in blobs:
        path = store / "blobs" / sha256[:2] / sha256
        if not path.exists():
            problems.append(f"{edge}: blob {sha256} is missing")
        elif _digest(path) != sha256:
            problems.append(f"{edge}: blob {sha256} is damaged")
    return problems


def _newest(testbed: Testbed, edge: str) -> int:
    return load(testbed.store(edge) / "manifests", load_public_key(testbed.public_key)).versions[0].number


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _change(folder: Path, chance: random.Random) -> None:
    """A file that is new, one that changes, and sometimes one that goes; each appears whole."""
    names = sorted(path.name for path in folder.iterdir())
    if len(names) > 12:
        (folder / chance.choice(names)).unlink()
    for name in (f"file{chance.randrange(20)}", f"file{chance.randrange(20)}"):
        aside = folder.parent / "aside"
        aside.write_bytes(chance.randbytes(chance.choice((500, 20_000, 300_000, 2_000_000))))
        aside.replace(folder / name)

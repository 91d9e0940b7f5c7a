"""Inside a lab: a sealed site with content for one region and on demand, rotated keys, a disk that rots."""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from delivery.keys import load_public_key, to_hex
from delivery.sender import DEFAULT_MTU_BYTES, symbol_bytes
from edge_node.epoch_keys import member_key
from experiments.http_client import Server, fetch
from experiments.scenario import scenario_from_json
from experiments.testbed import FLUTE_PORT, HTTP_PORT, SYNC_PORT, Testbed
from experiments.windows import Get
from lab.bpf import INBOUND
from lab.captures import CaptureSet
from tests.lab.delivery_jobs import Delivery
from topologies.spec import Role

REGION, REGION_GROUP = "west", "ff34::8003:1"
EVERYWHERE, REGIONAL, ON_DEMAND = "everywhere.bin", "west.bin", "archive.bin"
RULES = f"- {{match: {REGIONAL}, class: region {REGION}}}\n- {{match: {ON_DEMAND}, class: on-demand}}\n"
SCRUB = ["--scrub-kbytes-per-s", "1000000"]


def policies(out: Path, work: Path, scenario: dict[str, Any], region: Sequence[str]) -> None:
    """The first edge of `region` is its head."""
    plan = scenario_from_json(scenario)
    folder = work / "content"
    folder.mkdir()
    noise = random.Random(plan.seed)
    content = {name: noise.randbytes(300_000) for name in (EVERYWHERE, REGIONAL, ON_DEMAND)}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    facts: dict[str, Any] = {}
    with Testbed(plan, work, out) as testbed:
        edges = testbed.active_edges
        outsider = edges[-1]
        for edge in region:
            testbed.further_words[edge] = ["--region", REGION]
        testbed.further_words[outsider] = SCRUB
        options = ["--encrypt", "--members", str(_members(testbed, work, edges))]
        options += ["--rules", str(_write(work / "rules.yaml", RULES))]
        options += ["--peer", str(_region_peer(testbed, work, region[0]))]
        testbed.start()
        captures = CaptureSet(out / "sealed.csv")
        for edge in edges:
            captures.open(edge, testbed.net[edge].namespace.fd, out / "sealed" / f"{edge}.pcap", INBOUND)
        capturing = captures.start()
        delivery = Delivery(testbed, folder, options)
        delivery.start_origin()
        delivery.wait_complete(edges, 1)
        facts["holds"] = {edge: _held(testbed, edge, content) for edge in edges}
        capturing.stop()
        facts["readable"] = {edge: _readable(out / "sealed" / f"{edge}.pcap", content) for edge in edges}
        facts["relayed"] = {edge: len(delivery.events(edge, "relayed")) for edge in edges}
        facts["fetched"] = {edge: len(delivery.events(edge, "fetched")) for edge in edges}
        facts["answers"] = _ask(testbed, content)
        facts["held_then"] = _held(testbed, outsider, content)
        facts["rotation"] = _rotate(testbed, delivery, folder, noise)
        facts["healed"] = _spoil(testbed, delivery, outsider, folder)
    (out / "facts.json").write_text(json.dumps(facts))


def _members(testbed: Testbed, work: Path, edges: Sequence[str]) -> Path:
    members = {edge: member_key(testbed.store(edge)).public_key().public_bytes_raw().hex() for edge in edges}
    return _write(work / "members.json", json.dumps(members))


def _region_peer(testbed: Testbed, work: Path, head: str) -> Path:
    address = str(testbed.plan.hosts[head].unicast)
    session = {
        "prefix": "",
        "source": address,
        "group": REGION_GROUP,
        "port": FLUTE_PORT,
        "tsi": 1,
        "url": f"http://[{address}]:{SYNC_PORT}/region/{REGION}",
        "region": REGION,
    }
    return _write(work / "region.json", json.dumps([session]))


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _held(testbed: Testbed, edge: str, content: dict[str, bytes]) -> list[str]:
    """The files whose content is on an edge's disk."""
    store = testbed.store(edge) / "blobs"
    held = {path.read_bytes() for path in store.glob("??/*")}
    return [name for name, data in content.items() if data in held]


def _readable(capture: Path, content: dict[str, bytes]) -> int:
    """How many symbols of the content begin in clear somewhere in what an edge received."""
    seen = capture.read_bytes()
    size = symbol_bytes(DEFAULT_MTU_BYTES)
    starts = [data[at : at + 32] for data in content.values() for at in range(0, len(data) - 32, size)]
    assert len(seen) > 30_000
    return sum(start in seen for start in starts)


def _ask(testbed: Testbed, content: dict[str, bytes]) -> dict[str, list[int]]:
    """What the last user is answered, twice for each file: status and length."""
    user = testbed.topology.of_role(Role.USER)[-1]
    server = Server(str(testbed.plan.service), HTTP_PORT, testbed.topology.service.name)
    answers: dict[str, list[int]] = {}
    for name in content:
        for _ in range(2):
            get = Get(user, 0.0, path=f"/{name}")
            answer = asyncio.run(fetch(get, testbed.net[user].namespace, server, time.monotonic()))
            answers.setdefault(name, []).extend((answer.status, answer.bytes))
    return answers


def _rotate(testbed: Testbed, delivery: Delivery, folder: Path, noise: random.Random) -> dict[str, Any]:
    """Rotate the origin's key while it runs; then an edge starts again with the file of the old one."""
    work, origin_main = testbed.work, importlib.import_module("origin.__main__").main
    new = [str(work / "new.key"), str(work / "new.pub")]
    statuses = [origin_main(["keygen", "--key", new[0], "--public", new[1]])]
    words = ["rotate-key", "--state", str(work / "origin"), "--key", str(testbed.key), "--new-key", new[0]]
    statuses.append(origin_main(words))
    edges = testbed.active_edges
    version = 1
    for _ in range(2):
        version += 1
        (folder / EVERYWHERE).write_bytes(noise.randbytes(100_000))
        delivery.wait_complete(edges, version)
    time.sleep(3.0)
    testbed.kill_edge(edges[0])
    testbed.start_edge(edges[0])
    (folder / EVERYWHERE).write_bytes(noise.randbytes(100_000))
    delivery.wait(lambda: not _changed(testbed, edges, folder), "the version after the rotation")
    keys = [each["keys"] for each in delivery.events(edges[0], "keys")]
    public = to_hex(load_public_key(Path(new[1])))
    return {"statuses": statuses, "keys": keys, "new": public}


def _changed(testbed: Testbed, edges: Sequence[str], folder: Path) -> list[str]:
    data = {EVERYWHERE: (folder / EVERYWHERE).read_bytes()}
    return [edge for edge in edges if not _held(testbed, edge, data)]


def _spoil(testbed: Testbed, delivery: Delivery, edge: str, folder: Path) -> dict[str, Any]:
    """Change one byte of a blob while the edge is down."""
    testbed.kill_edge(edge)
    wanted = (folder / EVERYWHERE).read_bytes()
    blob = next(path for path in testbed.store(edge).glob("blobs/??/*") if path.read_bytes() == wanted)
    blob.write_bytes(wanted[:1000] + bytes((wanted[1000] ^ 1,)) + wanted[1001:])
    testbed.start_edge(edge)
    delivery.wait(lambda: bool(delivery.events(edge, "damaged")), "the damage is found")
    delivery.wait(lambda: blob.exists() and blob.read_bytes() == wanted, "the damage is mended")
    return {"damaged": len(delivery.events(edge, "damaged")), "is_whole": blob.read_bytes() == wanted}

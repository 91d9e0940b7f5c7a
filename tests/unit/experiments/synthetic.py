"""Raw data of runs as a lab would leave it, made up for the tests: the network is real, the traffic is not.

Latencies and loads follow the topology's own shortest paths, so that the claims hold for the reasons
they hold in a lab. `Fault` names what to spoil.
"""

from __future__ import annotations

import csv
import json
import random
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments.injection import COLUMNS as FAULT_COLUMNS
from lab.pcap import PcapWriter
from topologies.addressing import plan_addresses
from topologies.graph import nearest_edges, path_links, shortest_path_tree
from topologies.spec import Role, Topology, to_json

CONTENT_BYTES = 22_000_000
CONTENT_FILES = 487
PAGES = 3
Way = tuple[str, str]


@dataclass(frozen=True)
class Fault:
    """What goes wrong in the run."""

    edge_off: str = ""
    failed_transfers: int = 0
    leak_to_origin: int = 0
    leak_to_user: int = 0
    capture_drops: int = 0
    dead_capture: str = ""
    round_trip_factor: float = 1.0
    damaged_on: str = ""
    unshaped: bool = False


SOUND = Fault()


def write_demo(run: Path, topology: Topology, fault: Fault = SOUND) -> None:
    """The raw data of a demo: scenarios edge, central and push."""
    for name in ("edge", "central", "push"):
        folder = run / "raw" / name
        folder.mkdir(parents=True)
        if name != "push":
            _transfers(folder / "transfers.csv", topology, name, fault)
        if name == "edge":
            write_round_trips(folder / "rtt.csv", topology, fault)
        if name != "central":
            _sync(folder / "sync.csv", topology, name, fault)
        _links(folder / "links.csv", topology, name, fault)
        _captures(folder, topology, name, fault)
        write_scenario(folder / "scenario.json", topology, {})


def write_failover(run: Path, topology: Topology, gap_s: float) -> None:
    """The raw data of a failover run: two users, their edge's link broken from 12 s to 14 s."""
    folder = run / "raw" / "edge"
    folder.mkdir(parents=True)
    write_round_trips(folder / "rtt.csv", topology, SOUND)
    write_scenario(folder / "scenario.json", topology, {})
    faults = [
        ("requests", "Cut", "access1 edge1", 1, "12.0", "12.0"),
        ("requests", "Cut", "access1 edge1", 0, "14.0", "14.0"),
    ]
    write_rows(folder / "faults.csv", FAULT_COLUMNS, faults)
    rows = []
    for user in ("user1", "user2"):
        for tick in range(120):
            started = 10 + tick * 0.05
            broken = 12.0 <= started < 14.0
            if 12.0 <= started < 12.0 + gap_s:
                if user == "user1" and tick == 40:
                    rows.append(_row(user, f"{user}-{tick}", "page", "/", started, 0, 0, "", 28))
                continue
            edge = "edge2" if broken else "edge1"
            rows.append(_row(user, f"{user}-{tick}", "page", "/", started, 0.004, 1200, edge, 0))
    write_rows(folder / "transfers.csv", _TRANSFER_COLUMNS, rows)
    samples = [
        ("requests", t, link.name, *way, topology.link_layer(link), 0, 0, 0)
        for t in (10.0, 16.0)
        for link in topology.links
        for way in ((link.a, link.b), (link.b, link.a))
    ]
    write_rows(folder / "links.csv", _LINK_COLUMNS, samples)


_TRANSFER_COLUMNS = (
    *("user", "page", "kind", "url", "started_s", "namelookup_s", "connect_s", "ttfb_s", "total_s"),
    *("bytes", "status", "edge", "exitcode"),
)
_LINK_COLUMNS = ("phase", "t_s", "link", "from", "to", "layer", "bytes", "packets", "drops")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(rows)


def _server(topology: Topology, scenario: str, user: str, fault: Fault) -> str:
    if scenario == "central":
        return topology.of_role(Role.ORIGIN)[0]
    edges = [edge for edge in topology.of_role(Role.EDGE) if edge != fault.edge_off]
    return nearest_edges(topology, edges)[user].edge


def _row(
    user: str, page: str, kind: str, path: str, started: float, ttfb: float, size: int, edge: str, code: int
) -> tuple[Any, ...]:
    total = ttfb + size * 8 / 100e6
    status = 200 if code == 0 else 0
    url = f"http://www.nearcast.test{path}"
    times = (f"{started:.6f}", f"{ttfb / 3:.6f}", f"{ttfb / 2:.6f}", f"{ttfb:.6f}", f"{total:.6f}")
    return (user, page, kind, url, *times, size, status, edge, code)


def _transfers(path: Path, topology: Topology, scenario: str, fault: Fault) -> None:
    chance = random.Random("transfers")
    rows = []
    for user in topology.of_role(Role.USER):
        server = _server(topology, scenario, user, fault)
        one_way_s = shortest_path_tree(topology, server).distance_ms[user] / 1000
        started = 20 + chance.uniform(0, 2)
        for number in range(PAGES):
            page, begin = f"{user}-{number + 1}", started
            for part in range(chance.randint(2, 6)):
                kind, url = ("page", f"/p{number}.html") if part == 0 else ("image", f"/i{part}.png")
                ttfb = one_way_s * (6 if part == 0 else 2) + 0.0002
                row = _row(user, page, kind, url, begin, ttfb, chance.randint(5_000, 90_000), server, 0)
                rows.append(row)
                begin += float(row[8])
            started += chance.uniform(1, 3)
        ttfb = one_way_s * 6
        rows.append(_row(user, f"{user}-v", "video", "/video.mpg", started, ttfb, 9_000_000, server, 0))
    for index in range(fault.failed_transfers if scenario == "edge" else 0):
        rows[index] = (*rows[index][:-3], 0, "", 28)
    write_rows(path, _TRANSFER_COLUMNS, rows)


def write_round_trips(path: Path, topology: Topology, fault: Fault) -> None:
    """Every user's handshake with its nearest edge, as configured but for the fault's factor."""
    nearest = nearest_edges(topology)
    rows = []
    for user in topology.of_role(Role.USER):
        configured = 2 * nearest[user].distance_ms + 0.02
        measured = (configured + 0.001) * fault.round_trip_factor
        rows.append((user, nearest[user].edge, f"{configured:.6f}", f"{measured:.6f}"))
    write_rows(path, ("user", "edge", "configured_ms", "measured_ms"), rows)


def _sync(path: Path, topology: Topology, scenario: str, fault: Fault) -> None:
    chance = random.Random("sync")
    rows = []
    for index, edge in enumerate(topology.of_role(Role.EDGE)):
        if edge == fault.edge_off:
            continue
        done = 10 + (2.1 + chance.uniform(0, 0.2) if scenario == "edge" else 1.2 + index * 0.2)
        identical = int(edge != fault.damaged_on)
        rows.append((edge, CONTENT_FILES, CONTENT_BYTES, identical, f"{done:.6f}"))
    write_rows(path, ("edge", "files", "bytes", "identical", "completed_s"), rows)


def _published(topology: Topology, scenario: str) -> Counter[Way]:
    origin = topology.of_role(Role.ORIGIN)[0]
    tree = shortest_path_tree(topology, origin)
    loads: Counter[Way] = Counter()
    ways: set[Way] = set()
    for edge in topology.of_role(Role.EDGE):
        path = tree.path(edge)
        for near_edge, towards_origin in pairwise(path):
            way = (towards_origin, near_edge)
            ways.add(way)
            loads[way] += int(CONTENT_BYTES * 1.03)
    return Counter({way: int(CONTENT_BYTES * 1.06) for way in ways}) if scenario == "edge" else loads


def _requested(topology: Topology, scenario: str, fault: Fault) -> Counter[Way]:
    loads: Counter[Way] = Counter()
    dns = topology.of_role(Role.DNS)[0]
    for user in topology.of_role(Role.USER):
        server = _server(topology, scenario, user, fault)
        for target, size in ((server, 9_600_000), (dns, 800)):
            path = shortest_path_tree(topology, target).path(user)
            assert path_links(topology, path)
            for here, there in pairwise(path):
                loads[there, here] += size
                loads[here, there] += size // 40
    return loads


def _links(path: Path, topology: Topology, scenario: str, fault: Fault) -> None:
    phases = {"publish": (10.0, 12.5), "requests": (20.0, 32.0)}
    totals: Counter[Way] = Counter()
    rows = []
    for phase, (begin, end) in phases.items():
        if (phase, scenario) in (("publish", "central"), ("requests", "push")):
            continue
        loads = (
            _published(topology, scenario) if phase == "publish" else _requested(topology, scenario, fault)
        )
        steps = 10
        for step in range(steps + 1):
            t = begin + (end - begin) * step / steps
            for link in topology.links:
                for way in ((link.a, link.b), (link.b, link.a)):
                    size = totals[way] + loads[way] * step // steps
                    if fault.unshaped and way == ("access1", "user1"):
                        size *= 100
                    drops = step if scenario == "push" and way == ("core1", "dist1") else 0
                    layer = topology.link_layer(link)
                    rows.append((phase, f"{t:.6f}", link.name, *way, layer, size, size // 1000, drops))
        totals += loads
    write_rows(path, _LINK_COLUMNS, rows)


def frame(source_mac: str, source: str, destination: str, next_header: int = 17) -> bytes:
    """An Ethernet frame with an IPv6 header and no payload."""
    header = struct.pack(">IHBB", 6 << 28, 0, next_header, 64)
    addresses = IPv6Address(source).packed + IPv6Address(destination).packed
    ethernet = bytes.fromhex("333300000001" + source_mac.replace(":", "")) + b"\x86\xdd"
    return ethernet + header + addresses


def _captures(folder: Path, topology: Topology, scenario: str, fault: Fault) -> None:
    plan = plan_addresses(topology)
    router = plan.router_macs[topology.of_role(Role.CORE)[0]]
    origin = topology.of_role(Role.ORIGIN)[0]
    (folder / "captures").mkdir()
    rows = []
    for node in (*topology.of_role(Role.USER), origin):
        advertisement = frame(router, "fe80::1", "ff02::1", 58)
        frames = [advertisement] * 3
        if node == origin:
            prefix = next(iter(plan.user_prefixes.values()))
            leak = frame(router, str(prefix[0x1234]), str(plan.service), 6)
            frames += [leak] * (900 if scenario == "central" else fault.leak_to_origin)
        elif scenario == "edge" and node == topology.of_role(Role.USER)[0]:
            frames += [frame(router, "fd00::1", str(plan.static_group))] * fault.leak_to_user
        if scenario == "edge" and node == fault.dead_capture:
            frames = []
        with (folder / "captures" / f"{node}.pcap").open("wb") as file:
            writer = PcapWriter(file, 160)
            for number, data in enumerate(frames):
                writer.write(1_700_000_000 + number, number, data, len(data))
        dropped = fault.capture_drops if node == origin and scenario == "edge" else 0
        kind = "inbound" if node == origin else "multicast"
        rows.append((node, kind, len(frames) + dropped, len(frames), dropped))
    write_rows(folder / "captures.csv", ("node", "filter", "seen", "written", "dropped"), rows)


def write_scenario(path: Path, topology: Topology, asked: dict[str, Any], **more: Any) -> None:
    """scenario.json and job-result.json; `asked` is what the scenario was to do."""
    facts = {
        "scenario": {"topology": to_json(topology), **asked},
        "versions": {"curl": "curl 8.0", "openvswitch": "ovs-vswitchd 3.1.0"},
        **more,
    }
    path.write_text(json.dumps(facts))
    lab = {"kernel": "6.12.0-nearcast", "clock": "virtual", "python": "3.11.2"}
    result = {"ok": True, "error": "", "wall_s": 12.5, "facts": lab}
    path.with_name("job-result.json").write_text(json.dumps(result))

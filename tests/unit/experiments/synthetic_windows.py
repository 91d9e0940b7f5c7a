"""Records of sound runs of the experiments with windows and acts, made up by hand for the tests to spoil."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from experiments.records import (
    ArpCount,
    CaptureCount,
    Delivery,
    FaultStep,
    Flow,
    Hop,
    Knock,
    LinkSample,
    PathTransfer,
    Ping,
    Probe,
    Request,
    RoundTrip,
    ScenarioRecords,
    Transfer,
)
from lab.pcap import PcapWriter
from tests.unit.experiments.synthetic import frame
from topologies.addressing import ERROR_SOURCE, plan_addresses
from topologies.files import load
from topologies.spec import RouterAddressing, to_json

METRO = load("metro")
USERS = METRO.of_role(METRO.role("user1"))
EDGES = METRO.of_role(METRO.role("edge1"))
Scenarios = dict[str, ScenarioRecords]


def _scenario(name: str, windows: Sequence[Mapping[str, Any]] = (), **more: Any) -> ScenarioRecords:
    asked = {"topology": to_json(METRO), "windows": list(windows), "off": [], **more}
    return ScenarioRecords(
        name,
        Path("/nowhere") / name,
        METRO,
        round_trips=(RoundTrip("user1", "edge1", 4.0, 4.0),),
        facts={"scenario": asked, "windows": []},
    )


def step(window: str, kind: str, target: str, begin_s: float, end_s: float) -> tuple[FaultStep, FaultStep]:
    """A fault that is carried out and mended at once when it is due."""
    return (
        FaultStep(window, kind, target, True, begin_s, begin_s),
        FaultStep(window, kind, target, False, end_s, end_s),
    )


def probes(window: str, user: str, lost: Sequence[int] = (), count: int = 1000) -> tuple[Probe, ...]:
    """One probe every millisecond from 10 s on, of which these are lost."""
    return tuple(
        Probe(window, user, 10 + tick / 1000, *((None, "") if tick in lost else (4.0, "edge1")))
        for tick in range(count)
    )


def request(window: str, user: str, at_s: float, edge: str, **changes: Any) -> Request:
    """A request that was answered within 10 ms."""
    plain = Request(window, user, "/", f"2001:db8::{user[4:]}", at_s, 0.002, 0.005, 0.01, 53, 200, edge, "")
    return replace(plain, **changes)


def failover() -> Scenarios:
    """Three probes lost at most; the next answer 250 ms after the kill."""
    windows = [{"name": name} for name in ("kill", "unplug", "controller")]
    transfers = tuple(
        Transfer(user, f"{user}-{tick}", "page", "/", 1 + tick / 20, 0, 0, 0.004, 0.005, 53, 200, "edge1", 0)
        for tick in range(100)
        for user in USERS[:2]
    )
    kill = tuple(
        request(
            "kill",
            "user1",
            10 + tick / 100,
            "edge2",
            **({"error": "refused", "status": 0} if 50 <= tick < 74 else {}),
        )
        for tick in range(120)
    )
    edge = replace(
        _scenario("edge", windows),
        transfers=transfers,
        requests=kill,
        probes=(*probes("unplug", "user1", (500, 501)), *probes("controller", "user1")),
        faults=(
            *step("requests", "Cut", "access1 edge1", 3, 5),
            *step("kill", "Kill", "edge1", 10.5, 11.8),
            *step("unplug", "Unplug", "edge1", 10.5, 10.8),
            *step("controller", "ControllerKill", "controller", 10.5, 10.8),
        ),
    )
    edge = replace(
        edge, facts={**edge.facts, "windows": [{"name": "controller", "after": {"modifications": 0}}]}
    )
    names = ("alternate", "repair", "switch")
    links = replace(
        _scenario("links", [{"name": name} for name in names]),
        probes=tuple(probe for name in names for probe in probes(name, "user9", (500, 501, 502))),
        faults=tuple(one for name in names for one in step(name, "Cut", "dist3 access7", 10.5, 10.8)),
    )
    return {"edge": edge, "links": links}


def drain() -> Scenarios:
    """edge1 drained from 12 to 15 s, edge8 overloaded from 13 to 15.5 s; user u is nearest to edge u."""
    nearest = {user: EDGES[place // 2] for place, user in enumerate(USERS)}
    moved = {"edge1": ("edge3", 12.0, 15.0), "edge8": ("edge5", 13.3, 21.0)}
    rows = []
    for tick in range(240):
        at_s = 10.1 + tick * 0.055
        user = USERS[tick % len(USERS)]
        edge = nearest[user]
        other, begin_s, end_s = moved.get(edge, ("", 0.0, 0.0))
        rows.append(request("drain", user, at_s, other if begin_s <= at_s < end_s else edge))
    rows += [
        request("drain", "user1", at_s, edge, path="/long.bin", total_s=6.0, bytes=3_000_000)
        for at_s, edge in ((11.0, "edge1"), (13.5, "edge3"))
    ]
    faults = (
        *step("drain", "Drain", "edge1", 12, 15),
        *step("drain", "Overload", "edge8 user15 19", 13, 15.5),
    )
    edge = replace(_scenario("edge", [{"name": "drain"}]), requests=tuple(rows), faults=faults)
    return {"edge": edge}


def _knocks(gateway: str, name: str, opened: int | None = None) -> tuple[Knock, ...]:
    return tuple(
        Knock(gateway, name, "tcp", port, port == opened, "connected" if port == opened else "none")
        for port in (22, 80, 8080)
    )


def _narrow(name: str = "narrow") -> ScenarioRecords:
    links = tuple(
        replace(link, mtu_bytes=1280) if link.name == "dist1-access3" else link for link in METRO.links
    )
    return replace(
        _scenario(name),
        topology=replace(METRO, links=links),
        paths=(
            PathTransfer("user1", "up", 500_000, True, 1280),
            PathTransfer("user1", "down", 500_000, True, 1500),
        ),
    )


def gateway() -> Scenarios:
    """Closed, one port opened, and as quick as behind NAT."""
    edge = replace(
        _scenario("edge"),
        knocks=(
            *_knocks("stateful", "closed"),
            *_knocks("stateful", "subscribed", 8080),
            *_knocks("nat66", "closed"),
        ),
        flows=(
            Flow("stateful", "2001:db8:1::5 5000", "2001:db8:1::5 5000", 4.38, 92.97, True),
            Flow("nat66", "fd00:0:0:1::2 5000", "2001:db8:fffc::1 5000", 4.39, 92.97, True),
            Flow("nat44", "192.168.0.2 5000", "198.51.100.1 5000", 4.38, 94.27, True),
        ),
    )
    return {"edge": edge, "narrow": _narrow()}


def private_routing() -> Scenarios:
    """All errors from one address; with global addresses every router is seen and answers."""
    switches = METRO.switches
    hidden = replace(
        _scenario("edge"),
        hops=tuple(Hop("user1", "user3", limit, "time-exceeded", str(ERROR_SOURCE)) for limit in range(1, 4)),
        pings=(
            Ping("user1", "gateway", "gateway", True),
            Ping("user1", "user3", "user", False),
            *(Ping("user1", switch, "router", False) for switch in switches),
        ),
    )
    seen = replace(
        hidden,
        name="global",
        topology=replace(METRO, routers=RouterAddressing.GLOBAL),
        hops=tuple(
            replace(hop, answered_by=f"2001:db8:fffd::{place + 1:x}") for place, hop in enumerate(hidden.hops)
        ),
        pings=tuple(replace(ping, answered=ping.kind != "user") for ping in hidden.pings),
    )
    return {"edge": hidden, "global": seen, "narrow": _narrow()}


def neighbours(folder: Path) -> Scenarios:
    """Two solicitations at every host that nobody else hears; captures lie in `folder`."""
    sweep = {"user": "user3", "access": "access1", "per_s": 10_000, "at_s": 0.5, "length_s": 1.0}
    edge = replace(
        _scenario("edge", [{"name": "sweep", "sweeps": [sweep]}]),
        folder=folder / "edge",
        probes=probes("sweep", "user1"),
        captures=tuple(CaptureCount(host, "multicast", 2, 2, 0) for host in METRO.hosts),
    )
    plan = plan_addresses(METRO)
    for host in METRO.hosts:
        mac = plan.hosts[host].mac
        write_capture(edge, host, [solicitation(mac, "::", f"2001:db8:1::{host.encode().hex()[-4:]}")] * 2)
    flat = replace(
        _scenario("arp"),
        arps=tuple(ArpCount("access1", host, 1, 2) for host in ("edge1", "user1", "user2")),
    )
    return {"edge": edge, "arp": flat}


def solicitation(mac: str, source: str, target: str) -> bytes:
    """A neighbour solicitation as it lies in a capture."""
    head = frame(mac, source, "ff02::1:ff00:1", 58)
    return head + bytes([135, 0, 0, 0, 0, 0, 0, 0]) + IPv6Address(target).packed


def write_capture(records: ScenarioRecords, host: str, frames: Sequence[bytes]) -> None:
    """The capture of a host."""
    path = records.capture_file(host)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = PcapWriter(file, 160)
        for number, data in enumerate(frames):
            writer.write(1_700_000_000, number, data, len(data))


def scope() -> Scenarios:
    """Every group where it belongs; a regional stream; user1 bound to edge8 from 11 to 12 s."""
    area = {"edge1", "edge2", "edge3", "edge4"}
    rows = []
    for group, may in (
        ("ff33::8000:2", lambda _edge: False),
        ("ff34::8000:2", lambda edge: edge in area),
        ("ff35::8000:2", lambda _edge: True),
        ("ff3e::8000:2", lambda _edge: True),
    ):
        for receiver in (*EDGES[1:], *USERS):
            is_user = receiver in USERS
            arrives = group.startswith("ff3e") if is_user else may(receiver)
            rows.append(Delivery(group, "edge1", receiver, 5, 5 if arrives else 0))
    for group in ("ff34::8000:4", "ff35::8000:4"):
        rows += [
            Delivery(group, "edge1", edge, 200, 200 if group[3] == "5" or edge in area else 0)
            for edge in EDGES[1:]
        ]
    acts = [{"kind": "groups", "arguments": {"groups": ["ff34::8000:4"], "phase": "regional"}}]
    links = tuple(
        LinkSample(phase, t_s, "core1-core2", "core1", "core2", "core", size, 0, 0)
        for phase, t_s, size in (
            ("regional", 1.0, 500),
            ("regional", 2.0, 500),
            ("site-wide", 3.0, 500),
            ("site-wide", 4.0, 99_500),
        )
    )
    requests = tuple(
        request("bind", "user1", 10 + tick / 20, "edge8" if 20 < tick < 40 else "edge1") for tick in range(60)
    )
    edge = replace(
        _scenario("edge", [{"name": "bind"}], acts=acts),
        deliveries=tuple(rows),
        links=links,
        requests=requests,
        faults=step("bind", "Bind", "user1 edge8", 11, 12),
    )
    return {"edge": edge}


def privacy() -> Scenarios:
    """Two users, three addresses each, and a download that outlives two of them."""

    def rows(addresses: int) -> tuple[Request, ...]:
        short = [
            request(
                "privacy", user, 10 + tick, "edge1", source=f"2001:db8::{user[4:]}:{tick * addresses // 30}"
            )
            for tick in range(30)
            for user in USERS[:2]
        ]
        long = [
            request(
                "privacy",
                user,
                10.5,
                "edge1",
                path="/long.bin",
                total_s=24.0,
                source=f"2001:db8::{user[4:]}:0",
            )
            for user in USERS[:2]
        ]
        return (*short, *long)

    windows = [{"name": "privacy"}]
    return {
        "edge": replace(_scenario("edge", windows), requests=rows(3)),
        "stable": replace(_scenario("stable", windows), requests=rows(1)),
    }


BUILDERS: Mapping[str, Callable[[Path], Scenarios]] = {
    "failover": lambda _folder: failover(),
    "drain": lambda _folder: drain(),
    "gateway": lambda _folder: gateway(),
    "private-routing": lambda _folder: private_routing(),
    "neighbours": neighbours,
    "scope": lambda _folder: scope(),
    "privacy": lambda _folder: privacy(),
}

_FILES = {
    "cells": "cells.csv",
    "tunnels": "tunnels.csv",
    "transfers": "transfers.csv",
    "round_trips": "rtt.csv",
    "captures": "captures.csv",
    "probes": "probes.csv",
    "requests": "requests.csv",
    "faults": "faults.csv",
    "knocks": "scans.csv",
    "flows": "flows.csv",
    "paths": "paths.csv",
    "hops": "routes.csv",
    "pings": "pings.csv",
    "deliveries": "groups.csv",
    "arps": "arps.csv",
    "links": "links.csv",
}
_COLUMNS = {"source": "from", "target": "to"}


def write_run(run: Path, scenarios: Scenarios) -> None:
    """The raw files of a run that are read as these records."""
    for name, records in scenarios.items():
        folder = run / "raw" / name
        folder.mkdir(parents=True, exist_ok=True)
        asked = records.facts["scenario"] | {"topology": to_json(records.topology)}
        (folder / "scenario.json").write_text(json.dumps({**records.facts, "scenario": asked}))
        (folder / "job-result.json").write_text(json.dumps({"ok": True, "facts": {"clock": "virtual"}}))
        for attribute, file in _FILES.items():
            if rows := getattr(records, attribute):
                _write(folder / file, rows)


def _write(path: Path, rows: Sequence[Any]) -> None:
    names = [item.name for item in fields(rows[0])]
    columns = [_COLUMNS.get(name, name) if isinstance(rows[0], LinkSample) else name for name in names]
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        for row in rows:
            values = [getattr(row, name) for name in names]
            out.writerow([int(value) if isinstance(value, bool) else value for value in values])

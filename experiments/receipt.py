"""The receipt: what the run ran on, and whether its network was the one that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.claims.latency import ROUND_TRIP_TOLERANCE
from experiments.loads import rates
from experiments.records import RoundTrip, ScenarioRecords
from experiments.statistics import significant

REAL_CLOCK_TOLERANCE = 0.05
REAL_CLOCK_SLACK_MS = 1.0
"""On the real clock the machine's own work shows: a round trip may be off by 5 % or 1 ms."""
REPEATED_SYN_MS = 900.0
"""A handshake this much too long lost a packet: TCP repeats a SYN after a second (RFC 6298)."""
RATE_TOLERANCE = 0.02
RATE_BURST_BYTES = 2 * 65536
"""A segmentation-offloaded frame of up to 64 KiB may fall into either of two samples."""
SHORTEST_INTERVAL_S = 0.05
SAMPLED = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be true of a run for its numbers to mean anything."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Receipt:
    """What ran, and the checks; `wall` holds everything that differs between two equal runs."""

    facts: Mapping[str, Any]
    checks: tuple[Check, ...]
    wall: Mapping[str, Any]

    @property
    def suspect(self) -> bool:
        """Whether a check failed; the claims of such a run do not hold."""
        return not all(check.ok for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The checks that failed, each in one line."""
        return tuple(f"{check.name}: {check.detail}" for check in self.checks if not check.ok)

    def to_json(self) -> dict[str, Any]:
        """As it stands in summary.json."""
        checks = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in self.checks]
        return {
            **self.facts,
            "suspect": self.suspect,
            "reasons": list(self.reasons),
            "checks": checks,
            "wall": dict(self.wall),
        }


@dataclass(frozen=True, slots=True)
class Busiest:
    """The highest rate one direction of a link reached between two samples, against its configured rate."""

    scenario: str
    source: str
    target: str
    configured_mbps: float
    measured_mbps: float
    allowed_mbps: float

    @property
    def utilisation(self) -> float:
        """Measured over configured."""
        return self.measured_mbps / self.configured_mbps


def make_receipt(
    scenarios: Mapping[str, ScenarioRecords], context: Mapping[str, Any], *, seed: int
) -> Receipt:
    """Judge a run. `context` is what the runner knows: lab, clock, commit, command, versions, wall."""
    clock = str(context.get("clock", "unknown"))
    pairs = [(name, pair) for name, records in sorted(scenarios.items()) for pair in _round_trips(records)]
    busiest = _busiest(scenarios)
    facts = {
        "lab": context.get("lab", "unknown"),
        "clock": clock,
        "kernel": _kernel(scenarios, context),
        "versions": _versions(scenarios, context),
        "commit": context.get("commit", "unknown"),
        "command": context.get("command", ""),
        "seed": seed,
        "scenarios": sorted(scenarios),
        "delay": _delay_facts(pairs),
        "rate": _rate_facts(busiest),
        "drops": _drop_facts(scenarios),
    }
    checks = (
        _delay_check([pair for _, pair in pairs], clock),
        _rate_check(busiest),
        _capture_check(scenarios),
        _failure_check(scenarios),
    )
    return Receipt(facts, checks, dict(context.get("wall", {})))


def within_tolerance(pair: RoundTrip, clock: str) -> bool:
    """Whether a measured round trip is the configured one, as exactly as the clock allows."""
    if clock == "virtual":
        return abs(pair.deviation) <= ROUND_TRIP_TOLERANCE
    off_ms = abs(pair.measured_ms - pair.configured_ms)
    return off_ms <= max(REAL_CLOCK_SLACK_MS, REAL_CLOCK_TOLERANCE * pair.configured_ms)


def _round_trips(records: ScenarioRecords) -> list[RoundTrip]:
    """The round trips that say something about delay: not those in which loss cost a repeated SYN."""
    lossy = any(link.loss_percent > 0 for link in records.topology.links)
    return [
        pair
        for pair in records.round_trips
        if not (lossy and pair.measured_ms - pair.configured_ms > REPEATED_SYN_MS)
    ]


def _kernel(scenarios: Mapping[str, ScenarioRecords], context: Mapping[str, Any]) -> str:
    told = {str(records.facts.get("lab", {}).get("kernel", "")) for records in scenarios.values()}
    return " and ".join(sorted(told - {""})) or str(context.get("kernel", "unknown"))


def _versions(scenarios: Mapping[str, ScenarioRecords], context: Mapping[str, Any]) -> dict[str, str]:
    versions = dict(context.get("versions", {}))
    for _, records in sorted(scenarios.items()):
        if python := records.facts.get("lab", {}).get("python"):
            versions["python"] = str(python)
        versions |= records.facts.get("versions", {})
    return dict(sorted(versions.items()))


def _delay_facts(pairs: list[tuple[str, RoundTrip]]) -> dict[str, Any]:
    worst = sorted(pairs, key=lambda item: (-abs(item[1].deviation), item[0], item[1].user, item[1].edge))
    return {
        "pairs": len(pairs),
        "worst": [
            {
                "scenario": name,
                "user": pair.user,
                "edge": pair.edge,
                "configured_ms": pair.configured_ms,
                "measured_ms": pair.measured_ms,
                "deviation_percent": significant(pair.deviation * 100, 3),
            }
            for name, pair in worst[:SAMPLED]
        ],
    }


def _busiest(scenarios: Mapping[str, ScenarioRecords]) -> list[Busiest]:
    found: dict[tuple[str, str, str], Busiest] = {}
    for name, records in sorted(scenarios.items()):
        links = {(link.a, link.b): link for link in records.topology.links}
        links |= {(link.b, link.a): link for link in records.topology.links}
        for phase in dict.fromkeys(sample.phase for sample in records.links):
            for (source, target), series in rates(records.links, phase).items():
                configured = links[source, target].rate_mbps
                for rate in series:
                    if rate.seconds < SHORTEST_INTERVAL_S:
                        continue
                    allowed = configured * (1 + RATE_TOLERANCE) + RATE_BURST_BYTES * 8e-6 / rate.seconds
                    entry = Busiest(name, source, target, configured, rate.mbps, allowed)
                    before = found.get((name, source, target))
                    if (
                        before is None
                        or entry.measured_mbps - allowed > before.measured_mbps - before.allowed_mbps
                    ):
                        found[name, source, target] = entry
    return sorted(
        found.values(), key=lambda entry: (-entry.utilisation, entry.scenario, entry.source, entry.target)
    )


def _rate_facts(busiest: list[Busiest]) -> dict[str, Any]:
    return {
        "directions": len(busiest),
        "busiest": [
            {
                "scenario": entry.scenario,
                "from": entry.source,
                "to": entry.target,
                "configured_mbps": entry.configured_mbps,
                "measured_mbps": significant(entry.measured_mbps, 6),
            }
            for entry in busiest[:SAMPLED]
        ],
    }


def _drop_facts(scenarios: Mapping[str, ScenarioRecords]) -> dict[str, Any]:
    facts = {}
    for name, records in sorted(scenarios.items()):
        last = {(sample.source, sample.target): sample.drops for sample in records.links}
        captures = sum(row.dropped for row in records.captures)
        facts[name] = {"packets_lost_on_links": sum(last.values()), "frames_lost_by_captures": captures}
    return facts


def _delay_check(pairs: list[RoundTrip], clock: str) -> Check:
    wrong = [pair for pair in pairs if not within_tolerance(pair, clock)]
    if not pairs:
        return Check("delay", False, "no round trip was measured")
    if not wrong:
        return Check("delay", True, f"{len(pairs)} round trips as configured")
    worst = max(wrong, key=lambda pair: abs(pair.deviation))
    return Check(
        "delay",
        False,
        f"{len(wrong)} of {len(pairs)} round trips are off, {worst.user} to {worst.edge} most:"
        f" configured {worst.configured_ms:g} ms, measured {worst.measured_ms:g} ms",
    )


def _rate_check(busiest: list[Busiest]) -> Check:
    over = [entry for entry in busiest if entry.measured_mbps > entry.allowed_mbps]
    if not over:
        return Check(
            "rate", True, f"none of {len(busiest)} sampled directions went above its configured rate"
        )
    worst = max(over, key=lambda entry: entry.utilisation)
    return Check(
        "rate",
        False,
        f"{worst.source} to {worst.target} carried {worst.measured_mbps:.4g} Mbit/s in {worst.scenario},"
        f" configured {worst.configured_mbps:g}; the link was not shaped",
    )


def _capture_check(scenarios: Mapping[str, ScenarioRecords]) -> Check:
    lost = [
        f"{row.node} in {name}"
        for name, records in sorted(scenarios.items())
        for row in records.captures
        if row.dropped
    ]
    count = sum(len(records.captures) for records in scenarios.values())
    if lost:
        return Check("captures", False, f"frames were lost at {', '.join(lost)}")
    return Check("captures", True, f"{count} captures lost no frame")


def _failure_check(scenarios: Mapping[str, ScenarioRecords]) -> Check:
    failed = [
        f"{name}: {records.facts['failed']}"
        for name, records in sorted(scenarios.items())
        if records.facts.get("failed")
    ]
    if not scenarios:
        return Check("scenarios", False, "no scenario left raw data")
    return Check("scenarios", not failed, "; ".join(failed) or f"{len(scenarios)} scenarios ran to their end")

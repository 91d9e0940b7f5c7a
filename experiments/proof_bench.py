"""How long proofs take: `python -m experiments.proof_bench [--json]`, in CPU seconds of one core.

Planned tables of networks in use; what `nearcast verify` takes on a live lab is in its own answer. `healthy`
is without failures; `again` is with one rule taken away or put back, by a prover that knows the rest.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from controller.plan.compile import plan
from controller.plan.rules import Tables
from controller.verify.proof import Prover
from experiments.planning_bench import busy_facts
from topologies.files import load
from topologies.spec import Topology
from topologies.three_tier import three_tier

CHANGES = 20


def networks() -> dict[str, Callable[[], Topology]]:
    """The networks by name, the last one the largest."""
    return {
        "metro": lambda: load("metro"),
        "164 switches": lambda: three_tier(4, 20, 140, users_per_access=2),
        "1,000 switches": lambda: three_tier(20, 80, 900, users_per_access=4),
    }


def timed_s(topology: Topology, tables: dict[str, Tables], *, failures: bool) -> tuple[float, Prover]:
    """The CPU time of one proof, and who did it. Raises RuntimeError when it does not hold."""
    gc.collect()
    prover = Prover(topology)
    return _proved_s(prover, tables, failures=failures), prover


def _proved_s(prover: Prover, tables: dict[str, Tables], *, failures: bool, must: bool = True) -> float:
    started_s = time.process_time()
    proof = prover.prove(tables, failures=failures, witnesses=must)
    elapsed_s = time.process_time() - started_s
    if must and not proof.holds:
        raise RuntimeError("the planned tables do not hold; run `nearcast verify` on a lab to see why")
    return elapsed_s


def changes_s(prover: Prover, tables: dict[str, Tables]) -> list[float]:
    """The CPU time of proofs after one rule was taken away, and after it was put back."""
    chance, found = random.Random(1), list[float]()
    for _ in range(CHANGES):
        switch = chance.choice(sorted(tables))
        rules = dict(tables[switch].rules)
        del rules[chance.choice(list(rules))]
        changed = tables | {switch: replace(tables[switch], rules=rules)}
        found.append(_proved_s(prover, changed, failures=True, must=False))
        found.append(_proved_s(prover, tables, failures=True))
    return found


def measure(names: Sequence[str]) -> dict[str, Any]:
    """All figures of some networks, times in ms."""
    result: dict[str, Any] = {}
    for name in names:
        topology = networks()[name]()
        tables = plan(busy_facts(topology))
        healthy_s, _ = timed_s(topology, tables, failures=False)
        whole_s, prover = timed_s(topology, tables, failures=True)
        result[name] = {
            "switches": len(tables),
            "rules": sum(len(content.rules) for content in tables.values()),
            "healthy_ms": round(healthy_s * 1000, 1),
            "with_failures_ms": round(whole_s * 1000, 1),
        }
        if len(tables) < 100:
            again_s = changes_s(prover, tables)
            result[name] |= {
                "again_median_ms": round(statistics.median(again_s) * 1000, 1),
                "again_worst_ms": round(max(again_s) * 1000, 1),
            }
    return result


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m experiments.proof_bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--network", action="append", choices=networks(), help="only this one; repeatable")
    arguments = parser.parse_args()
    # As in `nearcast verify`: nothing that a proof makes is garbage before its end.
    gc.set_threshold(100_000, 20, 20)
    result = measure(arguments.network or list(networks()))
    if arguments.json:
        print(json.dumps(result, indent=2))
        return 0
    for name, figures in result.items():
        print(name + ": " + ", ".join(f"{what} {value:,}" for what, value in figures.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

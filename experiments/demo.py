"""demo: the whole idea once, against a central cloud and against unicast push (C1, C2, C3, C5, C8, C10)."""

from __future__ import annotations

from experiments.options import Options
from experiments.scenario import Mode, Scenario

SUMMARY = "edges against a central cloud and unicast push: C1, C2, C3, C5, C8, C10"
NEEDS_SITE = True


def scenarios(options: Options) -> list[Scenario]:
    """Publish and fetch with edges; fetch from a central cloud; publish by unicast push."""
    site = str(options.site)
    common = {"topology": options.topology, "seed": options.seed, "site": site}
    return [
        Scenario(
            "edge",
            Mode.EDGE,
            workload=options.workload,
            off=options.off,
            kill=options.kill,
            rate_mbps=options.rate_mbps,
            **common,
        ),
        Scenario("central", Mode.CENTRAL, workload=options.workload, **common),
        Scenario("push", Mode.PUSH, off=options.off, **common),
    ]

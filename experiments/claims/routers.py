"""C11: what users learn of the routers, link-local addressing against global addresses."""

from __future__ import annotations

from experiments.claims.model import Claim, Evidence, compared
from experiments.records import ScenarioRecords
from topologies.addressing import ERROR_SOURCE

EXCEEDED = "time-exceeded"


def error_sources(scenario: ScenarioRecords | None) -> set[str]:
    """The addresses that told users of a hop limit that was used up."""
    return {hop.answered_by for hop in (scenario.hops if scenario else ()) if hop.answer == EXCEEDED}


def answering_routers(scenario: ScenarioRecords | None) -> set[str]:
    """The router addresses that answered any user's echo request, but for everybody's own gateway."""
    return {
        ping.target
        for ping in (scenario.pings if scenario else ())
        if ping.kind == "router" and ping.answered
    }


def hidden_routers(evidence: Evidence) -> list[Claim]:
    """Router addresses seen by traceroute, and router addresses that answer."""
    edge, other = evidence.get("edge"), evidence.get("global")
    shared = str(ERROR_SOURCE)
    seen = error_sources(edge) - {shared}
    heard = sum(hop.answer == EXCEEDED for hop in (edge.hops if edge else ()))
    answering = answering_routers(edge)
    pings = edge.pings if edge else ()
    gateways = [ping for ping in pings if ping.kind == "gateway"]
    switches = len(evidence.topology.switches)
    baseline = len(error_sources(other) - {shared}) if other else None
    answering_baseline = len(answering_routers(other)) if other else None
    first = Claim(
        "C11",
        "router addresses that traceroute shows to users",
        len(seen) if heard else None,
        "addresses",
        rule="none: every error comes from the one address that nobody has; and routers with global"
        " addresses are seen",
        holds=heard > 0 and not seen and bool(baseline),
        notes=(f"{heard} errors, all from {shared}" if not seen else f"seen: {', '.join(sorted(seen))}",),
        source=("raw/edge/routes.csv", "raw/global/routes.csv"),
    )
    second = Claim(
        "C11",
        "router addresses that answer users, besides their own gateway",
        len(answering) if pings else None,
        "addresses",
        rule=f"none; each user's gateway does, and all {switches} routers with global addresses",
        holds=bool(pings)
        and not answering
        and bool(gateways)
        and all(ping.answered for ping in gateways)
        and answering_baseline == switches,
        notes=(f"{sum(ping.answered for ping in gateways)} of {len(gateways)} gateways answered",),
        source=("raw/edge/pings.csv", "raw/global/pings.csv"),
    )
    name = "global addresses"
    return [compared(first, baseline, name), compared(second, answering_baseline, name)]

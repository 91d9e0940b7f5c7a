"""How long planning takes: `python -m experiments.planning_bench [--json]`, in CPU seconds of one core.

The network has 1,000 switches in three tiers, an edge and four users at each access switch, and 64 groups,
one with all edges and 63 with every eighth.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

from controller.plan.compile import Planner
from controller.plan.facts import Binding, Facts, Membership, PortId, port_id
from controller.plan.rules import Tables
from topologies.addressing import plan_addresses
from topologies.spec import Link, Role, Topology
from topologies.three_tier import three_tier

GROUPS = 64
SAMPLES = 20
_SHARE = 8
_LAYERS = {
    "access uplink": (Role.DISTRIBUTION, Role.ACCESS),
    "distribution-core": (Role.CORE, Role.DISTRIBUTION),
    "core-core": (Role.CORE, Role.CORE),
}


def busy_facts(topology: Topology) -> Facts:
    """A network in use: all users bound, all edges accepting and listening."""
    addresses, edges = plan_addresses(topology), topology.of_role(Role.EDGE)
    origin = addresses.hosts["origin"].unicast
    ports = {host: topology.access_port(host) for host in topology.hosts}
    bindings = tuple(
        Binding(
            port_id(ports[user]),
            addresses.user_prefixes[ports[user].node][0x100 + ports[user].number],
            addresses.hosts[user].mac,
        )
        for user in topology.of_role(Role.USER)
    )
    members = frozenset(
        Membership(port_id(ports[edge]), IPv6Address(int(addresses.static_group) + group), origin)
        for group in range(GROUPS)
        for number, edge in enumerate(edges)
        if group == 0 or (number + group) % _SHARE == 0
    )
    return Facts(topology, addresses, accepting=edges, alive=edges, bindings=bindings, members=members)


def without(facts: Facts, link: Link) -> Facts:
    """The facts with a link between switches down."""
    ends = ((link.a, link.b), (link.b, link.a))
    ports = frozenset(port_id(facts.topology.port(here, there)) for here, there in ends)
    return replace(facts, down_ports=facts.down_ports | frozenset[PortId](ports))


def timed_s(planner: Planner, facts: Facts) -> tuple[float, dict[str, Tables]]:
    """The CPU time of one plan, and the plan."""
    gc.collect()
    started_s = time.process_time()
    tables = planner.plan(facts)
    return time.process_time() - started_s, tables


def failures(facts: Facts, planner: Planner) -> Iterator[tuple[str, list[float], list[float]]]:
    """Per layer: the seconds it takes to plan after a link has failed, and after it is mended."""
    topology = facts.topology
    for layer, roles in _LAYERS.items():
        links = [link for link in topology.links if (topology.role(link.a), topology.role(link.b)) == roles]
        failed_s, mended_s = [], []
        for link in links[:: max(1, len(links) // SAMPLES)]:
            failed_s.append(timed_s(planner, without(facts, link))[0])
            mended_s.append(timed_s(planner, facts)[0])
        yield layer, failed_s, mended_s


def measure() -> dict[str, Any]:
    """All figures, times in ms."""
    facts = busy_facts(three_tier(20, 80, 900, users_per_access=4))
    full_s = [timed_s(Planner(), facts)[0] for _ in range(3)]
    planner = Planner()
    _, tables = timed_s(planner, facts)
    return {
        "switches": len(tables),
        "rules": sum(len(content.rules) for content in tables.values()),
        "groups": sum(len(content.groups) for content in tables.values()),
        "full_plan_ms": _summary(full_s),
        "after": {
            layer: {"failure_ms": _summary(failed_s), "mend_ms": _summary(mended_s)}
            for layer, failed_s, mended_s in failures(facts, planner)
        },
    }


def _summary(samples_s: Sequence[float]) -> dict[str, float]:
    return {
        "samples": len(samples_s),
        "median": round(statistics.median(samples_s) * 1000, 1),
        "worst": round(max(samples_s) * 1000, 1),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    # As the controller has it.
    gc.set_threshold(100_000, 20, 20)
    parser = argparse.ArgumentParser(prog="python -m experiments.planning_bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args(argv)
    found = measure()
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['switches']} switches, {found['rules']} rules, {found['groups']} groups")
    print(f"{'':30} {'median':>9} {'worst':>9}")
    rows = {"full plan": found["full_plan_ms"]}
    for layer, after in found["after"].items():
        rows |= {f"after {layer} {event[:-3]}": figures for event, figures in after.items()}
    for name, figures in rows.items():
        print(f"{name:30} {figures['median']:6.1f} ms {figures['worst']:6.1f} ms")


if __name__ == "__main__":
    main()

"""private-routing: what users can learn of the routers, against routers with global addresses (C11)."""

from __future__ import annotations

from dataclasses import replace

from experiments.gateway import narrow_scenario
from experiments.options import Options
from experiments.scenario import Act, Mode, Scenario
from topologies.graph import shortest_path_tree
from topologies.spec import Role, RouterAddressing

TAKES = frozenset({"off"})
SMALL_SITE = True


def scenarios(options: Options) -> list[Scenario]:
    """`edge`: routers with link-local addresses only. `global`: one global address each. `narrow`: whether
    path MTU discovery works although no router can be seen."""
    topology = options.topology
    acts = (Act("routers", {"hop_limits": longest_way(options) + 1}),)
    hidden = Scenario("edge", Mode.EDGE, topology, options.seed, off=options.off, acts=acts)
    seen = replace(hidden, name="global", topology=replace(topology, routers=RouterAddressing.GLOBAL))
    return [hidden, seen, narrow_scenario(options, topology.of_role(Role.USER)[0])]


def longest_way(options: Options) -> int:
    """The number of switches on the longest way from a user to anyone."""
    topology = options.topology
    trees = [shortest_path_tree(topology, user) for user in topology.of_role(Role.USER)]
    return max(len(tree.path(host)) - 2 for tree in trees for host in topology.hosts if host != tree.root)

"""Crowds: growing numbers of users of one network, and what each of them asks for (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count as numbers
from random import Random

from experiments.objects import OBJECTS, Popularity, object_path
from experiments.windows import Get
from topologies.spec import Link, Node, Role, Topology

GROWTH = (1, 4, 16)
"""Crowds, in multiples of the users that a topology has."""
MOST_USERS = 256
LEAST_USERS = 16
"""A topology with fewer users is for a quick look: one crowd, fewer objects and requests."""
FEW_OBJECTS = 300
REQUESTS, FEW_REQUESTS = 12, 5
"""How many each user makes."""
THINK_S = 1.0
"""The mean of the time between two requests of a user, which is exponential."""


def is_small(topology: Topology) -> bool:
    """Whether the topology is one for a quick look."""
    return len(topology.of_role(Role.USER)) < LEAST_USERS


def crowd_sizes(topology: Topology) -> tuple[int, ...]:
    """How many users ask, crowd by crowd, the smallest first."""
    own = len(topology.of_role(Role.USER))
    if is_small(topology):
        return (own,)
    return tuple(own * factor for factor in GROWTH if factor == 1 or own * factor <= MOST_USERS)


def object_count(topology: Topology) -> int:
    """How many objects there are."""
    return FEW_OBJECTS if is_small(topology) else OBJECTS


def crowd_name(size: int) -> str:
    """The crowd in raw data: the phase of links.csv and the window of requests.csv."""
    return f"users{size}"


def with_users(topology: Topology, size: int) -> Topology:
    """The same network with so many users: its own, and more of them on links like theirs, in turn."""
    users = topology.of_role(Role.USER)
    links = {user: topology.ports[user][0].link for user in users}
    taken = {node.name for node in topology.nodes}
    free = (name for number in numbers(1) if (name := f"user{number}") not in taken)
    nodes = list(topology.nodes)
    added: list[Link] = []
    for index in range(len(users), size):
        like, name = users[index % len(users)], next(free)
        link = links[like]
        ends = {"a": name} if link.a == like else {"b": name}
        added.append(replace(link, **ends))  # type: ignore[arg-type]
        nodes.append(Node(name, Role.USER))
    return replace(topology, nodes=tuple(nodes), links=(*topology.links, *added))


def plan_requests(users: Sequence[str], objects: int, requests: int, seed: int) -> list[Get]:
    """What a crowd asks for and when, user by user: the same in all ways of serving it.

    A user begins within the first `THINK_S` and does not wait for an answer before the next request. The
    crowd's size is in the query, so that a cache knows nothing of what a crowd before it asked for.
    """
    popularity = Popularity(objects, seed)
    found = []
    for user in users:
        chance = Random(f"requests {seed} {len(users)} {user}")
        at_s = chance.uniform(0, THINK_S)
        for _ in range(requests):
            path = f"/{object_path(popularity.draw(chance))}?{crowd_name(len(users))}"
            found.append(Get(user, round(at_s, 6), path))
            at_s += chance.expovariate(1 / THINK_S)
    return found

"""Three-tier networks of any size, as operators build them: core, distribution, access.

Core switches form a ring (or a mesh), distribution switches hang on two core switches, access switches
on the two distribution switches of their block. Users and edge clouds are at the access layer, the
origin (the enterprise cloud, far away) and DNS at the core. `topologies.layers` has the delays and
rates with their sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise

from topologies.layers import DEFAULT_LAYERS, Layer, layer_key
from topologies.spec import Link, Node, Role, Topology

MAX_ACCESS_SWITCHES = 999
MAX_USERS_PER_ACCESS = 90
"""Larger networks would need interface names of more than 15 characters."""

_SINGLE = (Role.ORIGIN, Role.DNS)


def three_tier(
    core: int,
    distribution: int,
    access: int,
    *,
    users_per_access: int = 2,
    edges: int | None = None,
    name: str | None = None,
    mesh: bool = False,
    layers: Mapping[str, Layer] = DEFAULT_LAYERS,
    spread: float = 0.2,
) -> Topology:
    """A network with so many switches per layer, one origin and one DNS server.

    `edges` is the number of edge clouds (default: one per access switch), spread evenly over the
    access switches. `spread` varies each delay by at most that share, by the link's place in the list
    and rounded to 0.01 ms, so that the network is not artificially uniform; 0 leaves the delays as
    they are, and the one link of the origin and the one of DNS always keep theirs.
    Raises ValueError for a number out of range.
    """
    edges = access if edges is None else edges
    for what, value, least, most in (
        ("core", core, 1, 999),
        ("distribution", distribution, 1, 999),
        ("access", access, 1, MAX_ACCESS_SWITCHES),
        ("users_per_access", users_per_access, 1, MAX_USERS_PER_ACCESS),
        ("edges", edges, 1, access),
    ):
        if not least <= value <= most:
            raise ValueError(f"{what} is {value}; expected {least} to {most}")
    if not 0 <= spread < 1:
        raise ValueError(f"spread is {spread}; expected 0 to less than 1")

    groups = {
        Role.CORE: _numbered("core", core),
        Role.DISTRIBUTION: _numbered("dist", distribution),
        Role.ACCESS: _numbered("access", access),
        Role.EDGE: _numbered("edge", edges),
        Role.ORIGIN: ["origin"],
        Role.USER: _numbered("user", access * users_per_access),
        Role.DNS: ["dns"],
    }
    roles = {node: role for role, members in groups.items() for node in members}
    links = []
    for index, (a, b) in enumerate(_pairs(groups, users_per_access, mesh), start=1):
        key = layer_key(roles[a], roles[b])
        delay_ms = layers[key].delay_ms
        if spread and key not in _SINGLE:
            delay_ms = round(delay_ms * _factor(index, spread), 2)
        links.append(Link(a, b, delay_ms, layers[key].rate_mbps))
    return Topology(
        name=name or f"three-tier-{core}-{distribution}-{access}",
        nodes=tuple(Node(node, role) for node, role in roles.items()),
        links=tuple(links),
    )


def _numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(1, count + 1)]


def _pairs(groups: Mapping[Role, list[str]], users_per_access: int, mesh: bool) -> Iterator[tuple[str, str]]:
    core, distribution, access = groups[Role.CORE], groups[Role.DISTRIBUTION], groups[Role.ACCESS]
    yield from combinations(core, 2) if mesh else _ring(core)
    for index, switch in enumerate(distribution):
        home = index * len(core) // len(distribution)
        for up in sorted({home, (home + 1) % len(core)}, key=lambda up: up != home):
            yield core[up], switch
    for index, switch in enumerate(access):
        home = index * len(distribution) // len(access)
        for up in sorted({home, _twin(home, len(distribution))}, key=lambda up: up != home):
            yield distribution[up], switch
    for index, edge in enumerate(groups[Role.EDGE]):
        yield access[index * len(access) // len(groups[Role.EDGE])], edge
    yield core[0], groups[Role.ORIGIN][0]
    for index, user in enumerate(groups[Role.USER]):
        yield access[index // users_per_access], user
    yield core[-1], groups[Role.DNS][0]


def _ring(switches: list[str]) -> Iterator[tuple[str, str]]:
    yield from pairwise(switches)
    if len(switches) > 2:
        yield switches[0], switches[-1]


def _twin(index: int, count: int) -> int:
    """The other switch of a block of two; a last switch without a twin takes the one before it."""
    twin = index ^ 1
    return twin if twin < count else max(0, index - 1)


def _factor(index: int, spread: float) -> float:
    """1 - spread to 1 + spread; multiples of the golden ratio fill the range evenly at any length."""
    return 1 + spread * (2 * (index * 61803 % 100_000) / 100_000 - 1)

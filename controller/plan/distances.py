"""Shortest distances between all nodes of a graph at once, as exact integers.

Nodes with few neighbours are taken out first, each leaving behind the links that its neighbours have
through it; what remains is small and dense; then they are put back in the opposite order (node elimination,
as for sparse linear systems). An access network needs a few array operations for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.int64]
Indices = NDArray[np.intp]

UNREACHABLE = 1 << 59
"""Greater than any distance; sums of a few still fit into 64 bits."""
_FEW = 8


@dataclass(frozen=True, slots=True)
class _Batch:
    """Nodes that are taken out together: no two are neighbours, all have the same number of neighbours.
    They have the places from `first` on, their neighbours (one row per node) are before that."""

    first: int
    neighbours: Indices


class Elimination:
    """The order in which the nodes of a graph are taken out, found once for any costs of its links.

    `places` gives every node its row and column in the matrices: the sooner out, the further back.
    """

    def __init__(self, size: int, pairs: Iterable[tuple[int, int]]) -> None:
        near: list[set[int]] = [set() for _ in range(size)]
        for a, b in pairs:
            near[a].add(b)
            near[b].add(a)
        left = set(range(size))
        taken: list[tuple[list[int], list[list[int]]]] = []
        while left and (degree := min(len(near[node]) for node in left)) <= _FEW:
            nodes: list[int] = []
            blocked: set[int] = set()
            for node in sorted(left):
                if len(near[node]) == degree and node not in blocked:
                    nodes.append(node)
                    blocked |= near[node]
            neighbours = [sorted(near[node]) for node in nodes]
            for node, around in zip(nodes, neighbours, strict=True):
                for here in around:
                    near[here].discard(node)
                    near[here].update(other for other in around if other != here)
            left -= set(nodes)
            taken.append((nodes, neighbours))
        order = sorted(left)
        for nodes, _ in reversed(taken):
            order += nodes
        self._rest = len(left)
        self.places = [0] * size
        for place, node in enumerate(order):
            self.places[node] = place
        self._batches = [
            _Batch(self.places[nodes[0]], self._placed(neighbours)) for nodes, neighbours in taken
        ]

    def _placed(self, neighbours: list[list[int]]) -> Indices:
        placed = [[self.places[node] for node in around] for around in neighbours]
        return np.array(placed, dtype=np.intp).reshape(len(placed), len(placed[0]))

    def distances(self, costs: Costs) -> Costs:
        """All shortest distances, given the symmetric costs of the links by place: 0 on the diagonal,
        UNREACHABLE where there is no link, and only links that the constructor was given."""
        found = costs.copy()
        links = []
        for batch in self._batches:
            near, end = batch.neighbours, batch.first + len(batch.neighbours)
            link = np.take_along_axis(found[batch.first : end], near, axis=1)
            links.append(link)
            for i, j in combinations(range(near.shape[1]), 2):
                through = link[:, i] + link[:, j]
                np.minimum.at(found, (near[:, i], near[:, j]), through)
                np.minimum.at(found, (near[:, j], near[:, i]), through)
        rest = found[: self._rest, : self._rest]
        for node in range(self._rest):
            np.minimum(rest, rest[:, node, None] + rest[None, node, :], out=rest)
        for batch, link in zip(reversed(self._batches), reversed(links), strict=True):
            if batch.neighbours.shape[1]:
                _put_back(found, batch, link)
        return found


def _put_back(found: Costs, batch: _Batch, link: Costs) -> None:
    first, end = batch.first, batch.first + len(batch.neighbours)
    found[first:end, :first] = _through(found[:, :first], batch, link)
    found[:first, first:end] = found[first:end, :first].T
    found[first:end, first:end] = _through(found[:, first:end], batch, link)
    np.fill_diagonal(found[first:end, first:end], 0)


def _through(found: Costs, batch: _Batch, link: Costs) -> Costs:
    """How far each node of a batch is from others, by way of its neighbours."""
    near = batch.neighbours
    ways = (found[near[:, column]] + link[:, column, None] for column in range(near.shape[1]))
    best: Costs = reduce(lambda best, way: np.minimum(best, way, out=best), ways)
    best[best > UNREACHABLE] = UNREACHABLE
    return best

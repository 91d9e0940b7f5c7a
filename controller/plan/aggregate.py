"""Fewer prefixes for the same addresses: what neighbours have in common is written as one larger block.

A block covers nothing but the prefixes that it stands for, so nothing unassigned is ever routed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from controller.plan.rules import Prefix

Values = NDArray[np.int32]


def cover(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The fewest prefixes that cover exactly the addresses of these, in ascending order."""
    blocks: list[Prefix] = []
    for prefix in sorted(prefixes):
        if blocks and blocks[-1].covers(prefix.value):
            # In sorted order a prefix comes before all that lie in it.
            continue
        blocks.append(prefix)
        while len(blocks) > 1 and (parent := _parent(blocks[-2], blocks[-1])) is not None:
            blocks[-2:] = [parent]
    return tuple(blocks)


def _parent(lower: Prefix, upper: Prefix) -> Prefix | None:
    """The prefix that two neighbours fill; None when they are not its two halves."""
    if lower.length != upper.length or lower.length == 0:
        return None
    half = 1 << (128 - lower.length)
    if lower.value & half or upper.value != lower.value | half:
        return None
    return Prefix(lower.value, lower.length - 1)


class Numbering:
    """Prefixes of one length that are numbered one after the other, each with a value that may differ from
    switch to switch: finds the blocks with one value for many switches at once.

    A block is a column: first the prefixes themselves, then the pairs of them, and so on.
    """

    def __init__(self, prefixes: Sequence[Prefix]) -> None:
        (length,) = {prefix.length for prefix in prefixes}
        numbers = [prefix.value >> (128 - length) for prefix in prefixes]
        bits = (min(numbers) ^ max(numbers)).bit_length()
        self._length = length
        self._first = min(numbers) >> bits << bits
        self._size = 1 << bits
        self._slots = np.array([number - self._first for number in numbers], dtype=np.intp)
        self.columns = 2 * self._size - 1

    def prefix(self, column: int) -> Prefix:
        """The prefix of a block."""
        level, slots = 0, self._size
        while column >= slots:
            column -= slots
            level, slots = level + 1, slots // 2
        length = self._length - level
        return Prefix((self._first + (column << level)) << (128 - self._length), length)

    def blocks(self, values: Values) -> Values:
        """The fewest blocks for each row of values, a column per prefix: the value of each block that is one
        of them, 0 for the others. What has the value 0 is in no block."""
        found = np.zeros((len(values), self.columns), dtype=values.dtype)
        found[:, self._slots] = values
        first, size = 0, self._size
        while size > 1:
            smaller = found[:, first : first + size].reshape(len(values), size // 2, 2)
            first, size = first + size, size // 2
            even, odd = smaller[:, :, 0], smaller[:, :, 1]
            is_mixed = even != odd
            found[:, first : first + size] = np.where(is_mixed, 0, even)
            even *= is_mixed
            odd *= is_mixed
        return found

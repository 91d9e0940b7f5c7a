"""Atoms: the values of a header field that no rule tells apart. A set of them is an integer, a bit for each.

Addresses fall into intervals, because rules match prefixes; every other field into the values that some rule
names, and all the rest (Delta-net, NSDI 2017; Yang and Lam's atomic predicates, 2013).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from ipaddress import IPv6Address
from itertools import pairwise
from typing import Generic, TypeVar

from controller.plan.rules import Prefix

Bits = int
"""A set of atoms of one field: bit *i* stands for atom *i*."""
_SPACE = 1 << 128
Value = TypeVar("Value", bound=Hashable)


def bit_numbers(bits: Bits) -> Iterator[int]:
    """The numbers of the bits that are set, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class Intervals:
    """The atoms of an address field: what lies between two neighbouring ends of prefixes."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        ends = {0, _SPACE}
        for value, length in prefixes:
            ends.add(value)
            ends.add(value + (1 << (128 - length)))
        self._starts: Sequence[int] = sorted(ends)
        self._known: dict[Prefix, Bits] = {}

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def all(self) -> Bits:
        """Every address."""
        return (1 << len(self)) - 1

    def of(self, prefix: Prefix) -> Bits:
        """The addresses of a prefix. Raises ValueError where its ends are not ends of atoms."""
        found = self._known.get(prefix)
        if found is None:
            first, last = prefix.value, prefix.value + (1 << (128 - prefix.length))
            low, high = bisect_left(self._starts, first), bisect_left(self._starts, last)
            if self._starts[low] != first or self._starts[high] != last:
                raise ValueError(f"{prefix} is no union of atoms")
            found = self._known[prefix] = (1 << high) - (1 << low)
        return found

    def knows(self, prefix: Prefix) -> bool:
        """Whether a prefix is a union of atoms."""
        try:
            self.of(prefix)
        except ValueError:
            return False
        return True

    def containing(self, address: IPv6Address) -> Bits:
        """The atom that an address is in."""
        return 1 << (bisect_right(self._starts, int(address)) - 1)

    def first(self, bits: Bits) -> IPv6Address:
        """An address of a set that is not empty: the first one that is not the start of a subnet, if any."""
        number = next(bit_numbers(bits))
        start, end = self._starts[number], self._starts[number + 1]
        # The first address of a prefix is its subnet-router anycast address (RFC 4291 section 2.6.1).
        return IPv6Address(start + 1 if end - start > 2 else start)

    def size(self, bits: Bits) -> int:
        """How many addresses a set has."""
        return sum(self._starts[number + 1] - self._starts[number] for number in bit_numbers(bits))

    def ranges(self, bits: Bits) -> Iterator[tuple[IPv6Address, IPv6Address]]:
        """The first and last address of each stretch of a set."""
        first: int | None = None
        for number, (start, end) in enumerate(pairwise(self._starts)):
            if bits >> number & 1:
                first = start if first is None else first
                if not bits >> (number + 1) & 1:
                    yield IPv6Address(first), IPv6Address(end - 1)
                    first = None


class Values(Generic[Value]):
    """The atoms of a field that is matched exactly: each named value, and `other` for all the rest."""

    def __init__(self, named: Iterable[Value], other: Value) -> None:
        self._atoms: tuple[Value, ...] = (other, *dict.fromkeys(value for value in named if value != other))
        self._bits = {value: 1 << number for number, value in enumerate(self._atoms)}

    def __len__(self) -> int:
        return len(self._atoms)

    @property
    def all(self) -> Bits:
        """Every value."""
        return (1 << len(self._atoms)) - 1

    @property
    def other(self) -> Bits:
        """What no rule names."""
        return 1

    def of(self, value: Value) -> Bits:
        """The atom of a named value. Raises KeyError for another."""
        return self._bits[value]

    def where(self, wanted: Iterable[Value]) -> Bits:
        """The atoms of some named values. Raises KeyError for others."""
        found = 0
        for value in wanted:
            found |= self.of(value)
        return found

    def names(self, wanted: Iterable[Value]) -> bool:
        """Whether each of these values is an atom of its own."""
        return all(value in self._bits for value in wanted)

    @property
    def atoms(self) -> tuple[Value, ...]:
        """One value of each atom, by number."""
        return self._atoms

    def values(self, bits: Bits) -> tuple[Value, ...]:
        """One value of each atom of a set."""
        return tuple(self._atoms[number] for number in bit_numbers(bits))

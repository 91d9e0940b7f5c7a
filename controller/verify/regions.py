"""The algebra of regions: products of sets, one for each field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.verify.atoms import Bits
from controller.verify.space import Condition, Field, Flavour, Region


def filled(flavour: Flavour, places: Sequence[int], fields: Sequence[Bits]) -> Flavour:
    """A flavour with some fields replaced."""
    found = list(flavour)
    for place, bits in zip(places, fields, strict=True):
        found[place] = bits
    return tuple(found)


def replaced(flavour: Flavour, place: int, bits: Bits) -> Flavour:
    """A flavour with one field replaced."""
    return (*flavour[:place], bits, *flavour[place + 1 :])


def cut(region: Region, condition: Condition) -> Region | None:
    """The part of a region that a condition is for."""
    flavour, destinations = region
    asked, wanted = condition
    both = destinations & wanted
    if not both:
        return None
    if not asked:
        return flavour, both
    for place, bits in asked:
        if not flavour[place] & bits:
            return None
    fields = list(flavour)
    for place, bits in asked:
        fields[place] &= bits
    return tuple(fields), both


def rest(region: Region, condition: Condition) -> Iterator[Region]:
    """What a condition leaves of a region that it is for, in parts that do not overlap."""
    flavour, destinations = region
    asked, wanted = condition
    for place, bits in asked:
        outside = flavour[place] & ~bits
        if outside:
            yield replaced(flavour, place, outside), destinations
        flavour = replaced(flavour, place, flavour[place] & bits)
    if destinations & ~wanted:
        yield flavour, destinations & ~wanted


def merged(regions: Sequence[Region]) -> list[Region]:
    """The same packets in fewer regions: two that differ in one field only are one."""
    by_flavour: dict[Flavour, Bits] = {}
    for flavour, destinations in regions:
        by_flavour[flavour] = by_flavour.get(flavour, 0) | destinations
    found = list(by_flavour.items())
    if len(found) == 1:
        return found
    for place in range(len(Field)):
        alike: dict[tuple[Flavour, Flavour, Bits], Bits] = {}
        for flavour, destinations in found:
            key = flavour[:place], flavour[place + 1 :], destinations
            alike[key] = alike.get(key, 0) | flavour[place]
        if len(alike) < len(found):
            found = [((*before, bits, *after), where) for (before, after, where), bits in alike.items()]
    if len(found) < len(by_flavour):
        return merged(found)
    return found

"""All attacks, in the order in which they are carried out; the number of an attack is its place, from 1."""

from __future__ import annotations

from experiments.attack import discovery, floods, headers, multicast, scans, spoofs, tunnels
from experiments.attack.model import Attack

CATALOGUE: tuple[Attack, ...] = (
    *scans.ATTACKS,
    *spoofs.ATTACKS,
    *discovery.ATTACKS,
    *multicast.ATTACKS,
    *headers.ATTACKS,
    *tunnels.ATTACKS,
    *floods.ATTACKS,
)


def numbered(names: tuple[str, ...] = ()) -> dict[int, Attack]:
    """The attacks of these names, or all, by their numbers. Raises KeyError for a name that is not there."""
    unknown = set(names) - {attack.name for attack in CATALOGUE}
    if unknown:
        raise KeyError(", ".join(sorted(unknown)))
    return {
        number: attack
        for number, attack in enumerate(CATALOGUE, start=1)
        if not names or attack.name in names
    }

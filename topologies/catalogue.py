"""The topologies that come with nearcast, by name: the `*.yaml` files of this package."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The names of all topologies in the catalogue, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def path_of(name: str) -> Path | None:
    """The file of a catalogue name, or None when there is no such name."""
    return _FOLDER / f"{name}.yaml" if name in names() else None

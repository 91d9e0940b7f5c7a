"""Sites made up from a seed: one large file, a mixed web site, or many small files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from hashlib import shake_128
from itertools import accumulate
from pathlib import Path
from random import Random

SMALL_FILE_BYTES = (1_000, 8_000)


class Kind(StrEnum):
    """What a site is made of."""

    LARGE = "large"
    """One file that cannot be compressed: a video, an image of a disk."""
    MIXED = "mixed"
    """A web site: text that can be compressed, images and one video that cannot."""
    SMALL = "small"
    """Files of 1 to 8 kB, every other one text."""


@dataclass(frozen=True, slots=True)
class Content:
    """A kind and how much of it: `amount` is bytes, of small files their number."""

    kind: Kind
    amount: int

    @property
    def name(self) -> str:
        """The kind with its amount, as `mixed-4MB` or `small-1000`."""
        amount = str(self.amount) if self.kind is Kind.SMALL else f"{self.amount / 1e6:g}MB"
        return f"{self.kind}-{amount}"


@dataclass(frozen=True, slots=True)
class Made:
    """What a site came to."""

    bytes: int
    objects: int


@dataclass(frozen=True, slots=True)
class _Sort:
    """Files of one sort in a mixed site: their share of its bytes, and the sizes they have."""

    pattern: str
    share: float
    smallest_bytes: int
    largest_bytes: int
    is_text: bool


_MIX = (
    _Sort("pages/{}.html", 0.10, 4_000, 60_000, is_text=True),
    _Sort("code/{}.js", 0.20, 5_000, 250_000, is_text=True),
    _Sort("images/{}.jpg", 0.50, 5_000, 300_000, is_text=False),
)
"""Most of a page's bytes are images, then scripts; what these leave is one video."""


def make_site(folder: Path, content: Content, seed: int, edition: str) -> Made:
    """Write a site below `folder`. The seed gives the sizes, so that all editions are equally large; no
    two editions have a file in common. Raises OSError."""
    sizes = Random(f"{seed} {content.name}")
    text = Prose(Random(f"{seed} {edition}"))
    noise_of = f"{seed} {edition}".encode()
    total = 0
    files = list(_files(content, sizes))
    for number, (path, size, is_text) in enumerate(files):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        noise = shake_128(noise_of + number.to_bytes(4, "big"))
        target.write_bytes(text.of_size(size) if is_text else noise.digest(size))
        total += size
    return Made(total, len(files))


def _files(content: Content, chance: Random) -> list[tuple[str, int, bool]]:
    """Path, size and whether it is text, of every file."""
    if content.kind is Kind.LARGE:
        return [("video.mp4", content.amount, False)]
    if content.kind is Kind.SMALL:
        return [
            (f"{number // 100:03}/{number:05}.{'json' if number % 2 else 'webp'}",
             _log_uniform(chance, *SMALL_FILE_BYTES), bool(number % 2))
            for number in range(content.amount)
        ]  # fmt: skip
    files: list[tuple[str, int, bool]] = []
    left = content.amount
    for sort in _MIX:
        part = round(content.amount * sort.share)
        number = 0
        while part >= sort.smallest_bytes:
            size = min(part, _log_uniform(chance, sort.smallest_bytes, sort.largest_bytes))
            files.append((sort.pattern.format(f"{number:05}"), size, sort.is_text))
            part, left, number = part - size, left - size, number + 1
    return [*files, ("video.mp4", left, False)]


def _log_uniform(chance: Random, smallest: int, largest: int) -> int:
    return round(smallest * math.exp(chance.random() * math.log(largest / smallest)))


class Prose:
    """Text that compresses as natural language does: words by Zipf's law."""

    WORDS = 4000

    def __init__(self, chance: Random) -> None:
        """The words themselves are drawn as well."""
        letters = "eeeettaaooiinnsshhrrddlucmwfgypbvk"
        self._chance = chance
        self._words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(self.WORDS)]
        self._weights = list(accumulate(1 / rank for rank in range(1, self.WORDS + 1)))

    def of_size(self, size: int) -> bytes:
        """So many bytes of text."""
        words = self._chance.choices(self._words, cum_weights=self._weights, k=size // 4 + 1)
        return " ".join(words).encode().ljust(size)[:size]

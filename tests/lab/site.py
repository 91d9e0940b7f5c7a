"""A small web site for the lab tests: pages with images, spaces and unicode in names, a binary."""

from __future__ import annotations

import random
from pathlib import Path

FILES = 8
STYLE = "stil.css"
BINARY_BYTES = 300_000
LARGE_BINARY_BYTES = 3_000_000


def make_site(folder: Path, binary_bytes: int = BINARY_BYTES) -> Path:
    """Write the site below `folder`; the same bytes every time."""
    chance = random.Random("site of the lab tests")
    pages = {
        "index.html": '<img src="bilder/h%C3%B6he%201.png"><a href="seite%20zwei.html">weiter</a>',
        "seite zwei.html": '<img src="bilder/zwei.png"><link rel="stylesheet" href="stil.css">',
        "über uns/我们.html": '<img src="../bilder/zwei.png"><img src="../bilder/h%C3%B6he%201.png">',
    }
    for name, body in pages.items():
        _write(folder / name, f"<!DOCTYPE html><html><head></head><body>{body}</body></html>".encode())
    rules = (f"#n{number} {{ color: #{chance.randrange(1 << 24):06x} }}\n" for number in range(500))
    _write(folder / STYLE, "".join(rules).encode())
    _write(folder / "bilder/höhe 1.png", chance.randbytes(20_000))
    _write(folder / "bilder/zwei.png", chance.randbytes(1))
    _write(folder / "video/film.mpg", chance.randbytes(binary_bytes))
    _write(folder / "leer.txt", b"")
    return folder


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

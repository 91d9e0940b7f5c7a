"""The service's own page, at `/` of the demo site: which edge answers, the live channels, an upload."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from experiments.npm import HLS_JS, folder_of
from experiments.pages import TEMPLATES, page_environment
from lab.progress import ProgressSink, silent

PAGE, STYLE, SCRIPT = "portal.html.j2", "portal.css", "portal.js"
PLAYER = "hls/hls.light.min.js"
"""Loaded when somebody presses Play, not before: it is twenty times as large as the rest."""


def edition() -> str:
    """A short name of the portal as it is now: another one whenever its files or its player change."""
    parts = [HLS_JS.integrity.encode()]
    parts += [(TEMPLATES / name).read_bytes() for name in (PAGE, STYLE, SCRIPT)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:8]


def portal_page(links: Sequence[tuple[str, str]]) -> str:
    """The page as HTML; `links` are what there is to read on the site, as URL and title."""
    return page_environment().get_template(PAGE).render(links=links)


def place_portal(
    site: Path,
    links: Sequence[tuple[str, str]],
    progress: ProgressSink = silent,
    cache: Path | None = None,
) -> None:
    """Put the page, its style, its script and the player into the folder `site`. The player comes from npm
    the first time, with its licence. Raises NpmError, OSError."""
    package = folder_of(HLS_JS, progress, cache)
    (site / "hls").mkdir()
    shutil.copyfile(package / "dist" / "hls.light.min.js", site / PLAYER)
    shutil.copyfile(package / "LICENSE", site / "hls" / "LICENSE.txt")
    for name in (STYLE, SCRIPT):
        shutil.copyfile(TEMPLATES / name, site / name)
    (site / "index.html").write_text(portal_page(links), encoding="utf-8")

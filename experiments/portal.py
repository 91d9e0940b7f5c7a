"""The service's own page, at `/` of the demo site: which edge answers, the live channels, an upload."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from experiments.npm import HLS_JS, folder_of
from lab.progress import ProgressSink, silent

TEMPLATES = Path(__file__).parent / "templates"
STYLE, SCRIPT = "portal.css", "portal.js"
PLAYER = "hls/hls.light.min.js"
"""Loaded when somebody presses Play, not before: it is twenty times as large as the rest."""


def portal_page(links: Sequence[tuple[str, str]]) -> str:
    """The page as HTML; `links` are what there is to read on the site, as URL and title."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("portal.html.j2").render(links=links)


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

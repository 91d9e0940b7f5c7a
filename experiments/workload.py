"""What the users ask for: page loads and videos drawn from a site, fixed by a seed (pure but for reading)."""

from __future__ import annotations

import posixpath
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from delivery.tree import walk

PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
VIDEO_SUFFIXES = (".mpg", ".mpeg", ".mp4", ".webm", ".mkv", ".ogv", ".avi", ".mov")
_EMBEDDED = {"img": ("src",), "script": ("src",), "link": ("href",), "source": ("src",), "video": ("poster",)}
_LINK_TYPES = frozenset({"stylesheet", "icon"})


@dataclass(frozen=True, slots=True)
class Page:
    """A page and what it embeds from the same site, as paths relative to the site's root."""

    path: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SiteMap:
    """What a site offers to a user, in a fixed order."""

    pages: tuple[Page, ...]
    videos: tuple[str, ...]


class _Embedded(HTMLParser):
    """Collects the references a browser would fetch to show the page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and not _LINK_TYPES & set((values.get("rel") or "").lower().split()):
            return
        self.found += [value for name in _EMBEDDED.get(tag, ()) if (value := values.get(name))]


def embedded(path: str, html: str, known: frozenset[str]) -> tuple[str, ...]:
    """The files of the same site that page `path` embeds, in the order of the page, each once."""
    parser = _Embedded()
    parser.feed(html)
    parts: dict[str, None] = {}
    for reference in parser.found:
        address = urlsplit(reference.strip())
        if address.scheme or address.netloc or not address.path:
            continue
        base = "" if address.path.startswith("/") else posixpath.dirname(path)
        target = posixpath.normpath(posixpath.join(base, unquote(address.path).lstrip("/")))
        if target in known and target != path:
            parts[target] = None
    return tuple(parts)


def map_site(site: Path) -> SiteMap:
    """Read a site: its pages with what they embed, and its videos. Raises OSError when it is unreadable."""
    paths = list(walk(site))
    known = frozenset(paths)
    pages = tuple(
        Page(path, embedded(path, (site / path).read_text(encoding="utf-8", errors="replace"), known))
        for path in paths
        if path.lower().endswith(PAGE_SUFFIXES)
    )
    return SiteMap(pages, tuple(path for path in paths if path.lower().endswith(VIDEO_SUFFIXES)))


def plan_workload(
    site: SiteMap,
    users: Sequence[str],
    seed: int,
    host: str,
    *,
    scheme: str = "http",
    pages_per_user: int = 3,
    videos_per_user: int = 1,
    spread_s: float = 2.0,
) -> Mapping[str, list[dict[str, Any]]]:
    """What each user fetches and when, in seconds after the requests begin; the same seed, the same plan.

    Pages with images are preferred. A user's page loads follow each other about `spread_s` apart, each
    user starts somewhere within the first `spread_s`, the videos come last. Entries are
    `{"page", "kind", "start_s", "urls"}`; the first URL is the page itself, the others what it embeds.
    """
    chance, root = random.Random(f"workload {seed}"), f"{scheme}://{host}"
    preferred = [page for page in site.pages if _has_image(page)] or list(site.pages)
    plan: dict[str, list[dict[str, Any]]] = {}
    for user in users:
        start_s = chance.uniform(0, spread_s)
        entries: list[dict[str, Any]] = []
        for page in _choose(chance, preferred, pages_per_user):
            urls = [_url(root, path) for path in (page.path, *page.parts)]
            entries.append(_entry(f"{user}-{len(entries) + 1}", "page", start_s, urls))
            start_s += chance.uniform(0.5, 1.5) * spread_s
        for video in _choose(chance, site.videos, videos_per_user):
            entries.append(_entry(f"{user}-{len(entries) + 1}", "video", start_s, [_url(root, video)]))
            start_s += chance.uniform(0.5, 1.5) * spread_s
        plan[user] = entries
    return plan


def _choose(chance: random.Random, items: Sequence[Any], count: int) -> list[Any]:
    if not items:
        return []
    if len(items) >= count:
        return chance.sample(items, count)
    return [chance.choice(items) for _ in range(count)]


def _has_image(page: Page) -> bool:
    return any(not part.lower().endswith((".css", ".js")) for part in page.parts)


def _entry(page: str, kind: str, start_s: float, urls: Iterable[str]) -> dict[str, Any]:
    return {"page": page, "kind": kind, "start_s": round(start_s, 6), "urls": list(urls)}


def _url(root: str, path: str) -> str:
    return f"{root}/{quote(path)}"

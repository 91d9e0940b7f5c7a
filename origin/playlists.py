"""What a live HLS playlist lists (RFC 8216). Pure."""

from __future__ import annotations

import re

_URI = re.compile(r'URI="([^"]*)"')
_TAGS_WITH_URI = ("#EXT-X-MAP:", "#EXT-X-KEY:", "#EXT-X-MEDIA:", "#EXT-X-PART:", "#EXT-X-I-FRAME-STREAM-INF:")


class PlaylistError(ValueError):
    """Not a playlist that can be published; the message says why."""


def listed(text: str, folder: str = "") -> tuple[str, ...]:
    """The paths of the files that a playlist in `folder` ("" or ending in `/`) names, each once.

    Addresses elsewhere (with a scheme, or absolute) are the player's business. Raises PlaylistError for what
    is no playlist, and for names that lead out of the folder.
    """
    lines = text.splitlines()
    if not lines or lines[0].lstrip("\ufeff").strip() != "#EXTM3U":
        raise PlaylistError("does not begin with #EXTM3U")
    paths: dict[str, None] = {}
    for line in map(str.strip, lines[1:]):
        names = [line] if line and not line.startswith("#") else []
        if line.startswith(_TAGS_WITH_URI):
            names = _URI.findall(line)
        for name in names:
            name = name.partition("?")[0]
            if ":" in name.partition("/")[0] or name.startswith("/"):
                continue
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise PlaylistError(f"names {name[:80]!r}, which is no plain relative path")
            paths[folder + name] = None
    return tuple(paths)

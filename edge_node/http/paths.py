"""From the path of a URL to the name of a file, without ever touching a file system."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

INDEX = "index.html"


def file_name(raw_path: str) -> str | None:
    """The published file a raw (percent-encoded) URL path names: `/a%20b/` is `a b/index.html`.

    None when no file can have that name: it is not rooted, not UTF-8, or a segment is empty, a dot
    segment or holds an encoded slash or NUL. Dot segments are refused, not resolved: a client
    removes them before it asks (RFC 3986 section 5.2.4).
    """
    if not raw_path.startswith("/"):
        return None
    segments: list[str] = []
    *raw_folders, raw_last = raw_path[1:].split("/")
    for raw in (*raw_folders, raw_last or INDEX):
        if "%" in raw and not _well_formed(raw):
            return None
        try:
            segment = unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            return None
        if segment in ("", ".", "..") or "/" in segment or "\0" in segment:
            return None
        segments.append(segment)
    return "/".join(segments)


def _well_formed(raw: str) -> bool:
    """Whether every percent sign is followed by two hexadecimal digits (RFC 3986 section 2.1)."""
    return all(
        len(rest) >= 2 and rest[0] in _HEX_DIGITS and rest[1] in _HEX_DIGITS for rest in raw.split("%")[1:]
    )


_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")

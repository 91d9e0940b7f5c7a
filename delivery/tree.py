"""A site's folder on disk as file entries: what the origin publishes, and what an edge is compared with.

Reads the file system only; nothing of the protocol imports it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from delivery.manifest import FileEntry

UNKNOWN_TYPE = "application/octet-stream"

_TYPES = {
    "aac": "audio/aac",
    "avif": "image/avif",
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "htm": "text/html; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/vnd.microsoft.icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "m3u8": "application/vnd.apple.mpegurl",
    "m4a": "audio/mp4",
    "m4s": "video/iso.segment",
    "map": "application/json",
    "md": "text/markdown; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpd": "application/dash+xml",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "ts": "video/mp2t",
    "ttf": "font/ttf",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xml": "application/xml",
    "zip": "application/zip",
}


def content_type(path: str) -> str:
    """The media type of a file by its name, the same on every machine (`mimetypes` is not)."""
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    return _TYPES.get(extension.lower(), UNKNOWN_TYPE) if dot else UNKNOWN_TYPE


def walk(site: Path, warn: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """The relative paths (`/` between parts) of every file below `site`, in the order of their bytes.

    Links are followed while they stay inside `site`. What cannot be published is skipped and told to `warn`
    in one line: links that lead out, nowhere or in a circle, special files, names that are not UTF-8. Raises
    OSError for a folder that cannot be read.
    """
    root = os.path.realpath(site, strict=True)
    return _walk(os.fspath(site), "", root, (root,), warn)


def _walk(
    folder: str, prefix: str, root: str, above: tuple[str, ...], warn: Callable[[str], None]
) -> Iterator[str]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in ordered:
        path = prefix + entry.name
        problem = _problem(entry, path, root, above)
        if problem:
            warn(f"{path!r} {problem}; skipped")
        elif entry.is_dir():
            yield from _walk(entry.path, f"{path}/", root, (*above, os.path.realpath(entry.path)), warn)
        else:
            yield path


def _problem(entry: os.DirEntry[str], path: str, root: str, above: tuple[str, ...]) -> str:
    """Why an entry cannot be published, or nothing."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not os.path.exists(target):
            return "is a link that leads nowhere"
        if os.path.commonpath((root, target)) != root:
            return f"is a link that leaves the folder, to {target}"
        if target in above:
            return "is a link to a folder it lies in"
    return "" if entry.is_dir() or entry.is_file() else "is neither a file nor a folder"


def scan(site: Path, warn: Callable[[str], None] = lambda _: None) -> Iterator[FileEntry]:
    """Every file that `walk` finds, with its size, digest and content type. Raises OSError."""
    for path in walk(site, warn):
        yield scan_file(site, path)


def scan_file(site: Path, path: str) -> FileEntry:
    """One file, read to its end. Raises OSError."""
    with open(site / path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileEntry(path, file.tell(), digest.hexdigest(), content_type(path))

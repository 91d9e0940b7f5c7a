"""A site's folder on disk as file entries: what the origin publishes, and what an edge is compared with.

Reads the file system only; nothing of the protocol imports it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
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
    """The media type of a file by its name; text is UTF-8. The same on every machine, unlike `mimetypes`."""
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    return _TYPES.get(extension.lower(), UNKNOWN_TYPE) if dot else UNKNOWN_TYPE


def walk(site: Path) -> Iterator[str]:
    """The relative paths (`/` between parts) of every regular file below `site`, sorted by folder.

    Links to folders are not followed. Raises OSError for a folder that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(site, onerror=fail):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file():
                yield path.relative_to(site).as_posix()


def scan(site: Path) -> Iterator[FileEntry]:
    """Every file below `site` with its size, digest and content type. Raises OSError."""
    for path in walk(site):
        with open(site / path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            yield FileEntry(path, file.tell(), digest.hexdigest(), content_type(path))

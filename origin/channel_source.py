"""A folder into which an encoder writes live HLS: its playlist, with what that lists, whenever it changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from delivery.manifest import FileEntry
from delivery.tree import content_type
from origin.catalogue import Signature, signature
from origin.errors import OriginError
from origin.playlists import PlaylistError, listed

PLAYLIST = "index.m3u8"
MAX_CHANNEL_BYTES = 256 << 20
"""What a playlist may list: it is held in memory, because encoders overwrite and delete."""


@dataclass(frozen=True)
class ChannelVersion:
    """A playlist and the files it lists, with their content."""

    files: tuple[FileEntry, ...]
    blobs: Mapping[str, bytes]

    @property
    def sizes(self) -> dict[str, int]:
        """The blobs with their sizes in bytes."""
        return {sha256: len(content) for sha256, content in self.blobs.items()}

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """Part of a blob."""
        return self.blobs[sha256][offset : offset + length]


class ChannelSource:
    """Polls the folder of one channel. Files appear in it by rename, so each is whole once it is there."""

    def __init__(self, folder: Path) -> None:
        """Raises OriginError when there is no such folder."""
        if not folder.is_dir():
            raise OriginError(f"{folder}: there is no such folder; check --channel")
        self._folder = folder
        self._seen: Signature | None = None
        self._held: dict[str, tuple[Signature, bytes]] = {}

    def poll(self) -> ChannelVersion | None:
        """The channel as it is when its playlist has changed and all that it lists is there; else None.

        Raises OriginError, once for each state of the playlist, for what cannot be published.
        """
        playlist = self._folder / PLAYLIST
        try:
            now = signature(playlist)
            if now == self._seen:
                return None
            contents = self._read_listed()
            if signature(playlist) != now:
                return None
        except FileNotFoundError:
            return None
        except (PlaylistError, UnicodeDecodeError) as error:
            self._seen = now
            raise OriginError(f"{playlist}: {error}") from None
        except OSError as error:
            self._seen = now
            raise OriginError(f"{error.filename}: cannot read it: {error.strerror}") from None
        self._seen = now
        return _version(contents)

    def _read_listed(self) -> dict[str, bytes]:
        """The playlist and everything that it and the playlists in it list. Raises OSError, PlaylistError."""
        contents: dict[str, bytes] = {}
        waiting = [PLAYLIST]
        room = MAX_CHANNEL_BYTES
        while waiting:
            path = waiting.pop()
            if path in contents:
                continue
            contents[path] = self._read(path, room)
            room -= len(contents[path])
            if path.endswith(".m3u8"):
                folder = path.rpartition("/")[0]
                waiting += listed(contents[path].decode(), f"{folder}/" if folder else "")
        self._held = {path: held for path, held in self._held.items() if path in contents}
        return contents

    def _read(self, path: str, room: int) -> bytes:
        now = signature(self._folder / path)
        held = self._held.get(path)
        if held is not None and held[0] == now:
            return held[1]
        status = os.stat(self._folder / path)
        if status.st_size > room:
            raise PlaylistError(f"lists more than {MAX_CHANNEL_BYTES} bytes; let it list fewer segments")
        content = (self._folder / path).read_bytes()
        self._held[path] = now, content
        return content


def _version(contents: Mapping[str, bytes]) -> ChannelVersion:
    files, blobs = [], {}
    for path, content in sorted(contents.items()):
        sha256 = hashlib.sha256(content).hexdigest()
        blobs[sha256] = content
        files.append(FileEntry(path, len(content), sha256, content_type(path)))
    return ChannelVersion(tuple(files), blobs)

"""Users who watch live HLS (RFC 8216): when they see a picture, and whether it ever stands still.

A player asks for the playlist, begins three segments before its end (section 6.3.3), and then takes every
segment as it comes. It shows a segment once all of it is here; when the next one is not, when this one ends,
the picture stands still until it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.http_client import Answer, Server, fetch
from experiments.windows import Get
from topologies.namespaces import NetworkNamespace

COLUMNS = (
    "user", "viewing", "kind", "number", "path", "started_s", "connect_s", "ttfb_s", "total_s", "bytes",
    "status", "edge", "error", "still_s",
)  # fmt: skip
PLAYLIST, SEGMENT = "playlist", "segment"
BEHIND = 3
RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Viewer:
    """`user` watches the channel whose playlist is at `path`, from `start_s` for `watch_s`. `viewing` is a
    word for the kind: `cold`, `warm` …"""

    user: str
    start_s: float
    watch_s: float
    path: str
    viewing: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment in a playlist: its number in the stream, its name, its length in seconds."""

    number: int
    name: str
    length_s: float


def parse_playlist(text: str) -> tuple[list[Entry], float]:
    """The segments of a media playlist, and its target duration in seconds. Raises ValueError."""
    number, length_s, target_s = 0, 0.0, 0.0
    entries: list[Entry] = []
    lines = text.splitlines()
    if lines[:1] != ["#EXTM3U"]:
        raise ValueError("this is no playlist")
    for line in lines:
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-MEDIA-SEQUENCE":
            number = int(value)
        elif tag == "#EXT-X-TARGETDURATION":
            target_s = float(value)
        elif tag == "#EXTINF":
            length_s = float(value.partition(",")[0])
        elif line and not line.startswith("#"):
            entries.append(Entry(number + len(entries), line, length_s))
    return entries, target_s


class Player:
    """One viewer; `rows` are those of viewing.csv, times since `origin_s` (monotonic)."""

    def __init__(
        self, viewer: Viewer, namespace: NetworkNamespace, server: Server, zero_s: float, origin_s: float
    ) -> None:
        """The viewer's times count from `zero_s`."""
        self.rows: list[tuple[Any, ...]] = []
        self._viewer, self._namespace, self._server = viewer, namespace, server
        self._begin_s, self._origin_s = zero_s + viewer.start_s, origin_s
        self._next: int | None = None
        self._shown_until_s: float | None = None

    async def watch(self) -> None:
        """Watch until it is time to stop."""
        await _until(self._begin_s)
        end_s = self._begin_s + self._viewer.watch_s
        while time.monotonic() < end_s:
            asked_s = time.monotonic()
            entries, target_s = await self._playlist()
            fresh = self._fresh(entries)
            for entry in fresh:
                if time.monotonic() >= end_s:
                    return
                await self._segment(entry)
            # RFC 8216 section 6.3.4: after the target duration, or half of it when nothing was new.
            wait_s = (target_s if fresh else target_s / 2) if entries else RETRY_S
            await _until(min(asked_s + wait_s, end_s))

    async def _playlist(self) -> tuple[list[Entry], float]:
        content = bytearray()
        answer = await self._get(self._viewer.path, content)
        entries: list[Entry] = []
        target_s = 0.0
        if answer.status == 200 and not answer.error:
            try:
                entries, target_s = parse_playlist(content.decode())
            except ValueError as error:
                answer.error = str(error)
        self._note(PLAYLIST, entries[-1].number if entries else -1, self._viewer.path, answer, 0.0)
        return entries, target_s

    def _fresh(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """What is to be fetched now."""
        if self._next is None:
            return entries[-BEHIND:]
        return [entry for entry in entries if entry.number >= (self._next or 0)]

    async def _segment(self, entry: Entry) -> None:
        path = f"{self._viewer.path.rpartition('/')[0]}/{entry.name}"
        answer = await self._get(path, None)
        now_s = time.monotonic()
        still_s = 0.0
        if answer.status == 200 and not answer.error:
            if self._shown_until_s is not None:
                still_s = max(0.0, now_s - self._shown_until_s)
            self._shown_until_s = max(now_s, self._shown_until_s or 0.0) + entry.length_s
        self._next = entry.number + 1
        self._note(SEGMENT, entry.number, path, answer, still_s)

    async def _get(self, path: str, content: bytearray | None) -> Answer:
        get = Get(self._viewer.user, 0.0, path)
        return await fetch(get, self._namespace, self._server, time.monotonic(), content)

    def _note(self, kind: str, number: int, path: str, answer: Answer, still_s: float) -> None:
        times = (answer.started_s - self._origin_s, answer.connect_s, answer.ttfb_s, answer.total_s)
        self.rows.append(
            (
                *(self._viewer.user, self._viewer.viewing, kind, number, path),
                *(f"{value:.6f}" for value in times),
                *(answer.bytes, answer.status, answer.edge, answer.error, f"{still_s:.6f}"),
            )
        )


async def watch_all(
    viewers: Sequence[Viewer],
    hosts: Mapping[str, NetworkNamespace],
    server: Server,
    zero_s: float,
    origin_s: float,
) -> list[tuple[Any, ...]]:
    """Have all of them watch; the rows of viewing.csv in the order of their times."""
    players = [Player(viewer, hosts[viewer.user], server, zero_s, origin_s) for viewer in viewers]
    await asyncio.gather(*(player.watch() for player in players))
    rows = [row for player in players for row in player.rows]
    return sorted(rows, key=lambda row: (float(row[5]), row[0]))


async def _until(time_s: float) -> None:
    await asyncio.sleep(max(0.0, time_s - time.monotonic()))

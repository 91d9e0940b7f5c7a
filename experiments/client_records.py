"""Raw data of the experiment `clients` as typed records: what dig, curl and a browser saw."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NameLookup:
    """What dig answered `user`: the addresses separated by spaces, how long they may be kept."""

    user: str
    name: str
    status: str
    addresses: str
    ttl_s: int
    query_ms: int
    server: str


@dataclass(frozen=True, slots=True)
class DownloadPart:
    """One curl of a download, which went on at `from_byte`; `sha256` (hex) is that of the whole file, empty
    while it is not whole; `exitcode` is curl's."""

    user: str
    path: str
    attempt: int
    from_byte: int
    started_s: float
    total_s: float
    bytes: int
    status: int
    edge: str
    etag: str
    exitcode: int
    sha256: str

    @property
    def is_whole(self) -> bool:
        """Whether with it everything was there, and is what the entity tag names."""
        return self.exitcode == 0 and bool(self.sha256) and self.etag == f'"{self.sha256}"'


@dataclass(frozen=True, slots=True)
class Death:
    """An edge that was `killed`, or whose machine was `unplugged`, in the act."""

    act: str
    edge: str
    kind: str
    t_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened in the browser: a picture of it if `screenshot` names one, or what the page
    `said`, or said of a failure (`wrong`), or a warning of the browser's `console`."""

    moment: str
    t_s: float
    screenshot: str
    text: str


@dataclass(frozen=True, slots=True)
class PlaybackSample:
    """Where the player was at `t_s`: position and the end of what it had buffered, in seconds of the channel;
    the ready state is the media element's."""

    t_s: float
    position_s: float
    buffered_s: float
    ready_state: int
    is_paused: bool


@dataclass(frozen=True, slots=True)
class BrowserTransfer:
    """One request of the browser's page. `identical` says of a segment whether its bytes are those that its
    entity tag names (1 or 0, empty for the rest)."""

    method: str
    path: str
    started_s: float
    total_s: float
    bytes: int
    status: int
    edge: str
    error: str
    is_cancelled: bool
    identical: str

    @property
    def has_failed(self) -> bool:
        """Whether nothing good came of it although the page wanted it."""
        return not self.is_cancelled and (bool(self.error) or self.status >= 400)

    @property
    def is_segment(self) -> bool:
        """Whether it brought a segment of a channel."""
        return self.identical != ""

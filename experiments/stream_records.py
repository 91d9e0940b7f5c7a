"""Raw data of streams as typed records: what was on every link, who watched, when branches came and went."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamBytes:
    """What a stream put on one direction of a link within half a second from `begin_s`; `first_s` and
    `last_s` are when the first and the last of these frames came. `way` is `multicast`, `unicast` or `mld`.
    """

    phase: str
    stream: str
    way: str
    link: str
    source: str
    target: str
    layer: str
    begin_s: float
    first_s: float
    last_s: float
    bytes: int
    packets: int


@dataclass(frozen=True, slots=True)
class StreamPhase:
    """A phase; `seen` frames of all streams were seen in it, `lost` for want of room in the whole act."""

    phase: str
    begin_s: float
    end_s: float
    seen: int
    lost: int


@dataclass(frozen=True, slots=True)
class Branch:
    """An edge joins a stream, or leaves it (not `is_join`).

    `edge_s` is when the edge had joined, manifest included, or had left; `controller_s` when the controller
    took it up or dropped it; `synced_s` when every switch had confirmed the tree that follows.
    """

    stream: str
    edge: str
    is_join: bool
    edge_s: float
    controller_s: float
    synced_s: float


@dataclass(frozen=True, slots=True)
class Viewing:
    """One request of a user who watches; times as in `Transfer`. `number` is that of the segment, of a
    playlist that of its last one; before it was here the picture stood still for `still_s`."""

    user: str
    viewing: str
    kind: str
    number: int
    path: str
    started_s: float
    connect_s: float
    ttfb_s: float
    total_s: float
    bytes: int
    status: int
    edge: str
    error: str
    still_s: float

    @property
    def ok(self) -> bool:
        """Whether the user got all of it."""
        return not self.error and self.status == 200

    @property
    def ended_s(self) -> float:
        """When it ended, in seconds since the scenario began."""
        return self.started_s + self.total_s

"""What a stream put on every link: frames of its group, and connections to its unicast API, by phase.

A frame belongs to the phase in which it left its source, wherever it is seen: what is under way when a phase
ends does not blur it.
"""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from lab.bpf import Filter, of_tcp_port, to_group
from lab.taps import Seen, parse_segment
from topologies.spec import Topology

COLUMNS = (
    "phase", "stream", "way", "link", "from", "to", "layer",
    "begin_s", "first_s", "last_s", "bytes", "packets",
)  # fmt: skip
MULTICAST, UNICAST, MLD = "multicast", "unicast", "mld"
"""Content sent to the group; connections to the API; switches asking whether the group has listeners."""
BIN_S = 0.5
"""Bytes are added up for so long; a phase's first bin begins with it."""
_NEXT_HEADER = 20
_DESTINATION = slice(38, 54)
_IDENTITY = slice(54, 98)
"""UDP and ALC headers and some content: tells the frames of a group from each other."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A channel, or the local content of an edge: its group ("": none), and where it is to be had by unicast:
    at a TCP port, below the path that is its name."""

    name: str
    group: str
    port: int

    @property
    def requests(self) -> tuple[bytes, ...]:
        """How the requests to its API begin."""
        return tuple(f"{method} /{self.name}/".encode() for method in ("GET", "POST", "PUT", "HEAD"))


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time, in monotonic seconds."""

    name: str
    begin_s: float
    end_s: float


def filters(streams: Iterable[Stream]) -> list[Filter]:
    """What to look at for these streams."""
    streams = list(streams)
    ports = dict.fromkeys(stream.port for stream in streams)
    found = [to_group(stream.group) for stream in streams if stream.group]
    return found + [each for port in ports for each in of_tcp_port(port)]


def stream_rows(
    topology: Topology,
    streams: Sequence[Stream],
    seen: Sequence[Seen],
    phases: Sequence[Phase],
    origin_s: float,
) -> list[tuple[str | int, ...]]:
    """The rows of streams.csv; `seen` in the order of time, `phases` one after the other without gaps."""
    tagged = [*_multicast(topology, streams, seen), *_unicast(streams, seen)]
    begins = [phase.begin_s for phase in phases]
    bins: dict[tuple[int, str, str, str, str, int], list[Seen]] = {}
    for stream, way, left_s, frame in tagged:
        index = bisect_right(begins, left_s) - 1
        if index < 0 or left_s >= phases[index].end_s:
            continue
        number = int((left_s - phases[index].begin_s) / BIN_S)
        bins.setdefault((index, stream, way, frame.source, frame.target, number), []).append(frame)
    rows: list[tuple[str | int, ...]] = []
    for (index, stream, way, source, target, number), frames in sorted(bins.items()):
        phase, link = phases[index], frames[0].link
        times = (
            phase.begin_s + number * BIN_S - origin_s,
            min(frame.t_s for frame in frames) - origin_s,
            max(frame.t_s for frame in frames) - origin_s,
        )
        place = (phase.name, stream, way, link.name, source, target, str(topology.link_layer(link)))
        size = sum(frame.size for frame in frames)
        rows.append((*place, *(f"{value:.6f}" for value in times), size, len(frames)))
    return rows


Tagged = tuple[str, str, float, Seen]
"""Stream, way, when the frame left its source, the frame."""


def _multicast(topology: Topology, streams: Iterable[Stream], seen: Iterable[Seen]) -> Iterator[Tagged]:
    names = {IPv6Address(stream.group).packed: stream.name for stream in streams if stream.group}
    left_s: dict[bytes, float] = {}
    for frame in seen:
        name = names.get(frame.head[_DESTINATION])
        if name is None:
            continue
        if frame.head[_NEXT_HEADER] != socket.IPPROTO_UDP:
            yield name, MLD, frame.t_s, frame
            continue
        identity = frame.head[_IDENTITY]
        # Descriptions are repeated: what comes from a host is a new frame, not an old one further on.
        if not topology.role(frame.source).is_switch:
            left_s[identity] = frame.t_s
        yield name, MULTICAST, left_s.get(identity, frame.t_s), frame


def _unicast(streams: Iterable[Stream], seen: Iterable[Seen]) -> Iterator[Tagged]:
    segments = [(frame, parse_segment(frame.head)) for frame in seen if _is_tcp(frame)]
    starts = [(stream.port, start, stream.name) for stream in streams for start in stream.requests]
    owners = {
        segment.connection: name
        for _, segment in segments
        for port, start, name in starts
        if segment.target[1] == port and segment.payload.startswith(start)
    }
    for frame, segment in segments:
        name = owners.get(segment.connection)
        if name is not None:
            yield name, UNICAST, frame.t_s, frame


def _is_tcp(frame: Seen) -> bool:
    return frame.head[_NEXT_HEADER] == socket.IPPROTO_TCP

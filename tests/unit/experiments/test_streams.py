"""What is made of the frames of a stream, of a playlist, and of the logs of those who join."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from experiments.branches import branch_rows
from experiments.offering import Offering, encoder_command, group_of, offering_from_json, offering_to_json
from experiments.streams import Phase, Stream, filters, stream_rows
from experiments.viewer import Entry, parse_playlist
from lab.taps import Seen, parse_segment
from topologies.files import load

FIGURE2 = load("figure2")
GROUP = "ff35::8001:0"
NEWS = Stream("live/news", GROUP, 8080)
ORIGIN, EDGE = "fd6e:6361:7374::4", "fd6e:6361:7374:1::1"
PHASES = [Phase("a", 10.0, 12.0), Phase("b", 12.0, 14.0)]


def frame(target: str, next_header: int, payload: bytes, source: str = ORIGIN) -> bytes:
    """The first bytes of an Ethernet frame."""
    addresses = IPv6Address(source).packed + IPv6Address(target).packed
    return bytes(12) + b"\x86\xdd" + bytes(6) + bytes([next_header, 64]) + addresses + payload


def seen(t_s: float, source: str, target: str, size: int, head: bytes) -> Seen:
    return Seen(t_s, FIGURE2.port(source, target).link, source, target, size, head)


def datagram(number: int) -> bytes:
    return frame(GROUP, 17, struct.pack("!HHHHI", 5000, 4001, 100, 0, number) + bytes(60))


def segment(payload: bytes, *, is_answer: bool = False, port: int = 8080) -> bytes:
    ends = (ORIGIN, EDGE) if is_answer else (EDGE, ORIGIN)
    ports = (port, 40000) if is_answer else (40000, port)
    header = struct.pack("!HH8xB7x", *ports, 8 << 4) + bytes(12)
    return frame(ends[1], 6, header + payload, ends[0])


def rows(*frames: Seen) -> list[tuple[str, ...]]:
    found = stream_rows(FIGURE2, [NEWS], sorted(frames, key=lambda each: each.t_s), PHASES, 10.0)
    return [tuple(str(cell) for cell in (row[0], *row[2:3], *row[4:6], *row[7:])) for row in found]


def test_a_frame_belongs_to_the_phase_in_which_it_left_its_source() -> None:
    first, second = datagram(1), datagram(2)
    found = rows(
        seen(11.999, "origin", "core1", 1478, first),
        seen(12.001, "core1", "dist1", 1478, first),
        seen(12.0, "origin", "core1", 500, second),
        seen(12.002, "core1", "dist1", 500, second),
    )
    assert found == [
        ("a", "multicast", "core1", "dist1", "1.500000", "2.001000", "2.001000", "1478", "1"),
        ("a", "multicast", "origin", "core1", "1.500000", "1.999000", "1.999000", "1478", "1"),
        ("b", "multicast", "core1", "dist1", "2.000000", "2.002000", "2.002000", "500", "1"),
        ("b", "multicast", "origin", "core1", "2.000000", "2.000000", "2.000000", "500", "1"),
    ]


def test_a_repeated_description_is_a_frame_of_its_own() -> None:
    again = datagram(1)
    found = rows(
        seen(10.1, "origin", "core1", 300, again),
        seen(10.102, "core1", "dist1", 300, again),
        seen(12.1, "origin", "core1", 300, again),
        seen(12.102, "core1", "dist1", 300, again),
    )
    assert [(row[0], row[2]) for row in found] == [
        ("a", "core1"),
        ("a", "origin"),
        ("b", "core1"),
        ("b", "origin"),
    ]


def test_questions_for_listeners_are_no_content_and_other_groups_not_the_streams() -> None:
    query = frame(GROUP, 0, bytes(60))
    other = frame("ff35::8001:1", 17, bytes(60))
    found = rows(seen(10.1, "access1", "edge1", 106, query), seen(10.1, "origin", "core1", 106, other))
    assert [row[1] for row in found] == ["mld"]


def test_a_connection_belongs_to_the_stream_that_is_asked_for_on_it() -> None:
    found = rows(
        seen(10.1, "edge1", "access1", 94, segment(b"")),
        seen(10.2, "edge1", "access1", 200, segment(b"GET /live/news/manifest HTTP/1.1\r\n")),
        seen(10.3, "access1", "edge1", 900, segment(b"HTTP/1.1 200 OK", is_answer=True)),
    )
    assert [(row[1], row[2], row[-2], row[-1]) for row in found] == [
        ("unicast", "access1", "900", "1"),
        ("unicast", "edge1", "294", "2"),
    ]
    others = [b"GET /live/newspaper/manifest", b"POST /reports HTTP/1.1", b"GET /manifest"]
    for request in others:
        assert rows(seen(10.2, "edge1", "access1", 200, segment(request))) == []
    assert rows(seen(10.2, "edge1", "access1", 200, segment(b"GET /live/news/manifest", port=80))) == []


def test_what_is_outside_all_phases_is_left_out() -> None:
    assert (
        rows(seen(9.9, "origin", "core1", 10, datagram(1)), seen(14.0, "origin", "core1", 10, datagram(2)))
        == []
    )


def test_a_segment_is_read_behind_its_options() -> None:
    found = parse_segment(segment(b"PUT /local/x"))
    assert found.target == (IPv6Address(ORIGIN).packed, 8080)
    assert found.payload == b"PUT /local/x"
    assert found.connection == parse_segment(segment(b"", is_answer=True)).connection


def test_each_port_is_looked_at_once() -> None:
    names = [
        each.name
        for each in filters([NEWS, Stream("live/two", "ff35::8001:1", 8080), Stream("local", "", 80)])
    ]
    assert names == [
        *("to ff35::8001:0", "to ff35::8001:1"),
        *("to TCP port 8080", "from TCP port 8080", "to TCP port 80", "from TCP port 80"),
    ]


def test_a_playlist_is_read() -> None:
    text = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2.0,\na.ts\n#EXTINF:1.5,\nb.ts\n"
    )
    assert parse_playlist(text) == ([Entry(7, "a.ts", 2.0), Entry(8, "b.ts", 1.5)], 2.0)
    with pytest.raises(ValueError, match="no playlist"):
        parse_playlist("<html>")


def test_branches_come_from_the_logs_of_the_edge_and_of_the_controller() -> None:
    edge = [
        {"event": "joined", "t": 10.09, "session": "live/news"},
        {"event": "joined", "t": 11.0, "session": "live/two"},
        {"event": "left", "t": 20.0, "session": "live/news"},
    ]
    controller = [
        {"event": "synced", "t": 10.0},
        {"event": "member-join", "t": 10.03, "host": "edge1", "group": GROUP},
        {"event": "member-join", "t": 10.04, "host": "edge2", "group": GROUP},
        {"event": "synced", "t": 10.05},
        {"event": "member-leave", "t": 22.0, "host": "edge1", "group": GROUP},
    ]
    assert branch_rows("live/news", GROUP, {"edge1": edge}, controller, 10.0) == [
        ("live/news", "edge1", 1, "0.090000", "0.030000", "0.050000"),
        ("live/news", "edge1", 0, "10.000000", "12.000000", "12.000000"),
    ]


def test_an_offering_travels_as_plain_data() -> None:
    offering = Offering(("news", "sport"), has_local=True, idle_s=6.0)
    assert offering_from_json(offering_to_json(offering)) == offering
    assert offering_from_json(None) is offering_to_json(None) is None
    assert group_of(GROUP, 2) == "ff35::8001:2"


def test_the_encoder_writes_whole_segments_into_its_folder() -> None:
    command = encoder_command(Path("/somewhere"))
    assert command[-1] == "/somewhere/index.m3u8"
    assert "temp_file" in command[command.index("-hls_flags") + 1]

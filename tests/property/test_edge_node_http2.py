"""Whatever frames a client sends: no error of ours, nothing unbounded, and nothing is left behind."""

from __future__ import annotations

import asyncio

import hpack
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.events import Closed, Event, RawData
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.asgi import Receive, Scope, Send
from edge_node.tls.http2 import STREAMS, WAITING_BYTES, Http2, http2_config

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAM_IDS = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2, 101])
METHODS = st.sampled_from(["GET", "PUT", "CONNECT", "HEAD", "get"])
PATHS = st.sampled_from(["/", "/read", "/large", "", "a", "/\xff", "/" + "a" * 9000])
FIELDS = st.lists(
    st.sampled_from(
        [
            (":authority", "h"),
            (":scheme", "http"),
            (":path", "/again"),
            ("content-length", "3"),
            ("content-length", "99999999999"),
            ("host", "other"),
            ("connection", "close"),
            ("te", "trailers"),
            ("Upper", "x"),
            ("x", "\x00"),
            ("", "x"),
            ("cookie", "c" * 5000),
        ]
    ),
    max_size=3,
)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame as it is on the wire (RFC 9113 section 4.1), in order or not."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(flags: int, stream: int, method: str, path: str, fields: list[tuple[str, str]]) -> bytes:
    pseudo = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "h")]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in [*pseudo, *fields]]
    return frame(HEADERS, flags, stream, hpack.Encoder().encode(raw))


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0,
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
)
END_STREAM, END_HEADERS = 1, 4
WORDS = st.integers(0, 2**31 - 1) | st.sampled_from([0, 1, 65_535])
FLAGS = st.sampled_from([0, END_STREAM, END_HEADERS, END_HEADERS | END_STREAM, 0x25])
UPLOAD = [("content-length", "30000")]
FRAMES = st.one_of(
    st.builds(headers, FLAGS, STREAM_IDS, METHODS, PATHS, FIELDS),
    STREAM_IDS.map(lambda stream: headers(END_HEADERS | END_STREAM, stream, "GET", "/large", [])),
    STREAM_IDS.map(lambda stream: headers(END_HEADERS, stream, "PUT", "/read", UPLOAD)),
    st.builds(
        lambda flags, stream, size: frame(DATA, flags, stream, bytes(size)),
        st.sampled_from([0, END_STREAM]),
        STREAM_IDS,
        st.sampled_from([0, 1, 3, 15_000]),
    ),
    st.builds(lambda stream, code: frame(RESET, 0, stream, word(code)), STREAM_IDS, st.integers(0, 20)),
    st.builds(lambda stream, size: frame(WINDOW_UPDATE, 0, stream, word(size)), STREAM_IDS, WORDS),
    st.builds(
        lambda number, value: frame(SETTINGS, 0, 0, number.to_bytes(2, "big") + word(value)),
        st.integers(0, 9),
        WORDS,
    ),
    st.just(frame(PING, 0, 0, bytes(8))),
    st.builds(lambda stream, on: frame(PRIORITY, 0, stream, word(on) + b"\x03"), STREAM_IDS, STREAM_IDS),
    st.builds(lambda stream, text: frame(CONTINUATION, 0, stream, text), STREAM_IDS, st.binary(max_size=9)),
    st.just(frame(GOAWAY, 0, 0, word(0) + word(0))),
    st.builds(frame, st.integers(0, 20), st.integers(0, 255), STREAM_IDS, st.binary(max_size=20)),
)
WILD = st.lists(FRAMES | st.binary(max_size=20), max_size=25)
REQUEST = END_HEADERS | END_STREAM
ORDERLY = st.one_of(
    st.sampled_from(["/", "/large", "/read"]).map(
        lambda path: lambda new: headers(REQUEST, new, "GET", path, [])
    ),
    st.just(lambda new: headers(END_HEADERS, new, "PUT", "/read", UPLOAD)),
    st.just(lambda new: headers(END_HEADERS, new, "PUT", "/", UPLOAD)),
    st.builds(
        lambda ago, size, flags: lambda new: frame(DATA, flags, max(1, new - 2 * ago), bytes(size)),
        st.integers(1, 3),
        st.sampled_from([0, 1, 10_000, 15_000]),
        st.sampled_from([0] * 9 + [END_STREAM]),
    ),
    st.builds(lambda ago: lambda new: frame(RESET, 0, max(1, new - 2 * ago), word(8)), st.integers(1, 3)),
    st.builds(
        lambda ago, size: lambda new: frame(WINDOW_UPDATE, 0, max(0, new - 2 * ago), word(size)),
        st.integers(1, 3) | st.just(10**6),
        st.integers(1, 100_000),
    ),
    st.integers(0, 200_000).map(
        lambda size: lambda _new: frame(SETTINGS, 0, 0, (4).to_bytes(2, "big") + word(size))
    ),
    st.just(lambda _new: frame(PING, 0, 0, bytes(8))),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """What a client may send, for the most part: requests have rising numbers, the rest is about them."""
    chunks, new = (
        [headers(REQUEST, 1, "GET", "/large", []), headers(END_HEADERS, 3, "PUT", "/read", UPLOAD)],
        5,
    )
    for make in draw(st.lists(ORDERLY, min_size=5, max_size=40)):
        chunks.append(make(new))
        new += 2 * (chunks[-1][3] == HEADERS)
    return chunks


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["raw_path"] == b"/read":
        while (await receive()).get("more_body"):
            pass
    body = bytes(300_000 if scope["raw_path"] == b"/large" else 3)
    fields = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def play(chunks: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    sent = bytearray()

    async def sending(event: Event) -> None:
        if isinstance(event, RawData):
            sent.extend(event.data)
            await asyncio.sleep(0)
        elif isinstance(event, Closed):
            await http.handle(event)

    async with asyncio.timeout(5), TaskGroup(loop) as tasks:
        http = Http2(
            app,
            http2_config(),
            WorkerContext(None),
            tasks,
            ("::1", 1),
            ("::1", 443),
            sending,
            lambda: None,
            loop.time,
        )
        await http.initiate()
        for chunk in (PREFACE + frame(SETTINGS, 0, 0, b""), *chunks):
            if http.closed:
                break
            await http.handle(RawData(chunk))
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(http.streams) <= STREAMS
            assert all(len(each.buffer) < WAITING_BYTES + 16_384 for each in http.stream_buffers.values())
        await http.handle(Closed())
    assert not http.streams


@settings(deadline=None)
@given(conversations())
def test_any_conversation(chunks: list[bytes]) -> None:
    asyncio.run(play(chunks))


@settings(deadline=None)
@given(WILD)
def test_any_frames(chunks: list[bytes]) -> None:
    asyncio.run(play(chunks))

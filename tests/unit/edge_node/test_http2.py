"""HTTP/2 frame by frame: what is answered, what ends a stream, what ends the connection (RFC 9113)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from delivery.asgi import Receive, Scope, Send
from edge_node.connections import ConnectionLimits, Phase
from edge_node.http.hygiene import check_request
from edge_node.tls.front import SecureFront
from edge_node.tls.http2 import COSTLY_BURST, STREAMS, WAITING_BYTES
from origin.certificates import certify
from tests.unit.edge_node.tls_client import NAME, Answer, Http2Client, serving, trusting

LARGE_BYTES = 3_000_000


class App:
    """Says what was asked; takes uploads; waits; sends a lot. `open` is the number of requests inside."""

    generation = 0

    def __init__(self) -> None:
        self.open = self.most = self.begun = 0
        self.go = asyncio.Event()
        self.scopes: list[Scope] = []

    def touch(self, sha256: str) -> None:
        """Nothing is remembered."""

    def answer_now(self, request: object, now_s: int) -> None:
        """Nothing is at hand."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.open += 1
        self.begun += 1
        self.most = max(self.most, self.open)
        self.scopes.append(scope)
        try:
            await self.answer(scope, receive, send)
        finally:
            self.open -= 1

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, body = 200, scope["raw_path"]
        refused = check_request(
            scope["method"].encode(), scope["raw_path"], scope["http_version"], scope["headers"]
        )
        if refused is not None:
            status, body = refused.status, refused.text.encode()
        elif body == b"/early":
            scope["state"]["send_interim"](103, (("Link", "</style.css>"),))
        elif body == b"/wait":
            await self.go.wait()
        elif body == b"/upload":
            size = 0
            while True:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    break
                await self.go.wait()
            body = str(size).encode()
        elif body == b"/large":
            body = bytes(LARGE_BYTES)
        fields = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        if body == b"/early":
            scope["state"]["send_interim"](103, ())  # too late, which harms nothing
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(NAME, tmp_path_factory.mktemp("tls")).folder


Play = Callable[[App, Http2Client], Awaitable[None]]


def play(tls: Path, script: Play, *, validate: bool = True, limits: ConnectionLimits | None = None) -> App:
    """Run a script against a server; nothing of it may be left in the end."""
    app = App()

    async def run() -> None:
        async with serving(SecureFront(app, 60), tls, limits) as server:
            async with Http2Client(server.port, tls, validate=validate) as client:
                await script(app, client)
            app.go.set()
            async with asyncio.timeout(5):
                while app.open or len(server.gate.connections):
                    await asyncio.sleep(0.01)

    asyncio.run(run())
    return app


def test_requests_are_answered_and_say_how_they_came(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        streams = [client.ask(f"/{number}") for number in range(5)]
        for number, stream in enumerate(streams):
            answer = await client.answer(stream)
            assert (answer.status, answer.body) == (200, f"/{number}".encode())
            assert answer.fields["strict-transport-security"] == "max-age=60"
            assert "date" in answer.fields
            assert "server" not in answer.fields

    app = play(tls, script)
    assert {(scope["http_version"], scope["scheme"]) for scope in app.scopes} == {("2", "https")}
    assert all((b"host", NAME.encode()) in scope["headers"] for scope in app.scopes)


def test_interim_responses_come_before_the_answer(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        answer = await client.answer(client.ask("/early"))
        assert answer.interim == [{":status": "103", "link": "</style.css>"}]
        assert (answer.status, answer.body) == (200, b"/early")

    play(tls, script)


def test_no_more_streams_than_allowed(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        first = client.ask()
        await client.answer(first)
        assert client.http.remote_settings.max_concurrent_streams == STREAMS
        # A client that does not keep to it.
        client.http.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 10 * STREAMS
        client.http.remote_settings.acknowledge()
        for _ in range(STREAMS + 1):
            client.ask("/wait")
        await client.until_closed()
        assert client.goodbye is not None

    assert play(tls, script).most <= STREAMS


def test_rapid_reset_ends_the_connection(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        for _ in range(20 * COSTLY_BURST):
            stream = client.http.get_next_available_stream_id()
            head = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", NAME)]
            client.http.send_headers(stream, head, end_stream=True)
            client.http.reset_stream(stream)
        client.flush()
        assert await client.until_closed() == ErrorCodes.ENHANCE_YOUR_CALM

    assert play(tls, script).begun <= COSTLY_BURST + 2


def test_some_resets_are_everybodys_right(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        for _ in range(COSTLY_BURST // 2):
            client.http.reset_stream(client.ask("/wait"))
        client.flush()
        assert (await client.answer(client.ask("/on"))).body == b"/on"

    play(tls, script)


def test_a_flood_of_pings_ends_the_connection(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        for _ in range(2 * COSTLY_BURST):
            client.http.ping(bytes(8))
        client.flush()
        assert await client.until_closed() == ErrorCodes.ENHANCE_YOUR_CALM

    play(tls, script)


@pytest.mark.parametrize(
    "fields",
    [
        [("connection", "keep-alive")],
        [("transfer-encoding", "chunked")],
        [("te", "gzip")],
        [("X-Upper", "1")],
    ],
)
def test_what_no_request_may_have_in_http2(tls: Path, fields: list[tuple[str, str]]) -> None:
    async def script(app: App, client: Http2Client) -> None:
        answer = await client.answer(client.ask(fields=fields))
        assert not answer.is_whole or answer.status == 400

    assert all(not scope["headers"][1:] for scope in play(tls, script, validate=False).scopes)


def test_another_scheme_is_misdirected(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        head = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", NAME)]
        client.http.send_headers(1, head, end_stream=True)
        client.answers[1] = Answer()
        client.flush()
        assert (await client.answer(1)).status == 421

    assert play(tls, script).begun == 0


def test_connect_is_refused_and_the_connection_stays(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        client.http.send_headers(1, [(":method", "CONNECT"), (":authority", NAME)], end_stream=True)
        client.answers[1] = Answer()
        client.flush()
        assert (await client.answer(1)).status == 400
        assert (await client.answer(client.ask("/on"))).body == b"/on"

    play(tls, script)


def test_content_without_a_length_is_refused(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        stream = client.ask("/upload", "PUT", end=False)
        assert (await client.answer(stream)).status == 411

    assert play(tls, script).begun == 0


def test_an_upload_waits_until_it_is_read(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        size = 200_000
        stream = client.ask("/upload", "PUT", [("content-length", str(size))], end=False)
        sent = 0
        while sent < size:
            window = min(client.http.local_flow_control_window(stream), 16_384, size - sent)
            if not window:
                if not app.go.is_set():
                    with suppress(TimeoutError):
                        while await asyncio.wait_for(client.read(), 0.2):
                            pass
                    # The application has read one piece, and waits.
                    assert client.http.local_flow_control_window(stream) <= 16_384
                    app.go.set()
                await client.read()
                continue
            client.http.send_data(stream, bytes(window))
            client.flush()
            sent += window
        client.http.end_stream(stream)
        client.flush()
        assert (await client.answer(stream)).body == str(size).encode()

    play(tls, script)


def test_content_that_nobody_wants_ends_its_stream_only(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        for _ in range(5):  # five times what would use the connection's window up
            stream = client.ask("/", "PUT", [("content-length", "60000")], end=False)
            for _ in range(3):
                while client.http.local_flow_control_window(stream) < 15_000:
                    assert await client.read()
                client.http.send_data(stream, bytes(15_000))
                client.flush()
            answer = await client.answer(stream)
            assert answer.status == 200
            if answer.reset is None and client.http.local_flow_control_window(stream) >= 15_000:
                client.http.send_data(stream, bytes(15_000), end_stream=True)
                client.flush()
        assert (await client.answer(client.ask("/on"))).body == b"/on"

    play(tls, script)


def test_a_client_that_leaves_leaves_nothing_behind(tls: Path) -> None:
    async def script(app: App, client: Http2Client) -> None:
        client.takes_content = False
        client.ask("/large")
        client.ask("/wait")
        while app.open < 2 or not any(answer.body for answer in client.answers.values()):
            await client.read()
        app.go.set()

    play(tls, script)


def test_who_does_not_read_is_cut_off(tls: Path) -> None:
    patience = {**ConnectionLimits().patience_s, Phase.UNREAD: 0.2}

    async def script(app: App, client: Http2Client) -> None:
        client.takes_content = False
        client.ask("/large")
        await client.until_closed()
        assert len(client.answers[1].body) < LARGE_BYTES

    play(tls, script, limits=ConnectionLimits(patience_s=patience))


def test_what_waits_for_a_client_is_little(tls: Path) -> None:
    async def run() -> None:
        app = App()
        async with serving(SecureFront(app, 60), tls) as server, Http2Client(server.port, tls) as client:
            client.takes_content = False
            for _ in range(10):
                client.ask("/large")
            while app.open < 10 or not any(answer.body for answer in client.answers.values()):
                await client.read()
            await asyncio.sleep(0.1)
            (connection,) = server.listener._http2.values()
            assert connection._http is not None
            waiting = [len(buffer.buffer) for buffer in connection._http.stream_buffers.values()]
            assert len(waiting) == 10
            assert max(waiting) < WAITING_BYTES + 16_384

    asyncio.run(run())


def test_who_asks_for_nothing_is_told_to_go(tls: Path) -> None:
    patience = {**ConnectionLimits().patience_s, Phase.HEAD: 0.2, Phase.IDLE: 0.3}

    async def script(app: App, client: Http2Client) -> None:
        assert await client.until_closed() == ErrorCodes.NO_ERROR

    async def idle(app: App, client: Http2Client) -> None:
        await client.answer(client.ask())
        assert await client.until_closed() == ErrorCodes.NO_ERROR

    for each in (script, idle):
        play(tls, each, limits=ConnectionLimits(patience_s=patience))


def test_the_end_of_the_server_lets_answers_end(tls: Path) -> None:
    async def run() -> None:
        app = App()
        async with serving(SecureFront(app, 60), tls) as server:
            async with Http2Client(server.port, tls) as client:
                stream = client.ask("/wait")
                while not app.open:
                    await asyncio.sleep(0.01)
                server.stop.set()
                await asyncio.sleep(0.05)
                app.go.set()
                answer = await client.answer(stream)
                assert (answer.status, answer.body) == (200, b"/wait")
                assert await client.until_closed() == ErrorCodes.NO_ERROR
            await asyncio.wait_for(server.task, 5)

    asyncio.run(run())


def test_there_is_no_room_for_more_connections_than_allowed(tls: Path) -> None:
    async def run() -> None:
        app = App()
        async with (
            serving(SecureFront(app, 60), tls, ConnectionLimits(connections=2)) as server,
            Http2Client(server.port, tls) as one,
            Http2Client(server.port, tls) as two,
        ):
            one.ask("/wait"), two.ask("/wait")
            while app.open < 2:
                await asyncio.sleep(0.01)
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await Http2Client(server.port, tls).__aenter__()
            assert server.gate.turned_away == 1
            app.go.set()
            assert (await one.answer(1)).status == (await two.answer(1)).status == 200

    asyncio.run(run())


def test_http1_by_alpn_and_without(tls: Path) -> None:
    async def run() -> None:
        app = App()
        async with serving(SecureFront(app, 60), tls) as server:
            for protocols in (("http/1.1",), ()):
                context = trusting(tls, *protocols)
                reader, writer = await asyncio.open_connection(
                    "::1", server.port, ssl=context, server_hostname=NAME
                )
                writer.write(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                assert b"\r\nstrict-transport-security: max-age=60\r\n" in head
                assert await reader.readexactly(4) == b"/one"
                writer.close()
        async with serving(SecureFront(app, 60), tls, http2=False) as server:
            client = Http2Client(server.port, tls)
            async with client:
                assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() is None

    asyncio.run(run())


def test_an_idle_server_has_no_timer(tls: Path) -> None:
    async def run() -> None:
        async with serving(SecureFront(App(), 60), tls) as server:
            async with Http2Client(server.port, tls) as client:
                await client.answer(client.ask())
            while len(server.gate.connections):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            loop = asyncio.get_running_loop()
            timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            assert timers == []

    asyncio.run(run())

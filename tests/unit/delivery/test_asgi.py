"""The HTTP server's shell: answers, keeps connections, stops when told, and does not tick."""

from __future__ import annotations

import asyncio
import time

from delivery.asgi import Receive, Scope, Send, listen, serve

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def started_server(stop: asyncio.Event) -> tuple[asyncio.Task[None], int]:
    listener = listen("::1", 0)
    started = asyncio.Event()
    task = asyncio.create_task(serve(app, sockets=[listener], stop=stop, started=started.set))
    await started.wait()
    return task, listener.getsockname()[1]


def test_connection_is_kept_and_the_date_is_the_present() -> None:
    async def run() -> None:
        stop = asyncio.Event()
        task, port = await started_server(stop)
        reader, writer = await asyncio.open_connection("::1", port)
        for _ in range(2):
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"ok"
            dates = [line for line in head.split(b"\r\n") if line.startswith(b"date: ")]
            assert dates in [
                [time.strftime("date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - ago)).encode()]
                for ago in (0, 1)
            ]
        stop.set()
        await asyncio.wait_for(task, 5)
        writer.close()

    asyncio.run(run())


def test_idle_server_has_no_timer() -> None:
    async def run() -> None:
        stop = asyncio.Event()
        task, _ = await started_server(stop)
        await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        scheduled = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        assert scheduled == []
        stop.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(run())

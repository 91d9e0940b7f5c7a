"""The DNS server's sockets: UDP, and TCP with its two-octet lengths (RFC 7766)."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv6Address
from typing import cast

from origin.errors import OriginError
from origin.zone import Zone

_IDLE_TIMEOUT_S = 30.0


class NameServer(asyncio.DatagramProtocol):
    """Answers for `zone` on one address until it is closed."""

    def __init__(self, zone: Zone) -> None:
        self.queries = 0
        """Messages received, answered or not."""
        self.zone = zone
        """What it answers from; another one may take its place at any time."""
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self, address: str, port: int) -> int:
        """Bind UDP and TCP; answers the port (for port 0, the one chosen). Raises OriginError."""
        loop = asyncio.get_running_loop()
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            port = listener.getsockname()[1]
            await loop.create_datagram_endpoint(lambda: self, (address, port), family=socket.AF_INET6)
            self._server = await asyncio.start_server(self._serve, sock=listener)
        except OSError as error:
            listener.close()
            raise OriginError(
                f"cannot answer DNS on [{address}]:{port}: {error.strerror or error}; "
                "check --address and --port"
            ) from None
        return port

    async def close(self) -> None:
        """Stop answering."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """UDP is ready (asyncio)."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Answer one UDP query (asyncio)."""
        self.queries += 1
        reply = self.zone.answer(data, _address(addr), is_udp=True)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        client = _address(writer.get_extra_info("peername"))
        try:
            while True:
                async with asyncio.timeout(_IDLE_TIMEOUT_S):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    message = await reader.readexactly(length)
                self.queries += 1
                reply = self.zone.answer(message, client)
                if reply is None:
                    break
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()


def _address(name: tuple[str | int, ...]) -> IPv6Address:
    """The address in a socket's name."""
    return IPv6Address(str(name[0]))

"""HTTP/1.1 as bytes on a socket: what is sent is not tidied up, what comes is read strictly (RFC 9112)."""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import dataclass

TIMEOUT_S = 5.0
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [\t \x21-\x7e\x80-\xff]*")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t \x21-\x7e\x80-\xff]*?)[ \t]*")
_WITHOUT_CONTENT = (204, 304)


class ExchangeError(Exception):
    """What came is no answer. The message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One final answer; `fields` in order with names in lower case, `content` without its framing."""

    status: int
    fields: tuple[tuple[str, str], ...]
    content: bytes
    interim: tuple[int, ...] = ()
    """Statuses of the interim answers before it."""

    def field(self, name: str) -> str | None:
        """The value of a field, its lines joined by commas; None without one."""
        values = [value for other, value in self.fields if other == name]
        return ", ".join(values) if values else None


class Exchange:
    """One connection to a web server."""

    def __init__(self, address: str, port: int) -> None:
        self._socket = socket.create_connection((address, port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send exactly these bytes; that the other end has closed shows when it is read."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def read(self, method: str) -> Answer:
        """The next final answer, which is one to a request with this method. Raises ExchangeError."""
        interim: list[int] = []
        while True:
            status, fields = self._read_head()
            if status >= 200:
                break
            interim.append(status)
        has_content = method != "HEAD" and status not in _WITHOUT_CONTENT
        content = self._read_content(fields) if has_content else b""
        return Answer(status, fields, content, tuple(interim))

    def is_closed(self) -> bool:
        """Whether the other end closes and sends nothing before it."""
        try:
            return not self._received and not self._socket.recv(1)
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    def _read_head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise ExchangeError(f"no status line: {line[:60]!r}")
        fields = []
        for line in lines:
            found = _FIELD_LINE.fullmatch(line)
            if found is None:
                raise ExchangeError(f"no field: {line[:60]!r}")
            fields.append((found[1].decode().lower(), found[2].decode("latin-1")))
        return int(match[1]), tuple(fields)

    def _read_content(self, fields: tuple[tuple[str, str], ...]) -> bytes:
        lengths = [value for name, value in fields if name == "content-length"]
        codings = [value for name, value in fields if name == "transfer-encoding"]
        if codings:
            if lengths or codings != ["chunked"]:
                raise ExchangeError(f"framed by Transfer-Encoding {codings} and Content-Length {lengths}")
            return self._read_chunks()
        if lengths:
            if len(lengths) > 1 or not lengths[0].isdecimal():
                raise ExchangeError(f"Content-Length is {lengths}")
            return self._take(int(lengths[0]))
        return self._read_to_the_end()

    def _read_chunks(self) -> bytes:
        content = b""
        while size := int(self._line().partition(b";")[0], 16):
            content += self._take(size)
            if self._take(2) != b"\r\n":
                raise ExchangeError("a chunk is longer than it says")
        while self._line():
            pass
        return content

    def _read_to_the_end(self) -> bytes:
        content, self._received = self._received, b""
        while data := self._socket.recv(1 << 16):
            content += data
        return content

    def _line(self) -> bytes:
        while b"\r\n" not in self._received:
            self._more()
        line, _, self._received = self._received.partition(b"\r\n")
        return line

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._more()
        taken, self._received = self._received[:size], self._received[size:]
        return taken

    def _more(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            raise ExchangeError(f"no answer within {TIMEOUT_S:.0f} s") from None
        except ConnectionResetError:
            raise ExchangeError("the connection was reset before the answer ended") from None
        if not data:
            raise ExchangeError("the connection was closed before the answer ended")
        self._received += data

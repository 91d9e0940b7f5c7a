"""A connection to one bridge over its management socket, which Open vSwitch serves whether or not a
controller is there. OpenFlow 1.4 only, as the bridges are set up; nothing here needs os-ken.

Echo requests of the bridge are answered while it is read: whoever holds a channel open must go on reading.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from controller.openflow.encode import BARRIER_REPLY, VERSION, message, with_xid
from controller.openflow.unixctl import connect_unix

_HELLO, _ERROR, _ECHO_REQUEST, _ECHO_REPLY = 0, 1, 2, 3
ANSWER_TIMEOUT_S = 10.0
_HEADER_BYTES = 8
_READ_BYTES = 1 << 18


class ChannelError(RuntimeError):
    """A switch cannot be asked; the message is one line."""


class Channel:
    """Sends and receives whole messages. Close it, or use it in a `with` statement."""

    def __init__(self, switch: str, folder: Path, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Connect to the bridge `switch`, whose socket is in Open vSwitch's run folder. `timeout_s` is how
        long an answer may take. Raises ChannelError."""
        self.switch = switch
        self._path = folder / f"{switch}.mgmt"
        self._timeout_s = timeout_s
        self._buffer = b""
        self._xid = 0
        self._is_greeted = False
        try:
            self._socket = connect_unix(self._path, timeout_s)
        except OSError as error:
            raise self._error(
                f"no answer at {self._path} ({error.strerror or error}); is the lab up?"
            ) from None
        self.send([message(_HELLO, b"")])

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go."""
        self._socket.close()

    def send(self, messages: Sequence[bytes]) -> int:
        """Send messages, numbered, in one piece; the number of the last one. Raises ChannelError."""
        numbered = []
        for data in messages:
            self._xid += 1
            numbered.append(with_xid(data, self._xid))
        try:
            self._socket.sendall(b"".join(numbered))
        except OSError as error:
            raise self._gone(error) from None
        return self._xid

    def receive(self) -> list[bytes]:
        """The messages that have come, but for greetings and echo requests, which are answered here; waits
        until something comes. Raises ChannelError when the switch reports an error, falls silent or goes."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            raise self._silent() from None
        except OSError as error:
            raise self._gone(error) from None
        if not data:
            raise self._gone(None)
        self._buffer += data
        return [found for found in self._split() if self._is_for_reader(found)]

    def receive_until(self, xid: int) -> tuple[list[bytes], list[bytes]]:
        """The messages up to the answer of the barrier with this number, and those that have come behind it.
        Raises ChannelError, also when the answer takes longer than it may."""
        end_s = time.monotonic() + self._timeout_s
        messages: list[bytes] = []
        while True:
            for index, data in enumerate(messages, 1):
                if is_barrier_reply(data, xid):
                    return messages[:index], messages[index:]
            if time.monotonic() > end_s:
                raise self._silent()
            messages += self.receive()

    def _split(self) -> list[bytes]:
        found = []
        start = 0
        while len(self._buffer) - start >= _HEADER_BYTES:
            length = int.from_bytes(self._buffer[start + 2 : start + 4])
            if length < _HEADER_BYTES:
                raise self._error(f"what comes from {self._path} is not OpenFlow")
            if len(self._buffer) - start < length:
                break
            found.append(self._buffer[start : start + length])
            start += length
        self._buffer = self._buffer[start:]
        return found

    def _is_for_reader(self, data: bytes) -> bool:
        version, kind = data[0], data[1]
        if kind == _ERROR:
            raise self._error(f"it refuses a request ({_error_text(data)})")
        if not self._is_greeted and (kind != _HELLO or version < VERSION):
            raise self._error(f"it speaks version {version:#04x}, not OpenFlow 1.4; see its `protocols`")
        self._is_greeted = True
        if kind == _ECHO_REQUEST:
            try:
                self._socket.sendall(with_xid(message(_ECHO_REPLY, data[8:]), int.from_bytes(data[4:8])))
            except OSError as error:
                raise self._gone(error) from None
        return kind not in (_HELLO, _ECHO_REQUEST)

    def _gone(self, error: OSError | None) -> ChannelError:
        why = f" ({error.strerror})" if error is not None and error.strerror else ""
        return self._error(f"the connection at {self._path} has ended{why}; does ovs-vswitchd still run?")

    def _silent(self) -> ChannelError:
        return self._error(
            f"no answer at {self._path} within {self._timeout_s:g} s; is ovs-vswitchd stopped?"
        )

    def _error(self, text: str) -> ChannelError:
        return ChannelError(f"switch {self.switch}: {text}")


def is_barrier_reply(data: bytes, xid: int) -> bool:
    """Whether a message is the answer to the barrier with this number."""
    return data[1] == BARRIER_REPLY and int.from_bytes(data[4:8]) == xid


def _error_text(data: bytes) -> str:
    kind, code = int.from_bytes(data[8:10]), int.from_bytes(data[10:12])
    if kind == 0:
        return data[12:].decode(errors="replace")
    return f"error type {kind} code {code}"

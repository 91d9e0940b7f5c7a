"""The control socket of an Open vSwitch daemon: JSON-RPC over a Unix socket, as `ovs-appctl` speaks it, but
without a process for every question."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import TracebackType

_CHUNK_BYTES = 1 << 16


class UnixctlError(RuntimeError):
    """The daemon cannot be asked, or has refused; the message is one line."""


class Unixctl:
    """A connection to one daemon."""

    def __init__(self, path: Path, timeout_s: float = 10.0) -> None:
        """Connect; `timeout_s` is for connecting and for every answer. Raises UnixctlError."""
        self._path = path
        self._count = 0
        try:
            self._socket = connect_unix(path, timeout_s)
        except OSError as error:
            raise UnixctlError(f"no daemon answers at {path} ({error.strerror or error})") from None

    @classmethod
    def in_folder(cls, folder: Path, daemon: str = "ovs-vswitchd", timeout_s: float = 10.0) -> Unixctl:
        """Connect to the daemon that runs in a folder; sockets that dead ones have left are passed over.
        Raises UnixctlError."""
        for path in sorted(folder.glob(f"{daemon}.*.ctl")):
            try:
                return cls(path, timeout_s)
            except UnixctlError:
                continue
        raise UnixctlError(f"no {daemon} runs in {folder}")

    def __enter__(self) -> Unixctl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, method: str, *parameters: str) -> str:
        """Ask, for example `dpif/show`; the answer. Raises UnixctlError, after which the connection may only
        be used again if the daemon has refused."""
        self._count += 1
        request = {"id": self._count, "method": method, "params": parameters}
        try:
            self._socket.sendall(json.dumps(request).encode())
            reply = self._receive()
        except OSError as error:
            raise UnixctlError(f"{method}: no answer from {self._path} ({error.strerror or error})") from None
        if not isinstance(reply, dict) or reply.get("id") != self._count:
            raise UnixctlError(f"{method}: {self._path} has answered something else")
        if reply.get("error") is not None:
            raise UnixctlError(f"{method}: {_one_line(reply['error'])}")
        return str(reply.get("result", ""))

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _receive(self) -> object:
        """One answer. Nothing marks its end but that it is whole."""
        data = b""
        while True:
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk:
                raise ConnectionError("the connection has ended")
            data += chunk
            if data.rstrip().endswith(b"}"):
                try:
                    return json.loads(data)
                except ValueError:
                    continue


def connect_unix(path: Path, timeout_s: float) -> socket.socket:
    """Connect to a Unix socket whose path may be longer than a socket's name. Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout_s)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
        except OSError:
            connection.close()
            raise
        return connection
    finally:
        os.close(folder)


def _one_line(text: object) -> str:
    return "; ".join(str(text).strip().splitlines()) or "refused without a reason"

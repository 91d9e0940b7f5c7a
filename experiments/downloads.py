"""Downloads by curl that go on where they broke off, at whichever edge answers then."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from topologies.mininet_net import LabNet

COLUMNS = (
    "user", "path", "attempt", "from_byte", "started_s", "total_s", "bytes", "status", "edge", "etag",
    "exitcode", "sha256",
)  # fmt: skip
_WRITE_OUT = (
    r"%{time_total}\t%{size_download}\t%{http_code}\t%header{nearcast-edge}\t%{exitcode}\t%header{etag}\n"
)
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Part:
    """What one curl brought: `from_byte` is where it went on, `etag` the entity tag of the answer."""

    from_byte: int
    total_s: float
    bytes: int
    status: int
    edge: str
    exitcode: int
    etag: str

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for has come."""
        return self.exitcode == 0 and self.status in (200, 206)


class Download:
    """A file that `user` fetches from `url` into `target`, with one curl after another."""

    def __init__(self, net: LabNet, user: str, url: str, target: Path) -> None:
        self._net, self._user, self._url, self._target = net, user, url, target
        self._process: subprocess.Popen[str] | None = None
        self._from_byte = 0

    def start(self, *, etag: str = "", rate_bytes_s: int | None = None) -> None:
        """Start curl: from the beginning, or after what is there, provided it is still the content of `etag`
        (RFC 9110 section 13.1.5)."""
        command = ["curl", "--silent", "--globoff", "--max-time", str(_TIMEOUT_S), "--connect-timeout", "5"]
        command += ["--fail", "--write-out", _WRITE_OUT, "--output", str(self._target)]
        if rate_bytes_s is not None:
            command += ["--limit-rate", str(rate_bytes_s)]
        if etag:
            command += ["--continue-at", "-", "--header", f"If-Range: {etag}"]
        self._from_byte = os.path.getsize(self._target) if etag and self._target.exists() else 0
        self._process = self._net[self._user].popen(
            *command, self._url, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def wait(self) -> Part:
        """What this curl has brought, once it has ended."""
        assert self._process is not None
        output, _ = self._process.communicate()
        return parse_part(output, self._from_byte)

    @property
    def size_bytes(self) -> int:
        """How much is here."""
        return self._target.stat().st_size if self._target.exists() else 0

    @property
    def sha256(self) -> str:
        """The digest of what is here, in hex."""
        return hashlib.sha256(self._target.read_bytes()).hexdigest()


def parse_part(output: str, from_byte: int) -> Part:
    """What curl wrote of a transfer that went on at `from_byte`. Raises ValueError."""
    total_s, size, status, edge, exitcode, etag = output.rstrip("\n").split("\t")
    return Part(from_byte, float(total_s), int(size), int(status), edge, int(exitcode), etag)


def answering(net: LabNet, user: str, name: str) -> str:
    """The edge that answers `user` now."""
    command = ["curl", "--silent", "--head", "--output", "/dev/null", "--write-out", "%header{nearcast-edge}"]
    process = net[user].popen(
        *command, f"http://{name}/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    edge, _ = process.communicate(timeout=_TIMEOUT_S)
    return str(edge)

"""Load on a web server by wrk, and what it says; connections that are open and idle."""

from __future__ import annotations

import json
import math
import re
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.http_servers import BenchError, Core, WebServer, open_connection

THINK_MS = 20
"""Mean time between an answer and the next request of a connection, at a rate that is chosen."""
_OPEN_FILES_BESIDE = 1_500
_REPORT = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'report {"requests": %d, "bytes": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}\\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""
_THINK = """
function init(args)
  math.randomseed(SEED)
end
function delay()
  return math.floor(-MEAN_MS * math.log(1 - math.random()) + 0.5)
end
"""
OTHER_HEADS = """
local number = 0
function request()
  number = number + 1
  wrk.headers["X-Number"] = number
  return wrk.format()
end
"""
"""wrk's script for requests of which no two are the same: an edge remembers answers by a request's bytes."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk came to; `errors` counts failed connections, reads and writes, timeouts, and
    answers that are not 2xx or 3xx. `cpu_s` is what the server used meanwhile."""

    requests: int
    bytes: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.duration_s

    @property
    def mb_per_s(self) -> float:
        """Bytes a second, heads too, in 10^6."""
        return self.bytes / self.duration_s / 1e6

    @property
    def per_cpu_s(self) -> float:
        """Requests for each second of the server's CPU."""
        return self.requests / self.cpu_s if self.cpu_s else math.nan

    @property
    def mb_per_cpu_s(self) -> float:
        """10^6 bytes for each second of the server's CPU."""
        return self.bytes / self.cpu_s / 1e6 if self.cpu_s else math.nan


def connections_for(rate_per_s: float) -> int:
    """How many connections that think for THINK_MS make so many requests a second."""
    return max(1, round(rate_per_s * THINK_MS / 1000))


def thinking_script(seed: int) -> str:
    """wrk's script for connections that wait exponential times between requests: together about a Poisson
    process, as the requests of many users are."""
    return _THINK.replace("SEED", str(seed)).replace("MEAN_MS", str(THINK_MS))


def run_wrk(
    server: WebServer,
    path: str,
    *,
    core: Core,
    folder: Path,
    seconds: float,
    connections: int,
    script: str = "",
) -> Load:
    """Load on one path of a server from `core` for so many seconds. Raises BenchError."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is not installed; scripts/bootstrap.sh bench brings it")
    file = folder / "wrk.lua"
    file.write_text(script + _REPORT)
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{math.ceil(seconds)}s",
        "--timeout",
        "10s",
        "-s",
        str(file),
    ]
    before_s = server.cpu_s()
    done = subprocess.run(
        core.pinned([*command, server.url(path)]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    cpu_s = server.cpu_s() - before_s
    if done.returncode:
        raise BenchError(f"wrk failed on {server.url(path)}: {(done.stderr or done.stdout).strip()}")
    return parse_report(done.stdout, cpu_s)


def parse_report(text: str, cpu_s: float) -> Load:
    """What our script made wrk print. Raises BenchError."""
    found = re.search(r"^report (\{.*\})$", text, re.MULTILINE)
    if found is None:
        raise BenchError(f"wrk printed no report: {text.strip()[-200:]}")
    fields = json.loads(found[1])
    return Load(
        fields["requests"],
        fields["bytes"],
        fields["duration_us"] / 1e6,
        fields["p50_us"] / 1e3,
        fields["p99_us"] / 1e3,
        fields["errors"],
        cpu_s,
    )


def allow_open_files(connections: int) -> None:
    """Let this process and its children have so many connections. Raises BenchError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OPEN_FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchError(
            f"{connections} connections need {wanted} open files, the limit is {hard}; ulimit -Hn"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def idle_connections(server: WebServer, path: str, count: int) -> Iterator[list[socket.socket]]:
    """So many connections to a server, each of which has had an answer. Raises BenchError."""
    with ExitStack() as stack:
        connections = []
        try:
            for _ in range(count):
                connection = stack.enter_context(open_connection(server.port))
                connections.append(connection)
                if not is_served(connection, path):
                    raise BenchError(
                        f"{server.name} does not answer connection {len(connections)} of {count}"
                    )
        except OSError as error:
            raise BenchError(f"{server.name}: connection {len(connections)} of {count}: {error}") from None
        yield connections


def is_served(connection: socket.socket, path: str) -> bool:
    """Whether a request on this connection is answered 200, in full, and the connection stays."""
    try:
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            status = answer.readline().split()
            length = -1
            while (line := answer.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            return status[1:2] == [b"200"] and length >= 0 and len(answer.read(length)) == length
    except OSError:
        return False

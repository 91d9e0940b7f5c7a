"""The two web servers that are compared: a real edge and nginx, each a process on a core of its own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from delivery.asgi import listen
from lab.processes import LabProcess, ProcessTable

ADDRESS = "::1"
CONNECTIONS = 20_000
"""What both servers are told that they may have at once, from one address too."""
_START_S = 30.0
_OWN_FIELDS = {"date", "server", "connection", "content-length", "content-type", "accept-ranges", "etag"}
"""What nginx says by itself, or in its own way."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchError(RuntimeError):
    """Something that is needed for a measurement does not work. The message is one line."""


@dataclass(frozen=True, slots=True)
class Core:
    """A core for one process. `is_urgent`: it runs before all that is not (SCHED_RR, which needs root)."""

    number: int
    is_urgent: bool = False

    def pinned(self, command: Sequence[str]) -> list[str]:
        """The command on this core, ended by the kernel when this process ends however it does."""
        urgent = ["chrt", "--rr", "1"] if self.is_urgent else []
        return [*urgent, "taskset", "-c", str(self.number), "setpriv", "--pdeathsig", "TERM", *command]


@dataclass(frozen=True, slots=True)
class WebServer:
    """A running server: `pid` is the process that answers."""

    name: str
    port: int
    pid: int

    def url(self, path: str = "") -> str:
        """The URL of a path."""
        return f"http://[{ADDRESS}]:{self.port}/{path}"

    def cpu_s(self) -> float:
        """CPU seconds that the process has used, in the kernel too."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def memory_bytes(self) -> int:
        """Its resident set."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) << 10


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with closing(listen(ADDRESS, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def start_edge(
    processes: ProcessTable, core: Core, folder: Path, site: Path, options: Sequence[str] = ()
) -> WebServer:
    """An edge that has the files of `site`, pushed to it as an origin does. Raises BenchError."""
    port, sync_port = free_port(), free_port()
    key, public_key = folder / "key.pem", folder / "public.pem"
    _python("origin", "keygen", "--key", str(key), "--public", str(public_key))
    command = [
        *(sys.executable, "-m", "edge_node", "serve", "--name", "edge", "--store", str(folder / "store")),
        *("--public-key", str(public_key), "--address", ADDRESS, "--port", str(port)),
        *("--sync-address", ADDRESS, "--sync-port", str(sync_port)),
        *("--max-connections", str(CONNECTIONS), "--max-connections-per-prefix", str(CONNECTIONS)),
        *options,
    ]
    process = processes.start_program("edge", core.pinned(command))
    wait_until_it_answers(process, sync_port, "status")
    to = f"edge=[{ADDRESS}]:{sync_port}"
    _python("origin", "push", str(site), "--to", to, "--key", str(key), "--state", str(folder / "origin"))
    wait_until_it_answers(process, port)
    return WebServer("edge", port, process.pid)


def start_nginx(
    processes: ProcessTable, core: Core, folder: Path, site: Path, program: Path, like: WebServer
) -> WebServer:
    """nginx with one worker and the files of `site`; heads are about as long as those of the server `like`.
    Raises BenchError."""
    port = free_port()
    fields = {path.name: _extra_fields(like, path.name) for path in sorted(site.iterdir())}
    configuration = folder / "nginx.conf"
    configuration.write_text(nginx_configuration(folder, site, port, fields))
    command = [str(program), "-e", "stderr", "-p", str(folder), "-c", str(configuration)]
    process = processes.start_program("nginx", core.pinned(command))
    wait_until_it_answers(process, port)
    (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return WebServer("nginx", port, int(worker))


def nginx_configuration(folder: Path, site: Path, port: int, fields: dict[str, list[tuple[str, str]]]) -> str:
    """One worker that logs nothing, keeps connections as the edge does, and files open."""
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"    {kind}_temp_path {folder}/nginx-{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    locations = "".join(
        f"        location = /{name} {{\n"
        + "".join(f"            add_header {field} '{value}';\n" for field, value in extra)
        + "        }\n"
        for name, extra in fields.items()
    )
    return f"""{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {CONNECTIONS};
pid {folder}/nginx.pid;
events {{
    worker_connections {CONNECTIONS - 100};
}}
http {{
{temporary}    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    open_file_cache max=1000 inactive=600s;
    open_file_cache_valid 600s;
    default_type application/octet-stream;
    server {{
        listen [{ADDRESS}]:{port};
        root {site};
{locations}    }}
}}
"""


def wait_until_it_answers(process: LabProcess, port: int, path: str = "") -> None:
    """Wait for an answer over HTTP. Raises BenchError when the process ends or takes too long."""
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        try:
            ask(port, path)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchError(f"{process.name} does not answer on [{ADDRESS}]:{port}: {process.last_lines(1)}")


def ask(port: int, path: str, method: str = "GET") -> tuple[int, list[tuple[str, str]]]:
    """Status and fields of one answer. Raises OSError."""
    with closing(http.client.HTTPConnection(ADDRESS, port, timeout=10)) as connection:
        connection.request(method, f"/{path}")
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheaders()


def _extra_fields(server: WebServer, path: str) -> list[tuple[str, str]]:
    status, fields = ask(server.port, path, "HEAD")
    if status != 200:
        raise BenchError(f"{server.name} answers {status} to /{path}, which it should have")
    return [(name, value) for name, value in fields if name.lower() not in _OWN_FIELDS]


def _python(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BenchError(f"python -m {' '.join(arguments[:2])} failed: {' '.join(last)}")


def clean_up_on_sigterm() -> None:
    """Let SIGTERM end this process as an exception does, so that what it started is stopped."""

    def end(_number: int, _frame: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)


def open_connection(port: int) -> socket.socket:
    """A connection to a server that is compared. Raises OSError."""
    return socket.create_connection((ADDRESS, port), timeout=10)

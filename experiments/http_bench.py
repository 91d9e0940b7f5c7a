"""How fast an edge is beside nginx: `python -m experiments.http_bench [--json] [--only PART]`.

Both are real processes on loopback and take turns on one core; wrk has another one. A ratio is the median
over the turns of edge by nginx in the same turn, as others on the machine slow down both. Figures per CPU
second count the CPU time of the server. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from experiments import cache_tests, http_matrix
from experiments.cache_suite import counts, failures
from experiments.display import scenario_display
from experiments.http_exchange import ExchangeError
from experiments.http_load import (
    OTHER_HEADS,
    Load,
    allow_open_files,
    connections_for,
    idle_connections,
    is_served,
    run_wrk,
    thinking_script,
)
from experiments.http_servers import BenchError, Core, WebServer, clean_up_on_sigterm, start_edge, start_nginx
from experiments.statistics import median
from lab.debian import DebianError, unpacked
from lab.processes import ProcessError, ProcessTable

SMALL, LARGE = "small.bin", "large.bin"
SIZES = {SMALL: 1_000, LARGE: 10_000_000}
SMALL_CONNECTIONS, LARGE_CONNECTIONS = 64, 4
IDLE_CONNECTIONS = 10_000
LOADS = ("small", "tail", "large", "idle")
PARTS = (*LOADS, "matrix", "cache-tests")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `bar` is the limit of `ratio`, or of `edge` where there is no ratio; `is_most`
    says which side of it is good. Rows without a bar inform."""

    what: str
    edge: float
    nginx: float | None
    unit: str
    ratio: float | None = None
    bar: float | None = None
    is_most: bool = False
    problem: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the bar is kept; None without one."""
        if self.problem:
            return False
        if self.bar is None:
            return None
        value = self.edge if self.ratio is None else self.ratio
        return value <= self.bar if self.is_most else value >= self.bar


@dataclass(frozen=True, slots=True)
class Bench:
    """Both servers, and how they are measured."""

    edge: WebServer
    nginx: WebServer
    client_core: Core
    folder: Path
    seconds: float
    turns: int
    progress: Progress

    def loads(self, path: str, connections: int, script: str = "") -> list[tuple[Load, Load]]:
        """Edge and nginx in turns; who is first changes."""
        found = []
        for turn in range(self.turns):
            order = (self.edge, self.nginx) if turn % 2 == 0 else (self.nginx, self.edge)
            loads = {}
            for server in order:
                self.progress(f"{path}, {connections} connections: turn {turn + 1}, {server.name}")
                loads[server.name] = run_wrk(
                    server,
                    path,
                    core=self.client_core,
                    folder=self.folder,
                    seconds=self.seconds,
                    connections=connections,
                    script=script,
                )
            found.append((loads[self.edge.name], loads[self.nginx.name]))
        return found


def compared(
    what: str,
    unit: str,
    pairs: Sequence[tuple[Load, Load]],
    value: Callable[[Load], float],
    bar: float | None = None,
    *,
    is_most: bool = False,
) -> Row:
    """The row for one value of loads in turns."""
    edge, nginx = ([value(pair[side]) for pair in pairs] for side in (0, 1))
    ratio = median([mine / theirs for mine, theirs in zip(edge, nginx, strict=True)])
    errors = sum(pair[0].errors for pair in pairs)
    problem = f"{errors} requests to the edge failed" if errors else ""
    return Row(what, median(edge), median(nginx), unit, ratio, bar, is_most, problem)


def small(bench: Bench) -> list[Row]:
    """Requests a second for 1 kB."""
    pairs = bench.loads(SMALL, SMALL_CONNECTIONS)
    different = bench.loads(SMALL, SMALL_CONNECTIONS, OTHER_HEADS)
    return [
        compared("1 kB, requests/s", "/s", pairs, lambda load: load.per_s, 1 / 3),
        compared("1 kB, requests per CPU second", "/s", pairs, lambda load: load.per_cpu_s),
        compared("1 kB, no two requests alike", "/s", different, lambda load: load.per_s, 1 / 3),
    ]


def tail(bench: Bench, edge_per_s: float | None = None) -> list[Row]:
    """The slowest percent at half of what the edge can do; nginx gets the same rate."""
    if edge_per_s is None:
        bench.progress("how much the edge can do")
        edge_per_s = median([pair[0].per_s for pair in bench.loads(SMALL, SMALL_CONNECTIONS)])
    rate = edge_per_s / 2
    pairs = bench.loads(SMALL, connections_for(rate), thinking_script(seed=1))
    label = f"at {rate:,.0f} requests/s"
    return [
        compared(f"99th percentile {label}", "ms", pairs, lambda load: load.p99_ms, 3, is_most=True),
        compared(f"median {label}", "ms", pairs, lambda load: load.p50_ms),
        compared("reached", "/s", pairs, lambda load: load.per_s),
    ]


def large(bench: Bench) -> list[Row]:
    """Bytes a second for 10 MB."""
    pairs = bench.loads(LARGE, LARGE_CONNECTIONS)
    return [
        compared("10 MB, MB/s", "MB/s", pairs, lambda load: load.mb_per_s, 0.7),
        compared("10 MB, MB per CPU second", "MB/s", pairs, lambda load: load.mb_per_cpu_s),
    ]


def idle(bench: Bench) -> list[Row]:
    """Memory of connections that wait, and whether all of them are still served."""
    kb = {}
    lost = {}
    for server in (bench.edge, bench.nginx):
        bench.progress(f"{IDLE_CONNECTIONS:,} idle connections: {server.name}")
        with idle_connections(server, SMALL, 64):
            pass
        before = server.memory_bytes()
        with idle_connections(server, SMALL, IDLE_CONNECTIONS) as connections:
            kb[server.name] = (server.memory_bytes() - before) / len(connections) / 1000
            lost[server.name] = sum(not is_served(connection, SMALL) for connection in connections)
    problem = f"{lost['edge']} of them were not served again" if lost["edge"] else ""
    what = f"memory for each of {IDLE_CONNECTIONS:,} idle connections"
    return [Row(what, kb["edge"], kb["nginx"], "kB", None, 40, is_most=True, problem=problem)]


def matrix() -> list[Row]:
    """The rows of the HTTP matrix that hold."""
    with http_matrix.edge_with_files() as port:
        verdicts = http_matrix.check_all(port)
    failed = [verdict.row.name for verdict in verdicts if verdict.problem]
    total = len(verdicts)
    what = "rows of the HTTP matrix that hold"
    return [Row(what, total - len(failed), None, f"of {total}", None, total, problem=", ".join(failed))]


def cache(suite: Path | None) -> list[Row]:
    """The cache tests that pass; the bars are for a checkout, as the release has fewer."""
    tests = cache_tests.run(suite)
    problem = ", ".join(cache_tests.unexplained(failures(tests)))
    return [
        Row(
            f"cache tests passed, {kind}",
            good,
            None,
            f"of {total}",
            None,
            cache_tests.BARS[kind] if suite else None,
            problem=f"not explained: {problem}" if problem else "",
        )
        for kind, (good, total) in counts(tests).items()
    ]


def measure_loads(bench: Bench, parts: Sequence[str]) -> list[Row]:
    """The rows of these parts that are about speed and memory."""
    rows: list[Row] = []
    edge_per_s = None
    if "small" in parts:
        rows += small(bench)
        edge_per_s = rows[0].edge
    if "tail" in parts:
        rows += tail(bench, edge_per_s)
    if "large" in parts:
        rows += large(bench)
    if "idle" in parts:
        rows += idle(bench)
    return rows


@contextmanager
def running(seconds: float, turns: int, progress: Progress, *, is_urgent: bool = False) -> Iterator[Bench]:
    """Both servers for the length of the block. Raises BenchError."""
    cores = [Core(number, is_urgent) for number in sorted(os.sched_getaffinity(0))]
    if len(cores) < 2:
        raise BenchError("a server and its load need a core each, this process has one; see taskset")
    allow_open_files(IDLE_CONNECTIONS)
    progress("nginx")
    program = unpacked(("nginx", "nginx-common")) / "usr/sbin/nginx"
    folder = Path(tempfile.mkdtemp(prefix="nearcast-bench-"))
    processes = ProcessTable(folder / "logs")
    try:
        site = folder / "site"
        make_files(site)
        progress("the edge")
        edge = start_edge(processes, cores[0], folder, site)
        nginx = start_nginx(processes, cores[0], folder, site, program, like=edge)
        yield Bench(edge, nginx, cores[1], folder, seconds, turns, progress)
    finally:
        processes.stop_all()
        shutil.rmtree(folder, ignore_errors=True)


def make_files(site: Path) -> None:
    """The files both servers have; they do not compress."""
    site.mkdir()
    site.chmod(0o755)
    for name, size in SIZES.items():
        (site / name).write_bytes(Random(name).randbytes(size))


def measure(parts: Sequence[str], arguments: argparse.Namespace, progress: Progress) -> list[Row]:
    """The rows of all these parts. Raises BenchError."""
    rows: list[Row] = []
    if set(parts) & set(LOADS):
        with running(arguments.seconds, arguments.turns, progress, is_urgent=arguments.urgent) as bench:
            rows += measure_loads(bench, parts)
    if "matrix" in parts:
        progress("the HTTP matrix")
        rows += matrix()
    if "cache-tests" in parts:
        progress("the cache tests")
        rows += cache(arguments.suite)
    return rows


def show(rows: Sequence[Row]) -> None:
    """The table, and what is wrong."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title="An edge beside nginx, one core each, in turns")
    for head in ("", "edge", "nginx", "ratio", "bar", "ok"):
        table.add_column(head, justify="left" if not head else "right")
    for row in rows:
        table.add_row(*row_cells(row))
    console.print(table)
    for row in rows:
        if row.problem:
            console.print(f"{row.what}: {row.problem}")


def row_cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    bar = "" if row.bar is None else f"{'≤' if row.is_most else '≥'} {row.bar:.3g}"
    if row.bar is not None and row.ratio is None and row.unit:
        bar = f"{bar} {row.unit}"
    return (
        row.what,
        _number(row.edge, row.unit),
        "" if row.nginx is None else _number(row.nginx, row.unit),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        bar,
        {True: "yes", False: "NO", None: ""}[row.ok],
    )


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 100 or unit.startswith("of ") else 2
    return f"{value:,.{digits}f} {unit}".strip()


def to_json(rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    """The rows as plain data."""
    return [{**asdict(row), "ok": row.ok} for row in rows]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.http_bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--seconds", type=float, default=5, metavar="N", help="length of a run (default 5)")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="runs per server (default 5)")
    parser.add_argument(
        "--urgent", action="store_true", help="before everything else on this machine (SCHED_RR, needs root)"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    parser.add_argument("--suite", type=Path, metavar="DIR", help="a checkout of http-tests/cache-tests")
    arguments = parser.parse_args(argv)
    parts = arguments.only or PARTS
    clean_up_on_sigterm()
    try:
        with scenario_display() as note:
            rows = measure(parts, arguments, lambda text: note("http_bench", text))
    except (BenchError, DebianError, ExchangeError, ProcessError, OSError) as error:
        print(f"http_bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("http_bench: interrupted", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(to_json(rows), indent=2))
    else:
        show(rows)
    return int(any(row.ok is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())

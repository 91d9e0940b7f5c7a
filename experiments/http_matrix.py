"""Checks of an edge's web server, written from RFC 9110 and 9112: `python -m experiments.http_matrix`.

Each row sends its bytes on a connection of its own. Beside what the row asks, every answer must be framed
properly, carry a Date, and end the connection exactly when it says so. Exit status 1 when a row fails.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from experiments.http_exchange import Answer, Exchange, ExchangeError
from experiments.http_rows import ETAG, FILES, Row, get
from experiments.http_rows_messages import ROWS as MESSAGE_ROWS
from experiments.http_rows_semantics import ROWS as SEMANTIC_ROWS
from experiments.http_servers import ADDRESS, BenchError, Core, clean_up_on_sigterm, start_edge
from lab.processes import ProcessTable

ROWS: tuple[Row, ...] = (*MESSAGE_ROWS, *SEMANTIC_ROWS)
SHORT_OF: frozenset[str] = frozenset()
"""Names of rows that an edge fails today, which the tests expect."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a row; without a `problem` it holds."""

    row: Row
    problem: str


def check_all(port: int, rows: Sequence[Row] = ROWS) -> list[Verdict]:
    """Every row against the server on loopback that has `FILES`. Raises ExchangeError or OSError when it
    does not even answer a plain GET."""
    plain = {}
    for path in FILES:
        with Exchange(ADDRESS, port) as exchange:
            exchange.send(get(f"/{quote(path)}"))
            plain[f"/{path}"] = exchange.read("GET")
    return [Verdict(row, check(port, row, plain)) for row in rows]


def check(port: int, row: Row, plain: Mapping[str, Answer]) -> str:
    """What is wrong with the answers to a row; "" when nothing is."""
    tag = (plain["/digits.bin"].field("etag") or "").encode("latin-1")
    with Exchange(ADDRESS, port) as exchange:
        for part in row.parts:
            exchange.send(part.replace(ETAG, tag))
        try:
            answers = [exchange.read(method) for method in row.methods]
        except (ExchangeError, ValueError) as error:
            return str(error)
        problems = [
            wrong_statuses(row, answers),
            *(wrong_field(row, answers[0])),
            *(always_wrong(answer) for answer in answers),
        ]
        if row.expect.content is not None and answers[0].content != row.expect.content:
            problems.append(f"{len(answers[0].content)} bytes of content that are not what was asked for")
        try:
            problems.append(row.expect.judge(answers[0], plain))
        except ValueError as error:
            problems.append(str(error))
        problems.append(wrong_end(exchange, row, answers[-1]))
    return "; ".join(filter(None, problems))


def wrong_statuses(row: Row, answers: Sequence[Answer]) -> str:
    """Another status than the row allows."""
    found = tuple(answer.status for answer in answers)
    if found[0] in row.expect.statuses and found[1:] == row.expect.next:
        return ""
    return f"status {', '.join(map(str, found))}"


def wrong_field(row: Row, answer: Answer) -> Iterator[str]:
    """Fields that are there, or not, or other than the row says."""
    for name, pattern in row.expect.fields.items():
        value = answer.field(name)
        if value is None or not re.fullmatch(pattern, value):
            yield f"{name} is {value}"
    for name in row.expect.absent:
        if answer.field(name) is not None:
            yield f"{name} is {answer.field(name)}"


def always_wrong(answer: Answer) -> str:
    """What no answer may be: without Date, with 100 that nobody asked for, 405 without Allow."""
    if answer.field("date") is None:
        return "no Date"  # RFC 9110 section 6.6.1
    if answer.interim:
        return f"interim answers {answer.interim}"  # no row has content that is waited for
    if answer.status == 405 and answer.field("allow") is None:
        return "405 without Allow"  # section 15.5.6
    if answer.status == 206 and not (answer.field("content-range") or "multipart" in _type(answer)):
        return "206 without Content-Range"  # section 15.3.7
    return ""


def wrong_end(exchange: Exchange, row: Row, last: Answer) -> str:
    """Whether the connection ends otherwise than the answer says, or than the row does (RFC 9112 9.6)."""
    options = (last.field("connection") or "").lower()
    is_1_0 = b" HTTP/1.0\r\n" in row.parts[0]
    says_stay = "keep-alive" in options if is_1_0 else "close" not in options
    if row.expect.stays is not None and row.expect.stays is not says_stay:
        return f"Connection is {options or 'not there'}"
    if not says_stay:
        return "" if exchange.is_closed() else "the connection does not end"
    exchange.send(row.later + get())
    try:
        return "" if exchange.read("GET").status == 200 else "the next request is not answered 200"
    except (ExchangeError, ValueError) as error:
        return f"the next request: {error}"


def _type(answer: Answer) -> str:
    return answer.field("content-type") or ""


def write_site(folder: Path) -> None:
    """The files that the rows ask for."""
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@contextmanager
def edge_with_files() -> Iterator[int]:
    """A real edge that has them, for the length of the block; its port. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="nearcast-matrix-") as name:
        folder = Path(name)
        write_site(folder / "site")
        processes = ProcessTable(folder / "logs")
        try:
            yield start_edge(processes, Core(0), folder, folder / "site").port
        finally:
            processes.stop_all()


def main(argv: Sequence[str] | None = None) -> int:
    """Check and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.http_matrix", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print all rows as JSON")
    arguments = parser.parse_args(argv)
    clean_up_on_sigterm()
    try:
        with edge_with_files() as port:
            verdicts = check_all(port)
    except (BenchError, ExchangeError, OSError) as error:
        print(f"http_matrix: {error}", file=sys.stderr)
        return 1
    failed = [verdict for verdict in verdicts if verdict.problem]
    if arguments.json:
        rows = [{"name": v.row.name, "section": v.row.section, "problem": v.problem} for v in verdicts]
        print(json.dumps(rows, indent=2))
    else:
        for verdict in failed:
            print(f"RFC {verdict.row.section}: {verdict.row.name}: {verdict.problem}")
        print(f"{len(verdicts) - len(failed)} of {len(verdicts)} rows hold")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

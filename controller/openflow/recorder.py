"""`python -m controller.openflow.recorder`: write down everything that changes in the switches of a lab.

The recording is JSON lines: a snapshot, then a line for each transaction, and at the end, after SIGTERM,
another snapshot, which must be what the first one and the transactions lead to.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from controller.openflow.channel import ChannelError
from controller.openflow.held import Held
from controller.openflow.monitor import Monitor, Replay, TableEvent, Transaction
from controller.openflow.snapshot import (
    Snapshot,
    SnapshotError,
    messages_from_json,
    messages_to_json,
    snapshot_from_json,
)
from controller.plan.facts import PortId
from controller.plan.rules import Tables
from topologies.spec import Topology, from_json

_END = "end"


@dataclass(frozen=True, slots=True)
class State:
    """What all switches held at one moment: the same as of a `Snapshot`, at any time of a recording."""

    t_s: float
    topology: Topology
    tables: Mapping[str, Tables]
    foreign: Mapping[str, tuple[str, ...]]
    down_ports: frozenset[PortId]


def record(monitor: Monitor, path: Path) -> int:
    """Write the snapshot of a monitor and everything that changes, until `monitor.stop`, and check the end;
    the number of transactions. Each line is in the file as soon as it is known. Raises ChannelError when a
    switch goes, and OSError."""
    count = 0
    with path.open("w", buffering=1) as file:
        _write(file, monitor.snapshot.to_json())
        for transaction in monitor.transactions():
            _write(file, _transaction_to_json(transaction))
            count += 1
        last, end = monitor.finish()
        for transaction in last:
            _write(file, _transaction_to_json(transaction))
        _write(file, {_END: end.to_json()})
    return count + len(last)


def load_recording(path: Path) -> tuple[Snapshot, list[TableEvent]]:
    """What the switches held when the recording began, and every change, in the order of their times.

    Raises SnapshotError when the file is damaged, when it does not end because its recorder was killed or
    lost a switch, or when a switch held at the end what it had not reported; OSError when it cannot be read.
    """
    number = 0
    try:
        with path.open() as file:
            lines = enumerate(file, 1)
            number, line = next(lines, (1, "null"))
            reader = RecordingReader(line)
            events: list[TableEvent] = []
            for number, line in lines:  # noqa: B007 (for the error message)
                event = reader.read(line)
                if event is None:
                    # A transaction without flows ends with a barrier, so that others may have overtaken it.
                    return reader.snapshot, sorted(events, key=lambda event: event.t_s)
                events.append(event)
    except (ValueError, TypeError, KeyError) as error:
        text = str(error) if isinstance(error, ValueError) else f"damaged ({type(error).__name__}: {error})"
        raise SnapshotError(f"{path}:{number}: {text}") from None
    raise SnapshotError(f"{path}:{number}: the recording does not end; see the recorder's log for why")


class RecordingReader:
    """Reads a recording line by line, while it is written or later."""

    def __init__(self, line: str) -> None:
        """The first line is the snapshot. Raises SnapshotError and other ValueErrors when it is damaged."""
        self.snapshot = snapshot_from_json(json.loads(line))
        self._replay = Replay(self.snapshot)

    def read(self, line: str) -> TableEvent | None:
        """What a further line tells; None for the last one. Raises SnapshotError when a switch held in the
        end what it had not reported, ValueError, TypeError and KeyError for a damaged line."""
        data = json.loads(line)
        if _END in data:
            _check_end(self._replay.held, snapshot_from_json(data[_END]))
            return None
        return self._replay.follow(_transaction_from_json(data))


def states(snapshot: Snapshot, events: Iterable[TableEvent]) -> Iterator[State]:
    """What all switches held after the snapshot and after each event."""
    tables, foreign = dict(snapshot.tables), dict(snapshot.foreign)
    down = set(snapshot.down_ports)
    yield State(snapshot.t_s, snapshot.topology, dict(tables), dict(foreign), frozenset(down))
    for event in events:
        tables[event.switch] = event.tables
        foreign.pop(event.switch, None)
        if event.foreign:
            foreign[event.switch] = event.foreign
        down = down - event.came_up | event.went_down
        yield State(event.t_s, snapshot.topology, dict(tables), dict(foreign), frozenset(down))


def main(argv: Sequence[str] | None = None) -> int:
    """Record until SIGTERM or SIGINT; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m controller.openflow.recorder", description=__doc__)
    parser.add_argument(
        "--sockets", type=Path, required=True, metavar="DIR", help="Open vSwitch's run folder"
    )
    parser.add_argument(
        "--topology",
        type=Path,
        required=True,
        metavar="FILE",
        help="the topology as JSON, as for a controller",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    arguments = parser.parse_args(argv)
    try:
        with Monitor(arguments.sockets, _topology(arguments.topology)) as monitor:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: monitor.stop())
            count = record(monitor, arguments.out)
    except (ChannelError, OSError, ValueError) as error:
        print(f"recorder: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"event": "recorded", "transactions": count}), flush=True)
    return 0


def _topology(path: Path) -> Topology:
    """The topology in a file. Raises ValueError when there is none, and OSError."""
    try:
        return from_json(json.loads(path.read_bytes()))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no topology ({error})") from None


def _check_end(held: Mapping[str, Held], end: Snapshot) -> None:
    for switch, at_end in end.held.items():
        followed = held[switch]
        for what in ("tables", "foreign", "up_ports"):
            if getattr(followed, what) != getattr(at_end, what):
                raise SnapshotError(f"{switch} has changed without a report ({what}); record again")


def _transaction_to_json(transaction: Transaction) -> dict[str, Any]:
    return {
        "t_s": transaction.t_s,
        "switch": transaction.switch,
        "messages": messages_to_json(transaction.messages),
        "is_gap": transaction.is_gap,
    }


def _transaction_from_json(data: Mapping[str, Any]) -> Transaction:
    messages = messages_from_json(data["messages"])
    return Transaction(float(data["t_s"]), str(data["switch"]), messages, bool(data["is_gap"]))


def _write(file: TextIO, data: Mapping[str, Any]) -> None:
    file.write(json.dumps(data) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())

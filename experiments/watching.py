"""`nearcast verify --watch`: every change of the switches of a lab that is up is proved as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from controller.openflow.monitor import TableEvent
from controller.openflow.recorder import RecordingReader, State, states
from controller.verify.history import WATCHED, Lapse, Watch
from controller.verify.policy import Policy
from topologies.spec import Topology

POLL_S = 0.3
Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Watcher:
    """Follows a lab and tells what does not hold any more, and what does again."""

    def __init__(
        self,
        ask: Ask,
        policy_for: Callable[[Topology], Policy | None],
        tell: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """`policy_for` gives the policy for the lab's topology, None for the default; `tell` is given one
        mapping for each thing that happens."""
        self._ask = ask
        self._policy_for = policy_for
        self._tell = tell
        self.has_failed = False

    def run(self) -> None:
        """Watch until the lab ends or the caller is interrupted. Raises what `ask` raises, SnapshotError and
        UndecidableError."""
        lines = self._lines()
        reader = RecordingReader(next(lines))
        topology = reader.snapshot.topology
        watch = Watch(topology, self._policy_for(topology) or WATCHED)
        began_s = reader.snapshot.t_s
        events = _events(reader, lines)
        for number, moment in enumerate(states(reader.snapshot, events)):
            begun, ended = watch.follow(moment)
            lapses = {lapse.invariant: lapse for lapse in watch.open}
            for name in begun:
                self._note(moment, began_s, lapses[name])
            for lapse in ended:
                self._note(moment, began_s, lapse)
            if number == 0:
                self._tell({"event": "watching", "topology": topology.name, "holds": not begun})

    def _note(self, moment: State, began_s: float, lapse: Lapse) -> None:
        is_over = lapse.ended_s is not None
        self.has_failed |= lapse.is_grave and not is_over
        self._tell(
            {
                "event": "holds" if is_over else "violated",
                "t_s": round(moment.t_s - began_s, 6),
                "invariant": lapse.invariant,
                "is_grave": lapse.is_grave,
                "duration_ms": None if lapse.duration_ms is None else round(lapse.duration_ms, 3),
                "sentences": [violation.sentence for violation in lapse.violations],
            }
        )

    def _lines(self) -> Iterator[str]:
        known = 0
        while True:
            answer = self._ask({"op": "watch", "since": known})
            yield from answer["lines"]
            known += len(answer["lines"])
            if not answer["more"]:
                time.sleep(POLL_S)


def _events(reader: RecordingReader, lines: Iterator[str]) -> Iterator[TableEvent]:
    for line in lines:
        event = reader.read(line)
        if event is None:
            return
        yield event


def watch_line(note: Mapping[str, Any]) -> str:
    """What happened, in a line with rich markup."""
    from rich.markup import escape

    if note["event"] == "watching":
        state = "everything holds" if note["holds"] else "not everything holds"
        return f"watching {escape(note['topology'])}: {state}; Ctrl-C ends"
    moment = f"{note['t_s']:12.6f} s"
    if note["event"] == "holds":
        return (
            f"{moment}  [green]{escape(note['invariant'])}[/] holds again after {note['duration_ms']:.3f} ms"
        )
    colour = "bold red" if note["is_grave"] else "yellow"
    return f"{moment}  [{colour}]{escape(note['invariant'])}[/]: {escape(note['sentences'][0])}"


def watch_json(note: Mapping[str, Any]) -> str:
    """The same as JSON, in a line."""
    return json.dumps(note)

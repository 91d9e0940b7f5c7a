"""The requests of the control socket that change nothing: `show`, `trace`, `metrics` (docs/operations.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from controller.control_socket import OperationError
from controller.measures import Snapshot
from controller.metrics import exposition
from controller.plan.rules import RuleKey, Tables
from controller.trace_view import trace_request
from controller.views import Seen, show_request

Handlers = Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]


class Dumped(Protocol):
    """What a switch says it holds, and how many packets and bytes each rule has seen."""

    @property
    def tables(self) -> Tables:
        """Our tables."""

    @property
    def counters(self) -> Mapping[RuleKey, tuple[int, int]]:
        """Packets and bytes by rule."""


class Inquiries:
    """Answers from a moment of the controller; no answer waits for anything but a switch that is asked."""

    def __init__(
        self, seen: Callable[[], Seen], snapshot: Callable[[], Snapshot], dump: Callable[[str], Dumped]
    ) -> None:
        """`seen` gives what is known, with the planned tables; `dump` asks a switch what it holds, and may
        raise TimeoutError."""
        self._seen = seen
        self._snapshot = snapshot
        self._dump = dump

    @property
    def handlers(self) -> Handlers:
        """The operations by name."""
        return {"show": self._show, "trace": self._trace, "metrics": self._metrics}

    def _show(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        switch = request.get("switch")
        return show_request(request, self._tables_of(request, switch if isinstance(switch, str) else None))

    def _trace(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        seen = self._tables_of(request, None)
        question = {name: value for name, value in request.items() if name != "installed"}
        return trace_request(question, seen.facts, seen.tables)

    def _metrics(self, _request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"ok": True, "text": exposition(self._snapshot())}

    def _tables_of(self, request: Mapping[str, Any], switch: str | None) -> Seen:
        """What is known, with the planned tables, or with those in the switches if the request says so."""
        seen = self._seen()
        if not request.get("installed"):
            return seen
        wanted = [name for name in seen.tables if switch in (None, name)]
        try:
            dumps = {name: self._dump(name) for name in wanted}
        except TimeoutError as error:
            raise OperationError(str(error)) from None
        return replace(
            seen,
            tables={name: dump.tables for name, dump in dumps.items()},
            packets={name: dump.counters for name, dump in dumps.items()},
        )

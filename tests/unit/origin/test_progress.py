"""What a person sees while a site is published, and the table of who has what."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from typing import Any

import pytest

from delivery.rollcall import Report, RollCall
from origin import progress
from origin.progress import display, line, shares
from origin.status_table import print_status
from tests.unit.origin.test_api import STATUS


@dataclass
class Published:
    """As much of a publication as progress looks at."""

    roll_call: RollCall = field(default_factory=lambda: RollCall(("edge1", "edge2", "edge3")))

    def __post_init__(self) -> None:
        self.roll_call.begin(2, 0.0)
        self.roll_call.note(Report("edge1", 2, True, {}), 1.5)
        self.roll_call.note(Report("edge2", 2, False, {3: 25}), 1.5)

    def status(self) -> dict[str, Any]:
        return {"version": 2, "symbols": 100, "edges": self.roll_call.status(2.0)}


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_a_line_says_who_is_complete_and_what_others_miss() -> None:
    text = "version 2: 1 edges complete; edge2 misses 25 symbols; edge3 was not heard of"
    assert line(Published()) == text  # type: ignore[arg-type]


def test_shares_are_known_of_those_who_reported() -> None:
    published = Published()
    assert shares(published) == {"edge1": 1.0, "edge2": 0.75, "edge3": None}  # type: ignore[arg-type]
    published.roll_call.note(Report("edge2", 1, False, {3: 25}), 1.5)
    assert shares(published)["edge2"] is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("stream", "wanted"), [(io.StringIO(), "origin: version 2"), (Terminal(), "1.50 s")])
def test_progress_is_shown_as_the_stream_can_take_it(
    stream: io.StringIO, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.001)

    async def test() -> None:
        async with display(stream, Published()):  # type: ignore[arg-type]
            while wanted not in stream.getvalue():
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(test(), 20))
    assert "edge2" in stream.getvalue()


def test_the_table_has_every_session_and_edge(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(STATUS)
    shown = capsys.readouterr().out
    for word in ("live/news", "ff35::1", "edge1", "edge2", "yes", "no", "1234"):
        assert word in shown
    print_status({**STATUS, "epoch": 3, "sessions": STATUS["sessions"][1:]})
    shown = capsys.readouterr().out
    assert "epoch 3" in shown
    assert "no edge was heard of" in shown

"""Reports and the roll call: who has the version, who misses what."""

from __future__ import annotations

import pytest

from delivery import rollcall
from delivery.rollcall import Report, ReportError, RollCall, parse_report


def test_roll_call_by_name() -> None:
    call = RollCall(("a", "b"))
    call.begin(2, 10.0)
    assert not call.note(Report("a", 1, True, {}), 11.0)
    assert not call.completed_s
    assert call.note(Report("a", 2, True, {}), 12.0)
    assert not call.note(Report("a", 2, True, {}), 13.0)
    call.note(Report("other", 2, True, {}), 13.0)
    assert call.completed_s == {"a": 2.0, "other": 3.0}
    assert not call.is_complete
    assert call.missing == ("b",)
    assert call.shortfall() == "1 of 2 edges complete; b was not heard of"
    call.note(Report("b", 2, False, {5: 7, 6: 1}), 14.0)
    assert "b misses 8 symbols" in call.shortfall()
    call.note(Report("b", 2, True, {}), 15.0)
    assert call.is_complete


def test_roll_call_by_number() -> None:
    call = RollCall(count=2)
    call.begin(1, 0.0)
    call.note(Report("x", 1, True, {}), 1.0)
    call.note(Report("y", 1, False, {1: 1}), 1.0)
    assert (call.is_complete, call.missing) == (False, ("y",))
    call.note(Report("y", 1, True, {}), 2.0)
    assert call.is_complete
    assert RollCall().is_complete


def test_shortfall_counts_the_expected_only() -> None:
    call = RollCall(("a",))
    call.begin(1, 0.0)
    call.note(Report("b", 1, True, {}), 1.0)
    assert call.shortfall().startswith("0 of 1 edges complete")


def test_with_a_new_version_everybody_is_behind_until_they_say_otherwise() -> None:
    call = RollCall(("a",))
    call.begin(1, 0.0)
    call.note(Report("a", 1, True, {}), 1.0)
    call.note(Report("b", 1, True, {}), 1.0)
    assert call.behind == ()
    call.begin(2, 5.0)
    assert call.behind == ("a", "b")
    assert not call.is_complete
    call.note(Report("b", 2, True, {}), 6.5)
    assert (call.behind, call.completed_s) == (("a",), {"b": 1.5})


def test_status_tells_what_is_known_of_every_edge() -> None:
    call = RollCall(("a", "b"))
    call.begin(3, 10.0)
    call.note(Report("b", 3, True, {}), 11.0)
    call.note(Report("c", 2, True, {4: 5}), 12.0)
    unknown = {"version": 0, "complete": False, "missing_symbols": None, "heard_s_ago": None}
    assert call.status(14.0) == {
        "a": {**unknown, "completed_s": None},
        "b": {
            "version": 3, "complete": True, "missing_symbols": 0, "heard_s_ago": 3.0, "completed_s": 1.0
        },
        "c": {
            "version": 2, "complete": False, "missing_symbols": 5, "heard_s_ago": 2.0, "completed_s": None
        },
    }  # fmt: skip


def test_names_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollcall, "MAX_EDGES", 2)
    call = RollCall()
    call.begin(1, 0.0)
    assert [call.note(Report(name, 1, True, {}), 1.0) for name in ("a", "b", "c", "a")] == [
        True,
        True,
        False,
        False,
    ]
    assert set(call.standings) == {"a", "b"}


def test_reports_are_checked() -> None:
    good = {"edge": "edge1", "version": 2, "complete": False, "missing": {"7": 3}}
    assert parse_report(good) == Report("edge1", 2, False, {7: 3})
    assert parse_report({"edge": "e", "version": 0, "complete": True}).missing == {}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"edge": "", "version": 1, "complete": True},
        {"edge": "a\nb", "version": 1, "complete": True},
        {"edge": "a" * 256, "version": 1, "complete": True},
        {"edge": "a", "version": True, "complete": True},
        {"edge": "a", "version": -1, "complete": True},
        {"edge": "a", "version": 1, "complete": 1},
        {"edge": "a", "version": 1, "complete": True, "missing": []},
        {"edge": "a", "version": 1, "complete": True, "missing": {"x": 1}},
        {"edge": "a", "version": 1, "complete": True, "missing": {"-1": 1}},
        {"edge": "a", "version": 1, "complete": True, "missing": {"1": 0}},
        {"edge": "a", "version": 1, "complete": True, "missing": {"1": 1.5}},
    ],
)
def test_malformed_reports_are_refused(document: object) -> None:
    with pytest.raises(ReportError):
        parse_report(document)

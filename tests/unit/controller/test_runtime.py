"""Which Ryu runs the controller."""

from __future__ import annotations

import pytest

from controller.openflow.ryu_api import chosen_runtime


@pytest.mark.parametrize(
    ("wanted", "installed", "chosen"),
    [
        (None, {"os_ken", "ryu"}, "os-ken"),
        ("", {"os_ken"}, "os-ken"),
        (None, {"ryu"}, "ryu"),
        ("ryu", {"os_ken", "ryu"}, "ryu"),
        ("os-ken", {"os_ken", "ryu"}, "os-ken"),
    ],
)
def test_what_is_installed_is_used_unless_one_is_named(
    wanted: str | None, installed: set[str], chosen: str
) -> None:
    assert chosen_runtime(wanted, installed.__contains__) == chosen


@pytest.mark.parametrize(
    ("wanted", "installed", "complaint"),
    [
        (None, set(), "neither os-ken nor ryu"),
        ("ryu", {"os_ken"}, "is ryu, which this Python does not have"),
        ("nox", {"os_ken"}, "is 'nox'; there are os-ken, ryu"),
    ],
)
def test_one_line_says_what_is_missing(wanted: str | None, installed: set[str], complaint: str) -> None:
    with pytest.raises(ImportError, match=complaint):
        chosen_runtime(wanted, installed.__contains__)

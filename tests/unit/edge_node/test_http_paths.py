"""From URL paths to file names."""

from __future__ import annotations

import pytest

from edge_node.http.dates import format_date, parse_date
from edge_node.http.paths import file_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("/", "index.html"),
        ("/a.html", "a.html"),
        ("/folder/", "folder/index.html"),
        ("/a%20b/%C3%BC.html", "a b/ü.html"),
        ("/100%25", "100%"),
        ("/%41", "A"),
        ("/a+b", "a+b"),
        ("/...", "..."),
        ("/~user", "~user"),
    ],
)
def test_names(raw: str, name: str) -> None:
    assert file_name(raw) == name


@pytest.mark.parametrize(
    "raw",
    [
        "", "a", "*", "//a", "/a//b", "/..", "/../a", "/a/../b", "/./a", "/%2e%2e/a", "/%2E./a", "/a%2fb",
        "/a%00", "/%ff", "/%", "/%4", "/%zz", "/a%2F..%2Fb", "//", "/%c0%ae%c0%ae/a",
    ],
)  # fmt: skip
def test_what_no_file_can_be_called(raw: str) -> None:
    assert file_name(raw) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
        ("Sun Nov  6 08:49:37 1994", 784_111_777),
        ("Sun, 31 Dec 2016 23:59:60 GMT", 1_483_228_799),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_dates(text: str, seconds: int | None) -> None:
    assert parse_date(text, now_s=1_700_000_000) == seconds


def test_two_digit_years_lie_at_most_fifty_years_ahead() -> None:
    now_s = 1_700_000_000  # 2023
    for digits, year in (("73", "2073"), ("74", "1974"), ("23", "2023"), ("99", "1999")):
        seconds = parse_date(f"Friday, 06-Jan-{digits} 00:00:00 GMT", now_s)
        assert seconds is not None
        assert format_date(seconds)[12:16] == year

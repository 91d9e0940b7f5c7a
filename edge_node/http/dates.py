"""HTTP dates (RFC 9110 section 5.6.7): the one form written, the three forms read."""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from email.utils import formatdate

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_FORMS = (
    re.compile(
        rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) (?P<month>\w{{3}}) (?P<year>\d{{4}}) {_TIME} GMT"
    ),
    re.compile(
        r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, "
        rf"(?P<day>\d\d)-(?P<month>\w{{3}})-(?P<year>\d\d) {_TIME} GMT"
    ),
    re.compile(
        rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<month>\w{{3}}) (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})"
    ),
)
_FORMS_IN_ANY_CASE = tuple(re.compile(form.pattern, re.IGNORECASE) for form in _FORMS)


def format_date(seconds: int) -> str:
    """Seconds since the epoch as an IMF-fixdate, e.g. `Sun, 06 Nov 1994 08:49:37 GMT`."""
    return formatdate(seconds, usegmt=True)


def parse_date(text: str, now_s: int, *, any_case: bool = False) -> int | None:
    """Seconds since the epoch, or None when `text` is no HTTP-date.

    Caches read dates in `any_case` (RFC 9111 section 4.2); everybody else takes them as they are written.

    `now_s` settles the century of the obsolete two-digit form: a year more than 50 years ahead lies
    in the past (RFC 9110 section 5.6.7).
    """
    for form in _FORMS_IN_ANY_CASE if any_case else _FORMS:
        if match := form.fullmatch(text):
            break
    else:
        return None
    name = match["month"].capitalize() if any_case else match["month"]
    if name not in _MONTHS:
        return None
    month = _MONTHS.index(name) + 1
    year = int(match["year"])
    if len(match["year"]) == 2:
        current = int(format_date(now_s)[12:16])
        year += current - current % 100
        if year > current + 50:
            year -= 100
    second = min(int(match["second"]), 59)  # a leap second has no number of its own
    try:
        moment = datetime(year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), second)
    except ValueError:
        return None
    return timegm(moment.timetuple())

"""How long a response is fresh, and how old it is (RFC 9111 section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_node.http.cache.directives import delta_seconds, governing
from edge_node.http.cache.policy import Policy
from edge_node.http.dates import parse_date
from edge_node.http.fields import combined, list_members, values
from edge_node.http.messages import Fields

HEURISTICALLY_CACHEABLE = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""Status codes that are cacheable without anything said (RFC 9110 section 15.1)."""
_NEGATIVE = frozenset({404, 405, 410, 414, 501})


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a stored response may be used.

    It is fresh for `lifetime_s`; with `must_validate` it is never used unvalidated (no-cache), and with
    `never_stale` not once it is stale (must-revalidate, proxy-revalidate, s-maxage). Past its lifetime it may
    be used for `while_revalidate_s` during validation, and for `if_error_s` when that fails (RFC 5861).
    """

    lifetime_s: float = 0.0
    must_validate: bool = False
    never_stale: bool = False
    while_revalidate_s: int = 0
    if_error_s: int = 0


def terms(status: int, fields: Fields, received_s: float, policy: Policy) -> Terms:
    """The terms that a response sets, or that `policy` does where it says nothing."""
    rules = governing(fields)
    directives = rules.directives
    lifetime_s = directives.seconds("s-maxage")
    if lifetime_s is None:
        lifetime_s = directives.seconds("max-age")
    if lifetime_s is None and not rules.targeted:
        lifetime_s = _until_expiry_s(fields, received_s)
    return Terms(
        lifetime_s=_heuristic_s(status, fields, received_s, policy) if lifetime_s is None else lifetime_s,
        must_validate=directives.applies_to_all("no-cache"),
        never_stale=any(map(directives.has, ("must-revalidate", "proxy-revalidate", "s-maxage"))),
        while_revalidate_s=directives.seconds("stale-while-revalidate") or 0,
        if_error_s=directives.seconds("stale-if-error") or 0,
    )


def date_of(fields: Fields, name: str, received_s: float) -> int | None:
    """The date in the first line of the field `name`, None when there is none that can be read. Its letters
    may be in any case (section 4.2)."""
    lines = values(fields, name)
    return parse_date(lines[0], int(received_s), any_case=True) if lines else None


def _until_expiry_s(fields: Fields, received_s: float) -> int | None:
    """Expires minus Date; 0 for an Expires that is no date (section 5.3), None without one."""
    if not values(fields, "expires"):
        return None
    expires_s = date_of(fields, "expires", received_s)
    if expires_s is None:
        return 0
    dated_s = date_of(fields, "date", received_s)
    return max(expires_s - (int(received_s) if dated_s is None else dated_s), 0)


def _heuristic_s(status: int, fields: Fields, received_s: float, policy: Policy) -> float:
    """A lifetime for a response that gives none (section 4.2.2)."""
    if status not in HEURISTICALLY_CACHEABLE and not governing(fields).directives.has("public"):
        return 0.0
    modified_s = date_of(fields, "last-modified", received_s)
    if modified_s is None:
        return float(policy.negative_s) if status in _NEGATIVE else 0.0
    dated_s = date_of(fields, "date", received_s)
    unchanged_s = (received_s if dated_s is None else dated_s) - modified_s
    return min(max(unchanged_s * policy.heuristic_fraction, 0.0), policy.heuristic_max_s)


def initial_age_s(fields: Fields, requested_s: float, received_s: float) -> float:
    """How old a response was when it came (section 4.2.3), whichever way the clocks differ: the greater of
    what its Date and its Age say, the time it took included."""
    dated_s = date_of(fields, "date", received_s)
    apparent_s = max(0.0, received_s - dated_s) if dated_s is not None else 0.0
    said = next(list_members(combined(fields, "age") or ""), "")  # the first of several (section 5.1)
    corrected_s = (delta_seconds(said) or 0) + max(0.0, received_s - requested_s)
    return max(apparent_s, corrected_s)

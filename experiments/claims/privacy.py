"""C16: temporary addresses work through all of it."""

from __future__ import annotations

from experiments.claims.model import Claim, Evidence, compared
from experiments.records import Request, ScenarioRecords

WINDOW = "privacy"
LONG_PATH = "/long.bin"
SOURCE = ("raw/edge/requests.csv", "raw/stable/requests.csv")


def _requests(scenario: ScenarioRecords | None) -> list[Request]:
    return [row for row in scenario.requests if row.window == WINDOW] if scenario else []


def addresses(rows: list[Request]) -> dict[str, set[str]]:
    """The addresses that each user was answered at, as the edges see them: nothing rewrites them."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.ok:
            found.setdefault(row.user, set()).add(row.source)
    return found


def _survivors(rows: list[Request]) -> tuple[list[Request], list[Request]]:
    """Long downloads during which their user changed its address, and those of them that ended whole."""
    long = [row for row in rows if row.path == LONG_PATH]
    changed = [
        row
        for row in long
        if any(
            other.user == row.user and other.source != row.source and other.started_s < row.ended_s
            for other in rows
            if other.started_s > row.started_s
        )
    ]
    return changed, [row for row in changed if row.ok]


def temporary_addresses(evidence: Evidence) -> list[Claim]:
    """Requests failed, downloads that outlived an address, and addresses that edges see of a user."""
    rows, stable = _requests(evidence.get("edge")), _requests(evidence.get("stable"))
    failed = [row for row in rows if not row.ok]
    changed, whole = _survivors(rows)
    seen, seen_stable = addresses(rows), addresses(stable)
    fewest = min((len(found) for found in seen.values()), default=0)
    most_stable = max((len(found) for found in seen_stable.values()), default=None)
    first = Claim(
        "C16",
        "requests failed while addresses change",
        len(failed) if rows else None,
        "requests",
        rule="none",
        holds=bool(rows) and not failed and fewest > 1,
        total=len(rows),
        notes=tuple(f"{row.user} at {row.started_s:.3f} s: {row.error or row.status}" for row in failed[:5]),
        source=SOURCE,
    )
    second = Claim(
        "C16",
        "long downloads that ended whole although their user's address changed",
        len(whole),
        "downloads",
        rule="all of them",
        holds=bool(changed) and len(whole) == len(changed),
        total=len(changed),
        source=SOURCE[:1],
    )
    third = Claim(
        "C16",
        "addresses that edges see of the user who changes least",
        fewest if rows else None,
        "addresses",
        rule="more than one; a stable address is one",
        holds=fewest > 1 and most_stable == 1,
        notes=tuple(f"{user}: {len(found)}" for user, found in seen.items()),
        source=SOURCE,
    )
    failed_stable = sum(not row.ok for row in stable) if stable else None
    return [
        compared(first, failed_stable, "stable"),
        second,
        compared(third, most_stable, "stable"),
    ]

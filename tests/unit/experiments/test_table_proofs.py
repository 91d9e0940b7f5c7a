"""Claims from what the switches held, and what a person sees who watches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from controller.plan.compile import plan
from controller.verify.history import History, Lapse
from controller.verify.proof import prove
from experiments.claims.tables import proved
from experiments.proofs import proof_to_json
from experiments.table_proofs import Proved, TableHistory, TableProof
from experiments.watching import watch_json, watch_line
from tests.unit.controller.networks import facts_of, small
from tests.unit.controller.test_history import open_to_the_origin

TOPOLOGY = small()
GOOD = proof_to_json(prove(TOPOLOGY, plan(facts_of(TOPOLOGY))), TOPOLOGY)
BAD = proof_to_json(prove(TOPOLOGY, open_to_the_origin(), failures=False), TOPOLOGY)


def test_a_run_is_proved_before_and_after() -> None:
    found = Proved(tuple(TableProof("edge", moment, GOOD, False, 0.1) for moment in ("before", "after")))
    (claim,) = proved(found)
    assert (claim.value, claim.total, claim.holds) == (0, 2 * len(GOOD["invariants"]), True)
    assert claim.source == ("raw/edge/tables-before.json", "raw/edge/tables-after.json")


def test_one_broken_invariant_and_the_claim_does_not_hold() -> None:
    found = Proved(
        (TableProof("edge", "before", GOOD, False, 0.1), TableProof("edge", "after", BAD, False, 0.1))
    )
    (claim,) = proved(found)
    assert (claim.value, claim.holds) == (1, False)
    assert claim.notes[0] == "edge, after: isolation"


def test_a_baseline_may_break_what_it_likes() -> None:
    found = Proved(
        (TableProof("edge", "after", GOOD, False, 0.1), TableProof("central", "after", BAD, True, 0.1))
    )
    (claim,) = proved(found)
    assert (claim.value, claim.baseline, claim.baseline_name, claim.holds) == (0, 1, "central", True)


def test_nothing_was_kept_and_nothing_is_claimed() -> None:
    assert proved(Proved()) == []
    assert proved(Proved((TableProof("central", "after", BAD, True, 0.1),))) == []


def test_a_grave_lapse_counts_and_another_does_not() -> None:
    lapses = (Lapse("no black holes", 1.0, 2.0, ()),)
    history = History(12, 0.0, 9.0, lapses)
    (claim,) = proved(Proved((), (TableHistory("edge", history, False),)))
    assert (claim.value, claim.holds, claim.notes) == (0, True, ("edge: 12 different states of all tables",))
    history = History(12, 0.0, 9.0, (*lapses, Lapse("gateway", 3.0, 3.5, ())))
    (claim,) = proved(Proved((), (TableHistory("edge", history, False),)))
    assert (claim.value, claim.holds, claim.notes[0][-7:]) == (1, False, "gateway")


def notes() -> Iterator[Mapping[str, Any]]:
    yield {"event": "watching", "topology": "small", "holds": True}
    common = {"t_s": 2.5, "invariant": "gateway", "is_grave": True, "sentences": ["user1 gets [it]"]}
    yield common | {"event": "violated", "duration_ms": None}
    yield common | {"event": "holds", "duration_ms": 1.25}


def test_a_watch_says_what_happens_in_a_line() -> None:
    assert [watch_line(note) for note in notes()] == [
        "watching small: everything holds; Ctrl-C ends",
        "    2.500000 s  [bold red]gateway[/]: user1 gets \\[it]",
        "    2.500000 s  [green]gateway[/] holds again after 1.250 ms",
    ]
    assert [json.loads(watch_json(note)) for note in notes()] == list(notes())

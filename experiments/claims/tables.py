"""C8 and C10 to C12, proved: what no packet at all can do, by the tables that the switches held."""

from __future__ import annotations

from experiments.claims.model import Claim, compared
from experiments.scenario import MOMENTS, RECORDING
from experiments.table_proofs import Proved, TableHistory

IDS = "C8-C12"


def proved(found: Proved) -> list[Claim]:
    """Invariants that some packet breaks before and after what was measured, and moments between."""
    return [*_invariants(found), *_moments(found)]


def _invariants(found: Proved) -> list[Claim]:
    ours = [proof for proof in found.proofs if not proof.is_baseline]
    others = [proof for proof in found.proofs if proof.is_baseline]
    if not ours:
        return []
    broken = [f"{proof.scenario}, {proof.moment}: {name}" for proof in ours for name in proof.broken]
    figures = ours[-1].proof["figures"]
    claim = Claim(
        IDS,
        "invariants that some packet breaks, by a proof over all packets and single failures",
        len(broken),
        "invariants",
        rule="none, before anything is measured and after the last fault",
        holds=not broken,
        total=sum(len(proof.proof["invariants"]) for proof in ours),
        notes=(
            *broken[:5],
            f"the tables had {figures['rules']} rules at the end; {figures['failures']} failures",
        ),
        source=tuple(f"raw/{proof.scenario}/{MOMENTS[proof.moment]}" for proof in (*ours, *others)),
    )
    if not others:
        return [claim]
    return [compared(claim, sum(len(proof.broken) for proof in others), others[0].scenario)]


def _moments(found: Proved) -> list[Claim]:
    ours = [history for history in found.histories if not history.is_baseline]
    if not ours:
        return []
    grave = [lapse for entry in ours for lapse in entry.history.lapses if lapse.is_grave]
    return [
        Claim(
            IDS,
            "times at which isolation, scope or gateway did not hold while tables changed",
            len(grave),
            "times",
            rule="none, from the first rule on, through every fault and restart",
            holds=not grave,
            notes=tuple(_note(entry) for entry in ours),
            source=tuple(f"raw/{entry.scenario}/{RECORDING}" for entry in ours),
        )
    ]


def _note(entry: TableHistory) -> str:
    history = entry.history
    names = sorted({lapse.invariant for lapse in history.lapses if lapse.is_grave})
    which = f": {', '.join(names)}" if names else ""
    return f"{entry.scenario}: {history.moments} different states of all tables{which}"

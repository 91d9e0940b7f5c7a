"""From frames, proofs and captures to the rows that the act leaves (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from experiments.attack.census import Census, Slot, strangers
from experiments.attack.model import Attacker
from experiments.attack.proof import Outcome, Proof
from experiments.attack.records import AttackRow, AttackState
from experiments.attack.turns import Turn
from topologies.addressing import ERROR_SOURCE, GATEWAY

_GLOBAL_SCOPE = 0xE
_KEPT = (
    ("C9", "edges_accepting"),
    ("C9", "edges_alive"),
    ("C9", "edges_drained"),
    ("C9", "switches"),
    ("C9", "foreign_rules"),
)


@dataclass(frozen=True)
class Known:
    """What the controller says of the network: its status, and its rows of neighbours and members."""

    status: Mapping[str, Any]
    neighbours: Sequence[Mapping[str, Any]]
    members: Sequence[Mapping[str, Any]]

    def bound(self, but: str) -> list[str]:
        """The addresses of all users but one, with their MACs and what they have opened."""
        return sorted(
            f"{row['host']}={row['address']},{row['mac']}" + "".join(f"+{name}" for name in row["open"])
            for row in self.neighbours
            if row["host"] != but
        )

    def joined(self, but: str) -> list[str]:
        """The members of groups but one."""
        rows = (row for row in self.members if row["host"] != but)
        return sorted(f"{row['host']}={row['group']},{row['source']}" for row in rows)

    def limited(self, user: str) -> list[str]:
        """The groups of less than global scope that a user is a member of."""
        groups = {str(row["group"]) for row in self.members if row["host"] == user}
        return sorted(group for group in groups if IPv6Address(group).packed[1] & 0xF != _GLOBAL_SCOPE)


@dataclass(frozen=True)
class Done:
    """An attack that was carried out: when, how many frames it was, and what others could do after it."""

    slot: Slot
    sent: int
    large_sent: int = 0
    large_received: int = 0


def attack_row(
    turn: Turn,
    done: Done,
    origin_ns: int,
    before: Proof,
    after: Proof,
    seen: Census,
) -> AttackRow:
    """A row of attacks.csv. `before` and `after` are proofs by the tables before and after all attacks: what
    the attacker has claimed meanwhile may let more of it through."""
    attack = turn.attack
    text = before.text if before.text == after.text else f"{before.text}; in the end: {after.text}"
    leaked = sum(number for (which, _), number in seen.leaked.items() if which == turn.number)
    allowed = sum(number for (which, _), number in seen.public.items() if which == turn.number)
    return AttackRow(
        attack=attack.name,
        family=str(attack.family),
        claim=attack.claim,
        reference=attack.reference,
        tries=attack.tries,
        because=attack.because,
        begin_s=round((done.slot.begin_ns - origin_ns) / 1e9, 6),
        end_s=round((done.slot.end_ns - origin_ns) / 1e9, 6),
        distinct=len(turn.frames) + len(turn.heard),
        sent=done.sent,
        proof=text,
        dropped=before.outcomes.get(Outcome.DROPPED, 0),
        refused=before.outcomes.get(Outcome.REFUSED, 0),
        controller=before.outcomes.get(Outcome.CONTROLLER, 0),
        delivered=before.outcomes.get(Outcome.DELIVERED, 0),
        proved=" ".join(sorted(before.hosts | after.hosts)),
        arrived=" ".join(f"{host}:{number}" for host, number in seen.arrived(turn.number).items()),
        allowed=allowed,
        leaked=leaked,
        large_sent=done.large_sent,
        large_received=done.large_received,
    )


def attack_states(attacker: Attacker, before: Known, after: Known, seen: Census) -> Iterator[AttackState]:
    """What the attacks must not have changed: what is known of others, and who answers."""
    me = attacker.me.name

    for claim, what in _KEPT:
        yield _unchanged(claim, what.replace("_", " "), before.status[what], after.status[what])
    yield _unchanged(
        "C9", "addresses of others, and what they have opened", before.bound(me), after.bound(me)
    )
    yield _unchanged("C9", "frames of the attacker between the attacks", 0, seen.strays)
    yield _unchanged("C10", "members of groups but the attacker", before.joined(me), after.joined(me))
    yield _unchanged("C10", "groups of limited scope the attacker is in", [], after.limited(me))
    others = sorted(map(str, strangers(seen, attacker, (GATEWAY, ERROR_SOURCE))))
    yield _unchanged("C11", "others that answered the attacker", [], others)


def _unchanged(claim: str, what: str, before: object, after: object) -> AttackState:
    """Something that must be the same afterwards."""
    return AttackState(claim, what, _text(before), _text(after), before == after)


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

"""What held at every moment of a time in which tables changed, and how long it did not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.plan.facts import PortId
from controller.plan.rules import Tables
from controller.verify.policy import BUILT_IN, SAFETY, Policy
from controller.verify.proof import Prover, Violation
from topologies.spec import Topology

WATCHED = Policy(tuple(name for name in BUILT_IN if name not in ("nearest", "no ambiguity")))
"""What is asked of every moment. Which edges are to answer is not known at every moment, and rules overlap
only by mistake."""


class Moment(Protocol):
    """What all switches held from a time on."""

    @property
    def t_s(self) -> float:
        """When it began, in seconds on some clock."""

    @property
    def tables(self) -> Mapping[str, Tables]:
        """Their tables."""

    @property
    def foreign(self) -> Mapping[str, Sequence[str]]:
        """What they held of somebody else."""

    @property
    def down_ports(self) -> frozenset[PortId]:
        """Their ports that were down."""


@dataclass(frozen=True, slots=True)
class Lapse:
    """An invariant that did not hold for a while, in seconds on the clock of the moments; `ended_s` is None
    when it was still so at the end. `violations` are those of the first moment."""

    invariant: str
    began_s: float
    ended_s: float | None
    violations: tuple[Violation, ...]

    @property
    def is_grave(self) -> bool:
        """Whether no moment may break it."""
        return self.invariant in SAFETY

    @property
    def duration_ms(self) -> float | None:
        """How long it was so."""
        return None if self.ended_s is None else (self.ended_s - self.began_s) * 1000


@dataclass(frozen=True, slots=True)
class History:
    """How many different moments there were, from when to when, and what did not hold in them."""

    moments: int
    began_s: float
    ended_s: float
    lapses: tuple[Lapse, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing grave happened."""
        return not any(lapse.is_grave for lapse in self.lapses)


class Watch:
    """Follows moments as they come. `foreseen` are tables that will come, if they are known."""

    def __init__(self, topology: Topology, policy: Policy = WATCHED, foreseen: Iterable[Tables] = ()) -> None:
        self._prover = Prover(topology, policy, foreseen)
        self._open: dict[str, tuple[float, tuple[Violation, ...]]] = {}

    def follow(self, moment: Moment) -> tuple[tuple[str, ...], tuple[Lapse, ...]]:
        """Prove a moment: the invariants that hold no more, and the lapses that have ended. Raises
        UndecidableError."""
        proof = self._prover.prove(
            moment.tables, foreign=moment.foreign, down=moment.down_ports, failures=False, witnesses=False
        )
        begun, ended = [], []
        for verdict in proof.verdicts:
            if verdict.holds and verdict.name in self._open:
                began_s, violations = self._open.pop(verdict.name)
                ended.append(Lapse(verdict.name, began_s, moment.t_s, violations))
            elif not verdict.holds and verdict.name not in self._open:
                self._open[verdict.name] = moment.t_s, verdict.violations
                begun.append(verdict.name)
        return tuple(begun), tuple(ended)

    @property
    def open(self) -> tuple[Lapse, ...]:
        """What does not hold now."""
        return tuple(
            Lapse(name, began_s, None, violations) for name, (began_s, violations) in self._open.items()
        )


def history_of(topology: Topology, moments: Iterable[Moment], policy: Policy = WATCHED) -> History:
    """The history of moments in the order of their times. Raises UndecidableError, and ValueError when there
    are none."""
    known = list(moments)
    if not known:
        raise ValueError("a history has at least one moment")
    distinct = {id(content): content for moment in known for content in moment.tables.values()}
    watch, lapses, count = Watch(topology, policy, distinct.values()), list[Lapse](), 0
    before: Moment | None = None
    for moment in known:
        is_new = before is None or (moment.tables, moment.down_ports) != (before.tables, before.down_ports)
        if is_new:
            count += 1
            lapses += watch.follow(moment)[1]
        before = moment
    found = sorted((*lapses, *watch.open), key=lambda lapse: (lapse.began_s, lapse.invariant))
    return History(count, known[0].t_s, known[-1].t_s, tuple(found))

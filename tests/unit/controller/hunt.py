"""Looks for a packet that shows a fault: all that is planned and passes the faulty switch, then shots at the
faulty rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import NamedTuple

from controller.plan.rules import CtState
from controller.verify.proof import Violation
from tests.unit.controller.judge import Breach, Judge, Outage, Shelves, Shot
from tests.unit.controller.mutations import Mutant
from tests.unit.controller.proof_cases import Case
from tests.unit.controller.shots import Marksman, outages, planned

MEMBERSHIP = "membership"
"""What tables alone cannot tell: who listens. A listener that is not served is no breach of an invariant."""


class Catch(NamedTuple):
    """A packet that breaks an invariant."""

    breach: Breach
    shot: Shot
    outage: Outage


class Hunt:
    """Hunts in the mutants of one network."""

    def __init__(self, case: Case, every: int) -> None:
        """After a failure, one of so many planned packets is tried."""
        self._case = case
        self._judge = Judge(case.facts)
        self._outages = outages(case.topology) if case.with_failures else [Outage()]
        self._passing: list[tuple[Shot, Outage, frozenset[str]]] = []
        shots = planned(self._judge)
        for number, outage in enumerate(self._outages):
            network = Shelves(case.topology, case.tables, outage.ports)
            for shot in shots[number % every :: every] if outage.text else shots:
                way = self._judge.walk(network, shot)
                self._passing.append((shot, outage, frozenset(hop.at.switch for hop in way.hops)))

    def catch(self, mutant: Mutant, at_most: int, *, failures: bool) -> Catch | None:
        """A packet that breaks an invariant in the tables of a mutant; None when none of so many of each
        kind does."""
        networks: dict[str, Shelves] = {}
        for shot, outage in self._shots(mutant, at_most):
            if outage.text and not failures:
                continue
            network = networks.get(outage.text)
            if network is None:
                network = networks[outage.text] = Shelves(self._case.topology, mutant.tables, outage.ports)
            for breach in self._breaches(network, shot, mutant, outage):
                if breach.invariant != MEMBERSHIP:
                    return Catch(breach, shot, outage)
        return None

    def _shots(self, mutant: Mutant, at_most: int) -> Iterator[tuple[Shot, Outage]]:
        random = Random(str(mutant))
        passing = [(shot, outage) for shot, outage, met in self._passing if mutant.switch in met]
        random.shuffle(passing)
        passing.sort(key=lambda pair: pair[1].text != "")
        healthy = sum(1 for _, outage in passing if not outage.text)
        yield from passing[: max(at_most, min(healthy, 2 * at_most))]
        marksman = Marksman(self._judge, mutant.rules, mutant.switch, random)
        near = [outage for outage in self._outages if mutant.switch in outage.switches]
        for _ in range(at_most):
            chance = random.random()
            outage = self._outages[0]
            if chance > 0.8:
                outage = random.choice(self._outages)
            elif chance > 0.5 and near:
                outage = random.choice(near)
            yield marksman.shot(), outage

    def _breaches(self, network: Shelves, shot: Shot, mutant: Mutant, outage: Outage) -> Iterator[Breach]:
        judge = self._judge
        way = judge.walk(network, shot)
        yield from judge.breaches(shot, way, mutant.tables, outage)
        if shot.own is CtState.RELATED and not outage.text and judge.is_planned(shot):
            known = judge.walk(network, replace(shot, own=CtState.ESTABLISHED))
            if {end.where for end in known.delivered} != {end.where for end in way.delivered}:
                yield Breach("nearest", "an error about a connection goes elsewhere than the connection")
        following = None if outage.text or not judge.is_planned(shot) else judge.next_of(shot, way)
        if following is not None and way.delivered:
            later = judge.walk(network, following)
            if [end.where for end in later.delivered] != [end.where for end in way.delivered]:
                yield Breach("nearest", "what is known of its connection leads to another edge")

    def confirms(self, mutant: Mutant, violation: Violation) -> bool:
        """Whether the packet of a violation breaks an invariant indeed."""
        witness = violation.witness
        outage = next((each for each in self._outages if each.text == violation.failure), None)
        if witness is None or outage is None:
            return False
        shot = Shot(witness.sender, witness.packet, witness.own, witness.theirs, witness.mark)
        network = Shelves(self._case.topology, mutant.tables, outage.ports)
        found = [*self._judge.breaches(shot, witness.walk, mutant.tables, outage)]
        found += self._breaches(network, shot, mutant, outage)
        return any(breach.invariant == violation.invariant for breach in found)

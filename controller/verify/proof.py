"""The proof: every packet that any port could send, under the healthy network and every single failure,
against the policy. Pure; what it takes are tables as switches have said that they hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.plan.facts import PortId
from controller.plan.rules import Prefix, Tables
from controller.verify.atoms import Bits
from controller.verify.checks import (
    Check,
    Finding,
    Loops,
    NeighboursOnly,
    OneWinner,
    OwnSources,
    Reach,
    Shows,
    Unsolicited,
    Zoned,
)
from controller.verify.deliver import Delivery, Once, duplicates
from controller.verify.failures import Failure, Homes, further_buckets, single_failures
from controller.verify.ground import Expected, Ground
from controller.verify.nearest import Nearest
from controller.verify.outcomes import Outcome
from controller.verify.planned import Planned
from controller.verify.policy import BUILT_IN, DEFAULT, Policy, Reachability
from controller.verify.spread import NONE_DOWN, Place, Spread
from controller.verify.witness import Search, Witness
from topologies.spec import Role, Topology

MAX_WITNESSES = 3
"""So many violations of one invariant are shown with a packet; the others are counted."""
_SENTENCES = 1000
"""Findings with different sentences that are kept of one invariant."""


class UndecidableError(ValueError):
    """The tables hold something that is not modelled; the message says what and where."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that breaks an invariant: a sentence, what has failed before (empty: nothing), and a packet
    that shows it (None: none was found among the likely ones)."""

    invariant: str
    sentence: str
    failure: str
    witness: Witness | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one invariant. `count` is how many different violations there are, with those that have
    no packet here."""

    name: str
    claim: str
    statement: str
    violations: tuple[Violation, ...]
    count: int

    @property
    def holds(self) -> bool:
        """Whether it is proved."""
        return not self.count


@dataclass(frozen=True, slots=True)
class Figures:
    """How large the proof is. A region is a set of packets that are all treated alike at a place."""

    switches: int
    rules: int
    groups: int
    destinations: int
    sources: int
    places: int
    regions: int
    failures: int
    protected: int
    unprotected: int
    circling: int


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdicts, how large the proof is, and the services that users have opened by subscription."""

    verdicts: tuple[Verdict, ...]
    figures: Figures
    openings: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether everything is proved."""
        return all(verdict.holds for verdict in self.verdicts)


def prove(
    topology: Topology,
    tables: Mapping[str, Tables],
    *,
    foreign: Mapping[str, Sequence[str]] | None = None,
    down: Iterable[PortId] = (),
    expected: Expected | None = None,
    policy: Policy = DEFAULT,
    failures: bool = True,
) -> Proof:
    """Prove a policy of tables. `foreign` is what could not be read of them. Raises UndecidableError."""
    prover = Prover(topology, policy)
    return prover.prove(tables, foreign=foreign, down=down, expected=expected, failures=failures)


class Prover:
    """Proves again and again; of switches that hold the same tables as before nothing is found out anew."""

    def __init__(self, topology: Topology, policy: Policy = DEFAULT, foreseen: Iterable[Tables] = ()) -> None:
        """`foreseen` are tables that switches will hold: what is found out does for them too."""
        self._topology = topology
        self._policy = policy
        self._foreseen = tuple(foreseen)
        self._ground: Ground | None = None

    def prove(
        self,
        tables: Mapping[str, Tables],
        *,
        foreign: Mapping[str, Sequence[str]] | None = None,
        down: Iterable[PortId] = (),
        expected: Expected | None = None,
        failures: bool = True,
        witnesses: bool = True,
    ) -> Proof:
        """As `prove` does; without `witnesses` no packets are looked for."""
        for switch, texts in (foreign or {}).items():
            for text in texts:
                raise UndecidableError(f"{switch}: {text}")
        missing = [switch for switch in self._topology.switches if switch not in tables]
        if missing:
            raise UndecidableError(f"{missing[0]}: its tables are not known")
        if self._ground is None:
            asked = [Prefix.of(network) for rule in self._policy.rules for network in rule.destinations]
            self._ground = Ground(self._topology, tables, down, expected, asked, self._foreseen)
        else:
            self._ground = self._ground.renewed(tables, down, expected)
        return _Proving(self._ground, self._policy, witnesses).prove(failures)


@dataclass
class _Case:
    """A question asked of one set of senders."""

    check: Check
    senders: tuple[str, ...]


@dataclass
class _Proving:
    """One proof under way."""

    ground: Ground
    policy: Policy
    with_witnesses: bool
    found: dict[str, dict[tuple[str, str], tuple[Finding, Shows | None, tuple[Place, ...]]]] = field(
        default_factory=dict
    )
    regions: int = 0
    protected: int = 0
    unprotected: int = 0
    circling: int = 0

    @property
    def topology(self) -> Topology:
        """The network."""
        return self.ground.topology

    @property
    def tables(self) -> Mapping[str, Tables]:
        """What its switches hold."""
        return self.ground.model.tables

    def prove(self, with_failures: bool) -> Proof:
        """Do all of it."""
        ground = self.ground
        users = self.topology.of_role(Role.USER)
        servers = self.topology.of_role(Role.EDGE, Role.ORIGIN, Role.DNS)
        own_sources, gateway = OwnSources(ground), Unsolicited(ground)
        cases = self._cases(users, servers, own_sources, gateway)
        spreads = {
            senders: self._spread(senders) for senders in dict.fromkeys(case.senders for case in cases)
        }
        for senders, spread in spreads.items():
            self._look(spread.outcomes(), [case for case in cases if case.senders == senders], "")
            self._loops(spread, senders, "")
        if "anti-spoofing" in self.policy.invariants:
            entries = self._entries(users)
            for finding in own_sources.shared():
                self._note(finding, own_sources, entries, "")
        planned = Planned(ground)
        delivery, wanted = Delivery(planned), Spread(ground.model)
        wanted.add(planned.places)
        self._deliveries(planned, delivery, wanted)
        failing: list[Failure] = []
        if with_failures:
            failing = [*single_failures(self.topology), *further_buckets(self.tables)]
            homes = Homes(ground, planned.edges)
            for failure in failing:
                self._fail(failure, homes.cut_off(failure), cases, spreads, planned, delivery, wanted)
        return self._result(spreads, len(failing), gateway)

    def _cases(
        self,
        users: tuple[str, ...],
        servers: tuple[str, ...],
        own_sources: OwnSources,
        gateway: Unsolicited,
    ) -> list[_Case]:
        """Which check is asked of whose packets."""
        ground = self.ground
        hidden = dict.fromkeys(self.topology.hosts, ground.infrastructure)
        hidden |= dict.fromkeys(self.topology.of_role(Role.ORIGIN), ground.space.dst.all)
        isolation = Reach(ground, "isolation", "a packet from a user reaches {host}", hidden)
        both: list[Check] = [Zoned(ground), NeighboursOnly(ground), gateway, own_sources, OneWinner(ground)]
        wanted = {name: name in self.policy.invariants for name in BUILT_IN}
        # Who sends from what is needed to know what is planned, whether it is to be proved or not.
        wanted["anti-spoofing"] = True
        cases = [_Case(isolation, users)] if wanted["isolation"] else []
        cases += [_Case(check, who) for check in both if wanted[check.name] for who in (users, servers)]
        for rule in self.policy.rules:
            if not rule.must:
                cases.append(_Case(self._forbidden(rule), rule.senders))
        return cases

    def _forbidden(self, rule: Reachability) -> Reach:
        ground = self.ground
        to = ground.destinations(*rule.destinations) if rule.destinations else ground.space.dst.all
        forbidden = dict.fromkeys(rule.hosts or self.topology.hosts, to)
        return Reach(ground, rule.name, rule.name + ": {host} gets it", forbidden)

    def _entries(self, senders: tuple[str, ...]) -> tuple[Place, ...]:
        return tuple(
            self.ground.entry(host)
            for host in senders
            if self.ground.ports[host] not in self.ground.model.down
        )

    def _spread(self, senders: tuple[str, ...], down: frozenset[PortId] = NONE_DOWN) -> Spread:
        spread = Spread(self.ground.model, down)
        entries = (place for place in self._entries(senders) if PortId(*place[:2]) not in down)
        spread.add(dict.fromkeys(entries, self.ground.space.dst.all))
        return spread

    def _look(
        self, outcomes: Iterable[tuple[Place, Outcome, Bits]], cases: Sequence[_Case], failure: str
    ) -> None:
        asked: dict[type[Outcome], list[_Case]] = {}
        for case in cases:
            for kind in case.check.kinds:
                asked.setdefault(kind, []).append(case)
        for place, outcome, destinations in outcomes:
            self.regions += 1
            for case in asked.get(type(outcome), ()):
                for finding in case.check.seen(place, outcome, destinations):
                    if finding.invariant == "anti-spoofing" and not self._is_asked(finding.invariant):
                        continue
                    self._note(finding, case.check, self._entries(case.senders), failure)

    def _is_asked(self, name: str) -> bool:
        return name in self.policy.invariants

    def _note(self, finding: Finding, check: Shows | None, entries: tuple[Place, ...], failure: str) -> None:
        kept = self.found.setdefault(finding.invariant, {})
        if len(kept) < _SENTENCES:
            kept.setdefault((finding.sentence, failure), (finding, check, entries))

    def _loops(self, spread: Spread, senders: tuple[str, ...], failure: str, cut_off: Bits = 0) -> None:
        """What is sent to somebody who is cut off may go round until the controller acts; it is counted."""
        if not self._is_asked("no loops"):
            return
        lost: Bits = 0
        for place, bits in spread.circling().items():
            lost |= bits & cut_off
            if bits & ~cut_off:
                sentence = f"a packet goes round in circles at {place.switch}"
                finding = Finding("no loops", sentence, place, None, bits & ~cut_off)
                self._note(finding, Loops(), self._entries(senders), failure)
        self.circling += lost.bit_count()

    def _deliveries(self, planned: Planned, delivery: Delivery, wanted: Spread) -> None:
        if self._is_asked(delivery.name):
            for event in wanted.outcomes():
                for finding in delivery.seen(*event):
                    self._note(finding, delivery, planned.entries(finding.destinations), "")
            for finding in duplicates(wanted, self.ground, planned.groups):
                self._note(finding, Once(), planned.entries(finding.destinations), "")
        if self._is_asked("nearest"):
            served = [place for place, bits in planned.places.items() if bits & self.ground.service]
            nearest = Nearest(self.ground, served, planned.edges)
            for finding in nearest.findings():
                self._note(finding, nearest, (finding.place,), "")
        for rule in self.policy.rules:
            if rule.must:
                self._required(rule)

    def _required(self, rule: Reachability) -> None:
        """Every sender's packets reach one of the hosts: all of them, for a group."""
        ground, to = self.ground, self.ground.destinations(*rule.destinations)
        for sender in rule.senders:
            spread = self._spread((sender,))
            reached: dict[str, Bits] = {}
            for place, outcome, destinations in spread.outcomes():
                host = ground.model.host(place, outcome)
                if host is not None:
                    reached[host] = reached.get(host, 0) | destinations
            wanted = rule.hosts or tuple(self.topology.hosts)
            is_group = bool(to & ground.multicast)
            got = [reached.get(host, 0) for host in wanted if host != sender]
            missed = to
            if got:
                union, common = got[0], got[0]
                for bits in got[1:]:
                    union, common = union | bits, common & bits
                missed = to & ~(common if is_group else union)
            if missed:
                example = ground.space.dst.first(missed)
                sentence = f"{rule.name}: nothing from {sender} arrives for {example}"
                self._note(Finding(rule.name, sentence, ground.entry(sender), None, missed), None, (), "")

    def _fail(
        self,
        failure: Failure,
        cut_off: Bits,
        cases: Sequence[_Case],
        spreads: Mapping[tuple[str, ...], Spread],
        planned: Planned,
        delivery: Delivery,
        wanted: Spread,
    ) -> None:
        """What else happens when something fails. A detour may find too much; then all is done anew."""
        for senders, spread in spreads.items():
            asked = [case for case in cases if case.senders == senders]
            detour, changed = spread.detour(failure.ports)
            self._look(changed, asked, failure.text)
            self._look(detour.outcomes(), asked, failure.text)
            self._loops(detour, senders, failure.text, cut_off)
        detour, changed = wanted.detour(failure.ports)
        delivery.unprotected = 0
        closed = self.ground.model.wiring.closed(failure.ports)
        touched = 0
        for events in (changed, detour.outcomes()):
            for place, outcome, destinations in events:
                left = destinations & ~cut_off
                touched |= left
                if left and self._is_asked(delivery.name):
                    for finding in delivery.seen(place, outcome, left, closed):
                        entries = planned.entries(finding.destinations, failure.ports)
                        self._note(finding, delivery, entries, failure.text)
        self.unprotected += delivery.unprotected.bit_count()
        self.protected += (touched & ~delivery.unprotected).bit_count()

    def _result(
        self, spreads: Mapping[tuple[str, ...], Spread], failures: int, gateway: Unsolicited
    ) -> Proof:
        ground = self.ground
        names = [*self.policy.invariants, *(rule.name for rule in self.policy.rules)]
        figures = Figures(
            switches=len(self.tables),
            rules=sum(len(content.rules) for content in self.tables.values()),
            groups=sum(len(content.groups) for content in self.tables.values()),
            destinations=len(ground.space.dst),
            sources=len(ground.space.src),
            places=sum(len(spread.arrived) for spread in spreads.values()),
            regions=self.regions,
            failures=failures,
            protected=self.protected,
            unprotected=self.unprotected,
            circling=self.circling,
        )
        openings = tuple(sorted(set(gateway.openings.values())))
        return Proof(tuple(self._verdict(name) for name in dict.fromkeys(names)), figures, openings)

    def _verdict(self, name: str) -> Verdict:
        claim, statement = BUILT_IN.get(name, ("", name))
        found = self.found.get(name, {})
        violations: list[Violation] = []
        if not self.with_witnesses:
            violations = [Violation(name, sentence, text, None) for sentence, text in found][:MAX_WITNESSES]
            return Verdict(name, claim, statement, tuple(violations), len(found))
        searches: dict[str, Search] = {}
        failing = (*single_failures(self.topology), *further_buckets(self.tables)) if found else ()
        failures = {failure.text: failure for failure in failing}
        counted = 0
        for (sentence, text), (finding, check, entries) in found.items():
            if len(violations) >= MAX_WITNESSES:
                counted += 1
                continue
            ports = failures[text].ports if text in failures else NONE_DOWN
            search = searches.setdefault(text, Search(self.ground, self.ground.model.wiring.closed(ports)))
            witness = None if check is None else search.find(finding, entries, check.shown)
            if witness is None and text and check is not None and not self._is_real(finding, entries, ports):
                continue
            counted += 1
            violations.append(Violation(name, sentence, text, witness))
        return Verdict(name, claim, statement, tuple(violations), counted)

    def _is_real(self, finding: Finding, entries: tuple[Place, ...], ports: frozenset[PortId]) -> bool:
        """Whether what a detour has found is there when everything is followed anew with the ports down."""
        closed = self.ground.model.wiring.closed(ports)
        spread, everything = Spread(self.ground.model, closed), self.ground.space.dst.all
        spread.add({place: everything for place in entries if PortId(*place[:2]) not in closed})
        return bool(spread.arrived.get(finding.place, 0) & finding.destinations)

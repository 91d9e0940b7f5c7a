"""What the tables of the switches, as they were dumped, do with the frames of an attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from controller.plan.facts import PortId
from controller.plan.meters import ERROR_METER
from controller.plan.pipeline import Origin
from controller.plan.rules import CtState, Tables
from controller.verify.network import Network
from controller.verify.packet import Packet
from controller.verify.parse import parse_packet
from controller.verify.results import End, Fate
from controller.verify.walk import always, walk
from controller.wire.frames import WireError
from topologies.spec import Topology

_SHOWN = 4
_PLACES = 4
_REFUSALS: Mapping[Origin, str] = {
    Origin.NO_ROUTE: "no route",
    Origin.TIME_EXCEEDED: "time exceeded",
    Origin.ADDRESS_UNREACHABLE: "address unreachable",
    Origin.TOO_BIG: "too big",
}


class Outcome(StrEnum):
    """What becomes of a frame."""

    DROPPED = "dropped"
    REFUSED = "refused"
    """Answered with an ICMPv6 error, at a limited rate."""
    CONTROLLER = "controller"
    """Handed to the controller for what it is, at a limited rate."""
    DELIVERED = "delivered"


class Said(NamedTuple):
    """What becomes of a frame, in words with a gap, and the places that belong there."""

    words: str
    places: frozenset[str]


@dataclass(frozen=True)
class Proof:
    """What the tables do with some frames: how many have which outcome, and what is said of how many. A
    frame that is copied has the outcome of its furthest copy. `hosts` get any of them."""

    outcomes: Mapping[Outcome, int]
    said: Mapping[Said, int]
    hosts: frozenset[str]

    @property
    def text(self) -> str:
        """In one line; with numbers of frames where not all end alike."""
        counts: Counter[str] = Counter()
        places: dict[str, set[str]] = {}
        for (words, where), number in self.said.items():
            counts[words] += number
            places.setdefault(words, set()).update(where)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        texts = [(words.format(_listed(places[words])), number) for words, number in ordered]
        if len(texts) == 1:
            return texts[0][0]
        shown = [f"{number} {text}" for text, number in texts[:_SHOWN]]
        rest = sum(number for _, number in texts[_SHOWN:])
        return "; ".join([*shown, f"{rest} otherwise"] if rest else shown)


def _listed(places: Iterable[str]) -> str:
    ordered = sorted(places, key=lambda place: (len(place), place))
    if len(ordered) > _PLACES:
        ordered = [*ordered[: _PLACES - 1], f"{len(ordered) - _PLACES + 1} more"]
    return ordered[0] if len(ordered) == 1 else f"{', '.join(ordered[:-1])} and {ordered[-1]}"


def together(proofs: Iterable[Proof]) -> Proof:
    """Several proofs as one."""
    outcomes: Counter[Outcome] = Counter()
    said: Counter[Said] = Counter()
    hosts: frozenset[str] = frozenset()
    for proof in proofs:
        outcomes.update(proof.outcomes)
        said.update(proof.said)
        hosts |= proof.hosts
    return Proof(outcomes, said, hosts)


class _Judged(NamedTuple):
    outcome: Outcome
    said: tuple[Said, ...]
    hosts: frozenset[str]


class Prover:
    """Follows frames through tables. Every frame is followed, each different packet once."""

    def __init__(
        self, topology: Topology, tables: Mapping[str, Tables], down_ports: Iterable[PortId] = ()
    ) -> None:
        self._tables = tables
        self._network = Network(topology, tables, down_ports)

    def proof(self, frames: Iterable[bytes], at: PortId, tracked: CtState = CtState.NEW) -> Proof:
        """What becomes of frames that come in by a port; `tracked` is what connection tracking says."""
        outcomes: Counter[Outcome] = Counter()
        said: Counter[Said] = Counter()
        hosts: frozenset[str] = frozenset()
        known: dict[Packet | str, _Judged] = {}
        for data in frames:
            try:
                # No rule looks at the source port.
                packet: Packet | str = replace(parse_packet(data), port_src=None)
            except WireError as error:
                packet = str(error)
            judged = known.get(packet)
            if judged is None:
                judged = known[packet] = self._judged(packet, at, tracked)
            outcomes[judged.outcome] += 1
            said.update(judged.said)
            hosts |= judged.hosts
        return Proof(outcomes, said, hosts)

    def _judged(self, packet: Packet | str, at: PortId, tracked: CtState) -> _Judged:
        if isinstance(packet, str):
            said = Said(f"dropped at {{}}: {packet}", frozenset({at.switch}))
            return _Judged(Outcome.DROPPED, (said,), frozenset())
        found = walk(self._network, packet, at, always(tracked))
        order = list(Outcome)
        outcome = max((_outcome(end) for end in found.ends), key=order.index, default=Outcome.DROPPED)
        places: dict[str, set[str]] = {}
        for end in found.ends:
            places.setdefault(self._words(end), set()).add(end.where)
        said_of_all = tuple(Said(words, frozenset(where)) for words, where in places.items())
        return _Judged(outcome, said_of_all, frozenset(end.where for end in found.delivered))

    def _words(self, end: End) -> str:
        if end.fate is Fate.DELIVERED:
            return "delivered to {}"
        reason = end.reason.replace("_", " ").replace("{", "").replace("}", "")
        if end.fate is not Fate.PUNTED or end.rule is None:
            return f"{end.fate} at {{}}: {reason}"
        limit = self._tables[end.where].meters.get(end.rule.meter or 0)
        pace = "" if limit is None else f", {limit.rate_pps}/s"
        refusal = _REFUSALS.get(end.rule.origin)
        if refusal is not None:
            return f"refused at {{}} ({refusal}{pace})"
        return f"to the controller at {{}} ({reason}{pace})"


def _outcome(end: End) -> Outcome:
    if end.fate is Fate.DELIVERED:
        return Outcome.DELIVERED
    if end.fate is not Fate.PUNTED:
        return Outcome.DROPPED
    return Outcome.REFUSED if end.rule is not None and end.rule.origin in ERROR_METER else Outcome.CONTROLLER

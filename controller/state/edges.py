"""Which edges may get new connections, which may keep theirs, and where connections are to be kept.

An edge lives while its port is up and its heartbeats come. An edge that is drained, or has too much to do,
gets no new connections and keeps the ones it has. Death counts at once; who comes back again and again is
made to wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from controller.plan.facts import Bound, Pin
from topologies.heartbeat import HEARTBEAT_INTERVAL_S, SILENCE_S, EdgeState, Heartbeat

BEATS_TO_RETURN = 2
"""An edge that was silent is believed after so many heartbeats in a row."""
CALM_S = 5.0
"""An edge that was overloaded takes new connections again after so long without being so."""
FLAP_WINDOW_S = 60.0
MAX_RETURNS = 4
"""An edge that has come back so often within the window gets no new connections until the first of these
times is out of it: users are not moved to and fro more often than that."""
CONNECTION_LIFETIME_S = 7440.0
"""The longest a connection may be idle and still be known: 2 h 4 min (RFC 5382 REQ-5, RFC 6092 REC-35)."""
_EXCUSE_S = 1.5 * HEARTBEAT_INTERVAL_S
"""Heartbeats that came while the controller was busy are read within this time."""


class EdgeNote(NamedTuple):
    """What has become of an edge: an event for the log and its fields."""

    event: str
    fields: dict[str, Any]


@dataclass(slots=True)
class _Edge:
    port_is_up: bool = True
    heard_s: float | None = None
    is_excused: bool = False
    beats: int = 0
    overloaded_s: float | None = None
    load_percent: int = 0
    returns_s: list[float] = field(default_factory=list)
    held_until_s: float | None = None

    @property
    def is_alive(self) -> bool:
        return self.port_is_up and self.heard_s is not None and self.beats >= BEATS_TO_RETURN

    @property
    def is_fit(self) -> bool:
        """Whether it answers and has room for more."""
        return self.is_alive and self.overloaded_s is None

    def came_back(self, now_s: float) -> None:
        self.returns_s = [before_s for before_s in self.returns_s if before_s > now_s - FLAP_WINDOW_S]
        if len(self.returns_s) >= MAX_RETURNS:
            self.held_until_s = self.returns_s[-MAX_RETURNS] + FLAP_WINDOW_S
        self.returns_s.append(now_s)


@dataclass(slots=True)
class Edges:
    """The machine; `names` are all edges in the order of the topology. `allowed` None means all; `homes` says
    at which access switch each user is."""

    names: tuple[str, ...]
    allowed: frozenset[str] | None = None
    drained: frozenset[str] = frozenset()
    bound: frozenset[Bound] = frozenset()
    urgent: bool = False
    """Set when connections are being lost until the next plan is in place; whoever plans clears it."""
    homes: Mapping[str, str] = field(default_factory=dict)
    _edges: dict[str, _Edge] = field(default_factory=dict)
    _pins: dict[Pin, float] = field(default_factory=dict)
    _targets: frozenset[Pin] = frozenset()
    """Where new connections go: from an access switch, to an edge."""
    _noted: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._edges = {name: _Edge() for name in self.names}
        self._noted = dict.fromkeys(self.names, "dead")

    @property
    def alive(self) -> tuple[str, ...]:
        """The edges that answer."""
        return tuple(name for name, edge in self._edges.items() if edge.is_alive)

    @property
    def accepting(self) -> tuple[str, ...]:
        """The edges that may get new connections. When all that could are overloaded, or have come back too
        often, all of them may: serving badly is better than not at all."""
        willing = [name for name in self.alive if name not in self.drained]
        if self.allowed is not None:
            willing = [name for name in willing if name in self.allowed]
        good = (name for name in willing if self._edges[name].is_fit)
        return tuple(name for name in good if self._edges[name].held_until_s is None) or tuple(willing)

    @property
    def pins(self) -> frozenset[Pin]:
        """Where there may be connections with an edge that is not the choice for new ones."""
        return frozenset(self._pins)

    @property
    def loads(self) -> dict[str, int]:
        """The load of each edge that answers, in percent, as it last said."""
        return {name: self._edges[name].load_percent for name in self.alive}

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        moments = list(self._pins.values())
        for edge in self._edges.values():
            if edge.heard_s is not None:
                moments.append(edge.heard_s + SILENCE_S)
            if edge.overloaded_s is not None:
                moments.append(edge.overloaded_s + CALM_S)
            if edge.held_until_s is not None:
                moments.append(edge.held_until_s)
        return min(moments, default=None)

    def heartbeat(self, now_s: float, name: str, heartbeat: Heartbeat) -> None:
        """An edge has said something about itself."""
        edge = self._edges[name]
        if heartbeat.state is EdgeState.STOPPING:
            self._die(name)
        elif edge.port_is_up:
            was_fit = edge.is_fit
            edge.heard_s, edge.is_excused = now_s, False
            edge.beats += 1
            edge.load_percent = heartbeat.load_percent
            if heartbeat.state is EdgeState.OVERLOADED:
                edge.overloaded_s = now_s
            if edge.is_fit and not was_fit:
                edge.came_back(now_s)

    def port_changed(self, name: str, is_up: bool) -> None:
        """The port of an edge went up or down."""
        if not is_up:
            self._die(name)
        self._edges[name].port_is_up = is_up

    def chosen(self, now_s: float, choices: Mapping[str, str]) -> None:
        """A plan leads the new connections of each access switch to these edges (or the origin), and those of
        users with a policy to theirs. Where an edge was meant before and is not any more, it keeps its
        connections for as long as they may live."""
        accepting, alive = self.accepting, self.alive
        plain = {Pin(switch, edge) for switch, edge in choices.items() if edge in self._edges}
        policies = {
            Pin(self.homes[user], edge)
            for user, edge in self.bound
            if edge in accepting and user in self.homes
        }
        targets = frozenset(plain | policies)
        for pin in self._targets - targets:
            if pin.edge in alive:
                self._pins[pin] = now_s + CONNECTION_LIFETIME_S
        for pin in targets:
            self._pins.pop(pin, None)
        self._targets = targets

    def restore(self, now_s: float, pins: Iterable[Pin], choices: Mapping[str, str]) -> None:
        """What a restarted controller has found in the switches. The edges that it finds there were alive and
        count as just heard."""
        self._pins = {pin: now_s + CONNECTION_LIFETIME_S for pin in sorted(pins) if pin.edge in self._edges}
        self._targets = frozenset(
            Pin(switch, edge) for switch, edge in choices.items() if edge in self._edges
        )
        for name in {pin.edge for pin in (*self._pins, *self._targets)}:
            edge = self._edges[name]
            if edge.port_is_up:
                edge.heard_s = now_s
                edge.beats = max(edge.beats, BEATS_TO_RETURN)

    def tick(self, now_s: float) -> None:
        """Notice silence, calm, the end of waiting and of what was kept."""
        for name, edge in self._edges.items():
            if edge.heard_s is not None and edge.heard_s + SILENCE_S <= now_s:
                self._missed(now_s, name, edge)
            if edge.overloaded_s is not None and edge.overloaded_s + CALM_S <= now_s:
                edge.overloaded_s = None
                if edge.is_fit:
                    edge.came_back(now_s)
            if edge.held_until_s is not None and edge.held_until_s <= now_s:
                edge.held_until_s = None
        self._pins = {pin: end_s for pin, end_s in self._pins.items() if end_s > now_s}

    def _missed(self, now_s: float, name: str, edge: _Edge) -> None:
        """An edge was not heard. If that is noticed late, the controller was not listening, and its
        heartbeats may be waiting to be read: once, it is given the time for that."""
        late_s = now_s - SILENCE_S - (edge.heard_s or 0.0)
        if late_s > HEARTBEAT_INTERVAL_S and not edge.is_excused:
            edge.is_excused = True
            edge.heard_s = now_s - SILENCE_S + _EXCUSE_S
        else:
            self._die(name)

    def notes(self) -> list[EdgeNote]:
        """What has changed since the last call."""
        alive, accepting = self.alive, self.accepting
        found = []
        for name, edge in self._edges.items():
            state = "accepting" if name in accepting else "keeping" if name in alive else "dead"
            if state != self._noted[name]:
                found.append(EdgeNote(f"edge-{state}", {"edge": name, "load_percent": edge.load_percent}))
                self._noted[name] = state
        return found

    def _die(self, name: str) -> None:
        edge = self._edges[name]
        self.urgent = self.urgent or edge.is_alive
        edge.heard_s, edge.is_excused, edge.beats, edge.overloaded_s = None, False, 0, None
        self._pins = {pin: end_s for pin, end_s in self._pins.items() if pin.edge != name}
        self._targets = frozenset(pin for pin in self._targets if pin.edge != name)

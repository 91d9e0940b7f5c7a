"""Which addresses each user's port has claimed: source address validation, first come first served
(RFC 6620), together with the reachability of what was claimed (RFC 4861 section 7.3).

A binding is VALID while its host was seen within the lifetime, then TESTING: the host is asked three
times, and the binding goes when nothing answers. There is no TENTATIVE state: a port is a whole link, the
controller sees every claim, and what it answers decides. Addresses of other prefixes, link-local ones
among them, are never bound: nothing is forwarded from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from controller.plan.facts import Binding, PortId
from controller.state.deadlines import Deadlines

MAX_BINDINGS_PER_PORT = 16
"""Enough for a stable and a week of temporary addresses (RFC 8981)."""
BINDING_LIFETIME_S = 300.0
"""DEFAULT_LT of RFC 6620 section 3.3 (5 minutes)."""
MAX_UNICAST_SOLICIT = 3
RETRANS_TIMER_S = 1.0
"""RFC 4861 section 10."""
REACHABLE_S = 30.0
"""REACHABLE_TIME of RFC 4861 section 10: a holder that was seen more recently is not doubted."""
IN_USE_S = 10.0
"""An address seen more recently than this gives way to no other, so that a host which claims without end
changes the tables of its switch at most 16 times in this time."""

_RESERVED = range(0xFDFF_FFFF_FFFF_FF80, 0xFE00_0000_0000_0000)
"""The 128 interface identifiers of subnet anycast addresses (RFC 2526 section 2)."""


class Claim(Enum):
    """What became of a claim to an address."""

    NEW = "new"
    KNOWN = "known"
    TAKEN = "taken"
    """Another port holds it and is up."""
    OUTSIDE = "outside"
    """No address that a host behind this port may have."""
    FULL = "full"
    """The port holds as many as it may, all of them in use."""


class State(Enum):
    """The states of a binding (RFC 6620 section 3.2.3)."""

    VALID = "valid"
    TESTING = "testing"


class Claimed(NamedTuple):
    """The answer to a claim, and the bindings that ended by it."""

    claim: Claim
    ended: tuple[Binding, ...] = ()


@dataclass(slots=True)
class Aged:
    """What the passing of time leads to: hosts to ask whether they are still there, bindings that ended."""

    probes: list[Binding] = field(default_factory=list)
    ended: list[Binding] = field(default_factory=list)


@dataclass(slots=True)
class _Held:
    port: PortId
    mac: str
    seen_s: float
    is_tested: bool = False
    probes: int = 0


class Neighbours:
    """The bindings of all user ports; `prefixes` says which port may claim addresses of which prefix.

    Bindings of a switch that is out of reach (`pause`) do not age. `counters` counts refusals by reason.
    """

    def __init__(self, prefixes: Mapping[PortId, IPv6Network]) -> None:
        self.counters: Counter[str] = Counter()
        self._ranges = {
            port: (int(prefix.network_address), int(prefix.broadcast_address))
            for port, prefix in prefixes.items()
        }
        self._by_port: dict[PortId, dict[IPv6Address, _Held]] = {port: {} for port in prefixes}
        self._held: dict[IPv6Address, _Held] = {}
        self._deadlines: Deadlines[IPv6Address] = Deadlines()
        self._down: set[PortId] = set()
        self._paused: set[str] = set()
        self._bindings: tuple[Binding, ...] | None = ()

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """All bindings in an order that depends on nothing but themselves."""
        if self._bindings is None:
            self._bindings = tuple(
                sorted(Binding(held.port, address, held.mac) for address, held in self._held.items())
            )
        return self._bindings

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        return self._deadlines.next_s

    def binding(self, address: IPv6Address) -> Binding | None:
        """Who holds an address."""
        held = self._held.get(address)
        return None if held is None else Binding(held.port, address, held.mac)

    def state(self, address: IPv6Address) -> State | None:
        """The state of an address's binding, None when it has none."""
        held = self._held.get(address)
        if held is None:
            return None
        return State.TESTING if held.is_tested else State.VALID

    def may_hold(self, port: PortId, address: IPv6Address) -> bool:
        """Whether hosts behind the port may have the address: one of the port's prefix that is no anycast
        address of the subnet (RFC 4291 section 2.6.1, RFC 2526)."""
        first, last = self._ranges.get(port, (1, 0))
        value = int(address)
        return first < value <= last and value & 0xFFFF_FFFF_FFFF_FFFF not in _RESERVED

    def claim(self, now_s: float, port: PortId, address: IPv6Address, mac: str) -> Claimed:
        """A port claims an address. Who came first keeps it unless that port is down; a claim to the address
        of a holder that was not seen lately puts the holder to the test (RFC 6620 section 3.2.3)."""
        if not self.may_hold(port, address):
            return Claimed(Claim.OUTSIDE)
        held = self._held.get(address)
        if held is not None and held.port == port:
            known = held.mac == mac
            if not known:
                held.mac, self._bindings = mac, None
            self.touch(now_s, port, address)
            return Claimed(Claim.KNOWN if known else Claim.NEW)
        if held is not None and held.port not in self._down:
            self.counters["taken"] += 1
            self._doubt(now_s, address, held)
            return Claimed(Claim.TAKEN)
        mine = self._by_port[port]
        ended: list[Binding] = []
        if len(mine) >= MAX_BINDINGS_PER_PORT:
            oldest = min(mine, key=lambda candidate: (mine[candidate].seen_s, candidate))
            if now_s - mine[oldest].seen_s < IN_USE_S:
                self.counters["full"] += 1
                return Claimed(Claim.FULL)
            self.counters["gave-way"] += 1
            ended.append(self._end(oldest))
        if held is not None:
            self.counters["moved"] += 1
            ended.append(self._end(address))
        self._begin(now_s, port, address, mac)
        return Claimed(Claim.NEW, tuple(ended))

    def touch(self, now_s: float, port: PortId, address: IPv6Address) -> None:
        """The holder of an address was seen: by an advertisement, or because packets of its binding's rule
        have been counted. Nothing happens if the port does not hold it."""
        held = self._held.get(address)
        if held is None or held.port != port:
            return
        held.seen_s = now_s
        # A VALID binding's deadline is moved when it comes; one that is being tested has an earlier one.
        if held.is_tested:
            held.is_tested, held.probes = False, 0
            self._schedule(address, held, now_s + BINDING_LIFETIME_S)

    def restore(self, now_s: float, bindings: Iterable[Binding]) -> None:
        """What a restarted controller found in the tables of the switches counts as just seen. Bindings that
        could not be claimed are left out."""
        for binding in bindings:
            mine = self._by_port.get(binding.port, {})
            is_free = binding.address not in self._held and len(mine) < MAX_BINDINGS_PER_PORT
            if is_free and self.may_hold(binding.port, binding.address):
                self._begin(now_s, binding.port, binding.address, binding.mac)

    def port_changed(self, port: PortId, is_up: bool) -> None:
        """A port went up or down. The bindings of a port that is down stay until they are claimed elsewhere
        or run out."""
        if is_up:
            self._down.discard(port)
        else:
            self._down.add(port)

    def pause(self, switch: str) -> None:
        """The switch is out of reach: its hosts cannot be asked, so their bindings do not age."""
        self._paused.add(switch)
        for address in self._addresses_at(switch):
            self._deadlines.cancel(address)

    def resume(self, now_s: float, switch: str) -> None:
        """The switch is in reach again: its hosts count as just seen."""
        self._paused.discard(switch)
        for address in self._addresses_at(switch):
            held = self._held[address]
            held.seen_s, held.is_tested, held.probes = now_s, False, 0
            self._schedule(address, held, now_s + BINDING_LIFETIME_S)

    def tick(self, now_s: float) -> Aged:
        """Ask the hosts that were not seen for too long, and end the bindings of those that do not answer."""
        aged = Aged()
        for address in self._deadlines.pop_due(now_s):
            held = self._held[address]
            lifetime_end_s = held.seen_s + BINDING_LIFETIME_S
            if not held.is_tested and lifetime_end_s > now_s:
                self._schedule(address, held, lifetime_end_s)
            elif held.probes == MAX_UNICAST_SOLICIT:
                self.counters["expired"] += 1
                aged.ended.append(self._end(address))
            else:
                held.is_tested, held.probes = True, held.probes + 1
                aged.probes.append(Binding(held.port, address, held.mac))
                self._schedule(address, held, now_s + RETRANS_TIMER_S)
        return aged

    def _doubt(self, now_s: float, address: IPv6Address, held: _Held) -> None:
        if not held.is_tested and now_s - held.seen_s >= REACHABLE_S:
            held.is_tested = True
            self._schedule(address, held, now_s)

    def _begin(self, now_s: float, port: PortId, address: IPv6Address, mac: str) -> None:
        held = _Held(port, mac, now_s)
        self._held[address] = self._by_port[port][address] = held
        self._bindings = None
        self._schedule(address, held, now_s + BINDING_LIFETIME_S)

    def _end(self, address: IPv6Address) -> Binding:
        held = self._held.pop(address)
        del self._by_port[held.port][address]
        self._deadlines.cancel(address)
        self._bindings = None
        return Binding(held.port, address, held.mac)

    def _schedule(self, address: IPv6Address, held: _Held, due_s: float) -> None:
        if held.port.switch not in self._paused:
            self._deadlines.set(address, due_s)

    def _addresses_at(self, switch: str) -> list[IPv6Address]:
        return [address for address, held in self._held.items() if held.port.switch == switch]

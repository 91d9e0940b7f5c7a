"""Finding out where an address is, for a packet that no binding says the way of (RFC 4861 section 7.2.2).

Only hosts that listen to the address's solicited-node group are asked, and little is remembered
(RFC 6583): a sweep over a /64 wakes nobody and fills nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address
from typing import NamedTuple

from controller.plan.facts import PortId
from controller.state.deadlines import Deadlines
from controller.wire.nd import solicited_node

MAX_MULTICAST_SOLICIT = 3
RETRANS_TIMER_S = 1.0
"""RFC 4861 section 10."""
MAX_ADDRESSES_PER_SWITCH = 64
"""What lies above is dropped: the addresses that are being looked for come first (RFC 6583 section 7.1)."""

Listening = Callable[[IPv6Address], Collection[PortId]]
"""The ports behind which somebody listens to a group."""


class Sought(NamedTuple):
    """An address that a switch looks for among its hosts."""

    switch: str
    address: IPv6Address


class Question(NamedTuple):
    """A solicitation for `address` to send out of `port`."""

    port: PortId
    address: IPv6Address


class Started(Enum):
    """What became of a packet to an unbound address."""

    WAITS = "waits"
    NOBODY = "nobody"
    """No host listens for the address: it does not exist."""
    FULL = "full"


class Failed(NamedTuple):
    """Nobody has answered for `sought`; this is the packet that waited."""

    sought: Sought
    packet: bytes


@dataclass(slots=True)
class _Search:
    packet: bytes
    asked: int = 0


class Resolver:
    """The searches of all switches. One packet waits per address, the newest (RFC 4861 section 7.2.2)."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._searches: dict[Sought, _Search] = {}
        self._per_switch: Counter[str] = Counter()
        self._deadlines: Deadlines[Sought] = Deadlines()

    def __len__(self) -> int:
        return len(self._searches)

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        return self._deadlines.next_s

    def start(self, now_s: float, sought: Sought, packet: bytes) -> Started:
        """Look for an address on behalf of a packet. The first question is due at once."""
        search = self._searches.get(sought)
        if search is not None:
            search.packet = packet
            return Started.WAITS
        if not self._ports(sought):
            return Started.NOBODY
        if self._per_switch[sought.switch] >= MAX_ADDRESSES_PER_SWITCH:
            return Started.FULL
        self._searches[sought] = _Search(packet)
        self._per_switch[sought.switch] += 1
        self._deadlines.set(sought, now_s)
        return Started.WAITS

    def found(self, sought: Sought) -> bytes | None:
        """The address is bound now: the packet that waited for it."""
        search = self._end(sought)
        return None if search is None else search.packet

    def forget(self, switch: str) -> None:
        """The switch is out of reach."""
        for sought in [sought for sought in self._searches if sought.switch == switch]:
            self._end(sought)

    def tick(self, now_s: float) -> tuple[list[Question], list[Failed]]:
        """The questions that are due, and the searches that have ended without an answer."""
        questions: list[Question] = []
        failed: list[Failed] = []
        for sought in self._deadlines.pop_due(now_s):
            search = self._searches[sought]
            if search.asked == MAX_MULTICAST_SOLICIT:
                self._end(sought)
                failed.append(Failed(sought, search.packet))
                continue
            search.asked += 1
            self._deadlines.set(sought, now_s + RETRANS_TIMER_S)
            questions += [Question(port, sought.address) for port in self._ports(sought)]
        return questions, failed

    def _ports(self, sought: Sought) -> list[PortId]:
        listening = self._listening(solicited_node(sought.address))
        return sorted(port for port in listening if port.switch == sought.switch)

    def _end(self, sought: Sought) -> _Search | None:
        search = self._searches.pop(sought, None)
        if search is not None:
            self._per_switch[sought.switch] -= 1
            self._deadlines.cancel(sought)
        return search

"""What the edge tells its gateway several times a second: that it lives, and how much it has to do."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass

from topologies.addressing import GATEWAY
from topologies.heartbeat import (
    HEARTBEAT_INTERVAL_S,
    HEARTBEAT_PORT,
    EdgeState,
    Heartbeat,
    encode_heartbeat,
)

OVERLOADED_PERCENT = 90


@dataclass(slots=True)
class Load:
    """Requests being answered, against the number the edge is made for.

    From `limit` requests at once on, those of new users are refused; a quarter more is kept for who has been
    served on the same connection before. 0 is twice the capacity.
    """

    capacity: int
    limit: int = 0
    requests: int = 0
    peak: int = 0
    total: int = 0
    refused: int = 0

    def admits(self, *, was_served: bool) -> bool:
        """Whether there is room for one more request; one for which there is none counts as refused."""
        limit = self.limit or 2 * self.capacity
        if self.requests < (limit + limit // 4 if was_served else limit):
            return True
        self.refused += 1
        return False

    def begin(self) -> None:
        """A request has come in."""
        self.requests += 1
        self.total += 1
        self.peak = max(self.peak, self.requests)

    def end(self) -> None:
        """A request has been answered, or its client is gone."""
        self.requests -= 1

    def take_percent(self) -> int:
        """The highest share of the capacity that was in use since the last call."""
        peak, self.peak = self.peak, self.requests
        return peak * 100 // self.capacity


class Heart:
    """Sends heartbeats from `address` on `interface`. Raises OSError when that cannot be bound."""

    def __init__(self, address: str, interface: str, load: Load) -> None:
        self._load = load
        self._sequence = 0
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind((address, 0))
            self._gateway = (str(GATEWAY), HEARTBEAT_PORT, 0, socket.if_nametoindex(interface))
        except OSError:
            self._socket.close()
            raise
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Beat until `stop`, in the running event loop."""
        self._beat(asyncio.get_running_loop())

    def stop(self) -> None:
        """Say that the process is about to end."""
        if self._timer is not None:
            self._timer.cancel()
        self._send(EdgeState.STOPPING, 0)
        self._socket.close()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        percent = self._load.take_percent()
        self._send(EdgeState.OVERLOADED if percent >= OVERLOADED_PERCENT else EdgeState.SERVING, percent)
        self._timer = loop.call_later(HEARTBEAT_INTERVAL_S, self._beat, loop)

    def _send(self, state: EdgeState, load_percent: int) -> None:
        self._sequence += 1
        # A link that is down costs beats, which is what it should cost.
        with suppress(OSError):
            self._socket.sendto(
                encode_heartbeat(Heartbeat(state, load_percent, self._sequence)), self._gateway
            )

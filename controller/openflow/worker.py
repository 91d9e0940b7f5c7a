"""One thread per connected switch that brings it to the newest tables and sends it packets.

Only this thread ever waits for the switch: handlers leave work here and go on, so a switch that has
stopped reading delays nobody else. An update is one bundle with a barrier behind it; when the barrier
is not answered in time, or the switch reports an error, the connection is closed and the switch starts
again from nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from controller.openflow.messages import (
    barrier_message,
    bundle_messages,
    packet_out_message,
    update_messages,
)
from controller.plan.rules import Tables, Target

BARRIER_TIMEOUT_S = 10.0
MAX_WAITING_PACKETS = 256


class SwitchWorker:
    """The worker of one connection. `on_synced(worker, plan)` is called when the switch has confirmed a
    plan, `on_failed(worker, reason)` when it is being given up; both in the worker's own thread."""

    def __init__(
        self,
        switch: str,
        datapath: Any,
        on_synced: Callable[[SwitchWorker, int], None],
        on_failed: Callable[[SwitchWorker, str], None],
    ) -> None:
        self.switch = switch
        self.datapath = datapath
        self.synced_plan = 0
        self._on_synced = on_synced
        self._on_failed = on_failed
        self._wake = threading.Condition()
        self._target: Target | None = None
        self._packets: deque[tuple[int, bytes]] = deque(maxlen=MAX_WAITING_PACKETS)
        self._stopped = False
        self._installed: Tables | None = None
        self._bundle_id = 0
        self._acknowledged = threading.Event()
        self._barrier_xid: int | None = None
        self._xids: frozenset[int] = frozenset()
        self._error = ""
        threading.Thread(target=self._run, name=f"worker-{switch}", daemon=True).start()

    def install(self, target: Target) -> None:
        """Bring the switch to these tables; a newer target replaces one that has not been started."""
        with self._wake:
            self._target = target
            self._wake.notify()

    def send(self, port: int, frame: bytes) -> None:
        """Send a frame out of a port, once the first tables are in place; the oldest go when many wait."""
        with self._wake:
            self._packets.append((port, frame))
            self._wake.notify()

    def stop(self) -> None:
        """The connection is gone."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._acknowledged.set()

    def barrier_reply(self, xid: int) -> None:
        """The switch has answered a barrier."""
        if xid == self._barrier_xid:
            self._acknowledged.set()

    def error(self, xid: int, text: str) -> bool:
        """The switch has reported an error; returns whether it concerns an update (which then fails)."""
        if xid not in self._xids:
            return False
        self._error = text
        self._acknowledged.set()
        return True

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(self._has_work)
                if self._stopped:
                    return
                target, self._target = self._target, None
                packets: list[tuple[int, bytes]] = []
                if target is None:
                    packets = list(self._packets)
                    self._packets.clear()
            if target is None:
                self._transmit([packet_out_message(self.datapath, *packet) for packet in packets])
            elif not self._update(target):
                return

    def _has_work(self) -> bool:
        ready_to_send = bool(self._packets) and self._installed is not None
        return self._stopped or self._target is not None or ready_to_send

    def _update(self, target: Target) -> bool:
        if target.tables != self._installed:
            self._bundle_id += 1
            updates = update_messages(self.datapath, self._installed, target.tables)
            messages = bundle_messages(self.datapath, self._bundle_id, updates)
            messages.append(barrier_message(self.datapath))
            for message in messages:
                self.datapath.set_xid(message)
            # The waiter is in place before anything is sent, or a quick answer would be missed.
            self._acknowledged.clear()
            self._error = ""
            self._barrier_xid = messages[-1].xid
            self._xids = frozenset(message.xid for message in messages)
            self._transmit(messages)
            answered = self._acknowledged.wait(BARRIER_TIMEOUT_S)
            with self._wake:
                if self._stopped:
                    return False
            if self._error or not answered:
                self._on_failed(self, self._error or f"no answer to a barrier within {BARRIER_TIMEOUT_S:g} s")
                self.datapath.disconnect()
                return False
            self._installed = target.tables
        self.synced_plan = target.plan
        self._on_synced(self, target.plan)
        return True

    def _transmit(self, messages: list[Any]) -> None:
        """Encode messages and queue them as one piece, so that they leave in one system call."""
        for message in messages:
            if message.xid is None:
                self.datapath.set_xid(message)
            message.serialize()
        self.datapath.send(b"".join(bytes(message.buf) for message in messages))

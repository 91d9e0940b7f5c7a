"""One thread per connected switch that finds out what the switch holds, brings it to the newest tables and
sends it packets.

Only this thread ever waits for the switch: handlers leave work here and go on, so a switch that has
stopped reading delays nobody else. An update is the difference between what the switch said it holds and
what it is to hold, behind barriers. When the switch reports an error, it is asked again what it holds and
what differs is sent once more; when that fails too, or a barrier is not answered in time, the connection is
closed, and the switch comes back and is asked anew.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from controller.openflow import encode
from controller.openflow.dump import Dump, DumpReader
from controller.openflow.reconcile import Counts, Update, update
from controller.plan.rules import Change, Tables, Target

ANSWER_TIMEOUT_S = 10.0
TIMEOUT_PER_MODIFICATION_S = 0.001
MAX_WAITING_PACKETS = 256
FIRST_XID, _LAST_XID = 0x6E63_0000, 0xEFFF_FFFF


class Connection(Protocol):
    """What a worker needs of a connection to a switch."""

    def send(self, buf: bytes) -> object:
        """Queue bytes, and wait while the queue is full."""

    def disconnect(self) -> None:
        """Close the connection."""


class SwitchError(RuntimeError):
    """The switch has refused something."""


class SwitchWorker:
    """The worker of one connection. It calls, in its own thread, `on_dumped(worker, tables, foreign)` once,
    `on_synced(worker, plan, modifications)` when the switch has confirmed a plan, and
    `on_failed(worker, reason)` when it is being given up.

    For metrics: `install_s` is how long the newest plan took from `install` to its confirmation, `changes`
    and `counts` are what it changed, `foreign_texts` what was found of somebody else, a line each.
    """

    def __init__(
        self,
        switch: str,
        datapath: Connection,
        on_dumped: Callable[[SwitchWorker, Tables, int], None],
        on_synced: Callable[[SwitchWorker, int, int], None],
        on_failed: Callable[[SwitchWorker, str], None],
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self.switch = switch
        self.datapath = datapath
        self.synced_plan = 0
        self.install_s = 0.0
        self.changes: tuple[Change, ...] = ()
        self.counts = Counts()
        self.foreign_texts: tuple[str, ...] = ()
        self._on_dumped = on_dumped
        self._on_synced = on_synced
        self._on_failed = on_failed
        self._answer_timeout_s = answer_timeout_s
        self._wake = threading.Condition()
        self._target: Target | None = None
        self._asked_s = 0.0
        self._packets: deque[bytes] = deque(maxlen=MAX_WAITING_PACKETS)
        self._dump_requests: list[Future[Dump]] = []
        self._stopped = False
        self._held = Dump()
        self._bundle_id = 0
        self._xid = FIRST_XID
        self._acknowledged = threading.Event()
        self._xids = range(0)
        self._error = ""
        self._reader = DumpReader()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name=f"worker-{self.switch}", daemon=True).start()

    def install(self, target: Target) -> None:
        """Bring the switch to these tables; a newer target replaces one that has not been started."""
        with self._wake:
            self._target = target
            self._asked_s = time.perf_counter()
            self._wake.notify()

    def send(self, port: int, frame: bytes) -> None:
        """Send a frame out of a port, once the first tables are in place; the oldest go when many wait."""
        self._queue(encode.packet_out(port, frame))

    def inject(self, frame: bytes) -> None:
        """Send a frame through the switch's tables, as from the controller's port."""
        self._queue(encode.packet_through_tables(frame))

    def dump(self) -> Dump:
        """What the switch holds now, with counters; waits for it. What turns out to have changed behind our
        back is put right with the next target. Raises TimeoutError when the switch does not say."""
        request: Future[Dump] = Future()
        with self._wake:
            if self._stopped:
                raise TimeoutError(f"{self.switch} is not connected")
            self._dump_requests.append(request)
            self._wake.notify()
        return request.result(2 * self._answer_timeout_s)

    def stop(self) -> None:
        """The connection is gone."""
        with self._wake:
            self._stopped = True
            requests, self._dump_requests = self._dump_requests, []
            self._wake.notify()
        self._acknowledged.set()
        for request in requests:
            request.set_exception(TimeoutError(f"{self.switch} has gone"))

    def barrier_reply(self, xid: int) -> None:
        """The switch has answered a barrier."""
        if self._xids and xid == self._xids[-1]:
            self._acknowledged.set()

    def statistics(self, reply: bytes) -> None:
        """A part of what the switch says it holds. Raises NotOursError when it is malformed."""
        if int.from_bytes(reply[4:8]) in self._xids:
            self._reader.add(reply)

    def error(self, xid: int, text: str) -> bool:
        """The switch has reported an error; returns whether it concerns something this worker has sent."""
        # A refused bundle is reported twice, the second time when it is being mended already.
        if xid in self._xids:
            self._error = self._error or text
            self._acknowledged.set()
        return FIRST_XID <= xid < self._xids.stop

    def _queue(self, message: bytes) -> None:
        with self._wake:
            self._packets.append(message)
            self._wake.notify()

    def _run(self) -> None:
        try:
            self._read()
            self.foreign_texts = self._held.foreign_texts
            self._on_dumped(self, self._held.tables, self._held.foreign_count)
            while self._work():
                pass
        except (TimeoutError, SwitchError) as error:
            if not self._stopped:
                self._on_failed(self, str(error))
                self.datapath.disconnect()

    def _work(self) -> bool:
        """Wait for work and do it; False when there will be no more."""
        with self._wake:
            self._wake.wait_for(self._has_work)
            if self._stopped:
                return False
            target, self._target = self._target, None
            requests, self._dump_requests = self._dump_requests, []
            packets: list[bytes] = []
            if self.synced_plan and target is None:
                packets = list(self._packets)
                self._packets.clear()
            asked_s = self._asked_s
        if target is not None:
            self._bring_to(target, asked_s)
        if packets:
            self.datapath.send(b"".join(packets))
        if requests:
            self._answer(requests)
        return True

    def _has_work(self) -> bool:
        ready_to_send = bool(self._packets) and self.synced_plan > 0
        return self._stopped or self._target is not None or bool(self._dump_requests) or ready_to_send

    def _answer(self, requests: Sequence[Future[Dump]]) -> None:
        try:
            self._read()
        except (TimeoutError, SwitchError) as error:
            for request in requests:
                request.set_exception(TimeoutError(str(error)))
            raise
        for request in requests:
            request.set_result(self._held)

    def _read(self) -> None:
        """Ask the switch what it holds."""
        self._reader = DumpReader()
        self._confirm(encode.dump_requests())
        if not self._reader.is_complete:
            raise TimeoutError(f"{self.switch} does not say all it holds")
        self._held = self._reader.dump

    def _bring_to(self, target: Target, asked_s: float) -> None:
        changed = update(self._held, target.tables)
        try:
            self._apply(changed)
        except SwitchError:
            self._read()
            changed = update(self._held, target.tables)
            self._apply(changed)
        if changed.counts.total:
            self._held = Dump(target.tables)
        self.install_s = time.perf_counter() - asked_s
        self.changes, self.counts = changed.changes, changed.counts
        self.synced_plan = target.plan
        self._on_synced(self, target.plan, changed.counts.total)

    def _apply(self, changed: Update) -> None:
        # Open vSwitch may confirm a bundle before a meter that came with it is usable.
        if changed.meters_first:
            self._confirm(changed.meters_first)
        messages: list[bytes] = []
        if changed.bundled:
            self._bundle_id += 1
            messages += encode.bundle(self._bundle_id, changed.bundled)
        messages += changed.meters_last
        if messages:
            self._confirm(messages)

    def _confirm(self, messages: Sequence[bytes]) -> None:
        """Send messages with a barrier behind them, and wait for its answer. Raises SwitchError when one is
        refused, TimeoutError when there is no answer or the connection is gone."""
        if self._xid + len(messages) > _LAST_XID:
            self._xid = FIRST_XID
        # The waiter is in place before anything is sent, or a quick answer would be missed.
        self._acknowledged.clear()
        self._error = ""
        self._xids = range(self._xid, self._xid + len(messages) + 1)
        self._xid = self._xids.stop
        numbered = zip([*messages, encode.barrier()], self._xids, strict=True)
        self.datapath.send(b"".join(encode.with_xid(data, xid) for data, xid in numbered))
        timeout_s = self._answer_timeout_s + TIMEOUT_PER_MODIFICATION_S * len(messages)
        answered = self._acknowledged.wait(timeout_s)
        if self._error:
            raise SwitchError(self._error)
        if self._stopped or not answered:
            raise TimeoutError(f"no answer to a barrier within {timeout_s:g} s")

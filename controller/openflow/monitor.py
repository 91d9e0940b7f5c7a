"""Watching what the switches of a lab hold while it changes.

Open vSwitch (3.1) reports over OpenFlow 1.4 every flow that is added, changed or removed
(OFPMP_FLOW_MONITOR), every group and meter that another connection changes, in bundles too
(OFPT_REQUESTFORWARD), and every port (OFPT_PORT_STATUS), on one connection and in order. What one
bundle does to groups comes first and what it does to flows last, without anything in between, so that both
become one `Transaction`, and no state of groups and flows is seen that never was.

What cannot be seen: the end of a transaction that changes groups only. It is asked for with a barrier; the
next change of groups or flows, when it comes before the answer, is taken together with it. Changes while
Open vSwitch has paused its reports, because more than 128 kB of them wait for their reader, are one
transaction with `is_gap`. And that Open vSwitch forgets all groups when a bridge gets its first controller is
told to nobody; the comparison with what a switch holds at the end (`recorder.load_recording`) finds that.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from controller.openflow import encode
from controller.openflow.channel import ANSWER_TIMEOUT_S, Channel, is_barrier_reply
from controller.openflow.held import (
    PAUSED,
    RESUMED,
    Held,
    has_more,
    multipart_kind,
    read_requests,
)
from controller.openflow.snapshot import Snapshot, ports_down, read_replies
from controller.plan.facts import PortId
from controller.plan.rules import Change, Tables, diff
from topologies.spec import Topology


@dataclass(frozen=True, slots=True)
class Transaction:
    """What changed at once in a switch, as it reported it; `t_s` is when the first report came, in seconds
    on the monotonic clock. With `is_gap` it may be several changes in one."""

    t_s: float
    switch: str
    messages: tuple[bytes, ...]
    is_gap: bool = False


@dataclass(frozen=True, slots=True)
class TableEvent:
    """A transaction understood: what the switch held `before`, what it holds after it (`tables`), what of
    that is somebody else's (`foreign`, a line each), and which of its ports are down."""

    t_s: float
    switch: str
    before: Tables
    tables: Tables
    foreign: tuple[str, ...]
    down_before: frozenset[PortId]
    down_ports: frozenset[PortId]
    is_gap: bool

    @property
    def changes(self) -> tuple[Change, ...]:
        """Rules set and deleted, groups and meters added, modified and deleted."""
        return diff(self.before, self.tables)

    @property
    def went_down(self) -> frozenset[PortId]:
        """The ports that are down now and were not."""
        return self.down_ports - self.down_before

    @property
    def came_up(self) -> frozenset[PortId]:
        """The ports that were down and are not."""
        return self.down_before - self.down_ports


class Replay:
    """Follows transactions from a snapshot on."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Raises SnapshotError when the snapshot is damaged."""
        self._topology = snapshot.topology
        self.held = {switch: Held(replies) for switch, replies in snapshot.replies.items()}
        self._tables = dict(snapshot.tables)

    def follow(self, transaction: Transaction) -> TableEvent:
        """What the transaction means. Raises ValueError when one of its messages is malformed, KeyError when
        there is no such switch."""
        switch = transaction.switch
        held = self.held[switch]
        before, down_before = self._tables[switch], ports_down(self._topology, switch, held)
        for message in transaction.messages:
            held.take(message)
        self._tables[switch] = held.tables
        return TableEvent(
            transaction.t_s,
            switch,
            before,
            self._tables[switch],
            held.foreign,
            down_before,
            ports_down(self._topology, switch, held),
            transaction.is_gap,
        )


class Monitor:
    """Watches all switches of a topology, from the state in `snapshot` on. Use it in a `with` statement, in
    one thread; only `stop` may be called from elsewhere, also by a signal handler."""

    def __init__(self, folder: Path, topology: Topology, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Begin to watch; `folder` is where Open vSwitch has its management sockets. Raises ChannelError."""
        self._topology = topology
        with ExitStack() as stack:
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._stopping, self._stop = os.pipe()
            os.set_blocking(self._stop, False)
            stack.callback(os.close, self._stopping)
            stack.callback(os.close, self._stop)
            self._selector.register(self._stopping, selectors.EVENT_READ)
            self._watched = [
                _Watched(stack.enter_context(Channel(switch, folder, timeout_s)))
                for switch in topology.switches
            ]
            self._early: list[Transaction] = []
            self.snapshot = self._read(encode.watch_requests(), self._early)
            for watched in self._watched:
                self._selector.register(watched.channel, selectors.EVENT_READ, watched)
            self._stack = stack.pop_all()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stop(self) -> None:
        """Let `transactions` and `events` end."""
        os.write(self._stop, b"!")

    def transactions(self) -> Iterator[Transaction]:
        """The changes, as they come, until `stop`. Sleeps in between. Raises ChannelError when a switch
        goes."""
        yield from self._early
        self._early = []
        for watched in self._watched:
            yield from watched.catch_up()
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._stopping, 1)
                    return
                yield from key.data.receive()

    def events(self) -> Iterator[TableEvent]:
        """The changes, understood, as they come, until `stop`. Raises ChannelError when a switch goes, and
        ValueError when it says what it must not."""
        replay = Replay(self.snapshot)
        for transaction in self.transactions():
            yield replay.follow(transaction)

    def finish(self) -> tuple[list[Transaction], Snapshot]:
        """What has changed since the last transaction that was taken, and what the switches hold after it,
        asked anew. Raises ChannelError."""
        last: list[Transaction] = []
        snapshot = self._read([], last)
        return last, snapshot

    def _read(self, first: list[bytes], transactions: list[Transaction]) -> Snapshot:
        """Ask all switches what they hold, after other requests. Adds to `transactions` what is reported
        before that."""
        for watched in self._watched:
            watched.ask([*first, *read_requests()])
        replies = {}
        for watched in self._watched:
            answers, ended = watched.answers()
            replies[watched.channel.switch] = answers
            transactions += ended
        return Snapshot(time.monotonic(), self._topology, replies)


@dataclass
class _Watched:
    """One switch that is watched, and the reports of the transaction that has not ended."""

    channel: Channel
    _reports: list[bytes] = field(default_factory=list)
    _since_s: float = 0.0
    _barrier: int = 0
    _is_paused: bool = False
    _later: list[bytes] = field(default_factory=list)

    def ask(self, requests: list[bytes]) -> None:
        """Send requests with a barrier behind them."""
        self._barrier = self.channel.send([*requests, encode.barrier()])

    def answers(self) -> tuple[tuple[bytes, ...], list[Transaction]]:
        """The answers to `ask`, and the transactions that were reported before them."""
        messages, self._later = self.channel.receive_until(self._barrier)
        return read_replies(messages), self._ended(messages)

    def catch_up(self) -> list[Transaction]:
        """The transactions whose reports came together with the answers to `ask`."""
        messages, self._later = self._later, []
        return self._go_on(messages)

    def receive(self) -> list[Transaction]:
        """Wait for messages; the transactions that have ended with them."""
        return self._go_on(self.channel.receive())

    def _go_on(self, messages: Iterable[bytes]) -> list[Transaction]:
        ended = self._ended(messages)
        if self._reports and not self._is_paused:
            self.ask([])
        return ended

    def _ended(self, messages: Iterable[bytes]) -> list[Transaction]:
        ended: list[Transaction] = []
        for message in messages:
            if is_barrier_reply(message, self._barrier):
                ended += [] if self._is_paused else self._end()
            elif _is_report(message):
                if _is_alone(message) and not self._is_paused:
                    ended += self._end()
                if self._add(message):
                    ended += self._end()
        return ended

    def _add(self, report: bytes) -> bool:
        """Whether the transaction ends with this report."""
        if not self._reports:
            self._since_s = time.monotonic()
        self._reports.append(report)
        if multipart_kind(report) != encode.FLOW_UPDATES:
            return _is_alone(report) and not self._is_paused
        event = int.from_bytes(report[18:20])
        if event == PAUSED:
            self._is_paused = True
            return False
        return event == RESUMED or not (self._is_paused or has_more(report))

    def _end(self) -> list[Transaction]:
        """The transaction, if there are reports."""
        if not self._reports:
            return []
        reports, self._reports = tuple(self._reports), []
        is_gap, self._is_paused = self._is_paused, False
        return [Transaction(self._since_s, self.channel.switch, reports, is_gap)]


def _is_alone(report: bytes) -> bool:
    """Whether a report is a transaction of its own: bundles change no meters and no ports."""
    return report[1] == encode.PORT_STATUS or (
        report[1] == encode.REQUEST_FORWARD and report[9] == encode.METER_MOD
    )


def _is_report(message: bytes) -> bool:
    """Whether a message tells of a change. The answer to the request to watch is an update without flows."""
    if multipart_kind(message) == encode.FLOW_UPDATES:
        return len(message) > 16
    return message[1] in (encode.REQUEST_FORWARD, encode.PORT_STATUS)

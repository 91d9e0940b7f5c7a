"""Probes: a datagram from each probing user to the service at a steady pace, and when which edge answered.

One process probes for all users, by a socket in each one's namespace.
"""

from __future__ import annotations

import argparse
import csv
import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.echo import ECHO_PORT
from experiments.hosts import read_hosts
from topologies.namespaces import NetworkNamespace

COLUMNS = ("window", "user", "sent_s", "rtt_ms", "edge")
LAST_WAIT_S = 1.0
"""How long the answers to the last probes are waited for."""
TIMER_SLACK = Path("/proc/self/timerslack_ns")
"""Linux lets waits end up to 50 microseconds late, unless it is told otherwise."""
_SEQUENCE = struct.Struct("!I")


@dataclass(slots=True)
class Sent:
    """A probe: when it left, and when the answer came and from whom, if it came."""

    sent_s: float
    answered_s: float | None = None
    edge: str = ""


class Prober:
    """One user's probes."""

    def __init__(self, namespace: NetworkNamespace, address: str) -> None:
        with namespace.entered():
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._to = (address, ECHO_PORT)
        self.probes: list[Sent] = []

    def send(self, now_s: float) -> None:
        """Send the next probe; one that cannot be sent is one that is lost."""
        self.probes.append(Sent(now_s))
        with suppress(OSError):
            self.socket.sendto(_SEQUENCE.pack(len(self.probes) - 1), self._to)

    def receive(self, now_s: float) -> None:
        """Note every answer that waits."""
        with suppress(OSError):
            while True:
                data = self.socket.recv(2048)
                probe = self.probes[_SEQUENCE.unpack_from(data)[0]]
                probe.answered_s, probe.edge = now_s, data[_SEQUENCE.size :].decode()


def run(probers: Sequence[Prober], interval_s: float, begin_s: float, length_s: float) -> None:
    """Probe from `begin_s` (monotonic) on for `length_s`, then wait for the last answers."""
    by_descriptor = {prober.socket.fileno(): prober for prober in probers}
    count, sent = round(length_s / interval_s), 0
    while True:
        due_s = begin_s + sent * interval_s if sent < count else begin_s + length_s + LAST_WAIT_S
        # select takes microseconds; epoll would round the wait to a whole millisecond.
        ready, _, _ = select.select(by_descriptor, (), (), max(0.0, due_s - time.monotonic()))
        now_s = time.monotonic()
        for descriptor in ready:
            by_descriptor[descriptor].receive(now_s)
        if now_s < due_s:
            continue
        if sent == count:
            return
        for prober in probers:
            prober.send(now_s)
        sent += 1


def rows(window: str, probers: Mapping[str, Prober], origin_s: float) -> Iterator[tuple[str, ...]]:
    """The rows of probes.csv; times count from `origin_s`."""
    for user, prober in probers.items():
        for probe in prober.probes:
            answered = probe.answered_s is not None
            rtt = f"{(probe.answered_s - probe.sent_s) * 1000:.6f}" if probe.answered_s is not None else ""
            yield window, user, f"{probe.sent_s - origin_s:.6f}", rtt, probe.edge if answered else ""


def main(argv: Sequence[str]) -> int:
    """Probe for all hosts given as `experiments.hosts` words and append to the file of probes."""
    parser = argparse.ArgumentParser(prog="python -m experiments.probe")
    parser.add_argument("--window", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--interval-s", type=float, required=True)
    parser.add_argument("--length-s", type=float, required=True)
    parser.add_argument("--begin-s", type=float, required=True, help="on the monotonic clock")
    parser.add_argument("--origin-s", type=float, required=True, help="what times in the file count from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("hosts", nargs="+")
    arguments = parser.parse_args(argv)
    TIMER_SLACK.write_text("1")
    probers = {
        name: Prober(namespace, arguments.address) for name, namespace in read_hosts(arguments.hosts).items()
    }
    run(tuple(probers.values()), arguments.interval_s, arguments.begin_s, arguments.length_s)
    with arguments.out.open("a", newline="") as file:
        csv.writer(file).writerows(rows(arguments.window, probers, arguments.origin_s))
    return 0

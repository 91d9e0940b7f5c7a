"""What delivery costs through our own machines, on one core: `python -m experiments.delivery_bench [--json]`.

Content goes from the sender's machine as datagrams to the receiver's. Times are CPU seconds, which others on
the machine stretch by 10 to 30 %; goodput is in simulated time: 5 ms one way, losses drawn per packet, and
reports answered as the origin does. Content does not compress.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from delivery.edition import Packing, make_edition, outgoing
from delivery.events import RepairNeeded, SiteComplete
from delivery.manifest import FileEntry, Manifest
from delivery.receiver import Receiver
from delivery.sender import Outgoing, Sender
from delivery.signing import sign_manifest
from delivery.tree import UNKNOWN_TYPE
from experiments.display import scenario_display

TSI = 1
MIB = 1 << 20
BUNDLE_MIB = (2, 8)
CODEC_BYTES = 64 * MIB
SITE_BYTES = 100_000_000
FILE_BYTES = 1_000_000
RATE_MBPS = 100.0
DELAY_S = 0.005
OVERHEAD_PERCENT = 7.0
LOSSES = (0.0, 0.05)
BARS = {"encode": 100.0, "decode": 80.0, "goodput": {0.0: 0.92, 0.05: 0.667}}
"""MB/s of content, and goodput as a share of the session's rate by loss."""

Progress = Callable[[str], None]


class Content:
    """Files of random bytes, in memory."""

    def __init__(self, size: int) -> None:
        chance = random.Random(1)
        self.files = [chance.randbytes(min(FILE_BYTES, size - at)) for at in range(0, size, FILE_BYTES)]

    @property
    def content_bytes(self) -> int:
        """All files together."""
        return sum(map(len, self.files))


@cache
def _key() -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(bytes(32))


def prepared(content: Content, bundle_bytes: int) -> list[Outgoing]:
    """The objects of a site with this content, as the origin makes them."""
    blobs = {hashlib.sha256(file).hexdigest(): file for file in content.files}
    files = tuple(
        FileEntry(f"file{number}", len(file), sha256, UNKNOWN_TYPE)
        for number, (sha256, file) in enumerate(blobs.items())
    )

    def read(sha256: str, offset: int, length: int) -> bytes:
        return blobs[sha256][offset : offset + length]

    packing = Packing(TSI, bundle_bytes=bundle_bytes)
    edition = make_edition(Manifest("bench", 1, files, ()), read, packing, first_toi=1, known={})
    return outgoing(edition, sign_manifest(edition.manifest, _key()), read, packing)


def make_receiver() -> Receiver:
    """An edge that has nothing yet, with the back-offs of an edge."""
    return Receiver(
        TSI,
        _key().public_key(),
        lambda _sha256: False,
        seed=1,
        fixed_back_off_s=0.05,
        random_back_off_s=0.05,
        reception_timeout_s=0.5,
    )


def batches(sender: Sender) -> Iterator[list[bytes]]:
    """All that a sender sends, tick by tick."""
    now = 0.0
    while (deadline := sender.next_deadline()) is not None:
        now = max(now, deadline)
        yield sender.poll(now)


def codec(bundle_mib: int) -> dict[str, float]:
    """MB/s of content: sending with repair symbols ahead, receiving with 5 % of the packets lost."""
    content = Content(CODEC_BYTES)
    objects = prepared(content, bundle_mib * MIB)
    loaded = {item.toi: item.load() for item in objects}
    objects = [replace(item, load=lambda toi=item.toi: loaded[toi]) for item in objects]  # type: ignore[misc]
    sender = Sender(TSI, rate_mbps=10_000, overhead_percent=OVERHEAD_PERCENT)
    gc.collect()
    started_s = time.process_time()
    sender.publish(objects, 0.0)
    stream = [datagram for batch in batches(sender) for datagram in batch]
    encode_s = time.process_time() - started_s
    loaded.clear()

    chance, receiver = random.Random(2), make_receiver()
    stream = [datagram for datagram in stream if chance.random() >= LOSSES[-1]]
    received = 0
    gc.collect()
    started_s = time.process_time()
    for at in range(0, len(stream), 64):
        for datagram in stream[at : at + 64]:
            receiver.datagram_received(datagram, 0.0)
        received += sum(len(getattr(event, "content", b"")) for event in receiver.events())
    decode_s = time.process_time() - started_s
    if received < 0.9 * content.content_bytes:
        raise RuntimeError(f"{OVERHEAD_PERCENT} % repair symbols did not make up for the losses")
    return {
        "encode_mb_per_s": round(content.content_bytes / 1e6 / encode_s, 1),
        "decode_mb_per_s": round(received / 1e6 / decode_s, 1),
    }


class Transfer:
    """A site on its way to one edge, in simulated time, with the CPU time of either end."""

    def __init__(self, objects: Sequence[Outgoing], loss: float, rate_mbps: float, overhead: float) -> None:
        self.sender = Sender(TSI, rate_mbps=rate_mbps, overhead_percent=overhead)
        self.receiver = make_receiver()
        self.origin_s = self.edge_s = 0.0
        self.complete_at: float | None = None
        self._loss = loss
        self._chance = random.Random(3)
        self._under_way: list[tuple[float, list[bytes]]] = []
        self._reports: list[tuple[float, RepairNeeded]] = []
        self.sender.publish(objects, 0.0)

    def run(self) -> None:
        """Until the edge is complete. Raises RuntimeError when nothing more will happen before."""
        now = 0.0
        while self.complete_at is None:
            times = [self.sender.next_deadline(), self.receiver.next_deadline()]
            times += [self._under_way[0][0]] if self._under_way else []
            times += [self._reports[0][0]] if self._reports else []
            due = min((at for at in times if at is not None), default=None)
            if due is None:
                raise RuntimeError("the edge is not complete, and asks for nothing")
            now = max(now, due)
            self._origin(now)
            self._edge(now)

    def _origin(self, now: float) -> None:
        started_s = time.process_time()
        while self._reports and self._reports[0][0] <= now:
            for toi, symbols in self._reports.pop(0)[1].missing.items():
                self.sender.request_repair(toi, symbols, now, "edge")
        deadline = self.sender.next_deadline()
        batch = self.sender.poll(now) if deadline is not None and deadline <= now else []
        self.origin_s += time.process_time() - started_s
        arriving = [datagram for datagram in batch if self._chance.random() >= self._loss]
        if arriving:
            self._under_way.append((now + DELAY_S, arriving))

    def _edge(self, now: float) -> None:
        started_s = time.process_time()
        while self._under_way and self._under_way[0][0] <= now:
            for datagram in self._under_way.pop(0)[1]:
                self.receiver.datagram_received(datagram, now)
        deadline = self.receiver.next_deadline()
        if deadline is not None and deadline <= now:
            self.receiver.handle_timeout(now)
        events = self.receiver.events()
        self.edge_s += time.process_time() - started_s
        for event in events:
            if isinstance(event, RepairNeeded):
                self._reports.append((now + DELAY_S, event))
            elif isinstance(event, SiteComplete):
                self.complete_at = now


def transfer(loss: float, overhead: float) -> dict[str, float]:
    """100 MB to one edge at the session's rate."""
    content = Content(SITE_BYTES)
    started_s = time.process_time()
    objects = prepared(content, BUNDLE_MIB[-1] * MIB)
    prepare_s = time.process_time() - started_s
    gc.collect()
    run = Transfer(objects, loss, RATE_MBPS, overhead)
    run.run()
    seconds = run.complete_at or 0.0
    return {
        "prepare_cpu_s": round(prepare_s, 2),
        "origin_cpu_s": round(run.origin_s, 2),
        "edge_cpu_s": round(run.edge_s, 2),
        "wire_bytes_per_content_byte": round(run.sender.counters.wire_bytes / content.content_bytes, 4),
        "simulated_s": round(seconds, 3),
        "goodput_per_rate": round(content.content_bytes * 8 / (RATE_MBPS * 1e6 * seconds), 4),
    }


def _memory_bytes(field: str) -> int:
    """VmHWM (peak) or VmRSS (now) of this process; getrusage would count what the parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) << 10


def _send(stream: Connection, bundle_mib: int) -> None:
    """An origin in a process of its own: batches go into the pipe, and last its peak memory."""
    objects = prepared(Content(CODEC_BYTES), bundle_mib * MIB)
    before = _memory_bytes("VmRSS")
    sender = Sender(TSI, rate_mbps=1000, overhead_percent=OVERHEAD_PERCENT)
    sender.publish(objects, 0.0)
    for batch in batches(sender):
        stream.send(batch)
    stream.send(_memory_bytes("VmHWM") - before)


def _receive(stream: Connection, result: Connection) -> None:
    """An edge in a process of its own; it hands out what it has at once."""
    receiver, chance, before = make_receiver(), random.Random(2), _memory_bytes("VmRSS")
    while isinstance(batch := stream.recv(), list):
        for datagram in batch:
            if chance.random() >= LOSSES[-1]:
                receiver.datagram_received(datagram, 0.0)
        receiver.events()
    result.send((batch, _memory_bytes("VmHWM") - before))


def peak_memory(bundle_mib: int) -> dict[str, float]:
    """MiB that sending and receiving 64 MiB take beyond what the processes had before, at 5 % loss."""
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    result, answer = context.Pipe(duplex=False)
    ends = (
        context.Process(target=_send, args=(ours, bundle_mib)),
        context.Process(target=_receive, args=(theirs, answer)),
    )
    for process in ends:
        process.start()
    ours.close()
    theirs.close()
    answer.close()
    origin, edge = result.recv()
    for process in ends:
        process.join()
    return {"origin_peak_mib": round(origin / MIB, 1), "edge_peak_mib": round(edge / MIB, 1)}


def measure(progress: Progress) -> dict[str, Any]:
    """All figures."""
    bundles, transfers = {}, []
    for bundle_mib in BUNDLE_MIB:
        progress(f"coding objects of {bundle_mib} MiB")
        bundles[bundle_mib] = codec(bundle_mib)
        progress(f"memory with objects of {bundle_mib} MiB")
        bundles[bundle_mib] |= peak_memory(bundle_mib)
    for loss in LOSSES:
        for overhead in (0.0, OVERHEAD_PERCENT):
            progress(f"100 MB at {loss:.0%} loss, {overhead:.0f} % repair ahead")
            transfers.append({"loss": loss, "overhead_percent": overhead} | transfer(loss, overhead))
    return {"objects_mib": bundles, "transfers": transfers, "bars": BARS}


def show(found: dict[str, Any]) -> None:
    """Two tables with the bars."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title="Objects: CPU and memory, 7 % repair symbols ahead, 5 % loss")
    for head in ("object", "encode", "bar", "decode", "bar", "origin's memory", "edge's memory"):
        table.add_column(head, justify="right")
    for size, row in found["objects_mib"].items():
        table.add_row(
            f"{size} MiB",
            f"{row['encode_mb_per_s']:.0f} MB/s",
            f"{BARS['encode']:.0f}",
            f"{row['decode_mb_per_s']:.0f} MB/s",
            f"{BARS['decode']:.0f}",
            f"{row['origin_peak_mib']:.0f} MiB",
            f"{row['edge_peak_mib']:.0f} MiB",
        )
    console.print(table)
    table = Table(title="100 MB to one edge, 8 MiB objects, 100 Mbit/s")
    for head in ("loss", "repair ahead", "origin CPU", "edge CPU", "wire/content", "goodput/rate", "bar"):
        table.add_column(head, justify="right")
    goodput: Any = BARS["goodput"]
    for row in found["transfers"]:
        table.add_row(
            f"{row['loss']:.0%}",
            f"{row['overhead_percent']:.0f} %",
            f"{row['origin_cpu_s']:.2f} s",
            f"{row['edge_cpu_s']:.2f} s",
            f"{row['wire_bytes_per_content_byte']:.3f}",
            f"{row['goodput_per_rate']:.3f}",
            f"{goodput[row['loss']]:.3f}",
        )
    console.print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.delivery_bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args(argv)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with scenario_display() as note:
        found = measure(partial(note, "bench"))
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)


if __name__ == "__main__":
    main()

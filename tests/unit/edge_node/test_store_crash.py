"""The store after kill -9 at every change it makes to its disk, and after a power cut at any of them."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.edge_node.disk import Disk, Op, tapped
from tests.unit.edge_node.life import BATCHES, LAST, Ack, check, live, opened, whole_life

CHANGES = ("open", "write", "rename", "symlink", "mkdir", "unlink", "rmdir")


@pytest.fixture
def base() -> Iterator[Path]:
    """The folder that the tap watches; the store is made in it. In memory: nothing is really fsynced."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        yield disk


def changes(base: Path) -> int:
    """How many changes a whole life makes."""
    count = 0

    def told(op: Op) -> None:
        nonlocal count
        count += op.kind in CHANGES

    with tapped(base, told):
        whole_life(base / "store", lambda ack: None)
    shutil.rmtree(base / "store")
    return count


def killed_at(base: Path, number: int, *, opens_only: bool = False) -> list[Ack]:
    """Live in a child process that is killed before change `number`, a write in the middle of it; what it had
    acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        pwrite, count = os.pwrite, 0
        pipe_out = os.fdopen(writing, "wb", buffering=0)

        def told(op: Op) -> None:
            nonlocal count
            count += op.kind in CHANGES
            if count == number and op.kind in CHANGES:
                if op.kind == "write":
                    pwrite(op.descriptor, op.data[: len(op.data) // 2], op.offset)
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with tapped(base, told):
                if opens_only:
                    opened(base / "store")
                else:
                    whole_life(base / "store", lambda ack: pickle.dump(ack, pipe_out))
        finally:
            os._exit(1)
    os.close(writing)
    acknowledged: list[Ack] = []
    with open(reading, "rb") as pipe:
        while pipe.peek(1):
            acknowledged.append(pickle.load(pipe))
    os.waitpid(child, 0)
    return acknowledged


def test_kill_before_every_change(base: Path) -> None:
    total = changes(base)
    assert total > 100
    for number in range(1, total + 1):
        acknowledged = killed_at(base, number)
        root = base / "store"
        with tapped(base, lambda op: None):
            check(root, acknowledged)
            if number % 4 == 0:
                store = live(root, acknowledged.append, [])
                rest = LAST if store.version < 4 else LAST[1:]
                store.close()
                store = live(root, acknowledged.append, rest)
                assert store.complete, "life goes on"
                store.close()
        shutil.rmtree(root)


def test_kill_while_it_recovers(base: Path) -> None:
    total = changes(base)
    for number in random.Random(3).sample(range(total // 4, total), 6):
        acknowledged = killed_at(base, number)
        for again in range(1, 6):
            killed_at(base, again, opens_only=True)
        with tapped(base, lambda op: None):
            check(base / "store", acknowledged)
        shutil.rmtree(base / "store")


def cut(disk: Disk, folder: Path, how: str, acknowledged: list[Ack], chance: random.Random) -> None:
    """Cut the power, and see what the store makes of what is left."""
    disk.after_power_cut(folder, chance, how)
    with tapped(folder, lambda op: None):
        check(folder / "store", acknowledged)
    shutil.rmtree(folder)


def recorded(base: Path) -> list[Op | Ack]:
    """All operations and acknowledgements of a whole life, in their order."""
    trace: list[Op | Ack] = []
    with tapped(base, trace.append):
        whole_life(base / "store", trace.append)
    return trace


def test_power_cut_after_every_operation(base: Path) -> None:
    """Whatever of the changes that were not made durable is left, in whatever order."""
    chance, hows, cuts = random.Random(1), itertools.cycle(("oldest", "any", "hollow", "any", "any")), 0
    disk = Disk()
    acknowledged: list[Ack] = []
    for step in recorded(base):
        if isinstance(step, Ack):
            acknowledged.append(step)
            continue
        disk.apply(step)
        if step.kind in (*CHANGES, "fsync"):
            cut(disk, base.with_name("left"), next(hows), acknowledged, chance)
            cuts += 1
    assert cuts > 200


def test_power_cut_after_kill_and_restart(base: Path) -> None:
    """What a killed process had not made durable, and its successor believes in, is durable then."""
    disk, chance = Disk(), random.Random(2)
    acknowledged: list[Ack] = []
    for number, step in enumerate(recorded(base)):
        if isinstance(step, Ack):
            acknowledged.append(step)
            continue
        disk.apply(step)
        if step.kind not in CHANGES or (number > 100 and number % 3):
            continue
        later, successor = copy.deepcopy(disk), base.with_name("successor")
        disk.after_power_cut(successor, chance, "newest")
        trace: list[Op | Ack] = []
        with tapped(successor, trace.append):
            is_new = not (successor / "store/manifests/current").is_symlink()
            store = live(successor / "store", trace.append, BATCHES[:1] if is_new else [[]])
            trace += [Ack("blob", name) for name in store.blobs.names()]
            store.close()
        for second in trace:
            if isinstance(second, Op):
                later.apply(second)
        seen = [second for second in trace if isinstance(second, Ack)]
        cut(later, base.with_name("left"), "oldest", acknowledged + seen, chance)
        shutil.rmtree(successor)

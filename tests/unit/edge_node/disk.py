"""A tap on what the store does to its disk, and a model of what a disk remembers when the power goes."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
AUDITED = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate")


@dataclass(frozen=True)
class Op:
    """One change, or a step towards its durability. `path` and `other` are relative to the root."""

    kind: str
    path: str = ""
    other: str = ""
    descriptor: int = -1
    offset: int = 0
    data: bytes = b""


_auditors: list[Callable[[str, tuple[Any, ...]], None]] = []


@contextlib.contextmanager
def audited(audit: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Call `audit` for each of Python's audit events. Hooks can never be taken away, so one is for all."""
    if not _auditors:
        _auditors.append(lambda event, arguments: None)
        sys.addaudithook(lambda event, arguments: _auditors[-1](event, arguments))
    _auditors.append(audit)
    try:
        yield
    finally:
        _auditors.pop()


@contextlib.contextmanager
def tapped(root: Path, told: Callable[[Op], None]) -> Iterator[None]:
    """Tell `told` of every operation below `root` before it is carried out; nothing is really fsynced.

    Fails when something is changed in a way that would escape.
    """
    real: dict[str, Any] = {name: getattr(os, name) for name in dir(os)}
    inside = False

    def relative(path: Any, dir_fd: int | None = None) -> str | None:
        full = os.fspath(path)
        if dir_fd is not None:
            full = real["path"].join(real["readlink"](f"/proc/self/fd/{dir_fd}"), full)
        full = os.path.abspath(full)
        return os.path.relpath(full, root) if full == str(root) or full.startswith(f"{root}/") else None

    def carry_out(op: Op | None, name: str, *arguments: Any, **options: Any) -> Any:
        nonlocal inside
        if op is not None:
            told(op)
        inside = True
        try:
            return real[name](*arguments, **options)
        finally:
            inside = False

    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = relative(path, dir_fd)
        if name is None:
            return int(real["open"](path, flags, mode, dir_fd=dir_fd))
        descriptor = int(carry_out(Op("try"), "open", path, flags, mode, dir_fd=dir_fd))
        names[descriptor] = name
        told(
            Op("open" if flags & WRITING else "look", name, descriptor=descriptor, offset=flags & os.O_TRUNC)
        )
        return descriptor

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        op = Op("write", names[descriptor], descriptor=descriptor, offset=offset, data=bytes(data))
        return int(carry_out(op, "pwrite", descriptor, data, offset))

    def fsync(descriptor: int) -> None:
        if descriptor in names:
            told(Op("fsync", names[descriptor], descriptor=descriptor))

    def two(kind: str, name: str) -> Callable[..., None]:
        def operation(source: Any, target: Any) -> None:
            at = relative(target)
            assert at is not None
            carry_out(Op(kind, at, relative(source) or str(source)), name, source, target)

        return operation

    def one(kind: str, name: str) -> Callable[..., None]:
        def operation(path: Any, *mode: int, dir_fd: int | None = None) -> None:
            at = relative(path, dir_fd)
            is_change = at is not None and (kind == "mkdir" or os.path.lexists(root / at))
            carry_out(Op(kind, at or "") if is_change else None, name, path, *mode, dir_fd=dir_fd)

        return operation

    def symlink(value: str, target: Any) -> None:
        at = relative(target)
        assert at is not None
        carry_out(Op("symlink", at, value), "symlink", value, target)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if inside:
            return
        is_open = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if (is_open or event in AUDITED) and isinstance(arguments[0], (str, os.PathLike)):
            assert relative(arguments[0]) is None, f"{event} {arguments} escapes the tap"

    names: dict[int, str] = {}
    taps = {
        "open": open_,
        "pwrite": pwrite,
        "fsync": fsync,
        "replace": two("rename", "replace"),
        "rename": two("rename", "rename"),
        "symlink": symlink,
        "unlink": one("unlink", "unlink"),
        "remove": one("unlink", "remove"),
        "mkdir": one("mkdir", "mkdir"),
        "rmdir": one("rmdir", "rmdir"),
    }
    for name, tap in taps.items():
        setattr(os, name, tap)
    try:
        with audited(audit):
            yield
    finally:
        for name in taps:
            setattr(os, name, real[name])


@dataclass
class Inode:
    """A file (its bytes now, and those that were fsynced), a symbolic link or a folder."""

    kind: str
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    value: str = ""


class Disk:
    """What may be on the disk after a power cut: names and bytes that were fsynced are there; of later
    changes each may be or not, whatever their order was."""

    def __init__(self) -> None:
        self._now: dict[str, Inode | None] = {}
        self._since: dict[str, list[Inode | None]] = {}
        self._open: dict[int, Inode] = {}

    def apply(self, op: Op) -> None:
        """Follow one operation."""
        match op.kind:
            case "open":
                inode = self._now.get(op.path)
                if inode is None:
                    inode = Inode("file")
                    self._set(op.path, inode)
                if op.offset:
                    inode.data.clear()
                self._open[op.descriptor] = inode
            case "look":
                self._open[op.descriptor] = self._now.get(op.path) or Inode("folder")
            case "write":
                data = self._open[op.descriptor].data
                data.extend(bytes(max(0, op.offset + len(op.data) - len(data))))
                data[op.offset : op.offset + len(op.data)] = op.data
            case "fsync":
                inode = self._open[op.descriptor]
                inode.durable = bytes(inode.data)
                if inode.kind == "folder":
                    for path, since in self._since.items():
                        if os.path.dirname(path) == ("" if op.path == "." else op.path):
                            since[:] = since[-1:]
            case "rename":
                self._set(op.path, self._now[op.other])
                self._set(op.other, None)
            case "symlink":
                self._set(op.path, Inode("link", value=op.other))
            case "mkdir":
                self._set(op.path, Inode("folder"))
            case "unlink" | "rmdir":
                self._set(op.path, None)

    def _set(self, path: str, inode: Inode | None) -> None:
        self._now[path] = inode
        self._since.setdefault(path, [None]).append(inode)

    def after_power_cut(self, folder: Path, chance: random.Random, how: str) -> None:
        """Build in the new `folder` what may be left: `how` is "oldest", "newest", "hollow" (new names, lost
        bytes) or "any"."""
        folder.mkdir()
        for path in sorted(self._since):
            since = self._since[path]
            inode = since[0] if how == "oldest" else since[-1] if how != "any" else chance.choice(since)
            target = folder / path
            if inode is None or not target.parent.is_dir():
                continue
            if inode.kind == "folder":
                target.mkdir(exist_ok=True)
            elif inode.kind == "link":
                target.symlink_to(inode.value)
            else:
                target.write_bytes(_left_of(inode, chance, how))


def _left_of(inode: Inode, chance: random.Random, how: str) -> bytes:
    new = bytes(inode.data)
    if how == "newest" or new == inode.durable:
        return new
    if how == "oldest":
        return inode.durable
    return chance.choice(
        (inode.durable, bytes(len(new)), new[: len(new) // 2], b"", new if how == "any" else b"")
    )

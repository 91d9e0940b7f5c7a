"""Jobs that the tests run inside a guest; each leaves what it found in `out`."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab.inside import progress


def leave(out: Path, facts: dict[str, Any]) -> None:
    """Write the facts for the test to read."""
    (out / "facts.json").write_text(json.dumps(facts))


def randomness(out: Path, work: Path) -> None:
    """Everything random that a job meets."""
    _loopback_up()
    ports = []
    for _ in range(5):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("::1", 9))
            ports.append(probe.getsockname()[1])
    leave(
        out,
        {
            "bytes": os.urandom(32).hex(),
            "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text(),
            "ports": ports,
            "temporary": Path(tempfile.mkdtemp()).name,
            "hash": hash("nearcast"),
            "wall_clock": time.time(),
            "monotonic": time.monotonic(),
        },
    )


def _loopback_up() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")


def an_hour(out: Path, work: Path) -> None:
    """Sleep for an hour."""
    began, wall = time.monotonic(), time.time()
    time.sleep(3600)
    leave(out, {"monotonic_s": time.monotonic() - began, "wall_clock_s": time.time() - wall})


def vandal(out: Path, work: Path, victims: list[str], folder: str) -> None:
    """Overwrite files of the host, delete one, make one; say what it looked like from inside."""
    for victim in victims:
        Path(victim).write_text("changed by the guest")
    (Path(folder) / "made by the guest").write_text("new")
    seen = {victim: Path(victim).read_text() for victim in victims}
    Path(victims[0]).unlink()
    (work / "scratch").write_text("scratch")
    Path("/run/tmp/scratch").write_text("scratch")
    (out / "tief" / "unten").mkdir(parents=True)
    (out / "tief" / "unten" / "ergebnis ü.txt").write_text("comes back")
    leave(out, {"seen": seen, "out": str(out)})


def busy(out: Path, work: Path) -> None:
    """Never end."""
    print("a line of the job that never ends", flush=True)
    progress("running")
    while True:
        time.sleep(1)


def busy_for_a_moment(out: Path, work: Path) -> None:
    """End after a second."""
    time.sleep(1)


def fails(out: Path, work: Path) -> None:
    """Raise with a message of two lines."""
    raise ValueError("the first line\n  and the second")


def wrong(out: Path, work: Path) -> None:
    """A mistake in the job itself."""
    print([][0])


def dies(out: Path, work: Path) -> None:
    """End the guest's first process, which the kernel answers with a panic."""
    print("last words of the job", flush=True)
    os._exit(3)


def neighbour(out: Path, work: Path, token: str) -> None:
    """Use the names and ports that the other lab uses too, for a while, and say what was met there."""
    from topologies.namespaces import NetworkNamespace

    _loopback_up()
    namespace = NetworkNamespace.create("user1")
    with namespace.entered():
        _loopback_up()
        inner = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        inner.bind(("::1", 4001))
    outer = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    outer.bind(("::1", 4001))
    local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    local.bind("\0nearcast-neighbour")
    places = [Path("/run/shared"), Path("/dev/shm/shared"), Path("/tmp/shared"), Path("/var/tmp/shared")]
    found_before = [str(place) for place in places if place.exists()]
    for place in places:
        place.write_text(token)
    met: dict[str, list[str]] = {"outer": [], "inner": [], "local": []}
    for _ in range(20):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(token.encode(), ("::1", 4001))
        with namespace.entered():
            sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sender.sendto(token.encode(), ("::1", 4001))
        sender.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(token.encode(), "\0nearcast-neighbour")
        time.sleep(0.1)
        for name, receiver in (("outer", outer), ("inner", inner), ("local", local)):
            met[name].append(receiver.recv(100).decode())
    processes = sum(entry.isdigit() for entry in os.listdir("/proc"))
    first = Path("/proc/1/cmdline").read_text()
    leave(
        out,
        {
            "met": met,
            "files": [place.read_text() for place in places],
            "found_before": found_before,
            "processes": processes,
            "first": first,
            "python": sys.executable,
        },
    )

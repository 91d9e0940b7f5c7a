"""Interactive labs: `up` starts one in this terminal, `down` ends them from another."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from experiments.preparation import UsageError, choose_lab, prepare_lab, site_for
from experiments.runner import interruptible
from experiments.scenario import Mode, Scenario
from lab import relay
from lab.cache import cache_dir
from lab.jobs import SCRATCH, Clock, Job, LabError
from lab.progress import progress_display
from topologies.files import load


def up(topology: str, site: Path | None, lab: str, seed: int, *, https: bool = False) -> int:
    """Run a lab with the Mininet prompt on this terminal until `exit` or `down`; 0 when it ended so.

    Without a terminal, standard input is read to its end first and run as the prompt's commands.
    """
    network = load(topology)
    kind = choose_lab(lab)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nearcast-up-", dir=SCRATCH)))
        with progress_display(sys.stderr) as sink:
            wanted = site_for(site, kind, sink, lambda text: print(text, file=sys.stderr), small=True)
            content = stack.enter_context(wanted)
            prepare_lab(kind, sink)
        scenario = Scenario("up", Mode.EDGE, network, seed, site=str(content), https=https)
        job = Job(
            "experiments.interactive:run",
            {"scenario": scenario.to_json(), "commands": _piped_commands()},
            folder / "out",
            clock=Clock.REAL,
            seed=seed,
            interactive=True,
            reachable_at=_socket(os.getpid()),
        )
        cancel = Event()
        with _registered(), interruptible(cancel), _terminal_restored():
            result = kind.run(job, lambda _text: None, cancel)
    if not result.ok:
        print(f"nearcast: {result.error}", file=sys.stderr)
    return 0 if result.ok else 1


def down(timeout_s: float = 10.0) -> list[int]:
    """End every lab of this user that `up` started; the process IDs that were ended."""
    ended = []
    for process in _running():
        entry = _registry() / f"{process}.pid"
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while entry.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        ended.append(process)
    return ended


def ask(lab: int | None, request: Mapping[str, Any]) -> dict[str, Any]:
    """Have a lab that is up answer a request; `lab` is the process ID of its `up`, needed when several are.

    Raises UsageError when it is not clear which lab is meant, and LabError when there is none or it does
    not answer.
    """
    running = _running()
    if not running:
        raise LabError("no lab is up; start one with `nearcast up`")
    if lab is None and len(running) > 1:
        raise UsageError(f"{len(running)} labs are up; say which with --lab: {', '.join(map(str, running))}")
    if lab is not None and lab not in running:
        raise UsageError(f"--lab {lab}: no such lab is up; there are: {', '.join(map(str, running))}")
    process = running[0] if lab is None else lab
    try:
        return relay.ask(_socket(process), request)
    except OSError as error:
        reason = error.strerror or error
        raise LabError(f"lab {process} cannot be reached ({reason}); it may be starting or ending") from None


def _running() -> list[int]:
    """The process IDs of this user's labs; what killed ones have left is removed."""
    found = []
    for entry in sorted(_registry().glob("*.pid")):
        process = int(entry.stem)
        if _started(process) == entry.read_text():
            found.append(process)
        else:
            entry.unlink(missing_ok=True)
            _socket(process).unlink(missing_ok=True)
    return found


def _piped_commands() -> str | None:
    """What is to be typed at the prompt when no person sits at standard input; None when one does."""
    if os.isatty(0):
        return None
    return sys.stdin.read() if sys.stdin is not None else ""


@contextmanager
def _terminal_restored() -> Iterator[None]:
    """The guest puts this terminal into raw mode; give it back as it was."""
    if not sys.stdin.isatty():
        yield
        return
    settings = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)


@contextmanager
def _registered() -> Iterator[None]:
    """Note this process as a lab that `down` may end."""
    registry = _registry()
    registry.mkdir(parents=True, exist_ok=True)
    entry = registry / f"{os.getpid()}.pid"
    entry.write_text(_started(os.getpid()))
    try:
        yield
    finally:
        entry.unlink(missing_ok=True)


def _registry() -> Path:
    return cache_dir() / "labs"


def _socket(process: int) -> Path:
    """Where the lab of this process takes requests."""
    return _registry() / f"{process}.sock"


def _started(process: int) -> str:
    """When a process started, in clock ticks since boot: a process ID alone may belong to another by now."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""

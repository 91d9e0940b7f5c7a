"""Run one long command whose whole family of processes ends with us: builds and downloads on the host."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

TAIL_LINES = 20
_GRACE_S = 5.0


def run_group(
    argv: Sequence[str],
    folder: Path,
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    log: IO[str] | None = None,
) -> tuple[int, tuple[str, ...]]:
    """Run `argv` in `folder`; hand every output line (both streams) to `on_line` and write it to `log`.

    Returns the exit code (negative: the signal) and the last lines. When this call is left by an exception,
    Ctrl-C included, the command and all its children are killed first; when this process is killed outright,
    the command gets SIGTERM from the kernel. Raises FileNotFoundError when the command does not exist.
    """
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *argv],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    last: deque[str] = deque(maxlen=TAIL_LINES)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip("\n"))
            if log is not None:
                log.write(line)
            on_line(last[-1])
        return process.wait(), tuple(last)
    except BaseException:
        _kill_group(process)
        raise


def _kill_group(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()

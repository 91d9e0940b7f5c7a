"""The command line as a person uses it: a process of its own, on a pipe or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType

from lab.cache import cache_dir

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-c", "from experiments.cli import main; main()")
LIMIT_S = 240.0


def environment(cache: Path | None = None) -> dict[str, str]:
    """The environment of the command; with `cache`, a user's cache that holds the kernels and no more."""
    chosen = os.environ | {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"}
    if cache is not None:
        (cache / "nearcast").mkdir(parents=True, exist_ok=True)
        (cache / "nearcast" / "kernels").symlink_to(cache_dir() / "kernels")
        chosen["XDG_CACHE_HOME"] = str(cache)
    return chosen


def nearcast(
    *arguments: str,
    cwd: Path,
    prefix: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    given: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `nearcast` to its end, with `given` on its standard input."""
    return subprocess.run(
        [*prefix, *COMMAND, *arguments],
        cwd=cwd,
        env=env or environment(),
        input=given,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


class Terminal:
    """A command on a pseudo-terminal of its own, in its own session."""

    def __init__(self, *arguments: str, cwd: Path, env: dict[str, str]) -> None:
        """Start `nearcast` with these arguments."""
        self.master, slave = pty.openpty()
        self.settings = termios.tcgetattr(self.master)
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=cwd,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        self.text = ""
        self._seen = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        os.close(self.master)

    def type(self, text: str) -> None:
        """Type on the keyboard."""
        os.write(self.master, text.encode())

    def wait_for(self, text: str) -> str:
        """Read until `text` appears after what was waited for before; what was read. Fails in time."""
        deadline = time.monotonic() + LIMIT_S
        while (found := self.text.find(text, self._seen)) < 0:
            assert self._read(deadline), f"no {text!r}; the terminal shows: {self.text[-2000:]}"
        read, self._seen = self.text[self._seen : found], found + len(text)
        return read

    def wait_end(self) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + LIMIT_S
        while self._read(deadline):
            pass
        return self.process.wait(30)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"the terminal hangs; it shows: {self.text[-2000:]}"
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the last one has closed the terminal
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

"""The lab's processes: forked from this warm interpreter, each in the namespace of its node.

Starting Python anew costs hundreds of milliseconds in the guest, forking a few. A child calls the
`main(argv)` that `python -m PART` would call, with its output in a log file.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from topologies.namespaces import NetworkNamespace


class ProcessError(RuntimeError):
    """A lab process ended when it should not have; the message carries its last lines."""


@dataclass
class LabProcess:
    """A child of the lab. `returncode` is None while it runs."""

    name: str
    pid: int
    log: Path
    returncode: int | None = field(default=None)

    def poll(self) -> int | None:
        """The exit status if the process has ended (negative: the signal), else None."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """Wait for the end; the exit status."""
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal the process if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def stop(self) -> int:
        """SIGTERM, then wait."""
        self.send_signal(signal.SIGTERM)
        return self.wait()

    def last_lines(self, count: int = 5) -> str:
        """The end of the log, for error messages."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.strip().splitlines()[-count:]) or "no output"

    def check_running(self) -> None:
        """Raises ProcessError when the process has ended."""
        if self.poll() is not None:
            raise ProcessError(f"{self.name} ended with status {self.returncode}: {self.last_lines()}")


class ProcessTable:
    """Starts processes and ends all of them."""

    def __init__(self, log_folder: Path) -> None:
        """Logs go to `log_folder`, one file per process."""
        self.log_folder = log_folder
        log_folder.mkdir(parents=True, exist_ok=True)
        self.processes: list[LabProcess] = []

    def start_module(
        self, name: str, module: str, argv: Sequence[str], namespace: NetworkNamespace | None = None
    ) -> LabProcess:
        """Run `module.main(argv)` in a forked child inside `namespace`, as `python -m` would."""
        log = self.log_folder / f"{name}.log"
        importlib.import_module(module)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(module, argv, namespace, log)
        return self._add(LabProcess(name, pid, log))

    def start_program(
        self,
        name: str,
        command: Sequence[str],
        namespace: NetworkNamespace | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> LabProcess:
        """Run another program in a child inside `namespace`, with `environment` added to this process's."""
        log = self.log_folder / f"{name}.log"
        pid = os.fork()
        if pid == 0:
            _execute(command, os.environ | dict(environment or {}), namespace, log)
        return self._add(LabProcess(name, pid, log))

    def forget(self, process: LabProcess) -> None:
        """Drop a process that has ended as it should."""
        self.processes.remove(process)

    def stop_all(self) -> None:
        """End everything this table started: SIGTERM, and SIGKILL to what still runs 5 s later."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while any(process.poll() is None for process in self.processes) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.processes.clear()

    def _add(self, process: LabProcess) -> LabProcess:
        self.processes.append(process)
        return process


def _settle_in(namespace: NetworkNamespace | None, log: Path) -> None:
    """A process group, the signals, the namespace and the standard streams of a child."""
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if namespace is not None:
        namespace.enter_for_good()
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _execute(
    command: Sequence[str], environment: Mapping[str, str], namespace: NetworkNamespace | None, log: Path
) -> None:
    """The forked child that runs another program: never returns."""
    try:
        _settle_in(namespace, log)
        os.execvpe(command[0], list(command), dict(environment))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(127)


def _become(module: str, argv: Sequence[str], namespace: NetworkNamespace | None, log: Path) -> None:
    """The forked child: never returns."""
    status = 1
    try:
        _settle_in(namespace, log)
        result = importlib.import_module(module).main(list(argv))
        status = result if isinstance(result, int) else 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

"""Labs that are up as far as the command line can tell, and the command line itself."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from experiments import session
from experiments.cli import app, main
from lab.relay import Channel, answer_requests, relayed

Run = Callable[..., tuple[int, str, str]]


@contextmanager
def lab_up(
    cache: Path, handler: Callable[[Mapping[str, Any]], Mapping[str, Any]], process: int
) -> Iterator[None]:
    """A lab whose `up` is this process (or another one that lives), with its socket."""
    folder = cache / "nearcast" / "labs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{process}.pid").write_text(session._started(process))
    with relayed(folder / f"{process}.sock") as inner:
        assert inner is not None
        own = socket.socket(fileno=os.dup(inner.fileno()))
        channel = Channel(own.fileno())
        threading.Thread(target=answer_requests, args=(channel, handler), daemon=True).start()
        with own:
            yield
            own.shutdown(socket.SHUT_RDWR)
    (folder / f"{process}.pid").unlink()


def run_nearcast(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    """The exit status, output and complaints of `nearcast WORDS`."""
    monkeypatch.setattr("sys.argv", ["nearcast", *words])
    # `main` adds its groups of commands each time.
    monkeypatch.setattr(app, "registered_groups", [])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    code = end.value.code
    return (code if isinstance(code, int) else int(code is not None)), said.out, said.err

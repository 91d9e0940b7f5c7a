"""The control socket's client, with this test as the daemon."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.openflow.unixctl import Unixctl, UnixctlError

NAME = "ovs-vswitchd.2.ctl"


class Daemon:
    """Answers one client: to each request the next of `answers`, piece by piece; then it goes."""

    def __init__(self, folder: Path, answers: list[list[bytes]]) -> None:
        self.requests: list[Any] = []
        self._answers = answers
        self._listening = socket.socket(socket.AF_UNIX)
        descriptor = os.open(folder, os.O_PATH)
        self._listening.bind(f"/proc/self/fd/{descriptor}/{NAME}")
        os.close(descriptor)
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def end(self) -> None:
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            for pieces in self._answers:
                self.requests.append(json.loads(connection.recv(4096)))
                for piece in pieces:
                    connection.sendall(piece)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One whose path is longer than a socket's name may be."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    return folder


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Daemon]]:
    daemons: list[Daemon] = []

    def serve(*answers: list[bytes]) -> Daemon:
        daemons.append(Daemon(folder, list(answers)))
        return daemons[-1]

    yield serve
    for daemon in daemons:
        daemon.end()


def test_questions_and_answers(folder: Path, serve: Callable[..., Daemon]) -> None:
    text = 'a {"brace"}\nand ünicode'
    whole = json.dumps({"id": 1, "result": text, "error": None}, ensure_ascii=False).encode()
    braces = whole.index(b"}") + 1
    daemon = serve(
        [whole[:braces], whole[braces : braces + 9], whole[braces + 9 :]],
        [b'{"id":2,"result":null,"error":"unknown\\nbridge\\n"}'],
        [b'{"id":3,"result":"3.1","error":null}'],
    )
    (folder / "ovs-vswitchd.1.ctl").touch()
    with Unixctl.in_folder(folder) as unixctl:
        assert unixctl.call("ofproto/trace", "br", "in_port=1") == text
        with pytest.raises(UnixctlError, match=r"^dpif/show: unknown; bridge$"):
            unixctl.call("dpif/show")
        assert unixctl.call("version") == "3.1"
    assert daemon.requests[0] == {"id": 1, "method": "ofproto/trace", "params": ["br", "in_port=1"]}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([[b'{"id":7,"result":"late"}']], "something else"),
        ([[b'"text}'], []], "no answer"),
        ([[b'{"id":1,']], "has ended"),
    ],
)
def test_what_is_no_answer(
    folder: Path, serve: Callable[..., Daemon], answers: list[list[bytes]], words: str
) -> None:
    serve(*answers[:1])
    with Unixctl.in_folder(folder) as unixctl, pytest.raises(UnixctlError, match=words) as failed:
        unixctl.call("version")
    assert "\n" not in str(failed.value)


def test_a_daemon_that_keeps_silent(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        descriptor = os.open(folder, os.O_PATH)
        listening.bind(f"/proc/self/fd/{descriptor}/{NAME}")
        os.close(descriptor)
        listening.listen()
        failing = pytest.raises(UnixctlError, match=r"version: no answer from .*timed out")
        with Unixctl.in_folder(folder, timeout_s=0.05) as unixctl, failing:
            unixctl.call("version")


def test_no_daemon(folder: Path) -> None:
    with pytest.raises(UnixctlError, match="no ovs-vswitchd runs in"):
        Unixctl.in_folder(folder)
    with pytest.raises(UnixctlError, match="no daemon answers at"):
        Unixctl(folder / NAME)

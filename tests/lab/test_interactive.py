"""`nearcast up` on a terminal: the prompt, and the ways it ends."""

from __future__ import annotations

import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.kernel import KernelImage
from tests.lab.host import Watch
from tests.lab.terminal import Terminal, environment, nearcast

PROMPT = "nearcast> "
UP = ("up", "--topology", "figure2")


@pytest.fixture
def own_cache(tmp_path: Path, image: KernelImage) -> dict[str, str]:
    """A cache of its own, so that `down` ends no lab but the test's."""
    return environment(tmp_path / "cache") | {"TMPDIR": str(tmp_path)}


def test_the_prompt_and_exit(tmp_path: Path, own_cache: dict[str, str]) -> None:
    with (
        Terminal(*UP, cwd=tmp_path, env=own_cache) as terminal,
        Watch(root=terminal.process.pid) as watch,
    ):
        terminal.wait_for(PROMPT)
        terminal.type(
            "user1 curl -s -o /dev/null -w '<%{http_code} %header{nearcast-edge}>' http://www.nearcast.test/\n"
        )
        terminal.wait_for("<200 edge1>")
        terminal.wait_for(PROMPT)
        terminal.type("links\n")
        assert "core1-dist1: 1 ms, 40000 Mbit/s, up" in terminal.wait_for(PROMPT)
        terminal.type("link access1 edge1 down\n")
        terminal.wait_for(PROMPT)
        terminal.type(
            "user1 curl -s -m 9 -o /dev/null -w '<%{http_code} %header{nearcast-edge}>' http://www.nearcast.test/\n"
        )
        terminal.wait_for("<200 edge2>")
        terminal.wait_for(PROMPT)
        terminal.type("link access1 moon down\n")
        assert "no such link" in terminal.wait_for(PROMPT)
        terminal.type("user99 true\n")
        assert "no such node or command" in terminal.wait_for(PROMPT)
        terminal.type("user2 sh -c 'exit 7'\n")
        assert "exit status 7" in terminal.wait_for(PROMPT)
        terminal.type("addresses\n")
        assert "user1: 2001:db8:1:" in terminal.wait_for(PROMPT)
        terminal.type("user1 sh -c 'echo beg''un; sleep 1000'\n")
        terminal.wait_for("begun")
        terminal.type("\x03")
        terminal.wait_for(PROMPT)
        terminal.type("exit\n")
        assert terminal.wait_end() == 0, terminal.text
    assert "Traceback" not in terminal.text
    watch.check_nothing_left()
    assert not [out for out in watch.outs if out.exists()]


def test_down_from_another_terminal(tmp_path: Path, own_cache: dict[str, str]) -> None:
    with (
        Terminal(*UP, cwd=tmp_path, env=own_cache) as terminal,
        Watch(root=terminal.process.pid) as watch,
    ):
        before = termios.tcgetattr(terminal.master)
        terminal.wait_for(PROMPT)
        done = nearcast("down", cwd=tmp_path, env=own_cache)
        assert done.stdout.strip() == f"ended 1 lab(s): {terminal.process.pid}"
        status = terminal.wait_end()
        assert termios.tcgetattr(terminal.master) == before
    assert status in (0, 130), terminal.text
    assert "Traceback" not in terminal.text
    watch.check_nothing_left()
    assert not [out for out in watch.outs if out.exists()]
    again = nearcast("down", cwd=tmp_path, env=own_cache)
    assert (again.returncode, again.stdout.strip()) == (0, "no lab is up")


def test_without_a_terminal(tmp_path: Path, own_cache: dict[str, str]) -> None:
    scripts = {
        "nothing": "",
        "commands": "user1 curl -sI http://www.nearcast.test/\nexit\nuser1 echo too late\n",
    }
    with ThreadPoolExecutor(2) as pool:
        runs = {
            name: pool.submit(nearcast, *UP, cwd=tmp_path, env=own_cache, given=given)
            for name, given in scripts.items()
        }
        done = {name: run.result() for name, run in runs.items()}
    for one in done.values():
        assert one.returncode == 0, one.stdout + one.stderr
        assert "Traceback" not in one.stdout + one.stderr
        assert "ready: try" in one.stdout
    assert "HTTP/1.1 200 OK" not in done["nothing"].stdout
    assert "HTTP/1.1 200 OK" in done["commands"].stdout
    assert "too late" not in done["commands"].stdout

"""`nearcast up` on a terminal: the prompt, and the ways it ends."""

from __future__ import annotations

import json
import termios
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from controller.openflow.snapshot import load_snapshot
from lab.kernel import KernelImage
from tests.lab.host import Watch
from tests.lab.terminal import Terminal, environment, nearcast

PROMPT = "nearcast> "
UP = ("up", "--topology", "figure2")
FETCH = (
    "user1 curl -s -m 9 -o /dev/null -w '<%{http_code} %header{nearcast-edge}>' http://www.nearcast.test/\n"
)
OFCTL = "sh ovs-ofctl -O OpenFlow14"
LEAK = "table=1,priority=900,metadata=0x1/0xff,ipv6,ipv6_dst=fd6e:6361:7374::/64"
"""What lets users of figure2 send to the origin."""
SETTLE_LIMIT_S = 60
ODD = "table=3,priority=7,ipv6,ipv6_dst=2001:db8::7"
KILL_CONTROLLER = "sh sh -c 'kill -9 $(ss -Hltnp sport = 6653 | grep -o pid=[0-9]* | cut -d= -f2)'"
SCRIPTS = {"nothing": "", "commands": "user1 curl -sI http://www.nearcast.test/\nexit\nuser1 echo too late\n"}


@dataclass(frozen=True)
class Session:
    """A lab that is up on a terminal."""

    terminal: Terminal
    watch: Watch
    folder: Path
    env: dict[str, str]

    def check_ended(self) -> None:
        """Fails when the lab left anything behind or said more than it should."""
        assert "Traceback" not in self.terminal.text
        self.watch.check_nothing_left()
        assert not [out for out in self.watch.outs if out.exists()]


@pytest.fixture(scope="module")
def labs_up(tmp_path_factory: pytest.TempPathFactory, image: KernelImage) -> Iterator[dict[str, Session]]:
    """Two labs, each with a cache of its own, so that `down` ends no lab but the one that is meant."""
    assert image.path.exists()
    with ExitStack() as stack:
        sessions = {}
        for name in ("first", "second"):
            folder = tmp_path_factory.mktemp(name)
            env = environment(folder / "cache")
            terminal = stack.enter_context(Terminal(*UP, cwd=folder, env=env))
            watch = stack.enter_context(Watch(root=terminal.process.pid))
            sessions[name] = Session(terminal, watch, folder, env)
        yield sessions


@pytest.fixture(scope="module")
def scripts(
    tmp_path_factory: pytest.TempPathFactory, image: KernelImage
) -> Iterator[dict[str, Future[CompletedProcess[str]]]]:
    """Labs whose commands come from a pipe, begun side by side."""
    assert image.path.exists()
    folder = tmp_path_factory.mktemp("scripts")
    env = environment(folder / "cache")
    with ThreadPoolExecutor(len(SCRIPTS)) as pool:
        yield {
            name: pool.submit(nearcast, *UP, cwd=folder, env=env, given=given)
            for name, given in SCRIPTS.items()
        }


def test_the_prompt_and_exit(
    labs_up: dict[str, Session], scripts: dict[str, Future[CompletedProcess[str]]]
) -> None:
    session = labs_up["first"]
    terminal = session.terminal
    terminal.wait_for(PROMPT)
    _fetch_from(terminal, "edge1")
    terminal.type("links\n")
    assert "core1-dist1: 1 ms, 40000 Mbit/s, up" in terminal.wait_for(PROMPT)
    terminal.type("pingall\n")
    answers = terminal.wait_for(PROMPT)
    for user in ("user1", "user6"):
        assert f"{user} -> www.nearcast.test: " in answers
    assert "6 of 11 answered" in answers, "users are closed to each other"
    _check_operations(session)
    _check_verify(session)
    terminal.type("link access1 edge1 down\n")
    terminal.wait_for(PROMPT)
    _fetch_from(terminal, "edge2")
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
    terminal.type(KILL_CONTROLLER + "\n")
    terminal.wait_for(PROMPT)
    status, result, complaint = _verify(session)
    assert (status, result["controller"]) == (0, None), f"it needs no controller; {complaint}"
    terminal.type("exit\n")
    assert terminal.wait_end() == 0, terminal.text
    session.check_ended()


def _fetch_from(terminal: Terminal, edge: str) -> None:
    """A user is answered by this edge, in the end: on the real clock of a busy machine a heartbeat may be
    late, and its edge out for a moment."""
    deadline = time.monotonic() + SETTLE_LIMIT_S
    while True:
        terminal.type(FETCH)
        text = terminal.wait_for(PROMPT)
        if f"<200 {edge}>" in text:
            return
        assert time.monotonic() < deadline, text
        time.sleep(1)


def _check_operations(session: Session) -> None:
    """What the controller knows and what is asked of it, from another terminal and at the prompt."""

    def ask(*words: str) -> Any:
        done = nearcast(*words, "--json", cwd=session.folder, env=session.env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    terminal = session.terminal
    # On the real clock of a busy machine a heartbeat may have been late: its edge is let back in by and by.
    deadline = time.monotonic() + SETTLE_LIMIT_S
    while (states := [row["state"] for row in ask("show", "edges")]) != ["accepting"] * 3:
        assert time.monotonic() < deadline, states
        time.sleep(1)
    assert ask("trace", "user1", "service", "--installed")["there"]["ends"][0]["where"] == "edge1"
    assert sum(row["packets"] for row in ask("show", "flows", "--installed")) > 0
    names = {sample["name"] for sample in ask("metrics")}
    assert "nearcast_controller_synced" in names
    ask("drain", "edge1")
    _fetch_from(terminal, "edge2")
    terminal.type("undrain edge1\n")
    assert "edge1 may get new connections" in terminal.wait_for(PROMPT)
    terminal.type("bind user1 edge3\n")
    terminal.wait_for(PROMPT)
    _fetch_from(terminal, "edge3")
    ask("bind", "user1", "nearest")
    assert ask("subscribe", "user1", "tcp/8080")["port"] == 8080
    assert ask("trace", "user3", "user1", "--port", "8080")["there"]["ends"][0]["fate"] == "delivered"
    refused = nearcast("drain", "edge99", cwd=session.folder, env=session.env)
    assert refused.returncode == 2
    assert "no edge of the topology figure2" in refused.stderr


def _verify(session: Session, *words: str) -> tuple[int, Any, str]:
    """The exit status, result and complaints of `nearcast verify`."""
    done = nearcast("verify", "--json", *words, cwd=session.folder, env=session.env)
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


def _check_verify(session: Session) -> None:
    """A proof of the switches as they are, with a leak and with a rule that nobody knows."""
    terminal = session.terminal

    def change(command: str) -> None:
        terminal.type(f"{OFCTL} {command}\n")
        assert "ovs-ofctl: " not in terminal.wait_for(PROMPT)

    status, result, complaint = _verify(session, "--save", "tables.json")
    assert status == 0, complaint
    assert result["proof"]["figures"]["switches"] == 6
    assert ["port_dst=8080" in opening for opening in result["proof"]["openings"]] == [True]
    assert [opening[1:] for opening in result["controller"]["expected"]["openings"]] == [[6, 8080]]
    saved = load_snapshot(session.folder / "tables.json")
    assert saved.rule_count == result["proof"]["figures"]["rules"]

    change(f"add-flow access1 cookie=0x6e63000000000005,{LEAK},actions=goto_table:4")
    status, result, complaint = _verify(session, "--replay", "--pcap", "packets")
    assert status == 1, complaint
    broken = {entry["name"]: entry["violations"] for entry in result["proof"]["invariants"] if entry["count"]}
    assert set(broken) == {"isolation"}, (result["controller"], broken)
    violation = broken["isolation"][0]
    assert violation["failure"] == ""
    assert [end["where"] for end in violation["witness"]["walk"]["ends"]] == ["origin"]
    assert violation["ofproto_trace"]["agrees"] is True, violation["ofproto_trace"]
    assert violation["replay"] == {"agrees": True, "why": "", "expected": ["origin"], "arrived": ["origin"]}
    assert (session.folder / violation["pcap"]).stat().st_size > 100
    terminal.type("verify --no-failures\n")
    assert "violated: 1 of 9" in terminal.wait_for(PROMPT)

    change(f"add-flow access2 {ODD},actions=drop")
    status, _, complaint = _verify(session)
    assert status == 2
    assert complaint.startswith("nearcast: nothing is proved: access2: table 3 priority 7 ")
    change(f"--strict del-flows access1 {LEAK}")
    change(f"--strict del-flows access2 {ODD}")


def test_down_from_another_terminal(labs_up: dict[str, Session]) -> None:
    session = labs_up["second"]
    terminal = session.terminal
    terminal.wait_for(PROMPT)
    done = nearcast("down", cwd=session.folder, env=session.env)
    assert done.stdout.strip() == f"ended 1 lab(s): {terminal.process.pid}"
    assert terminal.wait_end() in (0, 130), terminal.text
    assert termios.tcgetattr(terminal.master) == terminal.settings, "the terminal is as it was"
    session.check_ended()
    again = nearcast("down", cwd=session.folder, env=session.env)
    assert (again.returncode, again.stdout.strip()) == (0, "no lab is up")


def test_commands_from_a_pipe(scripts: dict[str, Future[CompletedProcess[str]]]) -> None:
    done = {name: run.result() for name, run in scripts.items()}
    for one in done.values():
        assert one.returncode == 0, one.stdout + one.stderr
        assert "Traceback" not in one.stdout + one.stderr
        assert "ready: try" in one.stdout
    assert "HTTP/1.1 200 OK" not in done["nothing"].stdout
    assert "HTTP/1.1 200 OK" in done["commands"].stdout
    assert "too late" not in done["commands"].stdout

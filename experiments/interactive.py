"""Inside an interactive lab: everything up on the real clock, then the Mininet prompt."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from experiments.requests import Requests
from experiments.scenario import scenario_from_json
from experiments.testbed import Testbed
from lab.inside import progress
from lab.relay import Channel, answer_requests

LIVE_COMMANDS = ("show", "trace", "drain", "undrain", "bind", "subscribe", "metrics", "verify")
"""The commands of `experiments.live`, which is imported when one is used."""


def run(out: Path, work: Path, scenario: dict[str, Any], commands: str | None) -> None:
    """Start the testbed, publish the site if there is one, and hand over the terminal; or run `commands`."""
    from topologies.mininet_cli import Prompt

    plan = scenario_from_json(scenario)
    requests = Requests()
    channel = Channel.of_job()
    if channel is not None:
        Thread(target=answer_requests, args=(channel, requests.answer), name="channel", daemon=True).start()
    with Testbed(plan, work, out) as testbed:
        progress(f"starting {plan.topology.name}: {len(plan.topology.nodes)} nodes")
        testbed.start(progress)
        if plan.site is not None:
            progress(f"publishing {plan.site}")
            testbed.publish()
        requests.ready(testbed)
        scheme = "https" if plan.https else "http"
        fetch = f"user1 curl -sI {scheme}://{plan.topology.service.name}/"
        progress(f"ready: try `{fetch}`, `trace user1 service`, `help`, `exit`")
        os.environ["OVS_RUNDIR"] = str(testbed.openvswitch.folder)
        own = _own_commands(requests)
        if commands is None:
            _own_terminal()
            Prompt(testbed.net, own)
        else:
            script = work / "commands"
            script.write_text(commands)
            Prompt(testbed.net, own, script=str(script))


def _own_commands(requests: Requests) -> dict[str, Callable[[str], None]]:
    """The commands of `experiments.live` at the prompt; the names alone cost no import."""

    def command(name: str) -> Callable[[str], None]:
        def run_it(line: str) -> None:
            from experiments.live import run_at_prompt

            run_at_prompt(name, line, requests.answer)

        run_it.__doc__ = f"`{name} --help` says more."
        return run_it

    return {name: command(name) for name in LIVE_COMMANDS}


def _own_terminal() -> None:
    """Make the guest's console the controlling terminal, so that Ctrl-C reaches what runs in front."""
    if os.getpid() != 1:
        return
    if os.getsid(0) != os.getpid():
        os.setsid()
    with suppress(OSError):
        fcntl.ioctl(sys.stdin.fileno(), termios.TIOCSCTTY, 1)

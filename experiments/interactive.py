"""Inside an interactive lab: everything up on the real clock, then the Mininet prompt."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.scenario import scenario_from_json
from experiments.testbed import Testbed
from lab.inside import progress


def run(out: Path, work: Path, scenario: dict[str, Any], commands: str | None) -> None:
    """Start the testbed, publish the site if there is one, and hand over the terminal; or run `commands`."""
    from topologies.mininet_cli import Prompt

    plan = scenario_from_json(scenario)
    with Testbed(plan, work, out) as testbed:
        progress(f"starting {plan.topology.name}: {len(plan.topology.nodes)} nodes")
        testbed.start(progress)
        if plan.site is not None:
            progress(f"publishing {plan.site}")
            testbed.publish()
        progress(f"ready: try `user1 curl -sI http://{plan.topology.service.name}/`, `help`, `exit`")
        os.environ["OVS_RUNDIR"] = str(testbed.openvswitch.folder)
        if commands is None:
            _own_terminal()
            Prompt(testbed.net)
        else:
            script = work / "commands"
            script.write_text(commands)
            Prompt(testbed.net, script=str(script))


def _own_terminal() -> None:
    """Make the guest's console the controlling terminal, so that Ctrl-C reaches what runs in front."""
    if os.getpid() != 1:
        return
    if os.getsid(0) != os.getpid():
        os.setsid()
    with suppress(OSError):
        fcntl.ioctl(sys.stdin.fileno(), termios.TIOCSCTTY, 1)

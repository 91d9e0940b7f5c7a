"""Inside a lab: what other terminals and the prompt may ask of it. Most goes to the controller as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from controller.openflow.channel import ChannelError
from controller.openflow.unixctl import UnixctlError
from experiments import lab_side
from experiments.control import ControlError
from experiments.lab_watch import LabWatch
from experiments.testbed import Testbed
from lab.jobs import CHECKOUT
from lab.relay import failed, parse
from topologies.spec import Role

EXIT_USAGE = 2


class Requests:
    """Answers requests about one testbed, from any thread; says so while it is still starting."""

    def __init__(self) -> None:
        self._testbed: Testbed | None = None
        self._watch = LabWatch()

    def ready(self, testbed: Testbed) -> None:
        """From now on requests are carried out."""
        self._testbed = testbed

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request; never raises."""
        testbed = self._testbed
        if testbed is None:
            return failed("the lab is still starting; try again in a moment")
        try:
            if request.get("op") == "subscribe":
                return _subscribe(testbed, request)
            if request.get("op") == "watch":
                return self._watch.watch(testbed, request)
            own = lab_side.HANDLERS.get(str(request.get("op")))
            return own(testbed, request) if own is not None else testbed.control.request(**request)
        except ValueError as error:
            return failed(_one_line(error), usage=True)
        except (ControlError, ChannelError, UnixctlError, OSError, subprocess.SubprocessError) as error:
            return failed(_one_line(error))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _subscribe(testbed: Testbed, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the gateway for an opening, as a program of the user's would: from its own namespace."""
    user = request.get("user")
    if user not in testbed.topology.of_role(Role.USER):
        return failed(f"{user!r} is no user of the topology {testbed.topology.name}", usage=True)
    command = [sys.executable, "-m", "controller.pcp_client", "--json"]
    command += ["--interface", testbed.topology.ports[str(user)][0].interface]
    for option in ("port", "protocol", "lifetime_s"):
        command += [f"--{option.replace('_', '-')}", str(request.get(option, ""))]
    if request.get("nonce") is not None:
        command += ["--nonce", str(request["nonce"])]
    process = testbed.net[str(user)].popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    output, complaint = process.communicate(timeout=120)
    return outcome(process.returncode, output, complaint)


def outcome(status: int, output: str, complaint: str) -> dict[str, Any]:
    """The answer to `subscribe`, from how the PCP client ended and what it printed."""
    result = parse((output.strip().splitlines() or [""])[-1].encode())
    if status == 0 and result:
        return {"ok": True, "result": result}
    if result.get("result"):
        return failed(f"the gateway refuses: {result['result']}")
    said = str(result.get("error") or complaint.strip() or "the PCP client gave no reason")
    return failed(said.splitlines()[-1], usage=status == EXIT_USAGE)

"""Whether the real switches do with a witness what the proof says: asked of Open vSwitch at every hop, and
tried by sending the packet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from controller.openflow.agreement import bridges, confirm
from controller.openflow.ofproto_trace import Bridge, TraceError
from controller.openflow.snapshot import Snapshot
from controller.openflow.unixctl import Unixctl, UnixctlError
from controller.plan.rules import CtState
from controller.verify.network import Network
from controller.verify.proof import Violation
from controller.verify.results import Fate, Tracked, Walk
from controller.verify.witness import Witness
from experiments.frames import sendable_frame
from lab.jobs import LabError

AskLab = Callable[[Mapping[str, Any]], dict[str, Any]]
"""The answer of the lab to a request. Raises LabError."""
SETTLE_S = 1.0
"""How long a packet may take beyond the propagation delay of its way."""


class _Relayed(Unixctl):
    """The daemon of a lab, asked through it."""

    def __init__(self, ask: AskLab) -> None:
        self._ask = ask

    def call(self, method: str, *parameters: str) -> str:
        """Ask. Raises UnixctlError."""
        try:
            return str(self._ask({"op": "ovs", "method": method, "parameters": list(parameters)})["text"])
        except (LabError, ValueError) as error:
            raise UnixctlError(str(error)) from None

    def close(self) -> None:
        """There is nothing to let go of."""


class Switches:
    """The switches of a lab that is up, and what they were found to hold."""

    def __init__(self, ask: AskLab, snapshot: Snapshot) -> None:
        self._unixctl = _Relayed(ask)
        self._ask = ask
        self._network = Network(snapshot.topology, snapshot.tables, snapshot.down_ports)

    @cached_property
    def _bridges(self) -> Mapping[str, Bridge]:
        return bridges(self._unixctl)

    def confirm(self, violation: Violation) -> dict[str, Any] | None:
        """Whether Open vSwitch agrees with every hop of the witness's walk: `agrees` is null when it was not
        asked, and `why` says why, or how it differs. None without a witness."""
        witness = violation.witness
        if witness is None:
            return None
        if violation.failure:
            return _answer(None, f"{violation.failure} has not failed now")
        try:
            found = confirm(self._unixctl, self._bridges, self._network, witness.walk)
        except (UnixctlError, TraceError, ValueError, KeyError) as error:
            return _answer(None, " ".join(str(error).split()))
        differences = [str(hop) for hop in found.hops if hop.difference is not None]
        return {**_answer(found.agrees, "; ".join(differences)), "hops": len(found.hops)}

    def replay(self, violation: Violation) -> dict[str, Any] | None:
        """Send the witness's packet and see where it arrives. `agrees` is whether those hosts get it that the
        proof names, and no other; null when it was not sent, and `why` says why. None without a witness."""
        witness = violation.witness
        if witness is None:
            return None
        why = why_not(violation.failure, witness.walk)
        if why:
            return _answer(None, why)
        wanted = sorted({end.where for end in witness.walk.delivered})
        try:
            arrived = self._send(witness, wanted)
        except (LabError, ValueError) as error:
            return _answer(None, str(error))
        return {**_answer(arrived == wanted, ""), "expected": wanted, "arrived": arrived}

    def _send(self, witness: Witness, wanted: list[str]) -> list[str]:
        delay_s = max((end.delay_ms for end in witness.walk.ends), default=0.0) / 1000
        request = {"sender": witness.sender, "frame": sendable_frame(witness.packet).hex()}
        answer = self._ask({"op": "replay", **request, "expected": wanted, "wait_s": SETTLE_S + 2 * delay_s})
        return list(answer["arrived"])


def _answer(agrees: bool | None, why: str) -> dict[str, Any]:
    return {"agrees": agrees, "why": why}


def why_not(failure: str, walk: Walk) -> str:
    """Why a witness cannot be shown by sending its packet; empty when it can."""
    if failure:
        return f"{failure} has not failed now"
    if any(end.fate is Fate.LOOPED for end in walk.ends):
        return "it would go round in the lab"
    met = [event for hop in walk.hops for event in hop.events if isinstance(event, Tracked)]
    for event in met:
        if walk.hops[0].packet.is_fragment:
            return "it is a fragment, which connection tracking keeps until the rest is there"
        if event.state is not CtState.NEW or event.mark:
            mark = f" with mark {event.mark}" if event.mark else ""
            return (
                f"connection tracking would have to know it as {event.state}{mark}, one packet is new to it"
            )
    return ""

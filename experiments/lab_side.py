"""Inside a lab: what `nearcast verify` asks of it. The switches are read and asked by their own sockets, so
that the controller's word is not needed, and a packet can be sent to see where it arrives."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeGuard

from controller.openflow.unixctl import Unixctl
from experiments.control import Control, ControlError
from experiments.frames import same_packet
from experiments.proofs import expected_of, expected_to_json
from experiments.testbed import Testbed
from lab.bpf import INBOUND
from lab.packet_socket import Batch, open_packet_socket

CONTROLLER_TIMEOUT_S = 5.0
READ_ONLY = ("dpif/show", "ofproto/trace")
"""What Open vSwitch may be asked through the lab; neither changes anything."""
MAX_WAIT_S = 30.0
_READINGS, _PAUSE_S = 10, 0.2
_STEP_S = 0.05
_KEPT_BYTES = 2048
_BUFFER_BYTES = 1 << 18

Answer = dict[str, Any]


def snapshot(testbed: Testbed, _request: Mapping[str, Any]) -> Answer:
    """What the switches hold, and what the controller says that they should agree with: null when it does not
    answer. While it changes things they are read again, for a while; `is_steady` says that it was the same
    before and after. Raises ChannelError."""
    before, taken, after = _known(testbed), testbed.snapshot(), _known(testbed)
    for _ in range(_READINGS - 1):
        if before == after and (after is None or after["synced"]):
            break
        time.sleep(_PAUSE_S)
        before, taken, after = _known(testbed), testbed.snapshot(), _known(testbed)
    controller = None if after is None else {**after, "is_steady": before == after}
    return {"ok": True, "snapshot": taken.to_json(), "controller": controller}


def _known(testbed: Testbed) -> Answer | None:
    """What the controller knows that a proof is held against."""
    try:
        status = Control(testbed.work / "controller.sock", CONTROLLER_TIMEOUT_S).status()
    except ControlError:
        return None
    return {"expected": expected_to_json(expected_of(status)), "synced": bool(status["synced"])}


def ask_switches(testbed: Testbed, request: Mapping[str, Any]) -> Answer:
    """What Open vSwitch answers to one of READ_ONLY. Raises UnixctlError, and ValueError for another."""
    method, parameters = request.get("method"), request.get("parameters")
    if method not in READ_ONLY or not _is_texts(parameters):
        raise ValueError(f'"ovs" needs "method", one of {", ".join(READ_ONLY)}, and "parameters", texts')
    with Unixctl.in_folder(testbed.openvswitch.folder) as unixctl:
        return {"ok": True, "text": unixctl.call(method, *parameters)}


def _is_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def replay(testbed: Testbed, request: Mapping[str, Any]) -> Answer:
    """Send a frame from a host's interface and say at which hosts its packet arrives within `wait_s` seconds;
    all of them are listened at. Raises OSError when it cannot be sent, ValueError when it makes no sense."""
    sender, wait_s = request.get("sender"), request.get("wait_s")
    if sender not in testbed.topology.hosts:
        raise ValueError(f'"sender" is {sender!r}, which is no host of the topology {testbed.topology.name}')
    if not isinstance(wait_s, int | float) or not 0 < wait_s <= MAX_WAIT_S:
        raise ValueError(f'"wait_s" is a number of seconds up to {MAX_WAIT_S:g}')
    wanted, frame = request.get("expected"), bytes.fromhex(str(request.get("frame")))
    if not _is_texts(wanted):
        raise ValueError('"expected" is a list of hosts')
    arrived: set[str] = set()
    batch = Batch(_KEPT_BYTES)
    with ExitStack() as stack:
        ears = {}
        for host in testbed.topology.hosts:
            namespace = testbed.net[host].namespace
            ear = stack.enter_context(open_packet_socket(namespace, INBOUND, _KEPT_BYTES, _BUFFER_BYTES))
            ears[ear] = host
        with testbed.net[sender].namespace.entered():
            mouth = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            mouth.bind((testbed.topology.ports[sender][0].interface, 0))
        mouth.send(frame)
        end_s = time.monotonic() + wait_s
        while (left_s := end_s - time.monotonic()) > 0:
            ready, _, _ = select.select(list(ears), [], [], min(left_s, _STEP_S))
            for ear in ready:
                heard = [bytes(data) for _, _, data, _ in batch.receive(ear.fileno())]
                if any(same_packet(frame, data) for data in heard):
                    arrived.add(ears[ear])
            # What was not expected may come a little later than what was.
            if arrived and arrived >= set(wanted):
                end_s = min(end_s, time.monotonic() + 2 * _STEP_S)
    return {"ok": True, "arrived": sorted(arrived)}


HANDLERS: Mapping[str, Callable[[Testbed, Mapping[str, Any]], Answer]] = {
    "snapshot": snapshot,
    "ovs": ask_switches,
    "replay": replay,
}
"""The operations by name."""

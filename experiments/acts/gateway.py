"""The gateway of users: who gets in, what a subscription opens, how flows look at the other end."""

from __future__ import annotations

import time

from experiments.acts.context import Context
from experiments.acts.peers import COLUMNS as FLOW_COLUMNS
from experiments.acts.peers import flow_row, peers
from experiments.scan import Knock, scan
from experiments.testbed import TestbedError

SCAN_COLUMNS = ("gateway", "round", "protocol", "port", "has_arrived", "answer")
LIFETIME_S = 600


def run(context: Context, *, inside: str, outside: str, port: int) -> None:
    """Scan user `inside` from user `outside`, before and after it has subscribed to TCP `port`; then measure
    its own flows to the service."""
    testbed = context.testbed
    scan_user(context, inside, outside, "closed")
    interface = testbed.topology.ports[inside][0].interface
    words = ["--port", str(port), "--protocol", "tcp", "--lifetime-s", str(LIFETIME_S)]
    words += ["--interface", interface]
    subscription = testbed.processes.start_module(
        "subscribe", "controller.pcp_client", words, context.namespace(inside)
    )
    status = subscription.wait()
    testbed.processes.forget(subscription)
    if status != 0:
        raise TestbedError(f"{inside} could not subscribe: {subscription.last_lines(1)}")
    testbed.control.wait_until(lambda status: bool(status.get("synced")), "subscription in the switches")
    scan_user(context, inside, outside, "subscribed")
    with peers(testbed, testbed.active_edges, str(testbed.plan.service)):
        row = flow_row("stateful", context.namespace(inside), str(testbed.plan.service))
        context.write("flows.csv", FLOW_COLUMNS, [row])


def scan_user(context: Context, inside: str, outside: str, name: str) -> None:
    """One round of the scan of a user's global address."""
    target = context.testbed.net.global_address(inside)
    # The first packet of an address that the switch does not know yet is held up by its claim.
    time.sleep(0.1)
    knocks = scan(context.namespace(inside), context.namespace(outside), target)
    context.write("scans.csv", SCAN_COLUMNS, [scan_row("stateful", name, knock) for knock in knocks])


def scan_row(gateway: str, name: str, knock: Knock) -> tuple[str | int, ...]:
    """A row of scans.csv."""
    return gateway, name, knock.protocol, knock.port, int(knock.has_arrived), knock.answer

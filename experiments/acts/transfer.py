"""Transfers both ways over a path with a narrow link in the middle: path MTU discovery (RFC 8201) at work."""

from __future__ import annotations

from experiments.acts.context import Context
from experiments.acts.peers import peers
from experiments.peer import exchange

COLUMNS = ("user", "direction", "bytes", "is_complete", "path_mtu")
BYTES = 500_000


def run(context: Context, *, user: str) -> None:
    """Send to the service and receive from it as `user`."""
    testbed = context.testbed
    service = str(testbed.plan.service)
    rows = []
    with peers(testbed, testbed.active_edges, service):
        for direction, sizes in (("up", (BYTES, 0)), ("down", (0, BYTES))):
            found = exchange(context.namespace(user), service, send=sizes[0], receive=sizes[1])
            rows.append((user, direction, BYTES, int(found.is_complete), found.path_mtu))
    context.write("paths.csv", COLUMNS, rows)

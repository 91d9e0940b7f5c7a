"""`python -m controller.openflow.bench`: how fast rules get into a switch, over a real connection.

Waits for one switch to connect, whichever it is, installs rules, deletes them, and prints a line of JSON for
each, from the call to the answer of the barrier. What else the switch holds is deleted.
"""

from __future__ import annotations

import argparse
import json
import queue
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Network
from typing import Any

from controller.openflow.runtime import listen, run_app
from controller.openflow.worker import SwitchWorker
from controller.plan.facts import PortId
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import (
    DecHopLimit,
    Match,
    Output,
    Prefix,
    Rule,
    SetEthDst,
    SetEthSrc,
    Tables,
    Target,
)

_BLOCK = Prefix.of(IPv6Network("2001:db8::/32"))
_ROUTER = "02:00:5e:00:00:01"
_TIMEOUT_S = 60.0


def tables_of(rules: int) -> Tables:
    """So many routes to single addresses, each a router hop."""

    def route(index: int) -> Rule:
        destination = Prefix(_BLOCK.value + index, 128)
        hop = (DecHopLimit(), SetEthSrc(_ROUTER), SetEthDst(f"02:00:00:00:00:{index % 64:02x}"))
        actions = (*hop, Output(1 + index % 64))
        return Rule(TableId.UNICAST, 228, Match(ipv6_dst=destination), Origin.ROUTE, actions)

    return Tables.of(map(route, range(rules)))


class _Bench:
    """Stands in for the coordinator."""

    def __init__(self) -> None:
        self.steps: queue.Queue[SwitchWorker | str] = queue.Queue()

    def switch_name(self, datapath_id: int) -> str | None:
        return f"{datapath_id:016x}"

    def port_numbers(self, switch: str) -> Iterable[int]:
        return ()

    def connected(self, worker: SwitchWorker, down_ports: Iterable[int]) -> None: ...

    def dumped(self, worker: SwitchWorker, tables: Tables, foreign: int) -> None:
        self.steps.put(worker)

    def synced(self, worker: SwitchWorker, plan_number: int, modifications: int) -> None:
        self.steps.put(worker)

    def disconnected(self, worker: SwitchWorker) -> None:
        worker.stop()
        self.steps.put("the switch has gone")

    def port_changed(self, port: PortId, is_up: bool) -> None: ...

    def packet(self, port: PortId, data: bytes, cookie: int) -> None: ...

    def log(self, event: str, **fields: Any) -> None:
        if event in ("update-failed", "switch-error"):
            self.steps.put(str(fields["error"]))

    def wait(self, timeout_s: float | None = _TIMEOUT_S) -> SwitchWorker:
        """The worker, as soon as it has done what it was asked. Raises SystemExit when it has not."""
        step = self.steps.get(timeout=timeout_s)
        if isinstance(step, str):
            raise SystemExit(f"bench: {step}")
        return step


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m controller.openflow.bench", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one; it is printed")
    parser.add_argument("--rules", type=int, default=20_000)
    arguments = parser.parse_args(argv)
    bench = _Bench()
    listening = listen(arguments.listen, arguments.port)
    run_app("controller.app", {"coordinator": bench}, listening)
    print(json.dumps({"event": "listening", "port": listening.getsockname()[1]}), flush=True)
    worker = bench.wait(None)
    worker.install(Target(1, Tables()))
    bench.wait()
    steps = (("installed", tables_of(arguments.rules)), ("deleted", Tables()))
    for plan, (event, tables) in enumerate(steps, 2):
        worker.install(Target(plan, tables))
        bench.wait()
        rate = round(worker.counts.total / worker.install_s)
        result = {"event": event, "modifications": worker.counts.total, "seconds": round(worker.install_s, 4)}
        print(json.dumps(result | {"modifications_per_s": rate}), flush=True)


if __name__ == "__main__":
    main()

"""The real application over a real socket, with this program in the place of the coordinator.

Started by path with any Python that has os-ken or ryu. It prints events as lines of JSON, first the port it
listens on, and takes lines of JSON, each with a `switch`: `{"install": NAME}` (before the switch connects:
what it gets first), `{"dump": null}`, `{"send": [PORT, HEX]}`, `{"inject": HEX}`.
"""

from __future__ import annotations

import json
import pickle
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sample_rules import TABLES

from controller.openflow.runtime import listen, run_app
from controller.openflow.ryu_api import RUNTIME, block
from controller.openflow.worker import SwitchWorker
from controller.plan.facts import PortId
from controller.plan.rules import Tables, Target


def tables_of(name: str) -> Tables:
    """The sample of this name, or what the test has pickled into the file of this name."""
    if name in TABLES:
        return TABLES[name]()
    tables: Tables = pickle.loads(Path(name).read_bytes())
    return tables


class Stub:
    """Installs what it is told."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}
        self.workers: dict[str, SwitchWorker] = {}
        self._lock = threading.Lock()

    def tell(self, event: str, **fields: Any) -> None:
        with self._lock:
            print(json.dumps({"event": event} | fields), flush=True)

    def switch_name(self, datapath_id: int) -> str | None:
        return f"s{datapath_id}"

    def port_numbers(self, switch: str) -> Iterable[int]:
        return (1, 2, 3, 4, 5)

    def connected(self, worker: SwitchWorker, down_ports: Iterable[int]) -> None:
        self.workers[worker.switch] = worker
        self.tell("connected", switch=worker.switch, down=list(down_ports))

    def dumped(self, worker: SwitchWorker, tables: Tables, foreign: int) -> None:
        target = self.targets[worker.switch]
        equal = tables == target.tables
        self.tell("dumped", switch=worker.switch, rules=len(tables.rules), foreign=foreign, equal=equal)
        worker.install(target)

    def synced(self, worker: SwitchWorker, plan_number: int, modifications: int) -> None:
        counts = worker.counts
        kinds = [counts.added, counts.modified, counts.deleted, counts.foreign]
        self.tell("synced", switch=worker.switch, modifications=modifications, counts=kinds)

    def disconnected(self, worker: SwitchWorker) -> None:
        worker.stop()
        self.tell("disconnected", switch=worker.switch)

    def port_changed(self, port: PortId, is_up: bool) -> None:
        self.tell("port", switch=port.switch, number=port.number, up=is_up)

    def packet(self, port: PortId, data: bytes, cookie: int) -> None:
        self.tell("packet", switch=port.switch, port=port.number, data=data.hex(), cookie=cookie)

    def log(self, event: str, **fields: Any) -> None:
        self.tell(event, **fields)

    def do(self, request: dict[str, Any]) -> None:
        switch = request["switch"]
        worker = self.workers.get(switch)
        if "install" in request:
            number = self.targets[switch].plan + 1 if switch in self.targets else 1
            self.targets[switch] = Target(number, tables_of(request["install"]))
            if worker is not None:
                worker.install(self.targets[switch])
            return
        assert worker is not None
        if "dump" in request:
            dump = worker.dump()
            packets = {str(rule): dump.counters[key].packets for key, rule in dump.tables.rules.items()}
            equal = dump.tables == self.targets[switch].tables
            self.tell("dump", switch=switch, equal=equal, packets=packets)
        elif "send" in request:
            port, frame = request["send"]
            worker.send(port, bytes.fromhex(frame))
        elif "inject" in request:
            worker.inject(bytes.fromhex(request["inject"]))


def main() -> None:
    stub = Stub()
    listening = listen("127.0.0.1", 0)
    run_app("controller.app", {"coordinator": stub}, listening)
    stub.tell("listening", port=listening.getsockname()[1], runtime=RUNTIME)
    while line := block(sys.stdin.readline):
        stub.do(json.loads(line))


if __name__ == "__main__":
    main()

"""How long a lab takes: wall seconds from boot to the first HTTP 200, step by step."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from experiments.runner import ENTRY, interruptible
from experiments.scenario import Mode, Scenario
from experiments.sites import one_page_site
from lab.jobs import SCRATCH, Job, LabError
from lab.run import LabKind
from topologies.spec import Role, Topology


@dataclass(frozen=True)
class Moment:
    """`wall_s` seconds after the boot began, the lab had got to `reached`."""

    reached: str
    wall_s: float


def measure_start(topology: Topology, kind: LabKind, seed: int) -> list[Moment]:
    """Boot a lab, publish one page to every edge, let one user fetch it; when each step was reached.

    The fetch, answered 200, ends before the last moment (the captures are closed after it). Raises LabError
    otherwise.
    """
    moments: list[Moment] = []
    with tempfile.TemporaryDirectory(prefix="nearcast-bench-", dir=SCRATCH) as folder:
        site = one_page_site(Path(folder))
        user = topology.of_role(Role.USER)[0]
        url = f"http://{topology.service.name}/"
        fetch = {"page": "first", "kind": "page", "start_s": 0.0, "urls": [url]}
        scenario = Scenario("bench", Mode.EDGE, topology, seed, site=str(site), workload={user: [fetch]})
        out = Path(folder, "raw")
        cancel = Event()
        with interruptible(cancel):
            job = Job(ENTRY, {"scenario": scenario.to_json()}, out, clock=kind.clock, seed=seed)
            began = time.monotonic()
            result = kind.run(
                job,
                lambda text: moments.append(Moment(text.partition(": ")[2], time.monotonic() - began)),
                cancel,
            )
        if not result.ok:
            raise LabError(f"bench: {result.error}")
        transfers = (out / "transfers.csv").read_text().splitlines()
        if len(transfers) != 2 or ",200," not in transfers[1]:
            raise LabError(f"bench: the page was not answered 200: {transfers[1:]}")
    return moments

"""What an act works with."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.testbed import Testbed
from lab.counters import CounterSampler
from topologies.namespaces import NetworkNamespace


@dataclass(frozen=True)
class Context:
    """A running lab: raw data go to `out`, scratch files to `work`. Times count from `origin_s`
    on the monotonic clock."""

    testbed: Testbed
    out: Path
    work: Path
    origin_s: float
    sampler: CounterSampler

    @property
    def now_s(self) -> float:
        """Seconds since the scenario began."""
        return time.monotonic() - self.origin_s

    def namespace(self, host: str) -> NetworkNamespace:
        """Where a host's sockets are made."""
        namespace: NetworkNamespace = self.testbed.net[host].namespace
        return namespace

    def write(self, file: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Append rows to one of the scenario's tables; the first time with the names of its columns."""
        path = self.out / file
        is_new = not path.exists()
        with path.open("a", newline="") as table:
            out = csv.writer(table)
            if is_new:
                out.writerow(columns)
            out.writerows(rows)

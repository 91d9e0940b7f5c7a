"""Every experiment of the control plane: real packets for each of its claims."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.kernel import KernelImage

EXPERIMENTS = {
    # Links with and without an alternate, and areas with a core between them, are in the large one only.
    "failover": "metro",
    "scope": "metro",
    "drain": "figure2",
    "latency": "figure2",
    "gateway": "figure2",
    "private-routing": "figure2",
    "neighbours": "figure2",
    "privacy": "figure2",
    "attacks": "figure2",
    "names": "figure2",
    "overload": "figure2",
}
LIMIT_S = 480


@pytest.fixture(scope="module")
def runs(image: KernelImage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[str]]:
    """What each prints, run one after the other: each uses all CPUs itself."""
    results = tmp_path_factory.mktemp("experiments")
    with ThreadPoolExecutor(1) as pool:
        return {name: pool.submit(_run, name, results) for name in EXPERIMENTS}


def _run(name: str, results: Path) -> str:
    command = [
        str(Path(sys.executable).with_name("nearcast")),
        "run",
        name,
        "--topology",
        EXPERIMENTS[name],
        "--json",
    ]
    done = subprocess.run(
        [*command, "--results", str(results)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    return done.stdout or done.stderr


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_all_claims_hold(runs: dict[str, Future[str]], name: str) -> None:
    text = runs[name].result()
    assert text.startswith("{"), text
    summary = json.loads(text)
    broken = [(claim["statement"], *claim["notes"]) for claim in summary["claims"] if not claim["holds"]]
    assert summary["claims"]
    assert broken == []

"""Ctrl-C at any moment: one line, status 130, no process and no boot folder left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab.kernel import KernelImage
from tests.lab.host import Watch, descendants
from tests.lab.terminal import COMMAND, LIMIT_S, environment

MOMENTS = {
    "preparation": "preparing the",
    "boot": "",
    "network": "network built",
    "publication": "publishing",
    "requests": "users make",
    "analysis": "computing claims",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_interrupted(moment: str, site: Path, image: KernelImage, tmp_path: Path) -> None:
    words = ["run", "demo", "--topology", "figure2", "--site", str(site), "--seed", "2"]
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process, Watch(root=process.pid) as watch:
        said = ""
        if MOMENTS[moment]:
            for line in process.stderr:
                said += line
                if MOMENTS[moment] in line:
                    break
        else:
            deadline = time.monotonic() + LIMIT_S
            while not watch.folders and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
        children = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(30) == 130, said
    assert "interrupted" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not [child for child in children if Path(f"/proc/{child}/exe").exists()]
    watch.check_nothing_left(guests=moment != "preparation")
    assert image.path.exists()

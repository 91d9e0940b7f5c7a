"""Inside a lab that is up: everything that changes in its switches is written down from the first time that
somebody asks, for `nearcast verify --watch`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.openflow.channel import ChannelError
from controller.openflow.monitor import Monitor
from controller.openflow.recorder import record
from experiments.testbed import Testbed

MAX_LINES = 200
"""So much of a recording goes into one answer."""


class LabWatch:
    """The recording of a lab, and how far it has got."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._failure = ""

    def watch(self, testbed: Testbed, request: Mapping[str, Any]) -> dict[str, Any]:
        """The lines of the recording from number `since` on; the first is a snapshot. Raises ChannelError
        when the switches cannot be watched, ValueError when the request makes no sense."""
        since = request.get("since")
        if not isinstance(since, int) or since < 0:
            raise ValueError('"since" is the number of lines that are known already')
        if self._path is None:
            self._begin(testbed)
        assert self._path is not None
        lines = self._path.read_text().splitlines(keepends=True)
        # A line that is still being written has no end yet.
        whole = [line for line in lines if line.endswith("\n")]
        if self._failure and since >= len(whole):
            raise ChannelError(self._failure)
        return {"ok": True, "lines": whole[since : since + MAX_LINES], "more": len(whole) > since + MAX_LINES}

    def _begin(self, testbed: Testbed) -> None:
        path = testbed.work / "watch.jsonl"
        path.touch()
        monitor = Monitor(testbed.openvswitch.folder, testbed.topology)

        def run() -> None:
            try:
                with monitor:
                    record(monitor, path)
            except (ChannelError, OSError) as error:
                self._failure = str(error)

        threading.Thread(target=run, name="watch", daemon=True).start()
        self._path = path

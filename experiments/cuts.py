"""Links that fail while users fetch, and are mended: the scenario's cuts, carried out on time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from experiments.scenario import Cut
from topologies.mininet_net import LabNet


@contextmanager
def cutting(net: LabNet, cuts: Sequence[Cut]) -> Iterator[None]:
    """Cut and mend links while the body runs; a cut's times count from its beginning.

    What is due after the body has ended is not done any more. Raises what `LabNet.set_link` raised, at the
    end of the body.
    """
    steps = [(cut.at_s, cut, False) for cut in cuts]
    steps += [(cut.mend_s, cut, True) for cut in cuts if cut.mend_s is not None]
    steps.sort(key=lambda step: step[0])
    began = time.monotonic()
    over = threading.Event()
    failures: list[Exception] = []

    def act() -> None:
        for at_s, cut, up in steps:
            if over.wait(max(0.0, began + at_s - time.monotonic())):
                return
            try:
                net.set_link(cut.a, cut.b, up=up)
            except (KeyError, OSError) as error:
                failures.append(error)
                return

    thread = threading.Thread(target=act, name="cuts")
    if steps:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if steps:
            thread.join()
    if failures:
        raise failures[0]

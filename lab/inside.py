"""Inside a lab: call the job's function, report progress and the result.

Progress lines go to standard output as `nearcast-progress {...}`; the host turns them into its display.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from lab.jobs import JobResult, write_result

PROGRESS_PREFIX = "nearcast-progress "


_interactive = False


def progress(text: str) -> None:
    """Tell the person outside what happens now."""
    if _interactive:
        print(f"* {text}", flush=True)
        return
    print(PROGRESS_PREFIX + json.dumps({"text": text, "t": round(time.monotonic(), 3)}), flush=True)


def run(job: dict[str, Any], out: Path) -> int:
    """Call the job's entry and leave its result below `out`; 0 when it went well."""
    global _interactive
    _interactive = job["interactive"]
    module, _, function = job["entry"].partition(":")
    facts = {"kernel": platform.release(), "clock": job["clock"], "python": platform.python_version()}
    try:
        entry = getattr(importlib.import_module(module), function)
        work = Path(job["work"])
        work.mkdir(parents=True, exist_ok=True)
        entry(out=out, work=work, **job["arguments"])
    except BaseException as error:
        (out / "traceback.txt").write_text(traceback.format_exc())
        write_result(out, JobResult(False, _one_line(error), facts=facts))
        return 1
    write_result(out, JobResult(True, facts=facts))
    return 0


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, (RuntimeError, ValueError)) else f"{type(error).__name__}: {text}"


def main(argv: list[str]) -> int:
    """Entry of the native lab: `python -m lab.inside JOB OUT`."""
    job = json.loads(Path(argv[0]).read_text())
    os.environ.update(job["environment"])
    return run(job, Path(argv[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

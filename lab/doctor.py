"""What this machine offers for a lab, what is missing, and the command that mends it. Changes nothing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab import checks
from lab.cache import cache_dir
from lab.checks import GUEST, LABS, Check
from lab.kernel import NEEDED_MIB, cached_image
from lab.probe import probe_kernel

RESULTS_MIB = 500


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, in the order of examination."""

    checks: tuple[Check, ...]

    def usable(self, lab: str) -> bool:
        """Whether nothing that `lab` needs is missing."""
        return all(check.ok for check in self.checks if lab in check.labs)

    @property
    def lab(self) -> str | None:
        """The lab `auto` stands for: the guest when it is usable, else native, else None."""
        return next((lab for lab in LABS if self.usable(lab)), None)

    @property
    def exit_code(self) -> int:
        """0 when at least one lab is usable, else 1."""
        return 0 if self.lab else 1

    @property
    def conclusion(self) -> str:
        """One line: which lab will be used, or the first thing to mend so that the guest lab is."""
        if self.lab:
            return f"the {self.lab} lab will be used"
        first = next(check for check in self.checks if not check.ok and GUEST in check.labs)
        return f"no lab is usable: {first.name} ({first.found}); mend it with: {first.remedy}"

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "lab": self.lab,
            "usable": {lab: self.usable(lab) for lab in LABS},
            "conclusion": self.conclusion,
            "checks": [asdict(check) for check in self.checks],
        }


def examine() -> Report:
    """Look at this machine. Takes about a second; the kernel's features are tried only when we are root."""
    image = cached_image()
    tools = checks.read_tools((Path(__file__).parent / "tools.config").read_text())
    found = [
        checks.check_python(sys.version_info[:3]),
        *(checks.check_tool(tool, image is not None) for tool in tools),
        checks.check_kernel(image, len(os.sched_getaffinity(0))),
        checks.check_memory(checks.read_meminfo()),
        checks.check_disk("disk space for the cache", cache_dir(), 0 if image else NEEDED_MIB),
        checks.check_disk("disk space for results", Path.cwd(), RESULTS_MIB),
        checks.check_memory_file(),
        checks.check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        checks.check_ptrace(),
        checks.check_personality(),
        checks.check_root(os.geteuid()),
    ]
    if os.geteuid() == 0:
        found += checks.check_features(probe_kernel(), platform.release())
    return Report(tuple(found))


def report_lines(report: Report) -> list[tuple[str, str]]:
    """The report for people: pairs of a rich style and a line. What fails has three lines."""
    width = max(len(check.name) for check in report.checks)
    lines = []
    for check in report.checks:
        serious = GUEST in check.labs
        mark, style = (
            ("ok", "green") if check.ok else ("missing", "bold red") if serious else ("note", "yellow")
        )
        lines.append((style if mark != "ok" else "", f"{mark:8}{check.name:{width}}  {check.found}"))
        if not check.ok:
            reach = f"for the {check.labs[0]} lab" if len(check.labs) == 1 else ""
            lines.append((style, f"{'':8}{'':{width}}  needed{f' {reach}' if reach else ''}: {check.needed}"))
            lines.append((style, f"{'':8}{'':{width}}  to mend it: {check.remedy}"))
    return [*lines, ("bold", report.conclusion)]


def show(report: Report) -> None:
    """Print the report, in colour on a terminal when rich is there (before the first `make` it is not)."""
    try:
        from rich.console import Console
    except ImportError:
        for _, line in report_lines(report):
            print(line)
        return
    console = Console(soft_wrap=True, highlight=False)
    for style, line in report_lines(report):
        console.print(line, style=style or None, markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Say what this machine offers for a lab and what mends the rest. Exit code 0: a lab is usable."""
    parser = argparse.ArgumentParser(prog="python -m lab.doctor", description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    arguments = parser.parse_args(argv)
    report = examine()
    if arguments.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        show(report)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())

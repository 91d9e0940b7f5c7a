"""The pictures that a browser took in a run, for its report."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.records import ScenarioRecords

TITLES = {
    "portal": "The portal",
    "playing": "The channel plays",
    "killed": "The edge's process was killed, the next one serves",
    "unplugged": "That edge's machine was unplugged, the one after it serves",
    "uploaded": "A file has been uploaded",
    "no-scripts": "The same page without scripts",
}
"""What each moment with a picture is."""


@dataclass(frozen=True, slots=True)
class Screen:
    """A picture: its path below the run's folder, its content as a data URL, and when it was taken."""

    title: str
    path: str
    url: str
    t_s: float


def screens(scenarios: Mapping[str, ScenarioRecords]) -> list[Screen]:
    """The pictures of all scenarios as they were taken; those whose file is missing are left out."""
    found = []
    for name in sorted(scenarios):
        records = scenarios[name]
        for moment in records.moments:
            file = records.folder / "screenshots" / moment.screenshot
            if moment.screenshot and file.is_file():
                content = base64.b64encode(file.read_bytes()).decode()
                title = TITLES.get(moment.moment, moment.moment)
                path = records.raw(f"screenshots/{moment.screenshot}")
                found.append(Screen(title, path, f"data:image/png;base64,{content}", moment.t_s))
    return found

"""One look for all pictures: colours that colour-blind readers can tell apart (Okabe and Ito), and saving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INK = "#1b1f24"
MUTED = "#6a737d"
FAINT = "#d5dae0"
SERIES = {
    "edge": "#0072b2",
    "central": "#d55e00",
    "push": "#cc79a7",
    "unicast": "#cc79a7",
    "cache": "#009e73",
    "always-on": "#009e73",
    "geo": "#d55e00",
}
"""Colour of a scenario in every picture."""
DASHES = {"edge": "-", "central": "--", "push": ":"}
OTHER_SERIES = ("#009e73", "#56b4e9", "#e69f00", "#f0e442")
NAMES = {
    "edge": "edges",
    "central": "central cloud",
    "push": "unicast push",
    "links": "edges further off",
    "narrow": "a narrow link",
    "global": "routers with global addresses",
    "arp": "IPv4 segments",
    "stable": "stable addresses",
    "calm": "without attacks",
    "paths": "each edge in turn",
    "cache": "cold caches",
    "unicast": "unicast stream",
    "always-on": "always-on multicast",
    "geo": "an address for each edge, geo-DNS",
    "crowd": "flash crowd",
    "crowd-open": "flash crowd, no limits",
    "loris": "slow loris from one /64",
    "loris-many": "slow loris, no limit of a /64",
    "loris-open": "slow loris, no limits",
    "readers": "readers that do not read",
}
SYNC_NAMES = {"edge": "multicast", "push": "unicast push"}
"""How a scenario is called where the picture is about keeping edges in sync."""
LOAD_MAP = "YlGnBu"
"""Sequential map for link loads; its light end is not used, so that every loaded link is seen."""
FULL_WIDTH_IN = 10.0
_SETTINGS = {
    "figure.dpi": 100,
    "savefig.dpi": 140,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "svg.hashsalt": "nearcast",
    "svg.fonttype": "path",
    "figure.constrained_layout.use": True,
}


def scenario_name(scenario: str, names: Mapping[str, str] = NAMES) -> str:
    """How a scenario is called in pictures and text."""
    kind, _, loss = scenario.partition("-loss")
    name = names.get(kind, kind)
    return f"{name}, {loss} % loss" if loss else name


def scenario_colour(scenario: str) -> str:
    """The colour of a scenario."""
    if scenario in SERIES:
        return SERIES[scenario]
    return OTHER_SERIES[sum(scenario.encode()) % len(OTHER_SERIES)]


@contextmanager
def styled() -> Iterator[Any]:
    """Draw in this style, without a display; yields matplotlib's pyplot."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with pyplot.rc_context(_SETTINGS):
        yield pyplot
    pyplot.close("all")


def save(figure: Any, folder: Path, name: str) -> None:
    """Write a figure as SVG (the same bytes for the same data) and PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.svg", format="svg", metadata={"Date": None, "Creator": "nearcast"})
    figure.savefig(folder / f"{name}.png", format="png", metadata={"Software": "nearcast"})

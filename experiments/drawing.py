"""The topology as a picture: layers from the core down to the users, links as thick as their load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.loads import Direction, Load
from experiments.style import FAINT, INK, LOAD_MAP, MUTED
from topologies.spec import Role, Topology

Point = tuple[float, float]
ROWS = {Role.CORE: 3.2, Role.DISTRIBUTION: 2.2, Role.ACCESS: 1.2, Role.EDGE: 0.55, Role.USER: 0.0}
TOP_ROW = 4.0
"""Hosts beside the core (origin, DNS, an enterprise) stand above it."""
_FILL = {
    Role.CORE: "#4a5568",
    Role.DISTRIBUTION: "#718096",
    Role.ACCESS: "#a0aec0",
    Role.EDGE: "#009e73",
    Role.USER: "#ffffff",
    Role.ORIGIN: "#e69f00",
    Role.DNS: "#f0e442",
}
_MARK = {Role.EDGE: "o", Role.USER: "o", Role.ORIGIN: "D", Role.DNS: "^"}
_SIZE = {Role.USER: 40.0, Role.EDGE: 60.0, Role.ORIGIN: 70.0, Role.DNS: 60.0}
_LAYERS = ((Role.CORE, "core"), (Role.DISTRIBUTION, "distribution"), (Role.ACCESS, "access"))
_LIGHTEST = 0.25  # where on the colour map a load of nearly nothing lies

_NEXT_TO_NOTHING = 0.003
_MANY_IN_A_ROW = 14


@dataclass(frozen=True, slots=True)
class LoadScale:
    """Maps loads to colour and width; pictures that share one can be compared."""

    largest: float

    def share(self, load: float) -> float:
        """0 for nothing, 1 for the largest load."""
        return 0.0 if self.largest <= 0 else min(1.0, load / self.largest)


def layout(topology: Topology) -> dict[str, Point]:
    """Where every node stands: users evenly along the bottom, each switch above what hangs on it."""
    access = topology.of_role(Role.ACCESS)
    x: dict[str, float] = {}
    column = 0.0
    for switch in access:
        users = [port.peer for port in topology.ports[switch] if topology.role(port.peer) is Role.USER]
        for user in users:
            x[user] = column
            column += 1.0
        x[switch] = sum(x[user] for user in users) / len(users) if users else column
        column += 0.35 if users else 1.35
    width = max(column - 1.35, 1.0)
    for role in (Role.DISTRIBUTION, Role.CORE):
        row = topology.of_role(role)
        x |= {name: width * (index + 1) / (len(row) + 1) for index, name in enumerate(row)}
    top: dict[str, list[str]] = {}
    points: dict[str, Point] = {}
    for name in topology.hosts:
        if name in x:
            continue
        port = topology.access_port(name)
        if topology.role(name) in (Role.ORIGIN, Role.DNS) and topology.role(port.node) is not Role.ACCESS:
            top.setdefault(port.node, []).append(name)
        else:
            beside = [peer.peer for peer in topology.ports[port.node] if peer.peer not in x]
            hosts = [peer for peer in beside if not topology.role(peer).is_switch]
            x[name] = x[port.node] + 0.6 * (hosts.index(name) - (len(hosts) - 1) / 2)
            points[name] = (x[name], ROWS[Role.EDGE])
    for switch, names in top.items():
        for index, name in enumerate(names):
            points[name] = (x[switch] + 1.2 * (index - (len(names) - 1) / 2), TOP_ROW)
    for node in topology:
        if node.name not in points:
            points[node.name] = (x[node.name], ROWS[node.role])
    return points


def draw_topology(axes: Any, topology: Topology, *, labels: bool = True) -> None:
    """The network itself: nodes by role and name, core and distribution links with their delay."""
    points = layout(topology)
    for link in topology.links:
        (ax, ay), (bx, by) = points[link.a], points[link.b]
        axes.plot((ax, bx), (ay, by), color=MUTED, linewidth=1.0, zorder=1, solid_capstyle="round")
    _nodes(axes, topology, points, labels)
    _finish(axes, points)


def draw_loads(axes: Any, topology: Topology, loads: Mapping[Direction, Load], scale: LoadScale) -> None:
    """The network with every link coloured and drawn as thick as its busier direction was loaded."""
    from matplotlib import colormaps

    points = layout(topology)
    colours = colormaps[LOAD_MAP]
    drawn = sorted(
        (link_load(loads, link.a, link.b, link.mtu_bytes), index) for index, link in enumerate(topology.links)
    )
    for load, index in drawn:
        link = topology.links[index]
        share = scale.share(load)
        colour = FAINT if share < _NEXT_TO_NOTHING else colours(_LIGHTEST + (1 - _LIGHTEST) * share)
        (ax, ay), (bx, by) = points[link.a], points[link.b]
        axes.plot((ax, bx), (ay, by), color=colour, linewidth=0.8 + 6.0 * share, zorder=1 + share)
    _nodes(axes, topology, points, labels=False)
    _finish(axes, points)


def link_load(loads: Mapping[Direction, Load], a: str, b: str, mtu_bytes: int) -> int:
    """Bytes sent in the busier direction of a link, 0 when nothing was measured."""
    return max(
        (loads[way].sent_bytes(mtu_bytes) for way in ((a, b), (b, a)) if way in loads),
        default=0,
    )


def load_bar(figure: Any, axes: Any, scale: LoadScale, label: str, unit: float) -> None:
    """The colour scale, in multiples of `unit`."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    steps = [colormaps[LOAD_MAP](_LIGHTEST + (1 - _LIGHTEST) * step / 64) for step in range(65)]
    colours = LinearSegmentedColormap.from_list("load", steps)
    norm = Normalize(0, max(scale.largest, 1e-9) / unit)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, orientation="horizontal", **_BAR)
    bar.set_label(label)
    bar.outline.set_visible(False)


_BAR: dict[str, Any] = {"fraction": 0.04, "pad": 0.02, "aspect": 50, "shrink": 0.6}


def _nodes(axes: Any, topology: Topology, points: Mapping[str, Point], labels: bool) -> None:
    for node in topology:
        x, y = points[node.name]
        axes.scatter(
            [x],
            [y],
            s=_SIZE.get(node.role, 90.0) * (1.0 if labels else 0.45),
            marker=_MARK.get(node.role, "s"),
            facecolor=_FILL[node.role],
            edgecolor=INK,
            linewidth=0.7,
            zorder=5,
        )
        if labels or node.role is Role.ORIGIN:
            below = node.role in (Role.USER, Role.EDGE)
            axes.annotate(
                _short(node.name, node.role, len(topology.of_role(node.role))),
                (x, y),
                xytext=(0, -9 if below else 8),
                textcoords="offset points",
                ha="center",
                va="top" if below else "bottom",
                fontsize=8 if labels else 7,
                zorder=6,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            )


def _short(name: str, role: Role, count: int) -> str:
    """Users stand close together, and others where there are many: their number is enough, the row says what
    they are."""
    is_crowded = role is Role.USER or count > _MANY_IN_A_ROW
    return name.removeprefix(str(role)) or name if is_crowded else name


def _finish(axes: Any, points: Mapping[str, Point]) -> None:
    left = min(x for x, _ in points.values())
    right = max(x for x, _ in points.values())
    for role, text in (*_LAYERS, (Role.EDGE, "edges"), (Role.USER, "users")):
        axes.text(left - 0.9, ROWS[role], text, ha="right", va="center", fontsize=8, color=MUTED)
    axes.set_xlim(left - 0.8, right + 0.5)
    axes.set_ylim(-0.45, TOP_ROW + 0.4)
    axes.set_axis_off()

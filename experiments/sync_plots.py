"""Pictures of the sweeps over ways of sync: bytes and seconds by edges, loss and content; tunnels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.cells import Method
from experiments.claims.sync import NAMES, of_method, swept_content
from experiments.figure import Figure, Scenarios
from experiments.style import FULL_WIDTH_IN, INK, MUTED, save
from experiments.sync_records import SyncCell
from experiments.topology_plot import topology_picture
from topologies.spec import Topology

_LOOK: Mapping[Method, tuple[str, Any, str]] = {
    Method.MULTICAST: ("#0072b2", "-", "o"),
    Method.UFTP: ("#009e73", "--", "s"),
    Method.PUSH: ("#cc79a7", ":", "v"),
    Method.TUNNEL: ("#d55e00", "-.", "^"),
    Method.RSYNC: ("#56b4e9", (0, (5, 1)), "D"),
    Method.PULL: ("#e69f00", (0, (1, 1)), "x"),
}
"""Colour, dashes and mark of each way, the same in every picture."""
_Value = Callable[[SyncCell], float]


def sync_by_edges(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """What the origin and the busiest link carry, by number of edges."""
    cells = [cell for cell in _cells(scenarios) if cell.loss_percent == 0]
    content = swept_content(cells)
    shown = [cell for cell in cells if cell.content == content]
    if not shown:
        return None
    figure, row = pyplot.subplots(1, 2, figsize=(FULL_WIDTH_IN, 4.4), sharey=True)
    for axes, title, value in (
        (row[0], "sent by the origin", lambda cell: cell.origin_share),
        (row[1], "on the most-loaded backbone link", lambda cell: cell.busiest_share),
    ):
        _by_edges(axes, shown, value)
        axes.set_title(title)
    row[0].set_ylabel("times the content")
    _legend(figure, row[0])
    save(figure, folder, "sync-edges")
    pyplot.close(figure)
    return Figure(
        "sync-edges",
        "What keeping edges in sync costs, by number of edges",
        f"Bytes of whole Ethernet frames for each byte of content ({_size(shown)}), without loss. Both axes"
        " are logarithmic: a way that sends one copy to each edge is a rising line, one that sends a single"
        " copy is level.",
        _source(scenarios),
    )


def sync_times_by_edges(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """When the last edge was complete, by number of edges."""
    cells = [cell for cell in _cells(scenarios) if cell.loss_percent == 0]
    content = swept_content(cells)
    shown = [cell for cell in cells if cell.content == content]
    if not shown:
        return None
    figure, axes = pyplot.subplots(figsize=(FULL_WIDTH_IN, 4.0))
    _by_edges(axes, shown, lambda cell: cell.last_s or 0.0)
    axes.set_ylabel("seconds")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    save(figure, folder, "sync-times")
    pyplot.close(figure)
    return Figure(
        "sync-times",
        "When the last edge has everything",
        f"Seconds from the start of the sender until the last file ({_size(shown)}) was in place at the last"
        " edge, without loss. The origin's line has the rate of the multicast session, for every way. Both"
        " axes are logarithmic. Network time only: computing takes no time.",
        _source(scenarios),
    )


def sync_by_loss(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """What loss adds: for all ways at one number of edges, and for both multicasts at all numbers."""
    cells = _cells(scenarios)
    content = swept_content(cells)
    swept = [cell for cell in cells if cell.content == content]
    lossy = [cell for cell in swept if cell.loss_percent > 0]
    if not lossy:
        return None
    edges = max(
        {cell.edges for cell in lossy}, key=lambda n: (len({c.method for c in lossy if c.edges == n}), n)
    )
    figure, row = pyplot.subplots(1, 2, figsize=(FULL_WIDTH_IN, 4.4))
    for method in Method:
        line = sorted(
            (cell.loss_percent, cell.last_s or 0.0)
            for cell in of_method(swept, method)
            if cell.edges == edges
        )
        if len(line) > 1:
            _line(row[0], method, line)
    row[0].set_yscale("log")
    _plain(row[0].yaxis)
    row[0].set_title(f"until the last of {edges} edges has everything")
    row[0].set_ylabel("seconds")
    _added_by_loss(row[1], swept)
    for axes in row:
        axes.set_xlabel("loss at each edge, %")
    _legend(figure, row[0])
    save(figure, folder, "sync-loss")
    pyplot.close(figure)
    return Figure(
        "sync-loss",
        "What loss costs",
        f"Independent loss on the last link to each edge ({_size(swept)}). Left: seconds, logarithmic. Right:"
        " how much more the origin sends than without loss, to one edge (thin) and to most edges (thick). The"
        " grey line is p / (1 - p), what one edge needs at least when symbols of any kind repair.",
        _source(scenarios),
    )


def _added_by_loss(axes: Any, cells: Sequence[SyncCell]) -> None:
    """Bytes of both multicasts against their own without loss, for the fewest and the most edges."""
    for method in (Method.MULTICAST, Method.UFTP):
        found = of_method(cells, method)
        counts = sorted({cell.edges for cell in found})
        for count in dict.fromkeys((*counts[:1], *counts[-1:])):
            sent = {cell.loss_percent: cell.origin_bytes for cell in found if cell.edges == count}
            if 0.0 not in sent:
                continue
            line = sorted((loss, (size / sent[0.0] - 1) * 100) for loss, size in sent.items())
            colour, dashes, mark = _LOOK[method]
            label = f"{NAMES[method]}, {count} edge{'s' if count > 1 else ''}"
            width = 1.0 if count == counts[0] and len(counts) > 1 else 2.4
            xs, ys = [x for x, _ in line], [y for _, y in line]
            axes.plot(xs, ys, color=colour, linestyle=dashes, marker=mark, linewidth=width, label=label)
    losses = [step / 10 for step in range(int(max(cell.loss_percent for cell in cells) * 10) + 1)]
    least = [loss / (1 - loss / 100) for loss in losses]
    axes.plot(losses, least, color=MUTED, linewidth=1, zorder=0, label="the least for one edge")
    axes.set_title("what loss adds to the bytes sent by the origin")
    axes.set_ylabel("% of what is sent without loss")
    axes.legend(loc="upper left", fontsize=9)


def sync_by_content(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Kinds and sizes of content, a row each, where every way met them."""
    cells = [cell for cell in _cells(scenarios) if cell.loss_percent == 0]
    contents = {cell.content: cell for cell in sorted(cells, key=lambda cell: cell.content_bytes)}
    if len(contents) < 2:
        return None
    names = list(contents)
    figure, row = pyplot.subplots(1, 2, figsize=(FULL_WIDTH_IN, 1.7 + 0.42 * len(names)), sharey=True)
    edges = {name: _most_met(cells, name) for name in names}
    panels: tuple[tuple[str, str, _Value], ...] = (
        ("sent by the origin", "times the content", lambda cell: cell.origin_share),
        ("goodput until the last edge has it", "Mbit/s", lambda cell: cell.goodput_mbps),
    )
    for axes, (title, unit, value) in zip(row, panels, strict=True):
        for method in Method:
            points = [
                (value(cell), names.index(cell.content))
                for cell in of_method(cells, method)
                if cell.edges == edges[cell.content]
            ]
            colour, _, mark = _LOOK[method]
            xs, ys = [x for x, _ in points], [y for _, y in points]
            if points:
                face = colour if method is Method.MULTICAST else "none"
                look = {"color": colour, "markersize": 9, "markerfacecolor": face, "markeredgewidth": 1.6}
                axes.plot(xs, ys, mark, **look, label=NAMES[method])
        axes.set_xscale("log")
        _plain(axes.xaxis)
        axes.set_title(title)
        axes.set_xlabel(unit)
    texts = [f"{_content_text(contents[name])}, {edges[name]} edges" for name in names]
    row[0].set_yticks(range(len(names)), texts)
    row[0].set_ylim(len(names) - 0.5, -0.5)
    _legend(figure, row[0])
    save(figure, folder, "sync-content")
    pyplot.close(figure)
    return Figure(
        "sync-content",
        "One file, a web site, thousands of files",
        "The same for other sizes and numbers of objects, without loss; logarithmic axes. Large is one file,"
        " mixed a web site of text, images and a video, small are files of 1 to 8 kB.",
        _source(scenarios),
    )


def lab_topology(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """The network as the labs had it: the origin's line has the rate of the session."""
    used = next((records.topology for records in scenarios.values() if records.cells), topology)
    return topology_picture(pyplot, used, scenarios, folder)


def tunnel_costs(pyplot: Any, topology: Topology, scenarios: Scenarios, folder: Path) -> Figure | None:
    """Copies sent by the origin, and IPsec entries, by number of edges."""
    cells = _cells(scenarios)
    counts = sorted(
        (count for records in scenarios.values() for count in records.tunnels), key=lambda count: count.edges
    )
    if not cells or not counts:
        return None
    figure, row = pyplot.subplots(1, 2, figsize=(FULL_WIDTH_IN, 4.2))
    for method in (Method.TUNNEL, Method.PUSH, Method.MULTICAST):
        _line(row[0], method, sorted((cell.edges, cell.origin_share) for cell in of_method(cells, method)))
    row[0].set_title("sent by the origin")
    row[0].set_ylabel("times the content")
    row[0].legend(loc="upper left")
    edges = [count.edges for count in counts]
    colour, dashes, mark = _LOOK[Method.TUNNEL]
    at_origin = [count.origin_associations + count.origin_policies for count in counts]
    both = [
        held + count.edge_associations + count.edge_policies
        for held, count in zip(at_origin, counts, strict=True)
    ]
    row[1].plot(edges, both, color=colour, linestyle=dashes, marker=mark, label="tunnels, both ends")
    row[1].plot(edges, at_origin, color=INK, linestyle=dashes, marker=mark, label="tunnels, at the origin")
    ours = sorted((cell.edges, cell.origin_ipsec) for cell in of_method(cells, Method.MULTICAST))
    _line(row[1], Method.MULTICAST, ours)
    row[1].set_title("security associations and policies")
    row[1].legend(loc="upper left")
    for axes in row:
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("edges")
    save(figure, folder, "tunnels")
    pyplot.close(figure)
    return Figure(
        "tunnels",
        "Multicast against one ESP tunnel per edge",
        f"Left: bytes of whole frames on the origin's line for each byte of content ({_size(cells)}). Right:"
        " what the kernels of origin and edges hold to protect it (ip xfrm).",
        (
            *_source(scenarios),
            *(f"raw/{name}/tunnels.csv" for name, found in scenarios.items() if found.tunnels),
        ),
    )


def _by_edges(axes: Any, cells: Sequence[SyncCell], value: _Value) -> None:
    for method in Method:
        _line(axes, method, sorted((cell.edges, value(cell)) for cell in of_method(cells, method)))
    counts = sorted({cell.edges for cell in cells})
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_yscale("log")
    _plain(axes.yaxis)
    axes.set_xlabel("edges")


def _line(axes: Any, method: Method, points: Sequence[tuple[float, float]]) -> None:
    if points:
        colour, dashes, mark = _LOOK[method]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        look = {"color": colour, "linestyle": dashes, "marker": mark, "markersize": 7}
        if method not in (Method.MULTICAST, Method.UFTP):
            look["markerfacecolor"] = "none"  # unicast ways lie on each other
        axes.plot(xs, ys, **look, linewidth=1.8, label=NAMES[method])


def _plain(axis: Any) -> None:
    """Marks of a logarithmic axis at 1, 2, 5, 10 …, in plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=9)


def _cells(scenarios: Scenarios) -> list[SyncCell]:
    return [cell for records in scenarios.values() for cell in records.cells if cell.is_whole]


def _source(scenarios: Scenarios) -> tuple[str, ...]:
    return tuple(f"raw/{name}/cells.csv" for name, records in scenarios.items() if records.cells)


def _size(cells: Sequence[SyncCell]) -> str:
    cell = cells[0]
    return f"{cell.content_bytes / 1e6:g} MB in {cell.objects} files"


def _content_text(cell: SyncCell) -> str:
    kind = cell.content.partition("-")[0]
    files = "1 file" if cell.objects == 1 else f"{cell.objects:,} files"
    return f"{kind}, {cell.content_bytes / 1e6:.3g} MB, {files}"


def _most_met(cells: Sequence[SyncCell], content: str) -> int:
    """The number of edges at which most ways met a content."""
    met: dict[int, set[str]] = {}
    for cell in cells:
        if cell.content == content:
            met.setdefault(cell.edges, set()).add(cell.method)
    return max(met, key=lambda edges: (len(met[edges]), edges))

"""What a running lab has answered, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Row = Mapping[str, Any]

_COLUMNS: Mapping[str, Sequence[str]] = {
    "routes": ("switch", "destination", "edge", "via", "alternate", "origin"),
    "groups": ("switch", "group", "kind", "rules", "buckets"),
    "neighbours": ("host", "address", "mac", "switch", "port", "state", "open"),
    "edges": ("edge", "switch", "state", "drained", "load_percent", "choice_of", "kept_for", "bound"),
    "flows": ("switch", "table", "priority", "match", "actions", "origin", "packets", "bytes"),
    "members": ("group", "source", "host", "switch", "port"),
}
_HEADERS = {"load_percent": "load %"}
_NUMBERS = frozenset({"rules", "port", "load_percent", "priority", "packets", "bytes"})
_PROTOCOLS = {6: "TCP", 17: "UDP", 58: "ICMPv6"}
_WIDTH = 200


def console() -> Console:
    """Standard output; without a terminal rich would fold tables to 80 columns and spoil them for grep."""
    return Console(width=None if Console().is_terminal else _WIDTH, highlight=False)


def rows_table(what: str, rows: Sequence[Row]) -> Table:
    """The rows of `show` as a table."""
    columns = _COLUMNS.get(what) or tuple(rows[0] if rows else ())
    table = Table(title=f"{what} ({len(rows)})", title_justify="left")
    for column in columns:
        table.add_column(
            _HEADERS.get(column, column.replace("_", " ")),
            justify="right" if column in _NUMBERS else "left",
            overflow="fold",
            no_wrap=column in ("switch", "table", "host", "edge", "state"),
        )
    for row in rows:
        table.add_row(*(escape(_cell(row.get(column))) for column in columns))
    return table


def trace_lines(source: str, target: str, answer: Row) -> Iterator[str]:
    """A trace in lines with rich markup: every hop with what the packet met there, every end."""
    packet = answer["packet"]
    yield f"[bold]{escape(source)} to {escape(target)}[/bold]  {escape(packet_text(packet))}"
    yield from walk_lines(source, answer["there"])
    back = answer["back"]
    if back is None:
        return
    yield "[bold]and back[/bold]"
    yield from walk_lines(answer["there"]["ends"][0]["where"], back)
    ends = [walk["ends"][0] for walk in (answer["there"], back)]
    if all(end["fate"] == "delivered" for end in ends):
        yield f"propagation, both ways: {sum(end['delay_ms'] for end in ends):.3f} ms"


def walk_lines(sender: str, walk: Row, *, with_cookies: bool = False) -> Iterator[str]:
    """The hops of a walk with what the packet met at each, and how its copies ended."""
    for place, hop in enumerate(walk["hops"]):
        tag = "" if hop["packet"]["edge"] is None else f", tagged for {hop['packet']['edge']}"
        yield (
            f"[cyan]{hop['switch']}[/cyan] from {hop['from'] or 'the controller'} after "
            f"{hop['delay_ms']:.3f} ms, hop limit {hop['packet']['hop_limit']}{tag}"
        )
        for met in hop["met"]:
            yield f"    {escape(_met(met, with_cookies))}"
        for end in walk["ends"]:
            if end["after"] == place:
                yield f"  [{_COLOURS.get(end['fate'], 'red')}]{escape(_end(end))}[/]"
    if not walk["hops"]:
        yield f"  nothing left {sender}"


_COLOURS = {"delivered": "green", "punted": "yellow"}


def _met(met: Row, with_cookies: bool) -> str:
    match met["kind"]:
        case "rule":
            rivals = f"  ({len(met['rivals'])} other rule(s) of this priority match)" if met["rivals"] else ""
            rule = f"{met['priority']:4} {met['match']} -> {' '.join(met['actions'])} [{met['origin']}]"
            cookie = f"  cookie {met['cookie']}" if with_cookies else ""
            return f"{met['table']:9} {rule}{cookie}{rivals}"
        case "miss":
            return f"{met['table']:9}    - no rule"
        case "group":
            return f"{'':9}      group {met['group']}, bucket {', '.join(map(str, met['buckets'])) or 'none'}"
        case "tracked":
            began = "" if met["edge"] is None else f", began at {met['edge']}"
            return f"{'':9}      zone {met['zone']} knows the connection as {met['state']}{began}"
        case "committed":
            with_edge = "" if met["edge"] is None else f" with {met['edge']}"
            return f"{'':9}      zone {met['zone']} remembers the connection{with_edge}"
        case _:
            return f"{'':9}      out of port {met['port']} to {met['to']}"


def _end(end: Row) -> str:
    if end["fate"] == "delivered":
        return f"delivered to {end['where']} after {end['delay_ms']:.3f} ms"
    if end["fate"] == "punted":
        argument = f" ({end['argument']})" if end["argument"] else ""
        return f"handed to the controller at {end['where']}: {end['reason']}{argument}"
    return f"{end['fate']} at {end['where']}: {end['reason']}"


def packet_text(packet: Row) -> str:
    """A packet in a line."""
    protocol = _PROTOCOLS.get(packet["protocol"], f"protocol {packet['protocol']}")
    more = "" if packet["port_dst"] is None else f" port {packet['port_dst']}"
    more += " type " + str(packet["icmpv6_type"]) if packet["icmpv6_type"] is not None else ""
    more += ", a fragment" if packet["is_fragment"] else ""
    return f"{packet['src']} -> {packet['dst']} {protocol}{more}, frame of {packet['frame_bytes']} bytes"


def _cell(value: Any) -> str:
    """A value as text; lists in one cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_bucket(part) if isinstance(part, dict) else str(part) for part in value) or "-"
    return str(value)


def _bucket(bucket: Row) -> str:
    """A bucket of a group; the ones that are not used now stand in brackets."""
    text = " ".join(bucket["to"]) or "drop"
    return text if bucket["used"] else f"[{text}]"

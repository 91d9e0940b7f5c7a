"""A proof in the form of `proofs.proof_to_json`, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from experiments.live_tables import packet_text, walk_lines

Row = Mapping[str, Any]


def result_lines(result: Row) -> Iterator[str]:
    """What `nearcast verify` prints below the table: what the tables were held against, how long it took, and
    the rest of the proof."""
    seconds = ", ".join(f"{step} {value:.2f} s" for step, value in result["seconds"].items())
    yield f"topology {escape(result['topology'])}; {seconds}"
    yield from _controller_lines(result["controller"])
    yield from proof_lines(result["proof"])


def _controller_lines(controller: Row | None) -> Iterator[str]:
    if controller is None:
        yield "no controller has said which edges are to answer: they are taken from the tables"
        return
    expected = controller["expected"]
    yield f"edges that are to answer: {', '.join(expected['edges'] or ()) or 'none'}"
    for user, edge in expected["bound"].items():
        yield f"{user} is bound to {edge}"
    if not controller["synced"]:
        yield "[yellow]the switches do not have all of the newest plan yet[/]"
    elif not controller["is_steady"]:
        yield "[yellow]the controller was changing things while the switches were read[/]"


def proof_table(proof: Row) -> Table:
    """The verdicts of `proof_to_json` as a table."""
    table = Table(title=headline(proof), title_justify="left")
    for column in ("claim", "invariant", "statement", "verdict"):
        table.add_column(column, no_wrap=column != "statement", overflow="fold")
    for entry in proof["invariants"]:
        verdict = "[green]proved[/]" if entry["holds"] else f"[red]violated, {entry['count']}[/]"
        table.add_row(*(escape(entry[name]) for name in ("claim", "name", "statement")), verdict)
    return table


def headline(proof: Row) -> str:
    """The outcome in a line."""
    entries = proof["invariants"]
    broken = sum(not entry["holds"] for entry in entries)
    return f"violated: {broken} of {len(entries)}" if broken else f"proved: all {len(entries)}"


def proof_lines(proof: Row) -> Iterator[str]:
    """How large the proof of `proof_to_json` is, the openings, and every violation with its packet: lines
    with rich markup, to be printed below `proof_table`."""
    yield from figure_lines(proof)
    for entry in proof["invariants"]:
        shown: set[str] = set()
        for violation in entry["violations"]:
            if violation["sentence"] not in shown:
                yield from violation_lines(entry["name"], violation)
            else:
                yield f"  the same after the failure of {escape(violation['failure'])}"
            shown.add(violation["sentence"])
        unshown = entry["count"] - len(entry["violations"])
        if unshown:
            yield f"  {unshown} more of [red]{escape(entry['name'])}[/]"


def figure_lines(proof: Row) -> Iterator[str]:
    """How large the proof is, and the openings."""
    figures = proof["figures"]
    yield (
        f"{figures['switches']} switches with {figures['rules']} rules and {figures['groups']} groups; "
        f"{figures['destinations']} classes of destinations and {figures['sources']} of sources, "
        f"{figures['places']} places, {figures['regions']} regions"
    )
    if figures["failures"]:
        yield (
            f"{figures['failures']} single failures; of what lies on the ways that they cut, "
            f"{figures['protected']} destinations are protected, {figures['unprotected']} wait for the "
            f"controller, {figures['circling']} go round until it acts"
        )
    for opening in proof["openings"]:
        yield f"open by subscription: {opening}"


def violation_lines(name: str, violation: Row) -> Iterator[str]:
    """A violation: the sentence, what has failed before, the packet and its way."""
    after = f", after the failure of {violation['failure']}" if violation["failure"] else ""
    yield f"[bold red]{escape(name)}[/]: {escape(violation['sentence'] + after)}"
    witness = violation["witness"]
    if witness is None:
        yield "  no packet that shows it was found among the likely ones"
        return
    tracked = witness["tracked"]
    yield f"  {escape(witness['sender'])} sends {escape(packet_text(witness['packet']))}"
    if any(met["kind"] == "tracked" for hop in witness["walk"]["hops"] for met in hop["met"]):
        mark = f", its mark is {tracked['mark']}" if tracked["mark"] else ""
        yield f"  to its sender's memory it is {tracked['own']}, to others' {tracked['theirs']}{mark}"
    for line in walk_lines(witness["sender"], witness["walk"], with_cookies=True):
        yield f"  {line}"
    yield from _check_lines(violation)


def _check_lines(violation: Row) -> Iterator[str]:
    """What the real switches did with the packet, where that was tried."""
    traced, replayed = violation.get("ofproto_trace"), violation.get("replay")
    if traced is not None:
        if traced["agrees"] is None:
            yield f"  [yellow]ofproto/trace: not asked[/], {escape(traced['why'])}"
        elif traced["agrees"]:
            yield f"  [green]ofproto/trace: Open vSwitch agrees[/] at every hop ({traced['hops']})"
        else:
            yield f"  [red]ofproto/trace: Open vSwitch differs[/], {escape(traced['why'])}"
    if replayed is not None:
        if replayed["agrees"] is None:
            yield f"  [yellow]replay: not sent[/], {escape(replayed['why'])}"
        else:
            arrived, expected = (_at(replayed[name]) for name in ("arrived", "expected"))
            colour, but = ("green", "as the proof says") if replayed["agrees"] else ("red", f"not {expected}")
            yield f"  [{colour}]replay: sent, and it arrived {escape(arrived)}[/], {escape(but)}"
    if violation.get("pcap"):
        yield f"  the packet is{_saved_as(violation)}"


def _at(hosts: Sequence[str]) -> str:
    return "at " + ", ".join(hosts) if hosts else "nowhere"


def _saved_as(violation: Row) -> str:
    return f" in {escape(violation['pcap'])}" if violation.get("pcap") else ""

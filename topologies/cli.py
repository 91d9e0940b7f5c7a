"""The command line over topologies: `nearcast topology check | list | show | generate | schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from topologies.files import TopologyDocument

app = typer.Typer(
    name="topology",
    help="Look at topologies, check files, generate networks.",
    no_args_is_help=True,
)

_Target = Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="Catalogue name or topology file.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command()
def check(target: _Target, as_json: _Json = False) -> None:
    """Check a topology file; exit status 2 and one line per mistake when it cannot be used."""
    from topologies.describe import describe, notes, summary

    document = _load(target, as_json)
    described = describe(document.topology, document.description)
    if as_json:
        _print_json({"ok": True, "findings": [], "notes": notes(described), **described})
        return
    typer.echo(summary(described))
    for note in notes(described):
        typer.echo(f"note: {note}", err=True)


@app.command("list")
def list_topologies(as_json: _Json = False) -> None:
    """List the topologies that come with nearcast."""
    from topologies.catalogue import names
    from topologies.files import load_document

    found = [{"name": name, "description": load_document(name).description} for name in names()]
    if as_json:
        _print_json(found)
        return
    width = max(len(entry["name"]) for entry in found)
    for entry in found:
        typer.echo(f"{entry['name']:<{width}}  {entry['description']}")


@app.command()
def show(target: _Target, as_json: _Json = False) -> None:
    """Show nodes, links, addresses and the nearest edge of every user."""
    from topologies.describe import describe

    document = _load(target, as_json)
    described = describe(document.topology, document.description)
    if as_json:
        _print_json(described)
        return
    from rich.console import Console

    # Without a terminal rich would fold the tables to 80 columns, which spoils them for grep and files.
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(f"[bold]{described['name']}[/bold]  {described['description']}")
    console.print(f"service {described['service']['name']}  {described['service']['address']}")
    for table in _tables(described):
        console.print(table)


@app.command()
def generate(
    core: Annotated[int, typer.Option(help="Core switches, in a ring.")] = 2,
    distribution: Annotated[int, typer.Option(help="Distribution switches.")] = 4,
    access: Annotated[int, typer.Option(help="Access switches.")] = 8,
    users_per_access: Annotated[int, typer.Option(help="Users on each access switch.")] = 2,
    edges: Annotated[int | None, typer.Option(help="Edge clouds; default one per access switch.")] = None,
    mesh: Annotated[bool, typer.Option("--mesh", help="Join every two core switches.")] = False,
    spread: Annotated[float, typer.Option(help="Vary each delay by at most this share.")] = 0.2,
    name: Annotated[str | None, typer.Option(help="Name; default three-tier-CORE-DIST-ACCESS.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; default standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Generate a three-tier network of any size as a topology file."""
    from topologies.check import check as findings_of
    from topologies.three_tier import three_tier
    from topologies.writing import to_yaml

    try:
        topology = three_tier(
            core,
            distribution,
            access,
            users_per_access=users_per_access,
            edges=edges,
            name=name,
            mesh=mesh,
            spread=spread,
        )
    except ValueError as error:
        _fail(str(error), 2)
    for finding in findings_of(topology):
        _fail(finding.message, 2)
    text = to_yaml(
        topology, f"Three tiers: {core} core, {distribution} distribution, {access} access switches"
    )
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _fail(f"{output}: exists; choose another file or give --force", 2)
    except OSError as error:
        _fail(f"{output}: cannot be written: {error.strerror}; choose another file", 1)


@app.command()
def schema() -> None:
    """Print the JSON schema of topology files."""
    from topologies.format import json_schema

    _print_json(json_schema())


def _load(target: str, as_json: bool) -> TopologyDocument:
    from topologies.files import TopologyError, load_document

    try:
        return load_document(target)
    except TopologyError as error:
        if as_json:
            findings = [
                {"line": finding.line, "field": finding.field, "message": finding.message}
                for finding in error.findings
            ]
            _print_json({"ok": False, "file": error.file, "findings": findings})
            raise typer.Exit(2) from None
        _fail(str(error), 2)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(status)


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _tables(described: dict[str, Any]) -> list[Table]:
    return [
        _table(
            "Links",
            ("kind", "links", "delay one way (ms)", "rate (Mbit/s)"),
            [
                (row["kind"], str(row["links"]), _span(row["delay_ms"]), _span(row["rate_mbps"]))
                for row in described["layers"]
            ],
        ),
        _table(
            "Nodes",
            ("name", "role", "MAC", "addresses"),
            [
                (
                    row["name"],
                    row["role"],
                    row["mac"],
                    ", ".join(row["addresses"]) or _no_address(row["role"]),
                )
                for row in described["addresses"]
            ],
        ),
        _table(
            "Users",
            ("name", "access switch", "nearest edge", "to the edge (ms)", "to the origin (ms)"),
            [
                (row["name"], row["access"], row["edge"], f"{row['edge_ms']:g}", f"{row['origin_ms']:g}")
                for row in described["users"]
            ],
        ),
    ]


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        number = column == "links" or column.endswith(("(ms)", "(Mbit/s)"))
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _no_address(role: str) -> str:
    return "SLAAC" if role == "user" else "link-local only"


def _span(values: list[float]) -> str:
    low, high = values
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"

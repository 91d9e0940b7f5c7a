"""Commands to a lab that is up: `nearcast show`, `trace`, `drain`, … from another terminal, and the same
words at the lab's own prompt (docs/operations.md)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from experiments.asking import Ask, JsonOption, LabOption, ask_lab, print_json
from experiments.preparation import UsageError
from experiments.verification import verify
from lab.jobs import LabError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

InstalledOption = Annotated[
    bool, typer.Option("--installed", help="Ask the switches what they hold, instead of the newest plan.")
]
EdgeArgument = Annotated[str, typer.Argument(metavar="EDGE", help="Name of an edge.")]
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Name of a user.")]


@app.command()
def show(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="One of: routes, groups, neighbours, edges, flows, members.")],
    switch: Annotated[str | None, typer.Argument(help="Only this switch.")] = None,
    installed: InstalledOption = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the controller of a running lab knows and has planned."""
    answer = ask_lab(context, lab, {"op": "show", "what": what, "switch": switch, "installed": installed})
    if as_json:
        print_json(answer["rows"])
        return
    from experiments.live_tables import console, rows_table

    console().print(rows_table(what, answer["rows"]))


@app.command()
def trace(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The host that sends, e.g. user3.")],
    target: Annotated[str, typer.Argument(help="`service`, a host, or an IPv6 address.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP or UDP destination port.")] = 80,
    protocol: Annotated[str, typer.Option(help="tcp, udp or icmp (an echo request).")] = "tcp",
    size: Annotated[int, typer.Option(min=48, help="Size of the IPv6 packet in bytes.")] = 100,
    hop_limit: Annotated[int, typer.Option(min=0, max=255, help="Hop limit.")] = 64,
    began_at: Annotated[
        str | None, typer.Option(metavar="EDGE", help="The packet's connection began at this edge.")
    ] = None,
    installed: InstalledOption = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a packet and its answer, rule by rule, through the tables of a running lab."""
    question = {
        "source": source,
        "target": target,
        "port": port,
        "protocol": protocol,
        "size_bytes": size,
        "hop_limit": hop_limit,
        "began_at": began_at,
        "installed": installed,
    }
    answer = ask_lab(context, lab, {"op": "trace", **question})
    if as_json:
        print_json({name: answer[name] for name in ("packet", "there", "back")})
        return
    from experiments.live_tables import console, trace_lines

    out = console()
    for line in trace_lines(source, target, answer):
        out.print(line, soft_wrap=True)


@app.command()
def drain(
    context: typer.Context, edge: EdgeArgument, lab: LabOption = None, as_json: JsonOption = False
) -> None:
    """Give an edge no new connections; those it has stay."""
    ask_lab(context, lab, {"op": "drain", "edge": edge})
    _say(f"{edge} gets no new connections", as_json, {"edge": edge, "drained": True})


@app.command()
def undrain(
    context: typer.Context, edge: EdgeArgument, lab: LabOption = None, as_json: JsonOption = False
) -> None:
    """Give a drained edge new connections again."""
    ask_lab(context, lab, {"op": "undrain", "edge": edge})
    _say(f"{edge} may get new connections", as_json, {"edge": edge, "drained": False})


@app.command()
def bind(
    context: typer.Context,
    user: UserArgument,
    edge: Annotated[str, typer.Argument(metavar="EDGE|nearest", help="Where its new connections go.")],
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the new connections of a user to a certain edge, or to the nearest again."""
    chosen = None if edge == "nearest" else edge
    ask_lab(context, lab, {"op": "bind", "user": user, "edge": chosen})
    where = "the nearest edge" if chosen is None else chosen
    _say(f"new connections of {user} go to {where}", as_json, {"user": user, "edge": chosen})


@app.command()
def subscribe(
    context: typer.Context,
    user: UserArgument,
    service: Annotated[str, typer.Argument(metavar="PROTOCOL/PORT", help="E.g. tcp/8080 or udp/5000.")],
    lifetime_s: Annotated[int, typer.Option(min=0, help="For how long; 0 ends it.")] = 3600,
    nonce: Annotated[
        str | None, typer.Option(help="What the answer to the first request said, to renew or to end it.")
    ] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let others reach a port of a user, asked for by the user itself (PCP, RFC 6887)."""
    protocol, _, number = service.partition("/")
    if protocol not in ("tcp", "udp") or not (number.isdecimal() and 0 < int(number) < 65536):
        raise UsageError(f"{service!r} is no service to subscribe to; expected tcp/PORT or udp/PORT")
    request = {"op": "subscribe", "user": user, "protocol": protocol, "port": int(number)}
    answer = ask_lab(context, lab, request | {"lifetime_s": lifetime_s, "nonce": nonce})
    open_to = "is closed" if lifetime_s == 0 else f"is open for {lifetime_s} s"
    _say(f"{user} {service} {open_to}", as_json, answer["result"])


@app.command()
def metrics(context: typer.Context, lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Print the controller's metrics in the text format of Prometheus."""
    text = ask_lab(context, lab, {"op": "metrics"})["text"]
    if not as_json:
        print(text, end="")
        return
    from prometheus_client.parser import text_string_to_metric_families

    print_json(
        [
            {"name": sample.name, "labels": sample.labels, "value": sample.value}
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    )


app.command()(verify)


def run_at_prompt(command: str, line: str, ask: Ask) -> None:
    """Run one of the commands with the words of a line; what goes wrong is said in one line."""
    main = typer.main.get_command(app)
    try:
        words = [command, *shlex.split(line)]
        main(words, prog_name="", standalone_mode=False, obj=ask)
    except typer.TyperException as error:
        print(error.format_message())
    except (ValueError, LabError) as error:
        print(error)


def _say(text: str, as_json: bool, result: Mapping[str, Any]) -> None:
    if as_json:
        print_json(result)
    else:
        print(text)

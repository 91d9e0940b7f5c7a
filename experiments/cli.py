"""The command line: `nearcast`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from experiments import display
from experiments.preparation import (
    UsageError,
    choose_edges,
    choose_lab,
    made_site,
    plan_fetches,
    prepare_lab,
    site_for,
)
from experiments.runner import EXPERIMENTS, experiment_module, interruptible, run_experiment
from lab.jobs import LabError
from lab.progress import ProgressSink, progress_display, silent

app = typer.Typer(
    name="nearcast",
    help="An emulation testbed for edge computing on IPv6.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

TopologyOption = Annotated[
    str, typer.Option("--topology", "-t", help="Catalogue name (metro, figure2) or a YAML file.")
]
LabOption = Annotated[
    str,
    typer.Option("--lab", help="guest (own kernel, virtual clock), native (root), auto: the first usable."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Fixes all randomness.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="One of: " + ", ".join(EXPERIMENTS) + ".")],
    topology: Annotated[
        str,
        typer.Option("--topology", "-t", help="Catalogue name or a YAML file (default: the experiment's)."),
    ] = "",
    seed: SeedOption = 1,
    site: Annotated[
        Path | None,
        typer.Option(readable=False, help="Directory to publish (default: a Debian manual and a video)."),
    ] = None,
    lab: LabOption = "auto",
    off: Annotated[list[str] | None, typer.Option(help="Switch this edge off (repeatable).")] = None,
    kill: Annotated[
        list[str] | None, typer.Option(help="Kill this edge's process during the publication (repeatable).")
    ] = None,
    loss: Annotated[
        float | None,
        typer.Option(min=0, max=50, help="Loss on every link, percent."),
    ] = None,
    rate_mbps: Annotated[float, typer.Option(min=1, help="Rate of the multicast stream.")] = 100.0,
    full: Annotated[bool, typer.Option("--full", help="The whole sweep, however long it takes.")] = False,
    https: Annotated[bool, typer.Option("--https", help="Users fetch over HTTPS.")] = False,
    results: Annotated[Path, typer.Option(readable=False, help="Where results go.")] = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Run an experiment and print its claims."""
    from experiments.options import Options
    from experiments.table import render
    from topologies.files import load

    if experiment not in EXPERIMENTS:
        raise UsageError(f"no experiment {experiment!r}; choose one of {', '.join(EXPERIMENTS)}")
    module = experiment_module(experiment)
    for word, given in (("site", site), ("kill", kill), ("loss", loss), ("full", full), ("https", https)):
        if given and word not in module.TAKES:
            raise UsageError(f"--{word} means nothing to {experiment}; leave it out")
    network = load(topology) if topology else getattr(module, "NETWORK", None) or load("metro")
    kind = choose_lab(lab)
    options = Options(
        network,
        seed,
        off=choose_edges(network, off or [], "--off"),
        kill=choose_edges(network, kill or [], "--kill"),
        loss_percent=loss,
        rate_mbps=rate_mbps,
        full=full,
        https=https,
    )
    with ExitStack() as stack:
        with _preparation(quiet=as_json) as sink:
            if "site" in module.TAKES:
                wanted = site_for(site, kind, sink, _warn, small=module.SMALL_SITE)
                folder = stack.enter_context(wanted)
                options = replace(
                    options, site=folder, workload=plan_fetches(folder, network, seed, https=https)
                )
            if make := getattr(module, "make_site", None):
                options = replace(options, site=stack.enter_context(made_site(make, options)))
            prepare_lab(kind, sink)
        note = stack.enter_context(nullcontext(display.silent) if as_json else display.scenario_display())
        command = shlex.join(["nearcast", *sys.argv[1:]])
        finished = run_experiment(experiment, options, kind, results.resolve(), note, command=command)
    report = finished.folder / "report.html"
    if as_json:
        print((finished.folder / "summary.json").read_text())
    else:
        from rich.console import Console

        console = Console()
        console.print(render(finished.summary))
        console.print(f"report: {_relative(report)}", soft_wrap=True)
    if not all(claim.holds for claim in finished.summary.claims):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def bench(
    topology: TopologyOption = "metro",
    lab: LabOption = "auto",
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Measure the wall time from boot to the first HTTP 200, step by step."""
    from experiments.bench import measure_start
    from topologies.files import load

    network, kind = load(topology), choose_lab(lab)
    with _preparation(quiet=as_json) as sink:
        prepare_lab(kind, sink)
    moments = measure_start(network, kind, seed)
    if as_json:
        print(json.dumps([asdict(moment) for moment in moments]))
        return
    for moment in moments:
        print(f"{moment.wall_s:7.2f} s  {moment.reached}")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say which labs this machine can run, what is missing and how to mend it."""
    from lab.doctor import main as examine

    raise typer.Exit(examine(["--json"] if as_json else []))


@app.command()
def kernel() -> None:
    """Build the guest's kernel, unless the cache has it."""
    from lab.kernel import main as build

    raise typer.Exit(build([]))


@app.command()
def up(
    topology: TopologyOption = "metro",
    site: Annotated[
        Path | None,
        typer.Option(readable=False, help="Directory to publish to the edges (default: a small page)."),
    ] = None,
    lab: LabOption = "auto",
    seed: SeedOption = 1,
    https: Annotated[bool, typer.Option("--https", help="Serve HTTPS; users trust the lab's CA.")] = False,
) -> None:
    """Start a lab on the real clock with the Mininet prompt."""
    from experiments.session import up as start

    raise typer.Exit(start(topology, site, lab, seed, https=https))


@app.command()
def down(as_json: JsonOption = False) -> None:
    """End the labs that `up` started, from another terminal."""
    from experiments.session import down as end

    ended = end()
    if as_json:
        print(json.dumps({"ended": ended}))
    else:
        print(f"ended {len(ended)} lab(s): {', '.join(map(str, ended))}" if ended else "no lab is up")


@contextmanager
def _preparation(*, quiet: bool) -> Iterator[ProgressSink]:
    """Progress of long steps before the labs start, on standard error."""
    if quiet:
        yield silent
        return
    with progress_display(sys.stderr) as sink:
        yield sink


def _warn(text: str) -> None:
    print(text, file=sys.stderr)


def _relative(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def main() -> None:
    """Run the command line; errors are one line, exit status 1 for a failure, 2 for usage."""
    from threading import Event

    from experiments.live import app as live_app
    from experiments.records import RecordError
    from lab.kernel_source import KernelError
    from topologies.cli import app as topology_app
    from topologies.files import TopologyError

    app.add_typer(topology_app, name="topology")
    app.add_typer(live_app)
    try:
        with interruptible(Event()):
            app(standalone_mode=True)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:  # typer's way of ending on KeyboardInterrupt, without a word
            print("nearcast: interrupted; the labs were ended", file=sys.stderr)
        raise
    except (UsageError, TopologyError) as error:
        print(f"nearcast: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    except (LabError, KernelError, RecordError, RuntimeError, OSError) as error:
        print(f"nearcast: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)

"""`nearcast verify`: prove what the switches of a lab hold, or held when a snapshot was taken."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.asking import JsonOption, LabOption, ask_lab, print_json
from experiments.preparation import UsageError
from lab.jobs import LabError
from lab.progress import Progress, ProgressSink, progress_display, silent

if TYPE_CHECKING:
    from controller.openflow.snapshot import Snapshot
    from controller.verify.policy import Policy
    from controller.verify.proof import Proof
    from experiments.replays import AskLab
    from topologies.spec import Topology

EXIT_VIOLATED, EXIT_NOT_PROVED = 1, 2


def verify(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A saved snapshot; without it the lab that is up is asked."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What to prove, in YAML (default: every invariant).")
    ] = None,
    no_failures: Annotated[
        bool, typer.Option("--no-failures", help="Leave out what happens when something fails.")
    ] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Send the packet of every violation and see where it arrives.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the snapshot, to be proved again later.")
    ] = None,
    pcap: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the packet of every violation there.")
    ] = None,
    topology: Annotated[
        str | None, typer.Option("--topology", "-t", help="Refuse switches of any other topology.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Prove every change of the tables as it comes, until Ctrl-C.")
    ] = False,
    show_policy: Annotated[
        bool, typer.Option("--show-policy", help="Print the default policy as YAML and end.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove what the switches hold: for every packet, from every port, under every single failure.

    Exit status: 0 proved, 1 violated, 2 nothing was proved.
    """
    # Nothing that a proof makes is garbage before its end.
    gc.set_threshold(100_000, 20, 20)
    if show_policy:
        from experiments.policy_file import default_policy_text

        print(default_policy_text(), end="")
        return
    if file is not None and (lab is not None or replay or watch):
        word = "--watch" if watch else "--replay" if replay else "--lab"
        raise UsageError(f"{word} needs a lab that is up; leave out {file}, which is a saved snapshot")

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        return ask_lab(context, lab, request)

    from controller.openflow.snapshot import SnapshotError
    from controller.verify.proof import UndecidableError

    try:
        if watch:
            raise typer.Exit(EXIT_VIOLATED if _watch(ask, policy, as_json) else 0)
        with _progress(quiet=as_json) as sink:
            reading = _saved(file) if file is not None else _read(ask, topology, sink)
            _check_topology(reading.snapshot.topology, topology)
            looked = _look(reading, policy, not no_failures, sink)
            if save is not None:
                _save(save, reading)
            checks = _check(looked, reading, ask if file is None else None, replay, pcap, sink)
    except UndecidableError as error:
        raise _not_proved(
            f"{error}; that is not modelled, remove it from the switch (docs/verify.md)"
        ) from None
    except (SnapshotError, LabError) as error:
        raise _not_proved(str(error)) from None
    except OSError as error:
        raise _not_proved(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None
    result = _result(looked, reading, checks)
    if as_json:
        print_json(result)
    else:
        _show(result)
    if not looked.proof.holds:
        raise typer.Exit(EXIT_VIOLATED)


def _not_proved(text: str) -> typer.Exit:
    """The end with exit status 2: a failure must not look like a violation."""
    print(f"nearcast: nothing is proved: {text}", file=sys.stderr)
    return typer.Exit(EXIT_NOT_PROVED)


def _watch(ask: AskLab, policy: Path | None, as_json: bool) -> bool:
    """Watch a lab until Ctrl-C or its end; whether something happened that must not happen at any moment."""
    from experiments.live_tables import console
    from experiments.watching import Watcher, watch_json, watch_line

    out = console()

    def tell(note: Mapping[str, Any]) -> None:
        if as_json:
            print(watch_json(note), flush=True)
        else:
            out.print(watch_line(note), soft_wrap=True)

    watcher = Watcher(ask, lambda topology: None if policy is None else _policy(policy, topology), tell)
    with suppress(KeyboardInterrupt):
        watcher.run()
    return watcher.has_failed


@dataclass(frozen=True)
class _Reading:
    """What switches held; `controller` is what a controller says of it (None: nothing), `read_s` how long it
    took to read, in wall seconds."""

    snapshot: Snapshot
    controller: Mapping[str, Any] | None
    read_s: float


@dataclass(frozen=True)
class _Looked:
    """A proof and the wall seconds of its steps."""

    proof: Proof
    seconds: Mapping[str, float]


def _progress(*, quiet: bool) -> AbstractContextManager[ProgressSink]:
    return nullcontext(silent) if quiet else progress_display(sys.stderr)


def _read(ask: AskLab, topology: str | None, sink: ProgressSink) -> _Reading:
    """Have a lab read its switches."""
    from controller.openflow.snapshot import snapshot_from_json

    sink(Progress("reading the switches"))
    began_s = time.perf_counter()
    try:
        answer = ask({"op": "snapshot"})
    except LabError as error:
        if topology is not None:
            raise LabError(
                f"{error}; a topology alone has no tables: start it with `nearcast up -t {topology}`, "
                "or give a saved snapshot"
            ) from None
        raise LabError(f"{error}; or give a saved snapshot") from None
    snapshot = snapshot_from_json(answer["snapshot"])
    return _Reading(snapshot, answer["controller"], time.perf_counter() - began_s)


def _saved(file: Path) -> _Reading:
    """Load a snapshot, with what was expected of it if that was saved too."""
    from controller.openflow.snapshot import SnapshotError, load_snapshot

    began_s = time.perf_counter()
    snapshot = load_snapshot(file)
    controller = json.loads(file.read_bytes()).get("controller")
    if not isinstance(controller, dict | None):
        raise SnapshotError(f"{file}: what the controller said is damaged; take it again")
    return _Reading(snapshot, controller, time.perf_counter() - began_s)


def _save(path: Path, reading: _Reading) -> None:
    path.write_text(json.dumps(reading.snapshot.to_json() | {"controller": reading.controller}) + "\n")


def _check_topology(found: Topology, wanted: str | None) -> None:
    if wanted is not None:
        from topologies.files import load

        if load(wanted) != found:
            raise UsageError(f"--topology {wanted}: the switches are those of {found.name}, or of a variant")


def _look(reading: _Reading, policy: Path | None, failures: bool, sink: ProgressSink) -> _Looked:
    """Prove a policy of what was read. Another look at other tables is another call."""
    from experiments.proofs import expected_from_json, prove_snapshot

    snapshot = reading.snapshot
    wanted = _policy(policy, snapshot.topology)
    expected = expected_from_json((reading.controller or {}).get("expected"))
    sink(Progress(f"proving {snapshot.topology.name}, {len(snapshot.replies)} switches"))
    proof, seconds = prove_snapshot(snapshot, expected, policy=wanted, failures=failures)
    return _Looked(proof, {"read": round(reading.read_s, 3), "prove": seconds["prove"]})


def _policy(path: Path | None, topology: Topology) -> Policy:
    from controller.verify.policy import DEFAULT
    from experiments.policy_file import load_policy

    return DEFAULT if path is None else load_policy(path, topology)


def _check(
    looked: _Looked,
    reading: _Reading,
    ask: AskLab | None,
    replay: bool,
    pcap: Path | None,
    sink: ProgressSink,
) -> list[list[dict[str, Any]]]:
    """What is found out about each violation besides its proof, in the order of the verdicts."""
    from experiments.frames import save_frame, sendable_frame
    from experiments.replays import Switches

    broken = [verdict for verdict in looked.proof.verdicts if verdict.violations]
    switches = Switches(ask, reading.snapshot) if ask is not None and broken else None
    if pcap is not None:
        pcap.mkdir(parents=True, exist_ok=True)
    number = 0
    checks: list[list[dict[str, Any]]] = []
    for verdict in looked.proof.verdicts:
        checks.append([])
        for violation in verdict.violations:
            number += 1
            found: dict[str, Any] = {"ofproto_trace": None, "replay": None, "pcap": None}
            checks[-1].append(found)
            if pcap is not None and violation.witness is not None:
                path = pcap / f"{number:02}-{'-'.join(verdict.name.split())}.pcap"
                try:
                    save_frame(path, sendable_frame(violation.witness.packet))
                    found["pcap"] = str(path)
                except ValueError as error:
                    print(f"--pcap: {error}", file=sys.stderr)
            if switches is not None:
                sink(Progress("asking the switches about the packets found", detail=verdict.name))
                found["ofproto_trace"] = switches.confirm(violation)
                if replay:
                    found["replay"] = switches.replay(violation)
    return checks


def _result(looked: _Looked, reading: _Reading, checks: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """All of it as plain data."""
    from experiments.proofs import proof_to_json

    proof = proof_to_json(looked.proof, reading.snapshot.topology)
    for entry, found in zip(proof["invariants"], checks, strict=True):
        for violation, check in zip(entry["violations"], found, strict=True):
            violation |= check
    return {
        "topology": reading.snapshot.topology.name,
        "t_s": reading.snapshot.t_s,
        "controller": reading.controller,
        "proof": proof,
        "seconds": dict(looked.seconds),
    }


def _show(result: Mapping[str, Any]) -> None:
    """All of it for a person."""
    from experiments.live_tables import console
    from experiments.proof_view import proof_table, result_lines

    out = console()
    out.print(proof_table(result["proof"]))
    for line in result_lines(result):
        out.print(line, soft_wrap=True)

"""How a command reaches the lab that is meant: one that `nearcast up` has started, or, at a lab's own prompt,
that lab."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from experiments.preparation import UsageError
from lab.jobs import LabError

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Has a request answered by the lab that is meant."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
LabOption = Annotated[
    int | None, typer.Option("--lab", metavar="PID", help="Which lab, when several are up.")
]


def ask_lab(context: typer.Context, lab: int | None, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the lab. Raises UsageError when the request makes no sense, LabError when it fails."""
    if context.obj is not None:
        answer = context.obj(request)
    else:
        from experiments.session import ask

        answer = ask(lab, request)
    if not answer.get("ok"):
        text = str(answer.get("error") or "the lab gave no reason")
        raise UsageError(text) if answer.get("usage") else LabError(text)
    return dict(answer)


def print_json(data: Any) -> None:
    """Print data as JSON for scripts."""
    json.dump(data, sys.stdout, indent=2, ensure_ascii=False)
    print()

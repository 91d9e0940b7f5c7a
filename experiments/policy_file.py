"""Policies as YAML files: read with errors that name file and line, and the default one written out."""

from __future__ import annotations

from pathlib import Path

from controller.verify.policy import BUILT_IN, DEFAULT, Policy, PolicyError, read_policy
from experiments.preparation import UsageError
from topologies.spec import Topology
from topologies.yaml_tree import parse

_HEAD = """\
# What `nearcast verify` proves when it is given no policy. Copy it, change it, give it with --policy FILE.
invariants:"""
_RULES = """\
# Rules of your own: {from: users, to: origin}, {from: user1, dst: service, name: user1 is served}, …
must: []
must_not: []"""


def load_policy(path: Path, topology: Topology) -> Policy:
    """The policy in a file, in the names of a topology. Raises UsageError with the line of the mistake."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise UsageError(f"--policy {path}: cannot be read ({reason})") from None
    tree = parse(text, "policy")
    for problem in tree.problems:
        raise UsageError(f"{path}:{problem.line}: {problem.message}")
    try:
        return read_policy(tree.data, topology)
    except PolicyError as error:
        raise UsageError(f"{path}:{tree.line(error.path)}: {error}") from None


def default_policy_text() -> str:
    """The default policy as YAML."""
    width = max(map(len, DEFAULT.invariants))
    lines = [_HEAD]
    for name in DEFAULT.invariants:
        claim, statement = BUILT_IN[name]
        lines.append(f"  - {name:{width}}  # {claim + ': ' if claim else ''}{statement}")
    return "\n".join((*lines, _RULES)) + "\n"

"""Policies in files: the example, the default, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from controller.plan.compile import plan
from controller.verify.policy import BUILT_IN, DEFAULT, read_policy
from controller.verify.proof import prove
from experiments.policy_file import default_policy_text, load_policy
from experiments.preparation import UsageError
from lab.jobs import CHECKOUT
from tests.unit.controller.networks import facts_of
from topologies.files import load

FIGURE2 = load("figure2")


def test_the_example_is_proved() -> None:
    policy = load_policy(CHECKOUT / "docs" / "examples" / "policy.yaml", FIGURE2)
    assert "nearest" not in policy.invariants
    assert {rule.must for rule in policy.rules} == {True, False}
    proof = prove(FIGURE2, plan(facts_of(FIGURE2)), policy=policy)
    assert proof.holds
    assert len(proof.verdicts) == len(policy.invariants) + len(policy.rules)


def test_the_default_is_written_as_it_is_read() -> None:
    text = default_policy_text()
    assert read_policy(yaml.safe_load(text), FIGURE2) == DEFAULT
    for claim, statement in BUILT_IN.values():
        assert statement in text
        assert claim in text


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "expected a mapping with invariants, must and must_not"),
        ("- isolation\n", 1, "expected a mapping"),
        ("invariants: [scope]\nmay: []\n", 2, "may: no such part of a policy; expected invariants, must or"),
        (
            "invariants:\n  - scope\n  - magic\n",
            3,
            "invariants[1]: 'magic' is no invariant; there are isolation,",
        ),
        ("invariants:\n", 1, "invariants: expected a list; leave it out for all of them"),
        ("invariants: scope\n", 1, "invariants: expected a list"),
        ("invariants: [[scope]]\n", 1, "invariants[0]: ['scope'] is no invariant"),
        ("invariants: []\n", 1, "asks for nothing"),
        ("must: 5\n", 1, "must: expected a list"),
        ("must:\n  - users\n", 2, "must[0]: expected a mapping with from, and to or dst"),
        ("must:\n  - from: users\n", 2, "must[0]: expected from, and to or dst"),
        ("must:\n  - from: users\n    via: dns\n", 3, "must[0].via: no such part of a rule"),
        (
            "must_not:\n  - from: users\n    to: [origin, moon]\n",
            3,
            "must_not[0].to: 'moon' is no host of figure2",
        ),
        ("must_not:\n  - from: 7\n    to: dns\n", 2, "must_not[0].from: expected a name or a list of names"),
        ("must_not:\n  - from: []\n    to: dns\n", 2, "must_not[0].from: names no host of figure2"),
        ("must_not:\n  - {from: users, dst: []}\n", 2, "must_not[0].dst: names no destination"),
        (
            "must_not:\n  - from: users\n    dst: 2001:db8::1/32\n",
            3,
            "'2001:db8::1/32' is no prefix, no host",
        ),
        (
            "must:\n  - from: dns\n    to: user1\n",
            3,
            "must[0].to: user1 has no fixed address; name its address",
        ),
        (
            "must:\n  - {from: users, dst: service}\n  - {from: users, dst: service}\n",
            3,
            "another rule is called",
        ),
        ("must:\n  - {name: scope, from: users, dst: service}\n", 2, "another rule is called 'scope'"),
        ("must: [\n", 2, "not YAML: "),
        ("must: []\nmust: []\n", 2, "written a second time; expected one `must`"),
        ("---\nmust: []\n---\nmust: []\n", 3, "expected one policy in a file"),
        ("must: &a []\nmust_not: *a\n", 2, "*a is an alias"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        load_policy(path, FIGURE2)
    complaint = str(raised.value)
    assert complaint.startswith(f"{path}:{line}: ")
    assert said in complaint
    assert "\n" not in complaint


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"policy\.yaml: cannot be read \(no UTF-8 text\)"):
        load_policy(path, FIGURE2)

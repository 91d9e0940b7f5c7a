"""Proofs of what switches hold, for the command line and for experiments: from a snapshot to verdicts as
data. What a proof says depends on the snapshot alone; how long it took is told beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import IPv6Address
from typing import Any

from controller.openflow.snapshot import Snapshot, SnapshotError
from controller.plan.facts import Facts
from controller.trace_view import packet_row, walk_row
from controller.verify.ground import Expected
from controller.verify.policy import DEFAULT, Policy
from controller.verify.proof import Proof, Violation, prove
from controller.verify.witness import Witness
from topologies.addressing import plan_addresses
from topologies.spec import Topology

Row = Mapping[str, Any]


def prove_snapshot(
    snapshot: Snapshot,
    expected: Expected | None = None,
    *,
    policy: Policy = DEFAULT,
    failures: bool = True,
) -> tuple[Proof, dict[str, float]]:
    """Prove a policy of what switches held, and the wall seconds that it took: `decode` and `prove`. Raises
    SnapshotError, and UndecidableError when they hold something that is not modelled."""
    began_s = time.perf_counter()
    tables, foreign, down = snapshot.tables, snapshot.foreign, snapshot.down_ports
    decoded_s = time.perf_counter()
    proof = prove(
        snapshot.topology,
        tables,
        foreign=foreign,
        down=down,
        expected=expected,
        policy=policy,
        failures=failures,
    )
    seconds = {"decode": decoded_s - began_s, "prove": time.perf_counter() - decoded_s}
    return proof, {step: round(value, 3) for step, value in seconds.items()}


def expected_of(status: Row) -> Expected:
    """What a controller's answer to `status` says that the switches should agree with."""
    return expected_from_json(
        {"edges": status["edges_accepting"], "bound": status["bound"], "openings": status["openings"]}
    )


def expected_to_json(expected: Expected) -> dict[str, Any]:
    """As plain data, to be kept beside a snapshot."""
    openings = expected.openings
    return {
        "edges": None if expected.edges is None else list(expected.edges),
        "bound": dict(sorted(expected.bound.items())),
        "openings": None
        if openings is None
        else [[str(opening[0]), *opening[1:]] for opening in sorted(openings)],
    }


def expected_from_json(data: Any) -> Expected:
    """The inverse of `expected_to_json`; None is nothing known. Raises SnapshotError when it is damaged."""
    if data is None:
        return Expected()
    try:
        edges, openings = data["edges"], data["openings"]
        return Expected(
            None if edges is None else tuple(map(str, edges)),
            {str(user): str(edge) for user, edge in data["bound"].items()},
            None
            if openings is None
            else frozenset(
                (IPv6Address(address), int(protocol), int(port)) for address, protocol, port in openings
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"what is expected of it is damaged ({type(error).__name__}: {error}); take it again"
        raise SnapshotError(text) from None


def proof_to_json(proof: Proof, topology: Topology) -> dict[str, Any]:
    """A proof as plain data: verdicts with their violations and witnesses, figures, openings."""
    facts = Facts(topology, plan_addresses(topology))
    invariants = [
        {
            "name": verdict.name,
            "claim": verdict.claim,
            "statement": verdict.statement,
            "holds": verdict.holds,
            "count": verdict.count,
            "violations": [_violation(facts, violation) for violation in verdict.violations],
        }
        for verdict in proof.verdicts
    ]
    return {
        "holds": proof.holds,
        "invariants": invariants,
        "figures": asdict(proof.figures),
        "openings": list(proof.openings),
    }


def _violation(facts: Facts, violation: Violation) -> dict[str, Any]:
    witness = violation.witness
    return {
        "sentence": violation.sentence,
        "failure": violation.failure,
        "witness": None if witness is None else _witness(facts, witness),
    }


def _witness(facts: Facts, witness: Witness) -> dict[str, Any]:
    first = facts.topology.access_port(witness.sender)
    return {
        "sender": witness.sender,
        "packet": packet_row(facts, witness.packet),
        "tracked": {"own": str(witness.own), "theirs": str(witness.theirs), "mark": witness.mark},
        "walk": walk_row(facts, witness.walk, first.link.delay_ms),
    }

"""Which experiment shows which claims, in the order of its table."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims.isolation import hidden_origin, scope_boundary
from experiments.claims.latency import against_central, as_configured
from experiments.claims.load import sync_copies, user_requests
from experiments.claims.model import Claim, ClaimFunction, Evidence
from experiments.claims.service import failover, nearest_edge

CLAIMS: Mapping[str, tuple[ClaimFunction, ...]] = {
    "demo": (against_central, user_requests, sync_copies, nearest_edge, hidden_origin, scope_boundary),
    "latency": (as_configured,),
    "backbone": (sync_copies,),
    "failover": (failover,),
}


def claims_of(experiment: str, evidence: Evidence) -> list[Claim]:
    """The claims of an experiment. Raises KeyError for an unknown experiment."""
    return [claim for function in CLAIMS[experiment] for claim in function(evidence)]

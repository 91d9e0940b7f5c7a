"""Which experiment shows which claims, in the order of its table."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims.attacks import (
    hidden_routers_under_attack,
    hidden_under_attack,
    no_injection,
    unnoticed,
)
from experiments.claims.channels import channels
from experiments.claims.clients import real_clients
from experiments.claims.crowds import crowds
from experiments.claims.drain import drained
from experiments.claims.failover import killed_edge, link_to_edge, probed, restarted_controller
from experiments.claims.gateway import closed, narrow_paths, no_slower, unchanged
from experiments.claims.isolation import hidden_origin, scope_boundary
from experiments.claims.latency import against_central, as_configured
from experiments.claims.load import sync_copies, user_requests
from experiments.claims.locality import local_content
from experiments.claims.model import Claim, ClaimFunction, Evidence
from experiments.claims.names import counted, found, numbered, waited
from experiments.claims.neighbours import quiet_discovery, swept
from experiments.claims.overload import bounded, refused, served, shed
from experiments.claims.privacy import temporary_addresses
from experiments.claims.routers import hidden_routers
from experiments.claims.scope import bound_user, regional_content, zones
from experiments.claims.service import nearest_edge
from experiments.claims.sync import synced
from experiments.claims.vpn import tunnels

CLAIMS: Mapping[str, tuple[ClaimFunction, ...]] = {
    "demo": (against_central, user_requests, sync_copies, nearest_edge, hidden_origin, scope_boundary),
    "latency": (as_configured, crowds),
    "backbone": (sync_copies,),
    "failover": (link_to_edge, probed, killed_edge, restarted_controller),
    "drain": (drained,),
    "gateway": (closed, unchanged, no_slower, narrow_paths("C12")),
    "private-routing": (hidden_routers, narrow_paths("C11")),
    "neighbours": (quiet_discovery, swept),
    "scope": (zones, regional_content, bound_user),
    "privacy": (temporary_addresses,),
    "overload": (served, refused, bounded, shed),
    "attacks": (hidden_under_attack, unnoticed, no_injection, hidden_routers_under_attack),
    "channels": (channels,),
    "locality": (local_content, regional_content),
    "sync": (synced,),
    "clients": (real_clients,),
    "vpn": (tunnels,),
    "names": (found, waited, counted, numbered),
}


def claims_of(experiment: str, evidence: Evidence) -> list[Claim]:
    """The claims of an experiment. Raises KeyError for an unknown experiment."""
    return [claim for function in CLAIMS[experiment] for claim in function(evidence)]

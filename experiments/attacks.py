"""attacks: one user tries everything against everyone while the others use the service (C8 to C11)."""

from __future__ import annotations

from dataclasses import replace

from experiments.options import Options
from experiments.scenario import Act, Mode, Scenario
from topologies.spec import Role

TAKES = frozenset({"site", "off"})
SMALL_SITE = True
SERVICE_FLOODS = ("flood-service", "flood-syn")
"""The attacks whose bytes beyond the access switch are compared with those of a central cloud."""


def scenarios(options: Options) -> list[Scenario]:
    """`edge`: the whole catalogue. `calm`: the same requests and nothing else. `central`: the floods of the
    service against a central cloud. Raises ValueError for a network with one user."""
    user, *others = options.topology.of_role(Role.USER)
    if not others:
        raise ValueError(f"{options.topology.name}: there is one user only; an attack needs others")
    base = {"user": user, "measured": SERVICE_FLOODS}
    edge = Scenario(
        "edge",
        Mode.EDGE,
        options.topology,
        options.seed,
        site=str(options.site),
        off=options.off,
        acts=(Act("attack", base),),
    )
    calm = replace(edge, name="calm", acts=(Act("attack", {"user": user, "sends": False, "judges": False}),))
    flooded = {**base, "attacks": SERVICE_FLOODS, "judges": False}
    central = replace(edge, name="central", mode=Mode.CENTRAL, acts=(Act("attack", flooded),))
    # What the attacks make the controller change must not open anything for a moment either.
    return [replace(edge, record_tables=True), calm, central]

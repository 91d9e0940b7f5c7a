"""C5: the nearest edge answers."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims.model import Claim, Evidence
from experiments.records import Transfer
from topologies.graph import nearest_edges
from topologies.spec import Role, Topology


def answered_by_nearest(topology: Topology, transfers: tuple[Transfer, ...]) -> dict[str, bool]:
    """For every user of the topology: whether it asked and each answer came from its nearest edge.

    Nearest is by delay among all edges of the topology, running or not; of equally near ones any will do.
    """
    nearest = nearest_edges(topology)
    answers: dict[str, list[Transfer]] = {user: [] for user in topology.of_role(Role.USER)}
    for transfer in transfers:
        answers.setdefault(transfer.user, []).append(transfer)
    return {
        user: bool(rows)
        and user in nearest
        and all(row.ok and row.edge in nearest[user].equally_near for row in rows)
        for user, rows in answers.items()
    }


def nearest_claim(users: Mapping[str, bool], source: tuple[str, ...]) -> Claim:
    """C5 of users of whom it is known whether their nearest edge answered."""
    others = [user for user, is_nearest in users.items() if not is_nearest]
    return Claim(
        "C5",
        "users answered by their nearest edge",
        len(users) - len(others),
        "users",
        rule="every answer of every user; nearest by delay among all edges of the topology",
        holds=bool(users) and not others,
        total=len(users),
        notes=(f"not {', '.join(others)}",) if others else (),
        source=source,
    )


def nearest_edge(evidence: Evidence) -> list[Claim]:
    """C5: users whose every answer came from their nearest edge."""
    scenario = evidence.get("edge")
    users = answered_by_nearest(evidence.topology, scenario.transfers if scenario else ())
    return [nearest_claim(users, ("raw/edge/transfers.csv",))]

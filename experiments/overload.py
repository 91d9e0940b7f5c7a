"""overload: a flash crowd, a slow loris and readers that do not read come to an edge; who is being served
stays served (C9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.options import Options
from experiments.preparation import UsageError
from experiments.scenario import Act, Mode, Scenario
from experiments.visitors import Kind, Party, party_to_json
from topologies.files import load
from topologies.graph import nearest_edges
from topologies.spec import Role, Topology

TAKES = frozenset({"site"})
SMALL_SITE = True
NETWORK = load("figure2")
"""Two edges are left there, which the crowd fills; in a larger network shedding spreads it."""
CAPACITY = 20
"""Requests at once that an edge is made for; from twice that on it refuses."""
CROWD_FACTOR = 20
EDGE_LINE_MBPS = 50.0
"""What carries the requests an edge takes, and not those of the whole crowd."""
STREAM_MBPS = 25.0
LONG_FILE_BYTES = 200_000
LONG_PATH = "/long.bin"
PART_BYTES = 70_000
"""More than what an edge answers at once whatever its load."""
VISITOR_MBPS = 0.25
CALM_S = 5.0
CROWD_END_S, LORIS_END_S, READERS_END_S = 24.0, 25.0, 72.0
AFTER_S = 6.0
"""An edge that was overloaded is spared new users for 5 s more."""
HEADS = 1_000
READERS = 30
"""More than 90 % of the capacity, fewer than what is refused."""
CONNECTIONS = 500
UNLIMITED = 1_000_000


def scenarios(options: Options) -> list[Scenario]:
    """Each attack, and those of which there is a baseline once more with limits that nothing reaches; the
    longest first. Raises UsageError for a topology without room for it."""
    topology = narrow_edges(options.network)
    victims = Victims.of(topology)
    base = Scenario(
        "",
        Mode.EDGE,
        topology,
        options.seed,
        site=str(options.site),
        off=(victims.off,),
        rate_mbps=STREAM_MBPS,
        capacity=CAPACITY,
        long_file_bytes=LONG_FILE_BYTES,
    )
    no_limit = ("--max-connections", str(UNLIMITED), *_per_prefix(UNLIMITED))
    crowd = _crowd(victims.attacker)
    loris = _loris(victims.attacker)
    return [
        _scenario(base, "crowd-open", victims, crowd, CROWD_END_S, (*_requests(UNLIMITED), *no_limit)),
        _scenario(base, "readers", victims, _readers(victims.attacker), READERS_END_S, (), every_s=2.0),
        _scenario(base, "crowd", victims, crowd, CROWD_END_S, _per_prefix(UNLIMITED)),
        _scenario(base, "loris-open", victims, loris, LORIS_END_S, no_limit),
        _scenario(
            base,
            "loris-many",
            victims,
            loris,
            LORIS_END_S,
            ("--max-connections", str(CONNECTIONS), *_per_prefix(UNLIMITED)),
        ),
        _scenario(base, "loris", victims, loris, LORIS_END_S, ()),
    ]


def narrow_edges(topology: Topology) -> Topology:
    """The same network with lines to the edges that a crowd can fill."""
    links = tuple(
        replace(link, rate_mbps=EDGE_LINE_MBPS) if topology.link_layer(link) == Role.EDGE else link
        for link in topology.links
    )
    return replace(topology, links=links)


class Victims:
    """Who is who: the edge next to the attacker is `off`, so that another one serves users of two access
    switches; `near` share the attacker's switch and prefix, `others` the attacked edge, `far` neither."""

    def __init__(
        self, attacker: str, off: str, attacked: str, near: Sequence[str], others: Sequence[str], far: str
    ) -> None:
        self.attacker, self.off, self.attacked = attacker, off, attacked
        self.near, self.others, self.far = tuple(near), tuple(others), far

    @classmethod
    def of(cls, topology: Topology) -> Victims:
        """Choose them. Raises UsageError when the topology has not enough edges and users."""
        edges = topology.of_role(Role.EDGE)
        users = [
            user for user in topology.of_role(Role.USER) if not topology.access_port(user).link.loss_percent
        ]
        off = next((edge for edge in edges if _users_at(topology, edge, users)[1:]), None)
        if off is None or len(edges) < 3:
            raise UsageError(f"{topology.name}: overload needs three edges, and two users beside one of them")
        attacker, *near = _users_at(topology, off, users)
        nearest = nearest_edges(topology, [edge for edge in edges if edge != off])
        attacked = nearest[attacker].edge
        rest = [user for user in users if user not in (attacker, *near)]
        others = [user for user in rest if nearest[user].edge == attacked]
        far = [user for user in rest if nearest[user].edge != attacked]
        if not others or not far:
            raise UsageError(f"{topology.name}: overload needs users at {attacked} and at another edge")
        return cls(attacker, off, attacked, near[:1], others[:1], far[0])


def _users_at(topology: Topology, edge: str, users: Sequence[str]) -> list[str]:
    switch = topology.access_port(edge).node
    return [user for user in users if topology.access_port(user).node == switch]


def _scenario(
    base: Scenario,
    name: str,
    victims: Victims,
    attack: Party,
    attack_end_s: float,
    words: Sequence[str],
    *,
    every_s: float = 0.5,
) -> Scenario:
    length_s = attack_end_s + AFTER_S + CALM_S

    def calm(kind: Kind, user: str, count: int) -> Party:
        return Party(
            kind,
            user,
            count,
            at_s=0.5,
            until_s=length_s - 1.0,
            spread_s=every_s,
            every_s=every_s,
            path=LONG_PATH,
            part_bytes=PART_BYTES,
        )

    parties = [calm(Kind.REGULAR, user, 5) for user in (*victims.near, *victims.others, victims.far)]
    parties += [calm(Kind.NEWCOMER, user, 2) for user in (*victims.near, *victims.others)]
    periods = [
        ("calm", 0.5, CALM_S),
        ("attack", CALM_S, attack_end_s),
        ("after", attack_end_s + AFTER_S, length_s),
    ]
    arguments = {
        "parties": [party_to_json(party) for party in (*parties, attack)],
        "periods": periods,
        "length_s": length_s,
    }
    return replace(base, name=name, acts=(Act("overload", arguments),), edge_words=tuple(words))


def _crowd(user: str) -> Party:
    return Party(
        Kind.CROWD,
        user,
        count=CROWD_FACTOR * CAPACITY,
        at_s=CALM_S,
        spread_s=1.0,
        until_s=CROWD_END_S,
        path=LONG_PATH,
        rate_mbps=VISITOR_MBPS,
    )


def _loris(user: str) -> Party:
    return Party(Kind.LORIS, user, count=HEADS, at_s=CALM_S, spread_s=2.0, until_s=LORIS_END_S, every_s=5.0)


def _readers(user: str) -> Party:
    return Party(
        Kind.READER,
        user,
        count=READERS,
        at_s=CALM_S,
        spread_s=0.02,
        until_s=READERS_END_S,
        path=LONG_PATH,
    )


def _requests(most: int) -> tuple[str, str]:
    return "--max-requests", str(most)


def _per_prefix(most: int) -> tuple[str, str]:
    return "--max-connections-per-prefix", str(most)

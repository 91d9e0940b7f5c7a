"""C12: a user behind the default-deny gateway is as closed as behind NAT, unchanged and no slower."""

from __future__ import annotations

from collections.abc import Callable

from experiments.claims.model import Claim, Evidence, compared
from experiments.records import Flow, Knock, ScenarioRecords
from experiments.statistics import significant

STATEFUL = "stateful"
TRANSLATIONS = (("nat66", "NAT66"), ("nat44", "NAT44"))
SLOWER_TOLERANCE = 0.005
IPV4_PAYLOAD = (1500 - 40 - 32) / (1500 - 20 - 32)
"""What a full packet carries over IPv6, against IPv4: its header is 20 bytes longer; TCP takes 32 of both."""
SAME_LINKS = "the same links, with a Linux router that masquerades in the switch's place"
SCANS = ("raw/edge/scans.csv",)
FLOWS = ("raw/edge/flows.csv",)


def _knocks(scenario: ScenarioRecords | None, gateway: str, name: str) -> list[Knock]:
    knocks = scenario.knocks if scenario else ()
    return [knock for knock in knocks if knock.gateway == gateway and knock.round == name]


def _names(knocks: list[Knock]) -> tuple[str, ...]:
    return tuple(
        f"arrived: {knock.protocol} {knock.port}".removesuffix(" 0") for knock in knocks if knock.has_arrived
    )


def closed(evidence: Evidence) -> list[Claim]:
    """What of a scan arrives at a user, before and after it has subscribed to one service."""
    scenario = evidence.get("edge")
    before, after = (_knocks(scenario, STATEFUL, name) for name in ("closed", "subscribed"))
    behind_nat = _knocks(scenario, "nat66", "closed")
    arrived = [knock for knock in before if knock.has_arrived]
    opened = [knock for knock in after if knock.has_arrived]
    is_open = len(opened) == 1 and opened[0].protocol == "tcp" and opened[0].answer == "connected"
    first = Claim(
        "C12",
        "attempts of another user that arrive at a user",
        len(arrived) if before else None,
        "attempts",
        rule="none of TCP, UDP and ICMPv6 echo, while the user listens at every port that is tried",
        # Only the second round shows that the scan could have seen an open port.
        holds=bool(before) and not arrived and is_open,
        total=len(before),
        notes=_names(before),
        source=SCANS,
    )
    baseline = sum(knock.has_arrived for knock in behind_nat) if behind_nat else None
    second = Claim(
        "C12",
        "attempts that arrive after the user has subscribed to one TCP port",
        len(opened) if after else None,
        "attempts",
        rule="one, by TCP, and it connects",
        holds=is_open,
        total=len(after),
        notes=_names(after),
        source=SCANS,
    )
    return [compared(first, baseline, "NAT66"), second]


def _flow(scenario: ScenarioRecords | None, gateway: str) -> Flow | None:
    return next((flow for flow in (scenario.flows if scenario else ()) if flow.gateway == gateway), None)


def unchanged(evidence: Evidence) -> list[Claim]:
    """Whether the other end of a connection sees the user's own address and port."""
    scenario = evidence.get("edge")
    own, translated = _flow(scenario, STATEFUL), _flow(scenario, "nat66")
    claim = Claim(
        "C12",
        "connections whose other end sees the user's own address and port",
        None if own is None else int(own.own == own.seen),
        "connections",
        rule="the one that was looked at",
        holds=own is not None and own.own == own.seen,
        total=1,
        notes=() if own is None else (f"{own.own} at the user, {own.seen} at the edge",),
        source=FLOWS,
    )
    return [compared(claim, None if translated is None else int(translated.own == translated.seen), "NAT66")]


def no_slower(evidence: Evidence) -> list[Claim]:
    """Handshake and throughput, against both kinds of translation over links of the same delay and rate."""
    scenario = evidence.get("edge")
    own = _flow(scenario, STATEFUL)
    return [
        claim
        for gateway, name in TRANSLATIONS
        for claim in (
            _handshake(own, _flow(scenario, gateway), name),
            _throughput(own, _flow(scenario, gateway), name),
        )
    ]


def _handshake(own: Flow | None, other: Flow | None, name: str) -> Claim:
    claim = Claim(
        "C12",
        f"TCP handshake through the gateway, against {name}",
        None if own is None else significant(own.handshake_ms, 9),
        "ms",
        rule=f"at most the baseline, within {SLOWER_TOLERANCE * 100:g} %; {SAME_LINKS}",
        holds=own is not None
        and other is not None
        and own.handshake_ms <= other.handshake_ms * (1 + SLOWER_TOLERANCE),
        source=FLOWS,
    )
    return compared(claim, None if other is None else significant(other.handshake_ms, 9), name)


def _throughput(own: Flow | None, other: Flow | None, name: str) -> Claim:
    is_ipv4 = other is not None and ":" not in other.own
    floor = (1 - SLOWER_TOLERANCE) * (IPV4_PAYLOAD if is_ipv4 else 1.0)
    rule = f"at least the baseline, within {SLOWER_TOLERANCE * 100:g} %; {SAME_LINKS}"
    if is_ipv4:
        rule += f"; {(1 - IPV4_PAYLOAD) * 100:.2g} % less is the longer header of IPv6"
    claim = Claim(
        "C12",
        f"throughput through the gateway, against {name}",
        None if own is None else significant(own.mbps, 9),
        "Mbit/s",
        rule=rule,
        holds=own is not None
        and other is not None
        and own.is_complete
        and other.is_complete
        and own.mbps >= other.mbps * floor,
        source=FLOWS,
    )
    return compared(claim, None if other is None else significant(other.mbps, 9), name)


def narrow_paths(claim_id: str) -> Callable[[Evidence], list[Claim]]:
    """The claim that transfers through a narrow link complete, under the number of another claim."""

    def claims(evidence: Evidence) -> list[Claim]:
        scenario = evidence.get("narrow")
        paths = scenario.paths if scenario else ()
        narrowest = min((link.mtu_bytes for link in scenario.topology.links), default=0) if scenario else 0
        whole = [path for path in paths if path.is_complete]
        learnt = [path for path in paths if path.direction == "up" and path.path_mtu == narrowest]
        return [
            Claim(
                claim_id,
                "transfers that end whole over a narrow link in the middle",
                len(whole),
                "transfers",
                rule="up and down, and the user knows the path MTU from a Packet Too Big of a router",
                holds=bool(paths) and len(whole) == len(paths) and bool(learnt),
                total=len(paths),
                notes=tuple(
                    f"{path.direction}: {path.bytes} bytes, path MTU {path.path_mtu}" for path in paths
                ),
                source=("raw/narrow/paths.csv",),
            )
        ]

    return claims

"""C8 and C10: what must never be seen, counted in captures that ran from before the first link."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from experiments.claims.model import Claim, Evidence, Number, compared
from experiments.records import ScenarioRecords
from lab.pcap import CapturedFrame, decode_ipv6, read_pcap, source_mac
from topologies.addressing import AddressPlan, plan_addresses
from topologies.spec import Role, Topology

SCOPED = frozenset({0x3, 0x4, 0x5, 0x8})
"""Realm-, admin-, site- and organization-local scope (RFC 7346): groups that end at their zone."""


@dataclass(frozen=True, slots=True)
class Census:
    """What a set of captures held: frames of the forbidden kind, all frames, and any troubles."""

    forbidden: int
    frames: int
    troubles: tuple[str, ...]


class UserSources:
    """Recognises frames that a user sent, wherever they turn up."""

    def __init__(self, topology: Topology, plan: AddressPlan) -> None:
        """A user is known by its prefix, by its link-local address and by its Ethernet address."""
        self._prefixes = tuple(plan.user_prefixes.values())
        self._macs = {plan.hosts[user].mac for user in topology.of_role(Role.USER)}
        self._link_locals = {link_local(mac) for mac in self._macs}

    def sent(self, frame: bytes) -> bool:
        """Whether a user is the source of this frame."""
        if source_mac(frame) in self._macs:
            return True
        ip = decode_ipv6(frame)
        if ip is None:
            return False
        return ip.source in self._link_locals or any(ip.source in prefix for prefix in self._prefixes)


def link_local(mac: str) -> IPv6Address:
    """The link-local address made of an Ethernet address (RFC 4291 appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def from_users(frames: Iterable[CapturedFrame], users: UserSources) -> tuple[int, int]:
    """How many of the frames users sent, and how many there are."""
    found = total = 0
    for record in frames:
        total += 1
        found += users.sent(record.frame)
    return found, total


def scoped(frames: Iterable[CapturedFrame]) -> tuple[int, int]:
    """How many of the frames go to a group of limited scope, and how many there are."""
    found = total = 0
    for record in frames:
        total += 1
        ip = decode_ipv6(record.frame)
        found += ip is not None and ip.multicast_scope in SCOPED
    return found, total


def capture_troubles(scenario: ScenarioRecords, node: str, frames: int) -> list[str]:
    """Why the capture of `node` proves nothing: not there, frames lost, or nothing seen at all."""
    counts = next((row for row in scenario.captures if row.node == node), None)
    if counts is None:
        return [f"no capture of {node} in {scenario.raw('captures.csv')}"]
    if counts.dropped:
        return [f"the capture of {node} lost {counts.dropped} frames"]
    if frames == 0:
        return [f"the capture of {node} saw nothing at all"]
    if frames != counts.seen:
        return [f"the capture of {node} holds {frames} of {counts.seen} frames"]
    return []


def origin_census(scenario: ScenarioRecords | None, topology: Topology) -> Census:
    """Frames that reached the origin, and how many of them users sent."""
    if scenario is None:
        return Census(0, 0, ("the scenario was not run",))
    users = UserSources(topology, plan_addresses(topology))
    found = total = 0
    troubles: list[str] = []
    for origin in topology.of_role(Role.ORIGIN):
        path = scenario.capture_file(origin)
        hit, seen = from_users(read_pcap(path), users) if path.exists() else (0, 0)
        found, total = found + hit, total + seen
        troubles += capture_troubles(scenario, origin, seen)
    return Census(found, total, tuple(troubles))


def user_census(scenario: ScenarioRecords | None, topology: Topology) -> Census:
    """Multicast frames on the users' links, and how many of them belong to scoped groups."""
    if scenario is None:
        return Census(0, 0, ("the scenario was not run",))
    found = total = 0
    troubles: list[str] = []
    for user in topology.of_role(Role.USER):
        path = scenario.capture_file(user)
        hit, seen = scoped(read_pcap(path)) if path.exists() else (0, 0)
        found, total = found + hit, total + seen
        troubles += capture_troubles(scenario, user, seen)
    return Census(found, total, tuple(troubles))


def hidden_origin(evidence: Evidence) -> list[Claim]:
    """C8: packets from users in the origin's capture, edges against an ordinary reachable origin."""
    edge = origin_census(evidence.get("edge"), evidence.topology)
    central = origin_census(evidence.get("central"), evidence.topology)
    baseline: Number | None = central.forbidden if evidence.get("central") else None
    notes = [*edge.troubles, f"the same capture saw {edge.frames - edge.forbidden} frames of others"]
    if baseline == 0:
        notes.append("the central cloud's capture saw no user either, so the capture may be dead")
    origins = evidence.topology.of_role(Role.ORIGIN)
    claim = Claim(
        "C8",
        "packets from users that reached the origin",
        edge.forbidden,
        "packets",
        rule="none, in a capture that lost nothing and did see others; users reach the central cloud",
        holds=edge.forbidden == 0 and not edge.troubles and baseline != 0,
        notes=tuple(notes),
        source=tuple(
            f"raw/{name}/{file}"
            for name in ("edge", "central")
            for file in (*(f"captures/{origin}.pcap" for origin in origins), "captures.csv")
        ),
    )
    return [compared(claim, baseline, "central")]


def scope_boundary(evidence: Evidence) -> list[Claim]:
    """C10: packets of scoped groups on user links."""
    census = user_census(evidence.get("edge"), evidence.topology)
    return [
        Claim(
            "C10",
            "packets of scoped groups seen on user links",
            census.forbidden,
            "packets",
            rule="none, in captures that lost nothing and each saw other multicast",
            holds=census.forbidden == 0 and not census.troubles,
            notes=(
                *census.troubles,
                f"the same captures saw {census.frames - census.forbidden} other multicast frames",
            ),
            source=("raw/edge/captures/", "raw/edge/captures.csv"),
        )
    ]

"""C14: whom neighbour discovery wakes, against ARP; and what a sweep does to others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from experiments.claims.isolation import capture_troubles
from experiments.claims.model import Claim, Evidence, compared
from experiments.records import ScenarioRecords
from experiments.statistics import significant
from lab.pcap import ETHERNET_BYTES, IPV6_HEADER_BYTES, CapturedFrame, decode_ipv6, read_pcap
from topologies.addressing import AddressPlan, plan_addresses
from topologies.spec import Topology

_ICMPV6 = 58
_SOLICITATION = 135
_TYPE = ETHERNET_BYTES + IPV6_HEADER_BYTES
_TARGET = slice(_TYPE + 8, _TYPE + 24)
SWEEP_WINDOW = "sweep"


@dataclass(frozen=True, slots=True)
class Solicitation:
    """A neighbour solicitation in a host's capture (RFC 4861 section 4.3)."""

    time_ns: int
    source_mac: str
    source: IPv6Address
    target: IPv6Address


@dataclass(frozen=True, slots=True)
class Wakings:
    """Solicitations that were sent, hosts that heard them, and how many of these they did not concern."""

    sent: int
    heard: int
    needless: int


def solicitations(frames: Iterable[CapturedFrame]) -> list[Solicitation]:
    """The neighbour solicitations among the frames of a capture."""
    found = []
    for record in frames:
        ip = decode_ipv6(record.frame)
        is_long = len(record.frame) >= _TARGET.stop
        if ip is not None and is_long and (ip.next_header, record.frame[_TYPE]) == (_ICMPV6, _SOLICITATION):
            target = IPv6Address(record.frame[_TARGET])
            found.append(Solicitation(record.time_ns, ip.source_mac, ip.source, target))
    return found


def wakings(heard: Mapping[str, list[Solicitation]], plan: AddressPlan) -> Wakings:
    """Count what all hosts heard. A host's own addresses are those it was given and those it has tested by
    duplicate address detection (RFC 4862 section 5.4). What a switch sends is seen where it arrives, so a
    solicitation of a switch that reached nobody is not counted, which favours ARP."""
    macs = {host: plan.hosts[host].mac for host in heard}
    unspecified = IPv6Address("::")
    sent = received = needless = 0
    for host, found in heard.items():
        own = {interface.ip for interface in plan.hosts[host].addresses} | {plan.service}
        own |= {one.target for one in found if one.source_mac == macs[host] and one.source == unspecified}
        for one in found:
            if one.source_mac == macs[host]:
                sent += 1
                continue
            received += 1
            sent += one.source_mac not in macs.values()
            needless += one.target not in own
    return Wakings(sent, received, needless)


def count_wakings(scenario: ScenarioRecords, topology: Topology) -> Wakings:
    """The solicitations in the captures of all hosts. Raises PcapError for a damaged capture."""
    heard = {
        host: solicitations(read_pcap(path))
        for host in topology.hosts
        if (path := scenario.capture_file(host)).exists()
    }
    return wakings(heard, plan_addresses(topology))


def _troubles(scenario: ScenarioRecords | None, topology: Topology) -> list[str]:
    """Why the captures prove nothing."""
    if scenario is None:
        return ["the scenario was not run"]
    return [
        trouble
        for host in topology.hosts
        for trouble in capture_troubles(
            scenario, host, sum(1 for _ in read_pcap(scenario.capture_file(host)))
        )
    ]


def quiet_discovery(evidence: Evidence) -> list[Claim]:
    """Hosts that hear a solicitation, on average, and those that it does not concern."""
    scenario, flat = evidence.get("edge"), evidence.get("arp")
    found = count_wakings(scenario, evidence.topology) if scenario else Wakings(0, 0, 0)
    troubles = _troubles(scenario, evidence.topology)
    arps = flat.arps if flat else ()
    asked = sum(row.requests_sent for row in arps)
    baseline = significant(sum(row.requests_heard for row in arps) / asked, 9) if asked else None
    value = significant(found.heard / found.sent, 9) if found.sent else None
    rule = "at most one, and fewer than ARP wakes"
    first = Claim(
        "C14",
        "hosts woken by a neighbour solicitation, on average",
        value,
        "hosts",
        rule=rule,
        holds=value is not None and value <= 1 and baseline is not None and value < baseline and not troubles,
        notes=(*troubles, f"{found.sent} solicitations, {asked} ARP requests"),
        source=("raw/edge/captures/", "raw/edge/captures.csv", "raw/arp/arps.csv"),
    )
    second = Claim(
        "C14",
        "hosts woken by a solicitation that was not for them",
        found.needless if found.sent else None,
        "times",
        rule="never, from boot on, in captures at every host that lost nothing",
        holds=found.sent > 0 and found.needless == 0 and not troubles,
        total=found.heard,
        notes=tuple(troubles),
        source=("raw/edge/captures/", "raw/edge/captures.csv"),
    )
    return [compared(first, baseline, "ARP"), second]


def swept(evidence: Evidence) -> list[Claim]:
    """Probes that a user loses while another sweeps its /64."""
    scenario = evidence.get("edge")
    probes = [row for row in scenario.probes if row.window == SWEEP_WINDOW] if scenario else []
    windows = scenario.facts.get("scenario", {}).get("windows", []) if scenario else []
    sweeps = [sweep for window in windows if window["name"] == SWEEP_WINDOW for sweep in window["sweeps"]]
    lost = sum(row.rtt_ms is None for row in probes)
    return [
        Claim(
            "C14",
            "probes a user loses while another sweeps its /64",
            lost if probes else None,
            "probes",
            rule="none, one sent every millisecond",
            holds=bool(probes) and bool(sweeps) and lost == 0,
            total=len(probes),
            notes=tuple(
                f"{sweep['user']} sends {sweep['per_s']:,} datagrams a second for {sweep['length_s']:g} s"
                for sweep in sweeps
            ),
            source=("raw/edge/probes.csv", "raw/edge/scenario.json"),
        )
    ]

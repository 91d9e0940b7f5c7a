"""The walker's model of a switch and Open vSwitch itself, asked about the same packets by `ofproto/trace`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address
from itertools import cycle, islice
from random import Random

import pytest

from controller.openflow.agreement import bridges, compare, confirm
from controller.openflow.channel import Channel
from controller.openflow.ofproto_trace import Bridge, Verdict, passes_of, verdict_of
from controller.openflow.probe import Probe, frame_of, trace_arguments
from controller.openflow.snapshot import read_snapshot
from controller.openflow.unixctl import Unixctl, UnixctlError
from controller.plan.compile import plan
from controller.plan.facts import Bound, Facts, GatewayMode, Membership, Opening, Pin, Sender, port_id
from controller.plan.pipeline import TableId
from controller.plan.rules import Tables
from controller.verify.network import Network
from controller.verify.packet import TCP
from controller.verify.trace import Question, packet_of
from controller.verify.walk import ESTABLISHED, walk
from controller.wire.frames import UDP
from lab.openvswitch import OpenVSwitch
from tests.openvswitch.conftest import bridges_of, install
from tests.openvswitch.random_tables import Chaos
from tests.openvswitch.sample_packets import FLAGS, Sampler
from tests.unit.controller.networks import facts_of
from topologies.files import load
from topologies.spec import OriginMode, RouterAddressing, Topology

PACKETS = int(os.environ.get("TRACE_PACKETS", "10000"))
RANDOM_TABLES = 5
METRO = load("metro")
Links = frozenset[str]
REGION, GLOBAL, ANY_SOURCE = map(IPv6Address, ("ff34::8000:3", "ff3e::8000:7", "ff0e::8000:9"))
ESP = 50


def busy(topology: Topology) -> Facts:
    """Facts in which every kind of rule has a cause."""
    facts = facts_of(topology)
    origin, edge = (facts.addresses.hosts[name].unicast for name in ("origin", "edge1"))
    at = {name: port_id(topology.access_port(name)) for name in topology.hosts}
    joined = [
        *(Membership(at[name], REGION, edge) for name in ("edge2", "edge3", "edge8")),
        *(Membership(at[name], GLOBAL, origin) for name in ("user1", "user2", "user9", "edge4")),
        *(Membership(at[name], ANY_SOURCE, None) for name in ("user3", "user16", "edge5")),
    ]
    return replace(
        facts,
        accepting=tuple(name for name in facts.accepting if name != "edge6"),
        pins=frozenset({Pin("access1", "edge2"), Pin("access1", "edge5"), Pin("access6", "edge6")}),
        bound=frozenset({Bound("user3", "edge7")}),
        members=facts.members | set(joined),
        senders=frozenset({Sender(origin, ANY_SOURCE), Sender(edge, ANY_SOURCE)}),
        openings=frozenset(
            Opening(binding.address, protocol, port)
            for binding in facts.bindings[:6]
            for protocol, port in ((TCP, 22), (UDP, 4500), (ESP, 0))
        ),
        bindings=facts.bindings[:-1],
    )


def narrow(topology: Topology) -> Topology:
    """The same network with links that not every packet fits through, and routers with global addresses."""
    mtus_bytes = {"dist1-access1": 1280, "access2-user3": 1400, "access1-edge1": 1400, "core1-dist2": 1280}
    links = tuple(replace(link, mtu_bytes=mtus_bytes.get(link.name, 1500)) for link in topology.links)
    return replace(topology, links=links, routers=RouterAddressing.GLOBAL, origin=OriginMode.LAST_RESORT)


def without(facts: Facts, links: Links) -> Facts:
    """The same facts while links are down."""
    ports = (port for switch in facts.topology.switches for port in facts.topology.ports[switch])
    return replace(facts, down_ports=frozenset(port_id(port) for port in ports if port.link.name in links))


@dataclass(frozen=True)
class Case:
    """Tables as planned from facts, and links that have failed since."""

    facts: Facts
    failed: Links = frozenset()


PLAIN, NARROW = busy(METRO), busy(narrow(METRO))
CASES = {
    "all is well": Case(PLAIN),
    "links fail": Case(PLAIN, frozenset({"dist1-access1", "core1-core2", "access3-edge3", "access5-user9"})),
    "narrow links": Case(NARROW),
    "an open gateway": Case(
        without(replace(NARROW, gateway=GatewayMode.OPEN), frozenset({"dist2-access1"})),
        frozenset({"core1-dist1", "access1-edge1"}),
    ),
    "no edges": Case(replace(PLAIN, accepting=(), alive=())),
}


class Metro:
    """The switches of metro as bridges."""

    def __init__(self, vswitch: OpenVSwitch) -> None:
        self._folder = vswitch.folder
        self._down: Links = frozenset()
        self._held: Mapping[str, Tables] = {}
        self._interfaces: dict[str, list[str]] = {}
        for switch in METRO.switches:
            for port in METRO.ports[switch]:
                self._interfaces.setdefault(port.link.name, []).append(port.interface)
        self.unixctl = Unixctl.in_folder(vswitch.folder)
        self.bridges: Mapping[str, Bridge] = bridges(self.unixctl)

    def prepare(self, tables: Mapping[str, Tables], down: Links) -> None:
        """Bring the switches to these tables, and these links down."""
        for switch, wanted in tables.items():
            with Channel(switch, self._folder) as channel:
                install(channel, self._held.get(switch, Tables()), wanted)
        self._held = read_snapshot(self._folder, METRO).tables
        assert self._held == tables
        for link in self._down ^ down:
            for interface in self._interfaces[link]:
                state = "down" if link in down else "up"
                self.unixctl.call("netdev-dummy/set-admin-state", interface, state)
        self._down = down
        # While it answers, the daemon sees the change and hands it on to what forwards packets.
        for _ in range(3):
            self.unixctl.call("version")


@pytest.fixture(scope="module")
def metro(vswitch: OpenVSwitch) -> Iterator[Metro]:
    with bridges_of(vswitch, METRO):
        metro = Metro(vswitch)
        yield metro
        metro.unixctl.close()


def variant(probe: Probe, random: Random) -> tuple[Probe, bytes]:
    """A frame of the packet, at times one with more headers; and the packet as a switch then sees it."""
    packet = probe.packet
    frame = frame_of(packet, has_hop_by_hop=random.random() > 0.9)
    # What a first fragment has of its upper layer is not looked at: it counts as zeros.
    if not packet.is_fragment:
        return probe, frame
    if packet.icmpv6_type is not None:
        packet = replace(packet, icmpv6_type=0)
    elif packet.port_dst is not None:
        packet = replace(packet, port_src=0, port_dst=0)
    return replace(probe, packet=packet), frame


@dataclass(slots=True)
class Findings:
    """What a comparison has found, and what it has been through: which rules, by table and origin, which ends
    of packets, and how often the second bucket of a group."""

    differences: list[str] = field(default_factory=list)
    met: set[tuple[int, int]] = field(default_factory=set)
    ends: set[str] = field(default_factory=set)
    second_buckets: int = 0

    def add(self, verdict: Verdict, text: str) -> None:
        """Count one packet."""
        self.met |= {(rule.table, rule.cookie & 0xFFFF) for rule in verdict.met if rule.priority is not None}
        self.second_buckets += "-> using bucket 1" in text
        ends = {"sent": verdict.sent, "punted": verdict.punts, "dropped": verdict.is_dropped}
        self.ends |= {end for end, found in ends.items() if found}


def comparison(
    metro: Metro, tables: Mapping[str, Tables], facts: Facts, random: Random, count: int
) -> Findings:
    """Compare the walker and the switches in a number of packets, aimed at one rule after the other; the
    ports that are down in the facts are down in the switches."""
    metro.prepare(tables, facts.down_links)
    network = Network(facts.topology, tables, facts.down_ports)
    macs = facts.addresses.router_macs
    samplers = {switch: Sampler(content, macs[switch], random) for switch, content in tables.items()}
    aims = [(switch, rule) for switch, sampler in samplers.items() for rule in sampler.rules]
    random.shuffle(aims)
    findings = Findings()
    for switch, rule in islice(cycle(aims), count):
        probe, frame = variant(samplers[switch].probe(rule), random)
        arguments = trace_arguments(switch, probe, frame, random.choice(FLAGS))
        text = metro.unixctl.call("ofproto/trace", *arguments)
        verdict = verdict_of(passes_of(text), probe.packet, metro.bridges[switch].ports)
        findings.add(verdict, text)
        found = compare(network, switch, probe, verdict)
        if found is not None:
            words = f"{switch}: {found}\n{probe}\naimed at {rule}\n{' '.join(arguments)}\n{text}"
            findings.differences.append(words)
    return findings


@pytest.mark.parametrize("name", CASES)
def test_the_walker_and_open_vswitch_agree_on_planned_tables(metro: Metro, name: str) -> None:
    facts, failed = CASES[name].facts, CASES[name].failed
    tables = plan(facts)
    now = without(facts, facts.down_links | failed)
    findings = comparison(metro, tables, now, Random(name), PACKETS * 3 // 4 // len(CASES))
    assert not findings.differences, f"{len(findings.differences)}, the first\n{findings.differences[0]}"
    if PACKETS >= 10_000:
        rules = [rule for content in tables.values() for rule in content.rules.values()]
        assert not {(rule.table, rule.origin) for rule in rules} - findings.met
        assert findings.ends == {"sent", "punted", "dropped"}
        assert bool(findings.second_buckets) == bool(failed)


@pytest.mark.parametrize("number", range(RANDOM_TABLES))
def test_the_walker_and_open_vswitch_agree_on_any_tables(metro: Metro, number: int) -> None:
    random = Random(f"any {number}")
    tables = {switch: Chaos(len(METRO.ports[switch]), random).tables() for switch in METRO.switches}
    failed = frozenset(random.sample([link.name for link in METRO.links], 10))
    findings = comparison(metro, tables, without(PLAIN, failed), random, PACKETS // 4 // RANDOM_TABLES)
    assert not findings.differences, f"{len(findings.differences)}, the first\n{findings.differences[0]}"


def test_open_vswitch_confirms_a_walk_hop_by_hop(metro: Metro) -> None:
    tables = plan(PLAIN)
    metro.prepare(tables, frozenset())
    packet, at = packet_of(PLAIN, Question("user1", "user9")), port_id(METRO.access_port("user1"))
    network = Network(METRO, tables)
    found = walk(network, packet, at, ESTABLISHED)
    assert [hop.at.switch for hop in found.hops][::4] == ["access1", "access5"]
    confirmation = confirm(metro.unixctl, metro.bridges, network, found)
    assert confirmation.agrees, confirmation

    held = tables["access1"]
    less = {key: rule for key, rule in held.rules.items() if key.table != TableId.GATEWAY}
    believed = Network(METRO, tables | {"access1": replace(held, rules=less)})
    denied = confirm(metro.unixctl, metro.bridges, believed, walk(believed, packet, at, ESTABLISHED))
    assert not denied.agrees
    assert "where the walk meets no rule of gateway" in str(denied.hops[0])


def test_what_the_daemon_refuses_is_one_line(metro: Metro) -> None:
    with pytest.raises(UnixctlError, match=r"^ofproto/trace: .*no-such") as refused:
        metro.unixctl.call("ofproto/trace", "no-such", "in_port=1")
    assert "\n" not in str(refused.value)
    with pytest.raises(UnixctlError, match="no/such"):
        metro.unixctl.call("no/such")
    assert metro.unixctl.call("version").startswith("ovs-vswitchd")

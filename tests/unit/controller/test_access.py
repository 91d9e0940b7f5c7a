"""What may enter by each port, packet by packet."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan.access import plan_access
from controller.plan.compile import plan
from controller.plan.facts import Facts, PortId, ServiceAt, port_id
from controller.plan.meters import plan_meters
from controller.plan.pipeline import Origin, SourceClass, TableId
from controller.plan.rules import CONTROLLER_PORT, Punt, Rule, Tables
from controller.verify.network import Network
from controller.verify.packet import TCP, Context, Packet
from controller.wire.frames import ICMPV6, multicast_mac
from controller.wire.icmpv6 import IcmpType
from controller.wire.pcp import PCP_PORT
from tests.unit.controller.networks import facts_of, small, user_address
from topologies.addressing import GATEWAY, plan_addresses
from topologies.heartbeat import HEARTBEAT_PORT
from topologies.spec import OriginMode, Role
from topologies.three_tier import three_tier

TOPOLOGY = small()
FACTS = facts_of(TOPOLOGY)
ADDRESSES = FACTS.addresses
SERVICE = ADDRESSES.service
LINK_LOCAL = IPv6Address("fe80::6e:63ff:fe10:1")
ALL_NODES, ALL_ROUTERS = IPv6Address("ff02::1"), IPv6Address("ff02::2")
INFRASTRUCTURE = ("edge1", "origin", "dns")
NEVER_FORWARDED = [*range(130, 138), 141, 142, 143, 148, 149, 151, 152, 153]


def met(packet: Packet, port: PortId, facts: Facts = FACTS) -> Rule | None:
    """The one rule of INGRESS for a packet; None when it is dropped without one."""
    found = _network(facts).lookup(port.switch, TableId.INGRESS, packet, Context(port.number))
    assert not found.rivals, f"OpenFlow leaves open which rule wins: {found}"
    return found.rule


_networks: dict[int, tuple[Facts, Network]] = {}


def _network(facts: Facts) -> Network:
    if id(facts) not in _networks:
        rules: dict[str, list[Rule]] = {switch: [] for switch in facts.topology.switches}
        for switch, rule in plan_access(facts):
            rules[switch].append(rule)
        tables = {switch: Tables.of(found) for switch, found in rules.items()}
        _networks[id(facts)] = facts, Network(facts.topology, tables)
    return _networks[id(facts)][1]


def at(host: str) -> PortId:
    return port_id(TOPOLOGY.access_port(host))


def source_of(host: str) -> IPv6Address:
    if TOPOLOGY.role(host) is Role.USER:
        return user_address(TOPOLOGY, host)
    return ADDRESSES.hosts[host].unicast


def packet(host: str, dst: IPv6Address = SERVICE, **fields: object) -> Packet:
    """A packet of a host, from its own address to its router or to a group."""
    router_mac = ADDRESSES.router_macs[at(host).switch]
    to_mac = multicast_mac(dst) if dst.is_multicast else router_mac
    whole = Packet(ADDRESSES.hosts[host].mac, to_mac, source_of(host), dst)
    return replace(whole, **fields)  # type: ignore[arg-type]


def icmp(host: str, kind: int, dst: IPv6Address, src: IPv6Address = LINK_LOCAL) -> Packet:
    return packet(host, dst, src=src, ip_proto=ICMPV6, icmpv6_type=kind)


def is_dropped(rule: Rule | None) -> bool:
    return rule is None or (not rule.actions and rule.goto is None)


def is_punted(rule: Rule | None, origin: Origin) -> bool:
    return rule is not None and rule.actions == (Punt(),) and rule.origin is origin and rule.goto is None


@pytest.mark.parametrize("host", ["user1", *INFRASTRUCTURE])
@pytest.mark.parametrize(
    ("kind", "dst"),
    [
        (IcmpType.NEIGHBOR_SOLICITATION, "ff02::1:ff00:1"),
        (IcmpType.NEIGHBOR_ADVERTISEMENT, "fe80::1"),
        (IcmpType.MLDV2_REPORT, "ff02::16"),
        (IcmpType.MLDV1_REPORT, "ff3e::8000:7"),
        (IcmpType.MLDV1_DONE, "ff02::2"),
    ],
)
def test_hosts_talk_about_neighbours_and_groups_with_the_controller(host: str, kind: int, dst: str) -> None:
    assert is_punted(met(icmp(host, kind, IPv6Address(dst)), at(host)), Origin.CONTROL)
    from_nowhere = icmp(host, kind, IPv6Address(dst), src=IPv6Address("::"))
    assert is_punted(met(from_nowhere, at(host)), Origin.CONTROL)


def test_only_users_solicit_routers_and_only_infrastructure_may_query_listeners() -> None:
    solicitation, query = IcmpType.ROUTER_SOLICITATION, IcmpType.MLD_QUERY
    assert is_punted(met(icmp("user1", solicitation, ALL_ROUTERS), at("user1")), Origin.CONTROL)
    assert is_dropped(met(icmp("user1", query, ALL_NODES), at("user1")))
    for host in INFRASTRUCTURE:
        assert is_punted(met(icmp(host, query, ALL_NODES), at(host)), Origin.CONTROL)
        assert is_dropped(met(icmp(host, solicitation, ALL_ROUTERS), at(host)))


@pytest.mark.parametrize("host", ["user1", "edge1"])
@pytest.mark.parametrize("kind", [IcmpType.ROUTER_ADVERTISEMENT, IcmpType.REDIRECT])
def test_no_host_can_play_the_router(host: str, kind: int) -> None:
    for dst in (ALL_NODES, SERVICE, source_of("user2")):
        assert is_dropped(met(icmp(host, kind, dst, src=source_of(host)), at(host)))


@pytest.mark.parametrize("kind", NEVER_FORWARDED)
def test_what_is_for_one_link_only_is_never_forwarded(kind: int) -> None:
    for host in ("user1", "edge1"):
        rule = met(icmp(host, kind, SERVICE, src=source_of(host)), at(host))
        assert is_dropped(rule) or is_punted(rule, Origin.CONTROL)
    backbone = port_id(TOPOLOGY.port("d1", "a1"))
    crossing = replace(icmp("user1", kind, SERVICE), eth_dst=ADDRESSES.router_macs["d1"])
    assert is_dropped(met(crossing, backbone))


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 128, 129])
def test_errors_and_echo_are_forwarded(kind: int) -> None:
    """RFC 4890 section 4.3.1."""
    rule = met(icmp("user1", kind, SERVICE, src=source_of("user1")), at("user1"))
    assert rule is not None
    assert rule.goto is TableId.PERMIT


@pytest.mark.parametrize("host", ["user1", *INFRASTRUCTURE])
def test_the_gateway_can_be_pinged_by_its_neighbours(host: str) -> None:
    echo = icmp(host, IcmpType.ECHO_REQUEST, GATEWAY)
    assert is_punted(met(echo, at(host)), Origin.REQUEST)
    assert not is_punted(met(replace(echo, icmpv6_type=IcmpType.ECHO_REPLY), at(host)), Origin.REQUEST)
    assert not is_punted(met(replace(echo, dst=IPv6Address("fe80::2")), at(host)), Origin.REQUEST)


def test_users_and_nobody_else_ask_for_ports_to_be_opened() -> None:
    request = packet("user1", GATEWAY, port_dst=PCP_PORT)
    assert is_punted(met(request, at("user1")), Origin.REQUEST)
    assert not is_punted(met(replace(request, port_dst=PCP_PORT + 1), at("user1")), Origin.REQUEST)
    assert not is_punted(met(replace(request, ip_proto=TCP), at("user1")), Origin.REQUEST)
    for host in INFRASTRUCTURE:
        assert not is_punted(met(packet(host, GATEWAY, port_dst=PCP_PORT), at(host)), Origin.REQUEST)


def test_heartbeats_come_from_edges_by_their_own_port_and_mac() -> None:
    beat = packet("edge1", GATEWAY, port_dst=HEARTBEAT_PORT)
    assert is_punted(met(beat, at("edge1")), Origin.HEALTH)
    for changed in (
        replace(beat, eth_src=ADDRESSES.hosts["edge2"].mac),
        replace(beat, port_dst=HEARTBEAT_PORT + 1),
        replace(beat, dst=SERVICE),
    ):
        assert not is_punted(met(changed, at("edge1")), Origin.HEALTH)
    for host in ("user1", "origin", "dns"):
        assert not is_punted(met(packet(host, GATEWAY, port_dst=HEARTBEAT_PORT), at(host)), Origin.HEALTH)


@pytest.mark.parametrize(
    ("host", "source_class"),
    [
        ("user1", SourceClass.USER),
        ("edge1", SourceClass.INFRASTRUCTURE),
        ("origin", SourceClass.INFRASTRUCTURE),
        ("dns", SourceClass.DNS),
    ],
)
def test_a_host_sends_from_its_own_address_by_its_own_port(host: str, source_class: SourceClass) -> None:
    own = packet(host)
    rule = met(own, at(host))
    assert rule is not None
    assert (rule.goto, rule.source_class) == (TableId.PERMIT, source_class)
    for other in ("user2", "edge2", "user4"):
        moved = replace(own, eth_dst=ADDRESSES.router_macs[at(other).switch])
        rule = met(moved, at(other))
        assert is_dropped(rule) or is_punted(rule, Origin.CLAIM)
    for changed in (
        replace(own, eth_dst=ADDRESSES.hosts["user2"].mac),
        replace(own, src=IPv6Address("2001:db8:77::1")),
        replace(own, src=LINK_LOCAL),
        replace(own, src=IPv6Address("::")),
        replace(own, tags=(1,)),
        replace(own, tags=(4095,)),
    ):
        assert is_dropped(met(changed, at(host))), changed
    stolen = replace(own, eth_src="02:00:00:00:00:99")
    rule = met(stolen, at(host))
    assert is_punted(rule, Origin.CLAIM) if host == "user1" else is_dropped(rule)


def test_the_first_packet_of_an_address_of_the_users_prefix_claims_it() -> None:
    unknown = ADDRESSES.user_prefixes["a1"][0x77]
    assert is_punted(met(packet("user1", src=unknown), at("user1")), Origin.CLAIM)
    elsewhere = ADDRESSES.user_prefixes["a2"][0x77]
    assert is_dropped(met(packet("user1", src=elsewhere), at("user1")))
    for host in INFRASTRUCTURE:
        assert is_dropped(met(packet(host, src=unknown), at(host)))


@pytest.mark.parametrize(
    ("service_at", "mode", "speakers"),
    [
        (ServiceAt.EDGES, OriginMode.HIDDEN, {"edge1", "edge2", "edge3"}),
        (ServiceAt.EDGES, OriginMode.LAST_RESORT, {"edge1", "edge2", "edge3", "origin"}),
        (ServiceAt.ORIGIN, OriginMode.HIDDEN, {"origin"}),
    ],
)
def test_only_hosts_that_may_answer_speak_as_the_service(
    service_at: ServiceAt, mode: OriginMode, speakers: set[str]
) -> None:
    facts = facts_of(replace(TOPOLOGY, origin=mode), service_at=service_at)
    for host in TOPOLOGY.hosts:
        rule = met(packet(host, source_of("user1"), src=SERVICE), at(host), facts)
        if host in speakers:
            assert rule is not None
            assert (rule.goto, rule.source_class) == (TableId.PERMIT, SourceClass.SERVICE)
        else:
            assert is_dropped(rule)


def test_an_edge_that_is_dead_for_the_controller_may_still_finish_what_it_says() -> None:
    facts = facts_of(TOPOLOGY, members=["edge2"])
    assert not is_dropped(met(packet("edge1", source_of("user1"), src=SERVICE), at("edge1"), facts))


@pytest.mark.parametrize("group", ["ff35::8000:1", "ff05::1:3", "ff3e::8000:1", "ff0e::8000:7", "ff02::fb"])
def test_infrastructure_sends_to_groups_from_its_own_address_and_users_never_do(group: str) -> None:
    to = IPv6Address(group)
    for host in ("edge1", "origin"):
        rule = met(packet(host, to), at(host))
        assert rule is not None
        assert rule.goto is TableId.MULTICAST
        assert is_dropped(met(packet(host, to, src=SERVICE), at(host)))
        assert is_dropped(met(packet(host, to, eth_src="02:00:00:00:00:99"), at(host)))
    for host in ("user1", "dns"):
        assert is_dropped(met(packet(host, to), at(host)))


def test_a_group_at_the_routers_mac_is_still_a_group() -> None:
    to = IPv6Address("ff35::8000:1")
    rule = met(packet("edge1", to, eth_dst=ADDRESSES.router_macs["a1"]), at("edge1"))
    assert rule is not None
    assert rule.goto is TableId.MULTICAST


def test_backbone_ports_take_what_routers_send_to_this_router_and_groups() -> None:
    port = port_id(TOPOLOGY.port("d1", "a1"))
    unicast = packet("user1", eth_dst=ADDRESSES.router_macs["d1"])
    for tags in ((), (2,)):
        rule = met(replace(unicast, tags=tags), port)
        assert rule is not None
        assert (rule.goto, rule.source_class) == (TableId.ROUTER, None)
    assert is_dropped(met(replace(unicast, eth_dst=ADDRESSES.router_macs["d2"]), port))
    rule = met(packet("origin", IPv6Address("ff35::8000:1")), port)
    assert rule is not None
    assert rule.goto is TableId.MULTICAST


def test_the_controllers_own_packets_go_on_as_a_routers() -> None:
    for switch in TOPOLOGY.switches:
        rule = met(packet("user1"), PortId(switch, CONTROLLER_PORT))
        assert rule is not None
        assert rule.goto is TableId.ROUTER


def test_nothing_comes_in_by_a_port_that_the_topology_has_not() -> None:
    assert is_dropped(met(packet("user1"), PortId("a1", 99)))


def test_everything_punted_is_metered_by_a_meter_of_its_port_that_exists() -> None:
    meters = {(switch, meter.number) for switch, meter in plan_meters(FACTS)}
    by_meter: dict[tuple[str, int], set[tuple[int | None, Origin]]] = {}
    for switch, rule in plan_access(FACTS):
        if Punt() in rule.actions:
            assert rule.meter is not None, rule
            assert (switch, rule.meter) in meters
            by_meter.setdefault((switch, rule.meter), set()).add((rule.match.in_port, rule.origin))
    assert all(len(users) == 1 for users in by_meter.values()), "one port and one purpose per meter"


def test_the_whole_plan_punts_nothing_without_a_meter_that_exists() -> None:
    for tables in plan(FACTS).values():
        for rule in tables.rules.values():
            if Punt() in rule.actions:
                assert rule.meter in tables.meters, rule


def test_a_thousand_switches_and_four_thousand_users_take_well_under_half_a_second() -> None:
    topology = three_tier(20, 80, 900, users_per_access=4)
    facts = Facts(topology, plan_addresses(topology))
    started_s = time.process_time()
    rules = sum(1 for _ in plan_access(facts))
    assert time.process_time() - started_s < 0.5
    assert rules > 50_000

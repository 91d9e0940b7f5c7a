from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv6Address

import pytest

from controller.plan.facts import Binding, PortId, port_id
from controller.state.discovery import MAX_DELAYED_PER_PORT, Discovered, Discovery
from controller.state.effects import Injection
from controller.state.router_frames import EVERYBODY
from controller.wire.frames import ICMPV6, Frame, multicast_mac, parse_frame
from controller.wire.icmpv6 import IcmpType, icmp_message
from controller.wire.nd import (
    ALL_NODES,
    UNSPECIFIED,
    NdMessage,
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterAdvertisement,
    RouterSolicitation,
    decode_nd,
    encode_nd,
    solicited_node,
)
from tests.unit.controller import kernel_packets as kernel
from tests.unit.controller.networks import small
from topologies.addressing import GATEWAY, plan_addresses

TOPOLOGY = small()
ADDRESSES = plan_addresses(TOPOLOGY)
USER, RIVAL = port_id(TOPOLOGY.access_port("user1")), port_id(TOPOLOGY.access_port("user4"))
EDGE = port_id(TOPOLOGY.access_port("edge1"))
PREFIX = ADDRESSES.user_prefixes["a1"]
ADDRESS = PREFIX[0x77]
ROUTER_MAC = ADDRESSES.router_macs["a1"]
MAC, RIVAL_MAC = "02:6e:63:10:00:09", "02:00:00:00:00:99"
LINK_LOCAL = IPv6Address("fe80::9")


class Listening:
    """Who listens to which group."""

    def __init__(self) -> None:
        self.ports: dict[IPv6Address, list[PortId]] = {}

    def __call__(self, group: IPv6Address) -> Collection[PortId]:
        return self.ports.get(group, [])


def made(listening: Listening | None = None, seed: int = 0) -> Discovery:
    """A discovery whose switches are in reach, without router advertisements."""
    discovery = Discovery(TOPOLOGY, ADDRESSES, listening or Listening(), seed)
    for switch in TOPOLOGY.switches:
        discovery.switch_up(-9.0, switch)
    for port in (port_id(TOPOLOGY.access_port(f"user{index}")) for index in (1, 2, 3, 4)):
        discovery.advertiser.stop(port)
    return discovery


def packet(message: NdMessage, source: IPv6Address, destination: IPv6Address, mac: str = MAC) -> Frame:
    to = multicast_mac(destination) if destination.is_multicast else ROUTER_MAC
    return Frame(mac, to, source, destination, 255, ICMPV6, encode_nd(source, destination, message))


def probe(address: IPv6Address, mac: str = MAC) -> Frame:
    return packet(NeighborSolicitation(address), UNSPECIFIED, solicited_node(address), mac)


def question(target: IPv6Address, source: IPv6Address = LINK_LOCAL, mac: str = MAC) -> Frame:
    return packet(NeighborSolicitation(target, mac), source, solicited_node(target), mac)


def advertisement(
    target: IPv6Address, *, router: bool = False, override: bool = True, mac: str = MAC
) -> Frame:
    message = NeighborAdvertisement(target, router, False, override, mac)
    return packet(message, target, ALL_NODES, mac)


def answers(found: Discovered) -> list[tuple[PortId, str, IPv6Address, NdMessage]]:
    """What was sent: port, destination MAC, destination and message."""
    frames = [(send.port, parse_frame(send.frame)) for send in found.sends]
    assert all((frame.eth_src, frame.src) == (ROUTER_MAC, GATEWAY) for _, frame in frames)
    return [(port, frame.eth_dst, frame.dst, decode_nd(frame)) for port, frame in frames]


class TestSolicitations:
    @pytest.mark.parametrize("port", [USER, EDGE])
    @pytest.mark.parametrize("source", [LINK_LOCAL, ADDRESS])
    def test_the_gateway_answers_for_itself(self, port: PortId, source: IPv6Address) -> None:
        found = made().packet(0.0, port, question(GATEWAY, source))
        expected = NeighborAdvertisement(GATEWAY, True, True, True, ROUTER_MAC)
        assert answers(found) == [(port, MAC, source, expected)]
        is_users = port == USER and source == ADDRESS
        assert found.learnt == ([Binding(USER, ADDRESS, MAC)] if is_users else [])

    def test_the_gateway_defends_its_address_to_all_nodes(self) -> None:
        found = made().packet(0.0, USER, probe(GATEWAY))
        expected = NeighborAdvertisement(GATEWAY, True, False, True, ROUTER_MAC)
        assert answers(found) == [(USER, EVERYBODY.mac, ALL_NODES, expected)]
        assert found.learnt == []

    def test_a_probe_binds_and_is_not_answered(self) -> None:
        discovery = made()
        found = discovery.packet(0.0, USER, probe(ADDRESS))
        assert found == Discovered(learnt=[Binding(USER, ADDRESS, MAC)])
        assert discovery.packet(1.0, USER, probe(ADDRESS)) == Discovered()

    def test_an_address_of_another_port_is_defended_without_telling_whose_it_is(self) -> None:
        discovery = made()
        discovery.packet(0.0, USER, probe(ADDRESS))
        found = discovery.packet(1.0, RIVAL, probe(ADDRESS, RIVAL_MAC))
        expected = NeighborAdvertisement(ADDRESS, False, False, True, ROUTER_MAC)
        assert answers(found) == [(RIVAL, EVERYBODY.mac, ALL_NODES, expected)]
        assert discovery.neighbours.bindings == (Binding(USER, ADDRESS, MAC),)
        assert discovery.counters["taken"] == 1

    def test_neighbours_find_each_other_by_the_router_which_never_overrides(self) -> None:
        discovery = made()
        discovery.packet(0.0, USER, probe(ADDRESS))
        found = discovery.packet(1.0, RIVAL, question(ADDRESS, mac=RIVAL_MAC))
        expected = NeighborAdvertisement(ADDRESS, False, True, False, ROUTER_MAC)
        assert answers(found) == [(RIVAL, RIVAL_MAC, LINK_LOCAL, expected)]
        assert answers(discovery.packet(1.0, USER, question(ADDRESS))) == []

    def test_nothing_is_answered_for_an_address_that_nobody_has(self) -> None:
        found = made().packet(0.0, USER, question(PREFIX[2], ADDRESS))
        assert found.sends == []

    def test_users_link_local_addresses_are_not_bound(self) -> None:
        discovery = made()
        assert discovery.packet(0.0, USER, probe(LINK_LOCAL)) == Discovered()
        assert discovery.packet(0.0, RIVAL, probe(LINK_LOCAL, RIVAL_MAC)) == Discovered()


class TestAnycast:
    def test_the_service_is_answered_for_after_a_delay_and_without_override(self) -> None:
        delays = []
        for seed in range(30):
            discovery = made(seed=seed)
            found = discovery.packet(1.0, USER, question(ADDRESSES.service))
            assert found.sends == []
            assert discovery.deadline_s is not None
            delays.append(discovery.deadline_s - 1.0)
            expected = NeighborAdvertisement(ADDRESSES.service, False, True, False, ROUTER_MAC)
            assert answers(discovery.tick(discovery.deadline_s)) == [(USER, MAC, LINK_LOCAL, expected)]
        assert all(0.0 <= delay <= 1.0 for delay in delays)
        assert max(delays) - min(delays) > 0.5

    def test_it_is_never_a_duplicate(self) -> None:
        discovery = made()
        for port in (USER, EDGE):
            assert discovery.packet(0.0, port, probe(ADDRESSES.service)) == Discovered()
        assert discovery.tick(9.0).sends == []

    def test_those_who_wait_for_an_answer_are_few(self) -> None:
        discovery = made()
        for index in range(100):
            for _ in range(2):
                asked = question(ADDRESSES.service, IPv6Address(int(LINK_LOCAL) + index))
                discovery.packet(0.0, USER, asked)
        assert len(discovery.tick(1.0).sends) == MAX_DELAYED_PER_PORT
        assert discovery.counters["too-many-answers"] == 2 * (100 - MAX_DELAYED_PER_PORT)
        discovery.packet(2.0, USER, question(ADDRESSES.service))
        assert len(discovery.tick(3.0).sends) == 1


class TestGuards:
    @pytest.mark.parametrize(
        ("target", "router", "reason"),
        [
            (ADDRESSES.service, False, "service-address"),
            (GATEWAY, True, "gateway-address"),
            (ADDRESS, True, "router-flag"),
        ],
    )
    def test_hosts_do_not_speak_for_routers_or_the_service(
        self, target: IPv6Address, router: bool, reason: str
    ) -> None:
        discovery = made()
        assert discovery.packet(0.0, USER, advertisement(target, router=router)) == Discovered()
        assert discovery.counters == {reason: 1}

    def test_router_advertisements_and_redirects_of_hosts_are_ignored(self) -> None:
        discovery = made()
        advert = packet(RouterAdvertisement(1800, source_link=MAC), LINK_LOCAL, ALL_NODES)
        redirect = icmp_message(LINK_LOCAL, ADDRESS, IcmpType.REDIRECT, bytes(36))
        assert discovery.packet(0.0, USER, advert) == Discovered()
        frame = Frame(MAC, ROUTER_MAC, LINK_LOCAL, ADDRESS, 255, ICMPV6, redirect)
        assert discovery.packet(0.0, EDGE, frame) == Discovered()
        assert discovery.counters == {"router-advertisement": 1, "redirect": 1}

    def test_nothing_behind_a_fragment_header_is_neighbour_discovery(self) -> None:
        discovery = made()
        inner = probe(ADDRESS).payload
        for protocol in (44, 60):
            hidden = Frame(
                MAC,
                ROUTER_MAC,
                UNSPECIFIED,
                solicited_node(ADDRESS),
                255,
                protocol,
                b"\x3a" + bytes(7) + inner,
            )
            assert discovery.packet(0.0, USER, hidden) == Discovered()
        assert discovery.counters == {"malformed": 2}

    def test_what_comes_from_beyond_the_link_or_is_damaged_is_counted(self) -> None:
        discovery = made()
        good = probe(ADDRESS)
        for frame in (
            Frame(MAC, good.eth_dst, good.src, good.dst, 254, ICMPV6, good.payload),
            Frame(MAC, good.eth_dst, good.src, good.dst, 255, ICMPV6, good.payload[:-1] + b"\1"),
            Frame("33:33:00:00:00:01", good.eth_dst, good.src, good.dst, 255, ICMPV6, good.payload),
        ):
            assert discovery.packet(0.0, USER, frame) == Discovered()
        assert discovery.counters == {"malformed": 3}

    @pytest.mark.parametrize(
        "message",
        [
            NeighborSolicitation(GATEWAY, RIVAL_MAC),
            NeighborAdvertisement(ADDRESS, False, False, True, RIVAL_MAC),
            RouterSolicitation(RIVAL_MAC),
        ],
    )
    def test_a_link_layer_address_that_is_not_the_senders_is_refused(self, message: NdMessage) -> None:
        discovery = made()
        assert discovery.packet(0.0, USER, packet(message, ADDRESS, ALL_NODES)) == Discovered()
        assert discovery.counters == {"link-address": 1}

    def test_an_advertisement_for_a_neighbours_address_changes_nothing(self) -> None:
        discovery = made()
        discovery.packet(0.0, USER, probe(ADDRESS))
        assert discovery.packet(0.0, RIVAL, advertisement(ADDRESS, mac=RIVAL_MAC)) == Discovered()
        assert discovery.neighbours.bindings == (Binding(USER, ADDRESS, MAC),)

    def test_without_override_a_known_link_layer_address_stays(self) -> None:
        discovery = made()
        discovery.packet(0.0, USER, advertisement(ADDRESS, override=False))
        discovery.packet(1.0, USER, advertisement(ADDRESS, override=False, mac=RIVAL_MAC))
        assert discovery.neighbours.bindings == (Binding(USER, ADDRESS, MAC),)
        discovery.packet(2.0, USER, advertisement(ADDRESS, mac=RIVAL_MAC))
        assert discovery.neighbours.bindings == (Binding(USER, ADDRESS, RIVAL_MAC),)


class TestReachability:
    def test_a_silent_host_is_asked_by_unicast_and_stays_if_it_answers(self) -> None:
        discovery = made()
        discovery.packet(0.0, USER, probe(ADDRESS))
        expected = NeighborSolicitation(ADDRESS, ROUTER_MAC)
        assert answers(discovery.tick(300.0))[-1] == (USER, MAC, ADDRESS, expected)
        reply = NeighborAdvertisement(ADDRESS, False, True, False, None)
        assert discovery.packet(300.2, USER, packet(reply, ADDRESS, GATEWAY)) == Discovered()
        forgotten = [discovery.tick(300.0 + second).forgotten for second in range(290)]
        assert not any(forgotten)

    def test_a_host_that_does_not_answer_is_forgotten(self) -> None:
        discovery = made()
        discovery.claim(0.0, USER, ADDRESS, MAC)
        asked, forgotten = 0, []
        for second in range(300, 310):
            found = discovery.tick(float(second))
            asked += sum(isinstance(entry[3], NeighborSolicitation) for entry in answers(found))
            forgotten += [(second, entry) for entry in found.forgotten]
        assert asked == 3
        assert forgotten == [(303, Binding(USER, ADDRESS, MAC))]

    def test_a_first_packet_claims_and_one_of_another_port_does_not(self) -> None:
        discovery = made()
        assert discovery.claim(0.0, USER, ADDRESS, MAC).learnt == [Binding(USER, ADDRESS, MAC)]
        assert discovery.claim(1.0, RIVAL, ADDRESS, RIVAL_MAC) == Discovered()

    def test_a_restarted_controller_asks_before_it_forgets(self) -> None:
        discovery = Discovery(TOPOLOGY, ADDRESSES, Listening())
        discovery.restore(5000.0, (Binding(USER, ADDRESS, MAC),))
        assert discovery.deadline_s is None
        discovery.switch_up(5001.0, "a1")
        assert discovery.neighbours.bindings == (Binding(USER, ADDRESS, MAC),)
        assert discovery.neighbours.deadline_s == 5301.0


class TestResolution:
    PACKET = b"a packet to 2001:db8:1::77"

    def listening(self) -> Listening:
        listening = Listening()
        listening.ports[solicited_node(ADDRESS)] = [USER]
        return listening

    def test_only_listeners_are_asked_and_the_packet_goes_on_when_one_answers(self) -> None:
        discovery = made(self.listening())
        found = discovery.resolve(0.0, "a1", ADDRESS, self.PACKET)
        group = solicited_node(ADDRESS)
        expected = NeighborSolicitation(ADDRESS, ROUTER_MAC)
        assert answers(found) == [(USER, multicast_mac(group), group, expected)]
        reply = NeighborAdvertisement(ADDRESS, False, True, True, MAC)
        found = discovery.packet(0.3, USER, packet(reply, ADDRESS, GATEWAY))
        assert found == Discovered(
            released=[Injection("a1", self.PACKET)], learnt=[Binding(USER, ADDRESS, MAC)]
        )
        assert discovery.tick(9.0).unreachable == []

    def test_without_an_answer_the_packet_is_unreachable_after_three_questions(self) -> None:
        discovery = made(self.listening())
        discovery.resolve(0.0, "a1", ADDRESS, b"an older packet")
        discovery.resolve(0.5, "a1", ADDRESS, self.PACKET)
        found = [discovery.tick(now_s) for now_s in (1.0, 2.0, 3.0, 4.0)]
        assert [len(entry.sends) for entry in found] == [1, 1, 0, 0]
        assert [entry.unreachable for entry in found] == [[], [], [Injection("a1", self.PACKET)], []]
        assert discovery.counters == {"nobody-answers": 1}

    def test_where_nobody_listens_it_is_unreachable_at_once(self) -> None:
        discovery = made(self.listening())
        for address in (PREFIX[0x78], ADDRESSES.user_prefixes["a2"][0x77], ADDRESSES.access_blocks["a1"][-1]):
            found = discovery.resolve(0.0, "a1", address, self.PACKET)
            assert found == Discovered(unreachable=[Injection("a1", self.PACKET)])
        assert discovery.resolve(0.0, "c1", ADDRESS, self.PACKET).unreachable
        assert discovery.counters == {"nobody-listens": 4}

    def test_a_packet_to_an_address_bound_meanwhile_does_not_go_round_in_circles(self) -> None:
        discovery = made(self.listening())
        discovery.claim(0.0, USER, ADDRESS, MAC)
        assert discovery.resolve(0.1, "a1", ADDRESS, self.PACKET) == Discovered()
        assert discovery.counters == {"bound-meanwhile": 1}

    def test_a_sweep_is_bounded_and_counted(self) -> None:
        discovery = Discovery(TOPOLOGY, ADDRESSES, lambda group: [USER])
        for index in range(1, 1001):
            discovery.resolve(0.0, "a1", PREFIX[index], self.PACKET)
        assert len(discovery.resolver) == 64
        assert discovery.counters == {"too-many-searches": 936}


class TestAdvertisements:
    def test_users_hear_of_their_prefix_and_of_the_mtu_when_their_switch_is_in_reach(self) -> None:
        discovery = Discovery(TOPOLOGY, ADDRESSES, Listening())
        assert discovery.deadline_s is None
        found = answers(discovery.switch_up(5.0, "a1"))
        assert [(port, mac, to) for port, mac, to, _ in found] == [
            (USER, EVERYBODY.mac, ALL_NODES),
            (RIVAL, EVERYBODY.mac, ALL_NODES),
        ]
        advert = found[0][3]
        assert isinstance(advert, RouterAdvertisement)
        assert (advert.mtu_bytes, advert.lifetime_s, advert.source_link) == (1500, 1800, ROUTER_MAC)
        (prefix,) = advert.prefixes
        assert (prefix.prefix, prefix.on_link, prefix.autonomous) == (PREFIX, False, True)

    def test_a_solicitation_is_answered_to_users_only(self) -> None:
        discovery = made()
        for port in (USER, EDGE):
            discovery.port_changed(-8.0, port, is_up=True)
        asked = packet(RouterSolicitation(MAC), LINK_LOCAL, IPv6Address("ff02::2"))
        assert discovery.packet(0.0, USER, asked).sends == []
        ((port, mac, to, message),) = answers(discovery.tick(0.5))
        assert (port, mac, to, type(message)) == (USER, MAC, LINK_LOCAL, RouterAdvertisement)
        discovery.packet(1.0, EDGE, asked)
        assert discovery.tick(2.0).sends == []

    def test_a_port_that_comes_up_is_advertised_to_and_one_that_is_down_is_not(self) -> None:
        discovery = made()
        discovery.port_changed(0.0, USER, is_up=False)
        assert [port for port, *_ in answers(discovery.switch_up(1.0, "a1"))] == [RIVAL]
        assert discovery.packet(1.0, USER, question(GATEWAY)).sends == []
        assert [port for port, *_ in answers(discovery.port_changed(2.0, USER, is_up=True))] == [USER]

    def test_a_switch_out_of_reach_is_left_alone_until_it_is_back(self) -> None:
        discovery = made()
        discovery.claim(0.0, USER, ADDRESS, MAC)
        for switch in TOPOLOGY.switches:
            discovery.switch_down(switch)
        assert discovery.deadline_s is None
        assert discovery.port_changed(1.0, USER, is_up=False) == Discovered()
        assert discovery.port_changed(2.0, USER, is_up=True) == Discovered()
        assert len(discovery.switch_up(9000.0, "a1").sends) == 2
        assert discovery.neighbours.bindings == (Binding(USER, ADDRESS, MAC),)


class TestKernel:
    """A Linux host from its first packet on."""

    def test_its_packets_bind_its_address_and_are_answered(self) -> None:
        discovery = made()
        discovery.port_changed(-8.0, USER, is_up=True)
        discovery.tick(0.0)

        def take(now_s: float, data: bytes) -> Discovered:
            return discovery.packet(now_s, USER, parse_frame(data))

        assert take(0.0, kernel.LINK_LOCAL_PROBE) == Discovered()
        take(1.0, kernel.ROUTER_SOLICITATION)
        ((_, mac, to, message),) = answers(discovery.tick(1.5))
        assert (mac, to, type(message)) == (kernel.HOST_MAC, kernel.HOST_LINK_LOCAL, RouterAdvertisement)
        binding = Binding(USER, kernel.HOST, kernel.HOST_MAC)
        assert take(2.0, kernel.PROBE) == Discovered(learnt=[binding])
        for data, source in (
            (kernel.SOLICITATION_OF_GATEWAY, kernel.HOST),
            (kernel.GATEWAY_STILL_THERE, kernel.HOST_LINK_LOCAL),
        ):
            expected = NeighborAdvertisement(GATEWAY, True, True, True, ROUTER_MAC)
            assert answers(take(3.0, data)) == [(USER, kernel.HOST_MAC, source, expected)]
        for now_s, data in ((303.5, kernel.STILL_HERE), (604.0, kernel.HERE_I_AM)):
            sends = [entry for entry in answers(discovery.tick(now_s)) if entry[2] == kernel.HOST]
            assert [type(entry[3]) for entry in sends] == [NeighborSolicitation]
            assert take(now_s, data) == Discovered()
        assert discovery.neighbours.bindings == (binding,)
        assert discovery.counters == {"solicited": 1}

"""The state machines in simulated time."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise

import pytest

from controller.plan.facts import Binding, Membership, PortId, port_id
from controller.state.membership import (
    LAST_LISTENER_QUERY_TIME_S,
    LISTENING_INTERVAL_S,
    MAX_GROUPS_PER_PORT,
    Listeners,
)
from controller.state.neighbours import MAX_BINDINGS_PER_PORT, Claim, Neighbours
from controller.state.network import Effects, NetworkState
from controller.wire.frames import ICMPV6, Frame, encode_frame, multicast_mac, parse_frame
from controller.wire.mld import Query, Record, RecordType, Report, decode_mld, encode_mld
from controller.wire.nd import (
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterAdvertisement,
    RouterSolicitation,
    decode_nd,
    encode_nd,
)
from tests.unit.controller.networks import small

PORT, OTHER = PortId("a1", 4), PortId("a1", 5)
GROUP, SOURCE = IPv6Address("ff35::8000:1"), IPv6Address("fd00::1")
ASM = IPv6Address("ff0e::1:2")
PREFIX = IPv6Network("2001:db8:1::/64")
MAC = "02:00:00:00:00:01"
TOPOLOGY = small()


def report(kind: RecordType, *sources: IPv6Address, group: IPv6Address = GROUP, version: int = 2) -> Report:
    return Report((Record(kind, group, sources),), version)


class TestListeners:
    def test_a_listener_joins_at_once_and_expires_after_the_listening_interval(self) -> None:
        listeners = Listeners()
        member = Membership(PORT, GROUP, SOURCE)
        assert listeners.report(0.0, PORT, report(RecordType.ALLOW_NEW_SOURCES, SOURCE)).joined == [member]
        assert listeners.report(9.0, PORT, report(RecordType.MODE_IS_INCLUDE, SOURCE)).joined == []
        assert LISTENING_INTERVAL_S == 270.0
        assert listeners.deadline_s == 279.0
        assert listeners.tick(278.9).left == []
        assert listeners.tick(279.0).left == [member]
        assert (listeners.members, listeners.deadline_s) == (frozenset(), None)

    @pytest.mark.parametrize("kind", [RecordType.BLOCK_OLD_SOURCES, RecordType.CHANGE_TO_INCLUDE])
    def test_a_leaver_is_asked_for_twice_and_then_forgotten(self, kind: RecordType) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(RecordType.MODE_IS_INCLUDE, SOURCE))
        sources = (SOURCE,) if kind is RecordType.BLOCK_OLD_SOURCES else ()
        outcome = listeners.report(10.0, PORT, report(kind, *sources))
        query = Query(1000, GROUP, (SOURCE,))
        assert outcome.queries == [(PORT, query)]
        assert listeners.deadline_s == 11.0
        assert listeners.tick(11.0).queries == [(PORT, query)]
        assert listeners.tick(11.9).left == []
        assert listeners.tick(10.0 + LAST_LISTENER_QUERY_TIME_S).left == [Membership(PORT, GROUP, SOURCE)]

    def test_another_listener_on_the_port_keeps_the_source(self) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(RecordType.MODE_IS_INCLUDE, SOURCE))
        listeners.report(10.0, PORT, report(RecordType.BLOCK_OLD_SOURCES, SOURCE))
        listeners.report(10.5, PORT, report(RecordType.MODE_IS_INCLUDE, SOURCE))
        assert listeners.tick(11.0).queries == []
        assert listeners.tick(20.0).left == []
        assert listeners.deadline_s == 280.5

    def test_a_repeated_leave_neither_asks_again_nor_gains_time(self) -> None:
        listeners = Listeners()
        listeners.report(0.0, PORT, report(RecordType.MODE_IS_INCLUDE, SOURCE))
        listeners.report(10.0, PORT, report(RecordType.BLOCK_OLD_SOURCES, SOURCE))
        assert listeners.report(10.7, PORT, report(RecordType.BLOCK_OLD_SOURCES, SOURCE)).queries == []
        listeners.tick(11.0)
        assert listeners.tick(12.0).left == [Membership(PORT, GROUP, SOURCE)]

    @pytest.mark.parametrize("kind", [RecordType.MODE_IS_EXCLUDE, RecordType.CHANGE_TO_EXCLUDE])
    def test_exclude_means_nothing_in_the_source_specific_range(self, kind: RecordType) -> None:
        listeners = Listeners()
        assert listeners.report(0.0, PORT, report(kind)).joined == []
        assert listeners.report(0.0, PORT, report(kind, version=1)).joined == []

    def test_any_source_groups_know_version_1(self) -> None:
        listeners = Listeners()
        joined = listeners.report(0.0, PORT, report(RecordType.MODE_IS_EXCLUDE, group=ASM, version=1)).joined
        assert joined == [Membership(PORT, ASM, None)]
        done = report(RecordType.CHANGE_TO_INCLUDE, group=ASM, version=1)
        assert listeners.report(5.0, PORT, done).queries == [(PORT, Query(1000, ASM))]
        listeners.tick(6.0)
        assert listeners.tick(7.0).left == joined

    def test_link_local_groups_are_not_kept(self) -> None:
        listeners = Listeners()
        solicited = IPv6Address("ff02::1:ff00:1")
        assert listeners.report(0.0, PORT, report(RecordType.MODE_IS_EXCLUDE, group=solicited)).joined == []

    def test_a_port_cannot_fill_the_memory(self) -> None:
        listeners = Listeners()
        for index in range(MAX_GROUPS_PER_PORT + 10):
            group = IPv6Address(int(GROUP) + index)
            listeners.report(0.0, PORT, report(RecordType.MODE_IS_INCLUDE, SOURCE, group=group))
        many = [IPv6Address(int(SOURCE) + index) for index in range(1000)]
        listeners.report(0.0, OTHER, report(RecordType.ALLOW_NEW_SOURCES, *many))
        assert len([member for member in listeners.members if member.port == PORT]) == MAX_GROUPS_PER_PORT
        assert len([member for member in listeners.members if member.port == OTHER]) == 64

    def test_a_port_that_goes_down_takes_its_listeners_along(self) -> None:
        listeners = Listeners()
        for port in (PORT, OTHER):
            listeners.report(0.0, port, report(RecordType.MODE_IS_INCLUDE, SOURCE))
        assert listeners.port_down(PORT).left == [Membership(PORT, GROUP, SOURCE)]
        assert listeners.members == {Membership(OTHER, GROUP, SOURCE)}


class TestNeighbours:
    def test_first_come_first_served(self) -> None:
        neighbours = Neighbours({PORT: PREFIX, OTHER: PREFIX})
        assert neighbours.claim(PORT, PREFIX[9], MAC) is Claim.NEW
        assert neighbours.claim(PORT, PREFIX[9], MAC) is Claim.KNOWN
        assert neighbours.claim(OTHER, PREFIX[9], "02:00:00:00:00:02") is Claim.TAKEN
        assert neighbours.bindings == (Binding(PORT, PREFIX[9], MAC),)
        assert neighbours.mac_of(PREFIX[9]) == MAC

    def test_an_owner_whose_port_is_down_loses_the_address(self) -> None:
        neighbours = Neighbours({PORT: PREFIX, OTHER: PREFIX})
        neighbours.claim(PORT, PREFIX[9], MAC)
        assert neighbours.claim(OTHER, PREFIX[9], MAC, down_ports={PORT}) is Claim.NEW
        assert neighbours.bindings == (Binding(OTHER, PREFIX[9], MAC),)

    def test_the_address_must_lie_in_the_prefix_of_a_port_that_has_one(self) -> None:
        neighbours = Neighbours({PORT: PREFIX})
        for port, address in (
            (PORT, "fe80::9"),
            (PORT, "2001:db8:2::9"),
            (PORT, "2001:db8:1::"),
            (OTHER, "::1"),
        ):
            assert neighbours.claim(port, IPv6Address(address), MAC) is Claim.OUTSIDE
        assert neighbours.bindings == ()

    def test_the_oldest_gives_way_when_a_port_claims_too_many(self) -> None:
        neighbours = Neighbours({PORT: PREFIX, OTHER: PREFIX})
        neighbours.claim(OTHER, PREFIX[999], MAC)
        for index in range(1, MAX_BINDINGS_PER_PORT + 1):
            neighbours.claim(PORT, PREFIX[index], MAC)
        neighbours.claim(PORT, PREFIX[1], MAC)
        neighbours.claim(PORT, PREFIX[500], MAC)
        held = {binding.address for binding in neighbours.bindings if binding.port == PORT}
        assert len(held) == MAX_BINDINGS_PER_PORT
        assert PREFIX[1] in held
        assert PREFIX[2] not in held
        assert neighbours.claim(OTHER, PREFIX[2], MAC) is Claim.NEW
        assert neighbours.mac_of(PREFIX[999]) == MAC


class TestNetworkState:
    USER, EDGE = port_id(TOPOLOGY.access_port("user1")), port_id(TOPOLOGY.access_port("edge1"))
    LINK_LOCAL = IPv6Address("fe80::9")

    def state(self) -> NetworkState:
        state = NetworkState(TOPOLOGY)
        for switch in TOPOLOGY.switches:
            state.switch_up(switch, [])
        return state

    def nd(self, src: str, dst: str, message: object, mac: str = MAC) -> bytes:
        source, target = IPv6Address(src), IPv6Address(dst)
        payload = encode_nd(source, target, message)  # type: ignore[arg-type]
        return encode_frame(Frame(mac, multicast_mac(target), source, target, 255, ICMPV6, payload))

    def mld(self, message: Report) -> bytes:
        to = IPv6Address("ff02::16")
        payload = encode_mld(self.LINK_LOCAL, to, message)
        frame = Frame(MAC, multicast_mac(to), self.LINK_LOCAL, to, 1, ICMPV6, payload, router_alert=True)
        return encode_frame(frame)

    def probe(self, address: IPv6Address, mac: str = MAC) -> bytes:
        solicited = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF)
        return self.nd("::", str(solicited), NeighborSolicitation(address), mac)

    def join(self, state: NetworkState) -> Effects:
        message = report(RecordType.ALLOW_NEW_SOURCES, state.addresses.hosts["origin"].unicast)
        return state.packet(1.0, self.EDGE, self.mld(message))

    def events(self, effects: Effects) -> list[str]:
        return [note.event for note in effects.notes]

    def test_the_gateway_answers_for_itself(self) -> None:
        state = self.state()
        for port, source in ((self.USER, "2001:db8:1::77"), (self.EDGE, "fe80::9")):
            asked = self.nd(source, "ff02::1:ff00:1", NeighborSolicitation(IPv6Address("fe80::1"), MAC))
            (send,) = state.packet(0.0, port, asked).sends
            answer = parse_frame(send.frame)
            mac = state.addresses.router_macs["a1"]
            assert (send.port, answer.eth_dst, str(answer.dst)) == (port, MAC, source)
            assert decode_nd(answer) == NeighborAdvertisement(IPv6Address("fe80::1"), True, True, True, mac)
        assert [str(binding.address) for binding in state.facts.bindings] == ["2001:db8:1::77"]

    def test_nothing_is_answered_for_other_targets(self) -> None:
        state = self.state()
        asked = self.nd(
            "2001:db8:1::77", "ff02::1:ff00:2", NeighborSolicitation(IPv6Address("2001:db8:1::2"))
        )
        assert state.packet(0.0, self.USER, asked).sends == []

    def test_a_router_solicitation_is_answered_to_users_only(self) -> None:
        state = self.state()
        asked = self.nd("fe80::9", "ff02::2", RouterSolicitation(MAC))
        (send,) = state.packet(0.0, self.USER, asked).sends
        answer = parse_frame(send.frame)
        assert (str(answer.dst), answer.eth_dst) == ("fe80::9", MAC)
        advert = decode_nd(answer)
        assert isinstance(advert, RouterAdvertisement)
        assert [(p.prefix, p.on_link) for p in advert.prefixes] == [(IPv6Network("2001:db8:1::/64"), False)]
        assert state.packet(0.0, self.EDGE, asked).sends == []

    def test_duplicate_address_detection_binds_and_defends(self) -> None:
        state = self.state()
        address = IPv6Address("2001:db8:1::77")
        effects = state.packet(0.0, self.USER, self.probe(address))
        assert (self.events(effects), effects.sends) == (["host-learnt"], [])
        assert state.facts.bindings == (Binding(self.USER, address, MAC),)
        revision = state.revision
        assert state.packet(1.0, self.USER, self.probe(address)).notes == []
        assert state.revision == revision
        rival = port_id(TOPOLOGY.access_port("user4"))
        (send,) = state.packet(2.0, rival, self.probe(address, "02:00:00:00:00:99")).sends
        assert send.port == rival
        assert decode_nd(parse_frame(send.frame)) == NeighborAdvertisement(address, False, False, True, MAC)

    def test_advertisements_bind_but_not_those_of_pretended_routers(self) -> None:
        state = self.state()
        for is_router, expected in ((True, 0), (False, 1)):
            message = NeighborAdvertisement(IPv6Address("2001:db8:1::77"), is_router, False, True, MAC)
            state.packet(0.0, self.USER, self.nd("2001:db8:1::77", "ff02::1", message))
            assert len(state.facts.bindings) == expected

    def test_a_first_packet_binds_an_address_whose_probe_was_lost_unless_another_port_has_it(self) -> None:
        state = self.state()
        address, router = IPv6Address("2001:db8:1::77"), state.addresses.router_macs["a1"]
        service = IPv6Address(TOPOLOGY.service.address)

        def packet(eth_dst: str, mac: str = MAC) -> bytes:
            return encode_frame(Frame(mac, eth_dst, address, service, 64, 6, bytes(20)))

        assert state.packet(0.0, self.USER, packet("02:00:00:00:00:55")).notes == []
        effects = state.packet(0.0, self.USER, packet(router))
        assert (self.events(effects), effects.sends) == (["host-learnt"], [])
        rival = port_id(TOPOLOGY.access_port("user4"))
        assert state.packet(1.0, rival, packet(router, "02:00:00:00:00:99")).notes == []
        assert state.facts.bindings == (Binding(self.USER, address, MAC),)

    def test_an_edge_is_healthy_while_it_listens_and_its_port_is_up(self) -> None:
        state = self.state()
        assert self.events(self.join(state)) == ["member-join", "edge-healthy"]
        assert state.facts.healthy_edges == ("edge1",)
        down = state.port_changed(2.0, self.EDGE, False)
        assert self.events(down) == ["port-down", "member-leave", "edge-unhealthy"]
        assert state.facts.down_links == {"edge1-a1"}
        assert self.events(state.port_changed(3.0, self.EDGE, True)) == ["port-up"]
        assert state.facts.healthy_edges == ()

    def test_the_policy_changes_which_edges_are_healthy(self) -> None:
        state = self.state()
        self.join(state)
        assert self.events(state.set_allowed_edges(["edge2"])) == ["edge-unhealthy"]
        assert self.events(state.set_allowed_edges(None)) == ["edge-healthy"]

    def test_a_user_that_joins_the_static_group_is_no_edge(self) -> None:
        state = self.state()
        message = report(RecordType.ALLOW_NEW_SOURCES, state.addresses.hosts["origin"].unicast)
        state.packet(0.0, self.USER, self.mld(message))
        assert state.facts.healthy_edges == ()

    def test_hosts_are_queried_and_advertised_to_on_the_schedule_of_the_rfcs(self) -> None:
        state = self.state()
        sent: list[tuple[float, str]] = []
        effects, now_s = state.installed(0.0, "a1"), 0.0
        while now_s < 900.0:
            for send in effects.sends:
                frame = parse_frame(send.frame)
                if send.port == self.USER:
                    sent.append((now_s, "query" if frame.router_alert else "advert"))
                elif not frame.router_alert:
                    assert send.port == port_id(TOPOLOGY.access_port("user4"))
                if frame.router_alert:
                    assert decode_mld(frame) == Query(10_000)
            assert state.deadline_s is not None
            assert state.deadline_s > now_s
            now_s = state.deadline_s
            effects = state.tick(now_s)
        queries = [moment for moment, kind in sent if kind == "query"]
        assert queries[:4] == [0.0, 31.25, 156.25, 281.25]
        adverts = [moment for moment, kind in sent if kind == "advert"]
        gaps = [later - earlier for earlier, later in pairwise(adverts)]
        assert gaps[:2] == [16.0, 16.0]
        assert all(200.0 <= gap <= 600.0 for gap in gaps[2:])
        assert gaps[2:]

    def test_the_schedule_depends_on_the_seed_only(self) -> None:
        def moments(seed: int) -> list[float]:
            state = NetworkState(TOPOLOGY, seed=seed)
            state.switch_up("a1", [])
            state.installed(0.0, "a1")
            found = []
            for _ in range(30):
                assert state.deadline_s is not None
                found.append(state.deadline_s)
                state.tick(state.deadline_s)
            return found

        assert moments(1) == moments(1)
        assert moments(1) != moments(2)

    def test_a_lost_connection_stops_the_schedule_but_changes_nothing_else(self) -> None:
        state = self.state()
        state.installed(0.0, "a1")
        revision = state.revision
        state.switch_down("a1")
        assert (state.deadline_s, state.revision) == (None, revision)

    def test_packets_from_the_backbone_and_unknown_ports_are_ignored(self) -> None:
        state = self.state()
        probe = self.probe(IPv6Address("2001:db8:1::77"))
        for port in (PortId("a1", 1), PortId("a1", 77)):
            effects = state.packet(0.0, port, probe)
            assert (effects.sends, effects.notes) == ([], [])
            assert self.events(state.port_changed(0.0, PortId("a1", 77), False)) == []
        assert state.facts.bindings == ()

"""The whole state of the controller: what hosts and switches say, and what becomes of it."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from controller.plan.facts import Membership, Pin, PortId, Sender, port_id
from controller.plan.pipeline import Origin
from controller.plan.rules import COOKIE_MARK
from controller.state.edges import BEATS_TO_RETURN
from controller.state.effects import Effects
from controller.state.network import NetworkState
from controller.wire.frames import ICMPV6, UDP, Frame, encode_frame, multicast_mac, parse_frame
from controller.wire.icmpv6 import IcmpType, icmp_message
from controller.wire.mld import Record, RecordType, Report, encode_mld
from controller.wire.nd import NeighborSolicitation, encode_nd
from tests.unit.controller.networks import small, user_address
from topologies.addressing import ERROR_SOURCE, GATEWAY
from topologies.heartbeat import SILENCE_S, EdgeState, Heartbeat, encode_heartbeat

TOPOLOGY = small()
MAC = "02:00:00:00:00:01"
LINK_LOCAL = IPv6Address("fe80::9")
ALL_ROUTERS = IPv6Address("ff02::16")
ASM = IPv6Address("ff0e::8000:1")
USER = port_id(TOPOLOGY.access_port("user1"))
USER_ADDRESS = user_address(TOPOLOGY, "user1")


def network() -> NetworkState:
    """All switches up and programmed, all ports up."""
    state = NetworkState(TOPOLOGY)
    for switch in TOPOLOGY.switches:
        state.switch_up(0.0, switch, [])
        state.installed(0.0, switch)
    state.urgent = False
    return state


def punt(
    state: NetworkState, now_s: float, port: PortId, origin: Origin, data: bytes, argument: int = 0
) -> Effects:
    return state.packet(now_s, port, data, COOKIE_MARK | argument << 16 | origin)


def udp(source: IPv6Address, destination: IPv6Address, payload: bytes, hop_limit: int = 64) -> bytes:
    header = struct.pack("!HHHH", 5000, 9, 8 + len(payload), 0xFFFF)
    return encode_frame(Frame(MAC, MAC, source, destination, hop_limit, UDP, header + payload))


def beat(state: NetworkState, now_s: float, edge: str, edge_state: EdgeState = EdgeState.SERVING) -> Effects:
    source = state.addresses.hosts[edge].unicast
    data = udp(source, GATEWAY, encode_heartbeat(Heartbeat(edge_state, 0, 1)))
    return punt(state, now_s, port_id(TOPOLOGY.access_port(edge)), Origin.HEALTH, data)


def report(group: IPv6Address, kind: RecordType = RecordType.MODE_IS_EXCLUDE) -> bytes:
    payload = encode_mld(LINK_LOCAL, ALL_ROUTERS, Report((Record(kind, group),)))
    frame = Frame(
        MAC, multicast_mac(ALL_ROUTERS), LINK_LOCAL, ALL_ROUTERS, 1, ICMPV6, payload, router_alert=True
    )
    return encode_frame(frame)


def test_an_edge_that_beats_is_given_connections_and_one_that_is_silent_is_not() -> None:
    state = network()
    for count in range(BEATS_TO_RETURN):
        beat(state, count * 0.1, "edge2")
    last_s = (BEATS_TO_RETURN - 1) * 0.1
    assert state.facts.accepting == state.facts.alive == ("edge2",)
    assert state.deadline_s is not None
    state.tick(last_s + SILENCE_S - 0.01)
    assert state.facts.accepting == ("edge2",)
    effects = state.tick(last_s + SILENCE_S)
    assert state.facts.accepting == ()
    assert state.urgent
    assert [note.event for note in effects.notes if note.event.startswith("edge")] == ["edge-dead"]


def test_a_heartbeat_that_does_not_change_anything_plans_nothing() -> None:
    state = network()
    for count in range(BEATS_TO_RETURN):
        beat(state, count * 0.1, "edge2")
    revision = state.revision
    beat(state, 0.3, "edge2")
    assert state.revision == revision


def test_an_edge_whose_port_goes_down_is_dead_at_once() -> None:
    state = network()
    for count in range(BEATS_TO_RETURN):
        beat(state, count * 0.1, "edge1")
    state.port_changed(0.2, port_id(TOPOLOGY.access_port("edge1")), False)
    assert state.facts.alive == ()
    assert state.urgent


def test_a_drained_edge_keeps_what_it_has_and_gets_nothing_new() -> None:
    state = network()
    for count in range(BEATS_TO_RETURN):
        for edge in ("edge1", "edge2"):
            beat(state, count * 0.1, edge)
    state.chosen(0.2, {"a1": "edge1"})
    state.drain("edge1", drained=True)
    assert (state.facts.accepting, state.facts.alive) == (("edge2",), ("edge1", "edge2"))
    assert not state.urgent
    state.chosen(0.2, {"a1": "edge2"})
    assert state.facts.pins == {Pin("a1", "edge1")}


def test_the_first_packet_of_an_unbound_address_claims_it() -> None:
    state = network()
    punt(state, 1.0, USER, Origin.CLAIM, udp(USER_ADDRESS, state.addresses.service, b""))
    assert [binding.address for binding in state.facts.bindings] == [USER_ADDRESS]


def test_a_packet_to_a_neighbour_that_listens_waits_until_it_has_answered() -> None:
    state = network()
    target = user_address(TOPOLOGY, "user2")
    where = port_id(TOPOLOGY.access_port("user2"))
    group = IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(target) & 0xFF_FFFF)
    punt(state, 1.0, where, Origin.CONTROL, report(group))
    waiting = udp(USER_ADDRESS, target, b"hello")
    inbound = PortId("a2", 1)
    effects = punt(state, 1.0, inbound, Origin.ADDRESS_UNREACHABLE, waiting)
    assert [send.port for send in effects.sends] == [where], "only the port that listens is asked"
    advertised = encode_nd(target, GATEWAY, NeighborSolicitation(GATEWAY, MAC))
    answer = encode_frame(Frame(MAC, MAC, target, GATEWAY, 255, ICMPV6, advertised))
    effects = punt(state, 1.1, where, Origin.CONTROL, answer)
    assert [injection.frame for injection in effects.releases] == [waiting]
    assert target in {binding.address for binding in state.facts.bindings}


def test_a_packet_to_an_address_that_nobody_has_is_answered() -> None:
    state = network()
    effects = punt(
        state,
        1.0,
        PortId("a2", 1),
        Origin.ADDRESS_UNREACHABLE,
        udp(USER_ADDRESS, user_address(TOPOLOGY, "user2"), b""),
    )
    assert [injection.switch for injection in effects.injections] == ["a2"]
    error = parse_frame(effects.injections[0].frame)
    assert (error.src, error.dst) == (ERROR_SOURCE, USER_ADDRESS)
    assert error.payload[:2] == bytes((IcmpType.DESTINATION_UNREACHABLE, 3))


def test_packet_too_big_about_an_answer_of_the_service_goes_to_every_edge() -> None:
    state = network()
    for count in range(BEATS_TO_RETURN):
        for edge in ("edge1", "edge3"):
            beat(state, count * 0.1, edge)
    big = udp(state.addresses.service, USER_ADDRESS, bytes(1300))
    effects = punt(state, 1.0, PortId("d1", 1), Origin.TOO_BIG, big, argument=1280)
    ports = [port_id(TOPOLOGY.access_port(edge)) for edge in ("edge1", "edge3")]
    assert [send.port for send in effects.sends] == ports
    for send, edge in zip(effects.sends, ("edge1", "edge3"), strict=True):
        error = parse_frame(send.frame)
        assert error.eth_dst == state.addresses.hosts[edge].mac
        assert error.payload[0] == IcmpType.PACKET_TOO_BIG
        assert struct.unpack_from("!I", error.payload, 4) == (1280,)


def test_the_gateway_answers_an_echo_of_its_own_host_only() -> None:
    state = network()
    request = icmp_message(LINK_LOCAL, GATEWAY, IcmpType.ECHO_REQUEST, b"\0\1\0\1nearcast")
    asked = encode_frame(Frame(MAC, MAC, LINK_LOCAL, GATEWAY, 64, ICMPV6, request))
    effects = punt(state, 1.0, USER, Origin.REQUEST, asked)
    assert [send.port for send in effects.sends] == [USER]
    assert parse_frame(effects.sends[0].frame).payload[0] == IcmpType.ECHO_REPLY


def test_a_sender_to_a_group_counts_while_somebody_listens() -> None:
    state = network()
    origin = port_id(TOPOLOGY.access_port("origin"))
    source = state.addresses.hosts["origin"].unicast
    data = udp(source, ASM, b"")
    punt(state, 1.0, origin, Origin.SENDER, data)
    assert state.facts.senders == frozenset(), "nobody listens"
    punt(state, 1.0, USER, Origin.CONTROL, report(ASM))
    punt(state, 1.1, origin, Origin.SENDER, data)
    assert state.facts.senders == {Sender(source, ASM)}
    assert state.facts.members == {Membership(USER, ASM, None)}
    state.port_changed(2.0, USER, False)
    assert (state.facts.senders, state.facts.members) == (frozenset(), frozenset())


def test_garbage_is_counted_and_changes_nothing() -> None:
    state = network()
    revision = state.revision
    for origin in Origin:
        for data in (b"", bytes(60), bytes(1500)):
            effects = punt(state, 1.0, USER, origin, data)
            assert effects.sends + effects.injections + effects.releases == []
    state.packet(1.0, USER, bytes(60), 0)
    assert state.revision == revision
    assert state.punts["invalid"] > 0

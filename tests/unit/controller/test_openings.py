"""Users open ports of their own, for a while: the server side of PCP without a network."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.plan.facts import Opening, PortId
from controller.state.openings import (
    LONG_ERROR_S,
    MAX_LIFETIME_S,
    MAX_OPENINGS_PER_PORT,
    MIN_LIFETIME_S,
    SHORT_ERROR_S,
    Answer,
    Openings,
)
from controller.wire.frames import ICMPV6, UDP, Frame, WireError, parse_frame
from controller.wire.pcp import (
    PCP_PORT,
    MapRequest,
    MapResponse,
    ResultCode,
    decode_response,
    encode_request,
    encode_response,
)
from controller.wire.udp import Datagram, decode_udp, encode_udp

GATEWAY = IPv6Address("fe80::1")
ALICE, BOB = IPv6Address("2001:db8:1::100"), IPv6Address("2001:db8:1::200")
ALICE_MAC, ROUTER_MAC = "02:6e:63:10:00:01", "02:6e:63:01:00:01"
PORT, OTHER_PORT = PortId("a1", 3), PortId("a1", 4)
TCP = 6
NONCE, OTHER_NONCE = b"n" * 12, b"m" * 12
WEB = MapRequest(ALICE, NONCE, TCP, 8080, 3600)
OPENING = Opening(ALICE, TCP, 8080)


def frame(payload: bytes, source: IPv6Address = ALICE, to_port: int = PCP_PORT) -> Frame:
    data = encode_udp(source, GATEWAY, Datagram(40000, to_port, payload))
    return Frame(ALICE_MAC, ROUTER_MAC, source, GATEWAY, 64, UDP, data)


def send(
    machine: Openings, request: MapRequest, now_s: float = 0.0, port: PortId = PORT, is_own: bool = True
) -> tuple[Answer, MapResponse]:
    answer = machine.message(now_s, port, ROUTER_MAC, frame(encode_request(request), request.client), is_own)
    assert answer.frame is not None
    return answer, decode_response(decode_udp(parse_frame(answer.frame)).payload)


def test_a_port_is_opened_for_as_long_as_was_asked() -> None:
    machine = Openings()
    answer, response = send(machine, WEB)
    assert (response.code, response.lifetime_s) == (ResultCode.SUCCESS, 3600)
    assert (response.external, response.external_port) == (ALICE, 8080)
    assert answer.opened == [OPENING]
    assert machine.openings == {OPENING}
    assert machine.deadline_s == 3600.0
    assert machine.tick(3599.9) == []
    assert machine.tick(3600.0) == [OPENING]
    assert machine.openings == frozenset()
    assert machine.deadline_s is None


def test_the_answer_goes_back_the_way_the_request_came() -> None:
    answer, _ = send(Openings(), WEB)
    assert answer.frame is not None
    reply = parse_frame(answer.frame)
    assert (reply.eth_src, reply.eth_dst) == (ROUTER_MAC, ALICE_MAC)
    assert (reply.src, reply.dst) == (GATEWAY, ALICE)
    datagram = decode_udp(reply)
    assert (datagram.source_port, datagram.destination_port) == (PCP_PORT, 40000)


def test_asking_again_renews_and_opens_nothing_new() -> None:
    machine = Openings()
    send(machine, WEB)
    answer, response = send(machine, WEB, 1800.0)
    assert answer.opened == []
    assert response.lifetime_s == 3600
    assert machine.tick(3600.0) == []
    assert machine.tick(5400.0) == [OPENING]


def test_a_lifetime_of_zero_closes_the_port() -> None:
    machine = Openings()
    send(machine, WEB)
    answer, response = send(machine, replace(WEB, lifetime_s=0), 1.0)
    assert (response.code, response.lifetime_s) == (ResultCode.SUCCESS, 0)
    assert answer.closed == [OPENING]
    assert machine.openings == frozenset()
    answer, response = send(machine, replace(WEB, lifetime_s=0), 2.0)
    assert (response.code, answer.closed) == (ResultCode.SUCCESS, [])


def test_everything_a_host_has_opened_can_be_closed_at_once() -> None:
    machine = Openings()
    for request in (WEB, replace(WEB, port=22), replace(WEB, protocol=UDP, port=53)):
        send(machine, request)
    send(machine, replace(WEB, client=BOB))
    answer, _ = send(machine, replace(WEB, port=0, lifetime_s=0))
    assert answer.closed == [Opening(ALICE, TCP, 22), Opening(ALICE, TCP, 8080)]
    answer, _ = send(machine, replace(WEB, protocol=0, port=0, lifetime_s=0))
    assert answer.closed == [Opening(ALICE, UDP, 53)]
    assert machine.openings == {Opening(BOB, TCP, 8080)}


@pytest.mark.parametrize(
    ("asked_s", "granted_s"), [(1, MIN_LIFETIME_S), (600, 600), (0xFFFF_FFFF, MAX_LIFETIME_S)]
)
def test_lifetimes_are_kept_within_bounds(asked_s: int, granted_s: int) -> None:
    machine = Openings()
    _, response = send(machine, replace(WEB, lifetime_s=asked_s))
    assert response.lifetime_s == granted_s
    assert machine.deadline_s == granted_s


def test_nobody_opens_a_port_of_another_address() -> None:
    machine = Openings()
    stolen = frame(encode_request(replace(WEB, client=BOB)), source=ALICE)
    answer = machine.message(0.0, PORT, ROUTER_MAC, stolen, True)
    assert answer.frame is not None
    response = decode_response(decode_udp(parse_frame(answer.frame)).payload)
    assert (response.code, response.lifetime_s) == (ResultCode.ADDRESS_MISMATCH, LONG_ERROR_S)
    assert machine.openings == frozenset()


def test_nobody_opens_a_port_of_an_address_that_is_not_bound_to_the_port_it_asks_by() -> None:
    machine = Openings()
    for lifetime_s in (3600, 0):
        _, response = send(machine, replace(WEB, lifetime_s=lifetime_s), port=OTHER_PORT, is_own=False)
        assert response.code is ResultCode.NOT_AUTHORIZED
    assert machine.openings == frozenset()


def test_only_who_knows_the_nonce_may_renew_or_close() -> None:
    machine = Openings()
    send(machine, WEB)
    for lifetime_s in (7200, 0):
        answer, response = send(machine, replace(WEB, nonce=OTHER_NONCE, lifetime_s=lifetime_s), 600.0)
        # RFC 6887 section 11.3: until the present mapping has ended.
        assert (response.code, response.lifetime_s) == (ResultCode.NOT_AUTHORIZED, 3000)
        assert not answer.closed
    assert machine.deadline_s == 3600.0


@pytest.mark.parametrize(
    ("protocol", "port"), [(0, 0), (TCP, 0), (UDP, 0), (ICMPV6, 1), (132, 80), (33, 80), (50, 0)]
)
def test_what_the_gateway_cannot_tell_apart_is_not_opened(protocol: int, port: int) -> None:
    machine = Openings()
    answer, response = send(machine, replace(WEB, protocol=protocol, port=port))
    assert response.code is ResultCode.UNSUPP_PROTOCOL
    assert not answer.opened
    assert machine.openings == frozenset()


def test_echo_requests_can_be_let_in_too() -> None:
    machine = Openings()
    send(machine, replace(WEB, protocol=ICMPV6, port=0))
    assert machine.openings == {Opening(ALICE, ICMPV6, 0)}


@pytest.mark.parametrize(
    ("external_port", "external", "code"),
    [
        (0, "::", ResultCode.SUCCESS),
        (8080, str(ALICE), ResultCode.SUCCESS),
        (80, "::", ResultCode.CANNOT_PROVIDE_EXTERNAL),
        (0, str(BOB), ResultCode.CANNOT_PROVIDE_EXTERNAL),
    ],
)
def test_a_wish_that_is_a_condition_is_refused_because_nothing_is_translated(
    external_port: int, external: str, code: ResultCode
) -> None:
    request = replace(WEB, external_port=external_port, external=IPv6Address(external))
    assert send(Openings(), request)[1].code is ResultCode.SUCCESS
    assert send(Openings(), replace(request, prefer_failure=True))[1].code is code


def test_a_port_has_a_quota_and_its_neighbour_another() -> None:
    machine = Openings()
    for number in range(1, MAX_OPENINGS_PER_PORT + 1):
        send(machine, replace(WEB, port=number))
    _, response = send(machine, WEB)
    assert (response.code, response.lifetime_s) == (ResultCode.USER_EX_QUOTA, SHORT_ERROR_S)
    assert send(machine, replace(WEB, port=1))[1].code is ResultCode.SUCCESS, "renewing is no new opening"
    assert send(machine, replace(WEB, client=BOB), port=OTHER_PORT)[1].code is ResultCode.SUCCESS
    send(machine, replace(WEB, port=1, lifetime_s=0))
    assert send(machine, WEB)[1].code is ResultCode.SUCCESS
    assert len(machine.openings) == MAX_OPENINGS_PER_PORT + 1


def test_openings_end_with_the_binding_of_their_address() -> None:
    machine = Openings()
    send(machine, WEB)
    send(machine, replace(WEB, client=BOB))
    assert machine.end(ALICE) == [OPENING]
    assert machine.end(ALICE) == []
    assert machine.openings == {Opening(BOB, TCP, 8080)}
    assert machine.tick(3600.0) == [Opening(BOB, TCP, 8080)]


def test_a_restarted_controller_keeps_what_it_finds_until_the_host_asks_again() -> None:
    machine = Openings()
    machine.restore(100.0, [OPENING])
    assert machine.openings == {OPENING}
    assert machine.deadline_s == 100.0 + MAX_LIFETIME_S
    # Whoever is bound to the address may take it up, with a nonce of its own.
    answer, response = send(machine, replace(WEB, nonce=OTHER_NONCE), 200.0)
    assert (response.code, answer.opened) == (ResultCode.SUCCESS, [])
    assert machine.deadline_s == 200.0 + 3600
    assert send(machine, WEB, 201.0)[1].code is ResultCode.NOT_AUTHORIZED


def test_a_restored_opening_can_be_closed() -> None:
    machine = Openings()
    machine.restore(0.0, [OPENING])
    assert send(machine, replace(WEB, lifetime_s=0), 1.0)[0].closed == [OPENING]


def test_the_epoch_tells_how_long_the_server_has_known_what_it_knows() -> None:
    machine = Openings()
    assert send(machine, WEB, 1000.0)[1].epoch_s == 0
    assert send(machine, WEB, 1060.9)[1].epoch_s == 60


def test_a_request_that_cannot_be_read_is_answered_with_an_error() -> None:
    machine = Openings()
    old = b"\0" + encode_request(WEB)[1:]
    answer = machine.message(0.0, PORT, ROUTER_MAC, frame(old), True)
    assert answer.frame is not None
    payload = decode_udp(parse_frame(answer.frame)).payload
    assert payload[:4] == bytes((2, 0x81, 0, ResultCode.UNSUPP_VERSION))
    assert payload[24:] == old[24:]
    assert machine.counters["unsupp-version"] == 1


@pytest.mark.parametrize(
    "ignored",
    [
        frame(encode_response(MapResponse(ResultCode.SUCCESS, 1, 1, NONCE, TCP, 80, 80, ALICE))),
        frame(b"\2"),
        frame(encode_request(WEB), to_port=PCP_PORT - 1),
        frame(encode_request(replace(WEB, client=IPv6Address("::"))), source=IPv6Address("::")),
    ],
)
def test_responses_and_scraps_get_no_answer(ignored: Frame) -> None:
    machine = Openings()
    assert machine.message(0.0, PORT, ROUTER_MAC, ignored, True).frame is None
    assert machine.counters == {"ignored": 1}


def test_a_damaged_datagram_is_an_error_of_the_wire() -> None:
    whole = frame(encode_request(WEB))
    with pytest.raises(WireError):
        Openings().message(0.0, PORT, ROUTER_MAC, replace(whole, payload=whole.payload[:-1]), True)


REQUESTS = st.builds(
    MapRequest,
    st.sampled_from([ALICE, BOB]),
    st.sampled_from([NONCE, OTHER_NONCE]),
    st.sampled_from([0, TCP, UDP, ICMPV6]),
    st.sampled_from([0, *range(1, 2 * MAX_OPENINGS_PER_PORT)]),
    st.sampled_from([0, 0, 1, 600, 600, 600, 10_000]),
)


@given(st.lists(st.tuples(REQUESTS, st.floats(0, 3000)), max_size=120))
def test_whatever_is_asked_what_is_open_was_granted_has_an_end_and_keeps_to_the_quota(
    asked: list[tuple[MapRequest, float]],
) -> None:
    machine, now_s = Openings(), 0.0
    ends_s: dict[Opening, float] = {}
    for request, pause_s in asked:
        now_s += pause_s / len(asked)
        for opening in machine.tick(now_s):
            assert ends_s.pop(opening) <= now_s
        if request.protocol == 0 and request.port != 0:
            continue
        answer, response = send(machine, request, now_s, PORT if request.client == ALICE else OTHER_PORT)
        for opening in answer.closed:
            del ends_s[opening]
        if response.code is ResultCode.SUCCESS and response.lifetime_s:
            opened = Opening(request.client, request.protocol, request.port)
            assert answer.opened == ([] if opened in ends_s else [opened])
            ends_s[opened] = now_s + response.lifetime_s
        assert machine.openings == set(ends_s)
        assert machine.deadline_s == min(ends_s.values(), default=None)
        for address in (ALICE, BOB):
            assert sum(opening.address == address for opening in ends_s) <= MAX_OPENINGS_PER_PORT

"""PCP messages, byte by byte, and what a server must answer to those it cannot read (RFC 6887)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.wire.frames import WireError
from controller.wire.pcp import (
    MapRequest,
    MapResponse,
    PcpError,
    ResultCode,
    decode_request,
    decode_response,
    encode_error,
    encode_request,
    encode_response,
    is_request,
)

CLIENT = IPv6Address("2001:db8:1::100")
NONCE = bytes(range(12))
REQUEST = MapRequest(CLIENT, NONCE, 6, 8080, 3600)
REQUEST_BYTES = bytes.fromhex(
    "02 01 0000 00000e10"  # version 2, MAP, 3600 s
    "20010db8000100000000000000000100"  # client
    "000102030405060708090a0b"  # nonce
    "06 000000 1f90 0000"  # TCP, port 8080, no wish
    "00000000000000000000000000000000"
)
RESPONSE = MapResponse(ResultCode.SUCCESS, 3600, 17, NONCE, 6, 8080, 8080, CLIENT)
RESPONSE_BYTES = bytes.fromhex(
    "02 81 00 00 00000e10 00000011 000000000000000000000000"
    "000102030405060708090a0b"
    "06 000000 1f90 1f90"
    "20010db8000100000000000000000100"
)


def refused(data: bytes) -> ResultCode:
    with pytest.raises(PcpError) as caught:
        decode_request(data)
    return caught.value.code


def with_options(*options: str) -> bytes:
    return REQUEST_BYTES + b"".join(map(bytes.fromhex, options))


def test_messages_are_laid_out_as_in_the_rfc() -> None:
    assert encode_request(REQUEST) == REQUEST_BYTES
    assert encode_response(RESPONSE) == RESPONSE_BYTES
    assert decode_request(REQUEST_BYTES) == REQUEST
    assert decode_response(RESPONSE_BYTES) == RESPONSE


ADDRESSES = st.ip_addresses(v=6)
PORTS = st.integers(0, 0xFFFF)
SECONDS = st.integers(0, 0xFFFF_FFFF)
NONCES = st.binary(min_size=12, max_size=12)


@given(
    st.builds(MapRequest, ADDRESSES, NONCES, st.integers(1, 255), PORTS, SECONDS, PORTS, ADDRESSES)
    | st.builds(
        MapRequest,
        ADDRESSES,
        NONCES,
        st.integers(1, 255),
        PORTS,
        st.integers(1, 0xFFFF_FFFF),
        PORTS,
        ADDRESSES,
        st.just(True),
    )
)
def test_every_request_is_read_as_it_was_written(request_: MapRequest) -> None:
    assert decode_request(encode_request(request_)) == request_


@given(
    st.builds(
        MapResponse,
        st.sampled_from(ResultCode),
        SECONDS,
        SECONDS,
        NONCES,
        st.integers(0, 255),
        PORTS,
        PORTS,
        ADDRESSES,
    )
)
def test_every_response_is_read_as_it_was_written(response: MapResponse) -> None:
    assert decode_response(encode_response(response)) == response


@given(st.binary(max_size=1200))
def test_any_bytes_are_read_or_refused_and_every_refusal_can_be_answered(data: bytes) -> None:
    if not is_request(data):
        return
    try:
        decode_request(data)
    except PcpError as error:
        answer = encode_error(data, error.code, 30, 1)
        assert 24 <= len(answer) <= 1100
        assert len(answer) % 4 == 0
        assert not is_request(answer)


@given(st.integers(0, len(REQUEST_BYTES) - 1), st.integers(0, 255))
def test_a_damaged_request_is_read_as_it_is_or_refused(position: int, value: int) -> None:
    data = bytearray(REQUEST_BYTES)
    data[position] = value
    try:
        damaged = decode_request(bytes(data))
    except PcpError:
        return
    reserved = {2, 3, 37, 38, 39}
    assert position in reserved or encode_request(damaged) == data


@pytest.mark.parametrize("data", [b"", b"\2", b"\2\x81" + bytes(58), b"\2\x80"])
def test_responses_and_scraps_are_no_requests(data: bytes) -> None:
    assert not is_request(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\1" + REQUEST_BYTES[1:], ResultCode.UNSUPP_VERSION),
        (b"\0\0", ResultCode.UNSUPP_VERSION),  # NAT-PMP
        (REQUEST_BYTES[:20], ResultCode.MALFORMED_REQUEST),
        (REQUEST_BYTES[:24], ResultCode.MALFORMED_REQUEST),
        (REQUEST_BYTES[:-4], ResultCode.MALFORMED_REQUEST),
        (REQUEST_BYTES + b"\0", ResultCode.MALFORMED_REQUEST),
        (REQUEST_BYTES + bytes.fromhex("80000000") * 261, ResultCode.MALFORMED_REQUEST),
        (b"\2\2" + REQUEST_BYTES[2:], ResultCode.UNSUPP_OPCODE),
        (REQUEST_BYTES[:36] + b"\0" + REQUEST_BYTES[37:], ResultCode.MALFORMED_REQUEST),
        (with_options("01000010", "20010db8000100000000000000000200"), ResultCode.UNSUPP_OPTION),
        (with_options("02000000", "02000000"), ResultCode.MALFORMED_OPTION),
        (with_options("02000004", "00000000"), ResultCode.MALFORMED_OPTION),
        (with_options("80000008", "00000000"), ResultCode.MALFORMED_OPTION),
    ],
)
def test_what_cannot_be_read_is_refused_for_the_reason_in_the_rfc(data: bytes, code: ResultCode) -> None:
    assert refused(data) is code


def test_preferring_failure_makes_no_sense_in_a_deletion() -> None:
    data = encode_request(replace(REQUEST, lifetime_s=0, prefer_failure=True))
    assert refused(data) is ResultCode.MALFORMED_OPTION


def test_options_that_need_not_be_understood_are_skipped() -> None:
    data = with_options("80000003", "01020300", "02000000")
    assert decode_request(data) == replace(REQUEST, prefer_failure=True)


def test_an_error_repeats_the_request_with_the_header_of_a_response() -> None:
    answer = encode_error(b"\1" + REQUEST_BYTES[1:], ResultCode.UNSUPP_VERSION, 1800, 5)
    assert answer[:24].hex() == "02810001" + "00000708" + "00000005" + "00" * 12
    assert answer[24:] == REQUEST_BYTES[24:]
    assert encode_error(b"\2\7", ResultCode.UNSUPP_OPCODE, 1800, 5)[1] == 0x87


@pytest.mark.parametrize(
    "data",
    [
        RESPONSE_BYTES[:-4],
        RESPONSE_BYTES + b"\0",
        REQUEST_BYTES,
        b"\1" + RESPONSE_BYTES[1:],
        RESPONSE_BYTES[:3] + b"\x63" + RESPONSE_BYTES[4:],
        b"",
    ],
)
def test_a_client_ignores_what_is_no_response_to_map(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_response(data)


def test_a_nonce_has_twelve_bytes() -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        encode_request(replace(REQUEST, nonce=b"short"))

"""UDP over IPv6: what is refused, what is read, what is written."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import ICMPV6, UDP, Frame, WireError
from controller.wire.udp import Datagram, decode_udp, encode_udp

SOURCE, DESTINATION = IPv6Address("2001:db8:1::100"), IPv6Address("fe80::1")
HOST_MAC, ROUTER_MAC = "02:6e:63:10:00:01", "02:6e:63:01:00:01"


def frame(payload: bytes, protocol: int = UDP) -> Frame:
    return Frame(HOST_MAC, ROUTER_MAC, SOURCE, DESTINATION, 64, protocol, payload)


def with_checksum(header: bytes, data: bytes) -> bytes:
    checksum = upper_layer_checksum(SOURCE, DESTINATION, UDP, header[:6] + b"\0\0" + data)
    return header[:6] + struct.pack("!H", checksum) + data


GOOD = encode_udp(SOURCE, DESTINATION, Datagram(40000, 5351, b"hello"))


def test_a_datagram_is_laid_out_as_in_rfc_768() -> None:
    assert GOOD[:6].hex() == "9c40" + "14e7" + "000d"
    assert GOOD[8:] == b"hello"
    assert upper_layer_checksum(SOURCE, DESTINATION, UDP, GOOD) == 0


@given(
    st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=64), st.ip_addresses(v=6), st.binary()
)
def test_what_is_written_is_read_again(
    source_port: int, destination_port: int, payload: bytes, source: IPv6Address, padding: bytes
) -> None:
    datagram = Datagram(source_port, destination_port, payload)
    data = encode_udp(source, DESTINATION, datagram)
    assert decode_udp(replace(frame(data + padding), src=source)) == datagram


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (GOOD[:7], "cut short"),
        (GOOD[:-1], "length 13"),
        (GOOD[:4] + b"\0\7" + GOOD[6:], "length 7"),
        (GOOD[:4] + b"\0\0" + GOOD[6:], "length 0"),
        (GOOD[:6] + b"\0\0" + GOOD[8:], "without a checksum"),
        (GOOD[:-1] + b"0", "checksum is wrong"),
    ],
)
def test_what_is_not_a_whole_datagram_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        decode_udp(frame(payload))


def test_another_protocol_is_refused() -> None:
    with pytest.raises(WireError, match="protocol 58"):
        decode_udp(frame(GOOD, ICMPV6))


def test_the_checksum_covers_the_addresses() -> None:
    with pytest.raises(WireError, match="checksum"):
        decode_udp(replace(frame(GOOD), dst=IPv6Address("fe80::2")))


def test_a_checksum_that_comes_out_as_0_is_written_as_ffff() -> None:
    # The last two bytes are chosen so that everything adds up to ffff.
    header = struct.pack("!HHHH", 1, 2, 10, 0)
    missing = upper_layer_checksum(SOURCE, DESTINATION, UDP, header + b"\0\0")
    data = encode_udp(SOURCE, DESTINATION, Datagram(1, 2, struct.pack("!H", missing)))
    assert data[6:8] == b"\xff\xff"
    assert decode_udp(frame(data)).payload == struct.pack("!H", missing)


def test_a_payload_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        encode_udp(SOURCE, DESTINATION, Datagram(1, 2, bytes(65528)))


def test_the_kernel_accepts_our_checksum() -> None:
    """A raw socket sends our bytes on the loopback interface; the kernel hands them to a UDP socket."""
    loopback = IPv6Address("::1")
    try:
        raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("raw sockets need root")
    with raw, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("::1", 0))
        receiver.settimeout(5.0)
        port = receiver.getsockname()[1]
        raw.sendto(encode_udp(loopback, loopback, Datagram(4711, port, b"checked")), ("::1", 0))
        data, sender = receiver.recvfrom(64)
    assert (data, sender[1]) == (b"checked", 4711)

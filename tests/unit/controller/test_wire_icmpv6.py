from __future__ import annotations

from dataclasses import replace

import pytest

from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import ICMPV6, WireError, parse_frame
from controller.wire.icmpv6 import IcmpType, icmp_body, icmp_message
from tests.unit.controller import kernel_packets as kernel


def test_type_and_body_of_a_message_of_the_linux_kernel() -> None:
    frame = parse_frame(kernel.ECHO_REQUEST)
    assert icmp_body(frame) == (IcmpType.ECHO_REQUEST, b"\0\7\0\1nearcast")
    assert icmp_message(frame.src, frame.dst, 128, b"\0\7\0\1nearcast") == frame.payload


def test_a_message_has_its_code_and_a_checksum_that_adds_up_to_zero() -> None:
    for code in (0, 3):
        message = icmp_message(kernel.HOST, kernel.SENDER, 1, b"body", code)
        assert message[:2] == bytes((1, code))
        assert message[4:] == b"body"
        assert upper_layer_checksum(kernel.HOST, kernel.SENDER, ICMPV6, message) == 0


def test_what_is_not_whole_or_right_is_refused() -> None:
    frame = parse_frame(kernel.ECHO_REQUEST)
    for broken, reason in (
        (replace(frame, protocol=17), "protocol 17"),
        (replace(frame, payload=b"\x80\0\0"), "cut short"),
        (replace(frame, payload=b"\x80\1" + frame.payload[2:]), "code 1"),
        (replace(frame, payload=frame.payload[:-1] + b"\0"), "checksum"),
        (replace(frame, src=kernel.HOST), "checksum"),
    ):
        with pytest.raises(WireError, match=reason):
            icmp_body(broken)


def test_messages_of_one_link_are_never_forwarded() -> None:
    """RFC 4890 section 4.3.3: MLD, ND and redirects."""
    assert {int(kind) for kind in IcmpType if kind.is_link_local} == {*range(130, 138), 143}

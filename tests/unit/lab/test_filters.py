"""Which frames the filters of streams accept, by the rules of the kernel's own interpreter."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from lab.bpf import Filter, of_tcp_port, to_group

ETHERNET, LOOPBACK = 1, 772
_ANCILLARY = 0xFFFFF000
_SIZES = {0x20: 4, 0x28: 2, 0x30: 1}


def accepts(frame_filter: Filter, frame: bytes, hardware: int = ETHERNET) -> bool:
    """Run the program on a frame; loads from beyond it reject, as in the kernel."""
    program = frame_filter.assemble()
    at = value = 0
    while True:
        code, if_true, if_false, operand = program[at]
        if code == 0x06:
            return operand > 0
        if code == 0x15:
            at += if_true if value == operand else if_false
        elif operand >= _ANCILLARY:
            value = hardware
        elif operand + _SIZES[code] > len(frame):
            return False
        else:
            value = int.from_bytes(frame[operand : operand + _SIZES[code]], "big")
        at += 1


def frame(
    target: str, next_header: int = 6, ports: tuple[int, int] = (40000, 8080), kind: int = 0x86DD
) -> bytes:
    addresses = IPv6Address("fd00::1").packed + IPv6Address(target).packed
    header = bytes(12) + kind.to_bytes(2, "big") + bytes(6) + bytes([next_header, 64])
    return header + addresses + b"".join(port.to_bytes(2, "big") for port in ports) + bytes(16)


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        (frame("ff35::8001:0"), True),
        (frame("ff35::8001:1"), False),
        (frame("ff34::8001:0"), False),
        (frame("ff35::8001:0", kind=0x0800), False),
        (frame("ff35::8001:0")[:50], False),
    ],
)
def test_a_group_is_its_whole_address(seen: bytes, wanted: bool) -> None:
    assert accepts(to_group("ff35::8001:0"), seen) is wanted
    assert not accepts(to_group("ff35::8001:0"), seen, LOOPBACK)


@pytest.mark.parametrize(
    ("seen", "to", "since"),
    [
        (frame("fd00::2"), True, False),
        (frame("fd00::2", ports=(8080, 40000)), False, True),
        (frame("fd00::2", ports=(80, 81)), False, False),
        (frame("fd00::2", next_header=17), False, False),
    ],
)
def test_a_tcp_port_has_two_directions(seen: bytes, to: bool, since: bool) -> None:
    assert [accepts(each, seen) for each in of_tcp_port(8080)] == [to, since]

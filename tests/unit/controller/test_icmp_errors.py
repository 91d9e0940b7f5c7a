from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from controller.plan.pipeline import Origin
from controller.state.icmp_errors import MAX_BUCKETS, REASONS, IcmpErrors, Reason
from controller.wire.checksum import upper_layer_checksum
from controller.wire.frames import ICMPV6, Frame, encode_frame, multicast_mac, parse_frame, readdressed
from controller.wire.icmpv6 import IcmpType, icmp_message
from tests.unit.controller import kernel_packets as kernel
from tests.unit.controller.networks import small
from topologies.addressing import ERROR_SOURCE, plan_addresses

ADDRESSES = plan_addresses(small())
ROUTER_MAC, USER_MAC = ADDRESSES.router_macs["a1"], "02:6e:63:10:00:09"
USER, OTHER = ADDRESSES.user_prefixes["a1"][9], ADDRESSES.user_prefixes["a2"][9]
UDP, TCP, FRAGMENT, DESTINATION_OPTIONS = 17, 6, 44, 60


def punted(
    source: IPv6Address = USER,
    destination: IPv6Address = OTHER,
    protocol: int = TCP,
    payload: bytes = bytes(20),
    eth_dst: str = ROUTER_MAC,
) -> bytes:
    return encode_frame(Frame(USER_MAC, eth_dst, source, destination, 1, protocol, payload))


def icmp(kind: int) -> bytes:
    return icmp_message(USER, OTHER, kind, bytes(4))


class TestWhatIsSent:
    @pytest.mark.parametrize(
        ("reason", "kind", "code"),
        [
            (Reason.NO_ROUTE, 1, 0),
            (Reason.PROHIBITED, 1, 1),
            (Reason.ADDRESS_UNREACHABLE, 1, 3),
            (Reason.TIME_EXCEEDED, 3, 0),
        ],
    )
    def test_type_and_code_say_what_happened_and_the_packet_is_quoted(
        self, reason: Reason, kind: int, code: int
    ) -> None:
        data = punted()
        error = IcmpErrors(ADDRESSES).about(0.0, "a1", reason, data)
        assert error is not None
        frame = parse_frame(error.frame)
        assert (frame.eth_src, frame.eth_dst) == (ROUTER_MAC, ROUTER_MAC)
        assert (frame.src, frame.dst, frame.protocol) == (ERROR_SOURCE, USER, ICMPV6)
        assert frame.hop_limit > 1
        assert frame.payload[:2] == bytes((kind, code))
        assert frame.payload[4:8] == bytes(4)
        assert frame.payload[8:] == data[14:]
        assert upper_layer_checksum(frame.src, frame.dst, ICMPV6, frame.payload) == 0
        assert not error.to_all_edges

    def test_packet_too_big_tells_the_mtu(self) -> None:
        error = IcmpErrors(ADDRESSES).about(0.0, "a1", Reason.TOO_BIG, punted(), mtu_bytes=1280)
        assert error is not None
        assert parse_frame(error.frame).payload[:2] == b"\2\0"
        assert struct.unpack_from("!I", parse_frame(error.frame).payload, 4) == (1280,)

    def test_no_error_is_longer_than_1280_bytes_and_as_much_as_fits_is_quoted(self) -> None:
        for length in (1183, 1184, 1185, 1192, 1193, 1400):
            data = punted(payload=bytes(range(256)) * 6)[: 54 + length]
            data = data[:18] + struct.pack("!H", length) + data[20:]
            error = IcmpErrors(ADDRESSES).about(0.0, "a1", Reason.NO_ROUTE, data)
            assert error is not None
            packet = error.frame[14:]
            assert len(packet) == min(1280, 48 + 40 + length)
            assert packet[48:] == data[14 : 14 + len(packet) - 48]

    @pytest.mark.parametrize(
        ("reason", "mtu_bytes", "captured"),
        [
            (Reason.TIME_EXCEEDED, 0, kernel.TIME_EXCEEDED),
            (Reason.TIME_EXCEEDED, 0, kernel.LONG_TIME_EXCEEDED),
            (Reason.TOO_BIG, 1280, kernel.PACKET_TOO_BIG),
            (Reason.NO_ROUTE, 0, kernel.NO_ROUTE),
        ],
    )
    def test_errors_are_those_of_a_linux_router_to_the_byte(
        self, reason: Reason, mtu_bytes: int, captured: tuple[bytes, bytes]
    ) -> None:
        errors = IcmpErrors(replace(ADDRESSES, router_addresses={"a1": kernel.HOST}))
        error = errors.about(0.0, "a1", reason, captured[0], mtu_bytes=mtu_bytes)
        assert error is not None
        frame = parse_frame(error.frame)
        assert (frame.src, frame.dst, frame.payload) == (kernel.HOST, kernel.SENDER, captured[1])

    def test_the_padding_of_ethernet_and_the_tag_of_an_edge_are_not_quoted(self) -> None:
        errors, data = IcmpErrors(ADDRESSES), punted(protocol=59, payload=b"")
        plain = errors.about(0.0, "a1", Reason.NO_ROUTE, data)
        tagged = data[:12] + bytes.fromhex("81000003") + data[12:]
        assert errors.about(0.0, "a1", Reason.NO_ROUTE, data + bytes(6)) == plain
        assert errors.about(0.0, "a1", Reason.NO_ROUTE, tagged) == plain
        assert plain is not None

    def test_routers_tell_nothing_about_themselves_unless_they_have_an_address(self) -> None:
        own = IPv6Address("2001:db8:fffd::7")
        errors = IcmpErrors(replace(ADDRESSES, router_addresses={"a1": own}))
        sources = []
        for switch in ("a1", "a2"):
            error = errors.about(0.0, switch, Reason.TIME_EXCEEDED, punted())
            assert error is not None
            sources.append(parse_frame(error.frame).src)
        assert sources == [own, ERROR_SOURCE]

    def test_an_error_to_a_host_at_the_port_is_addressed_to_it(self) -> None:
        error = IcmpErrors(ADDRESSES).about(0.0, "a1", Reason.NO_ROUTE, punted(), from_host=True)
        assert error is not None
        assert (parse_frame(error.frame).eth_src, parse_frame(error.frame).eth_dst) == (ROUTER_MAC, USER_MAC)

    def test_every_origin_that_means_an_error_has_its_reason(self) -> None:
        assert set(REASONS) == {
            Origin.TIME_EXCEEDED,
            Origin.NO_ROUTE,
            Origin.ADDRESS_UNREACHABLE,
            Origin.TOO_BIG,
        }


class TestWhatIsNot:
    def refused(self, data: bytes, reason: Reason = Reason.NO_ROUTE) -> str:
        errors = IcmpErrors(ADDRESSES)
        assert errors.about(0.0, "a1", reason, data) is None
        ((why, number),) = errors.counters.items()
        assert (number, len(errors)) == (1, 0)
        return why

    @pytest.mark.parametrize("kind", [1, 2, 3, 4, 100, 127, IcmpType.REDIRECT])
    def test_no_error_about_an_error_or_a_redirect(self, kind: int) -> None:
        assert self.refused(punted(protocol=ICMPV6, payload=icmp(kind))) == "about-an-error"

    @pytest.mark.parametrize("kind", [128, 129, 143])
    def test_there_are_errors_about_informational_messages(self, kind: int) -> None:
        data = punted(protocol=ICMPV6, payload=icmp(kind))
        assert IcmpErrors(ADDRESSES).about(0.0, "a1", Reason.NO_ROUTE, data) is not None

    @pytest.mark.parametrize("headers", [(0,), (60,), (43,), (0, 60, 43), (51,), (44,), (135, 139, 140)])
    def test_an_error_is_recognized_behind_extension_headers(self, headers: tuple[int, ...]) -> None:
        payload, following = icmp(IcmpType.TIME_EXCEEDED), ICMPV6
        for header in reversed(headers):
            length = 4 if header == 51 else 0 if header == 44 else 1
            size = (length + 2) * 4 if header == 51 else (length + 1) * 8
            payload = bytes((following, length)) + bytes(size - 2) + payload
            following = header
        assert self.refused(punted(protocol=following, payload=payload)) == "about-an-error"

    def test_what_a_later_fragment_belongs_to_is_not_known_so_there_is_one(self) -> None:
        fragment = bytes((ICMPV6, 0)) + struct.pack("!HI", 1 << 3, 7) + bytes(40)
        data = punted(protocol=FRAGMENT, payload=fragment)
        assert IcmpErrors(ADDRESSES).about(0.0, "a1", Reason.TIME_EXCEEDED, data) is not None

    def test_a_chain_of_headers_that_ends_early_gets_none(self) -> None:
        for protocol, payload in (
            (DESTINATION_OPTIONS, bytes((ICMPV6, 9)) + bytes(30)),
            (DESTINATION_OPTIONS, b"\x3a"),
            (FRAGMENT, bytes(4)),
            (ICMPV6, b""),
        ):
            assert self.refused(punted(protocol=protocol, payload=payload)) == "malformed"

    def test_no_error_about_multicast_but_packet_too_big(self) -> None:
        group = IPv6Address("ff3e::8000:1")
        to_group = punted(destination=group, eth_dst=multicast_mac(group))
        assert self.refused(to_group) == "about-multicast"
        assert self.refused(punted(eth_dst="ff:ff:ff:ff:ff:ff")) == "about-multicast"
        error = IcmpErrors(ADDRESSES).about(0.0, "a1", Reason.TOO_BIG, to_group, mtu_bytes=1280)
        assert error is not None
        assert parse_frame(error.frame).dst == USER

    @pytest.mark.parametrize("reason", list(Reason))
    @pytest.mark.parametrize("source", ["::", "ff02::1", "ff3e::1", "2001:db8:1::"])
    def test_no_error_to_what_is_not_one_node(self, reason: Reason, source: str) -> None:
        assert self.refused(punted(IPv6Address(source)), reason) == "source-not-one-node"

    @pytest.mark.parametrize("source", ["fe80::9", "::1", str(ERROR_SOURCE)])
    def test_no_error_to_where_it_could_not_go(self, source: str) -> None:
        assert self.refused(punted(IPv6Address(source))) == "source-unreachable"

    def test_no_error_about_what_is_no_ipv6_packet(self) -> None:
        data = punted()
        for broken in (b"", data[:53], data[:-1], data[:12] + b"\x08\0" + data[14:], data[:14]):
            assert self.refused(broken) == "malformed"
        version_4 = data[:14] + b"\x45" + data[15:]
        assert self.refused(version_4) == "malformed"


class TestAnycast:
    def test_packet_too_big_about_the_service_reaches_every_edge(self) -> None:
        data = punted(source=ADDRESSES.service, destination=USER)
        error = IcmpErrors(ADDRESSES).about(0.0, "d1", Reason.TOO_BIG, data, mtu_bytes=1280)
        assert error is not None
        assert error.to_all_edges
        edge_mac = ADDRESSES.hosts["edge1"].mac
        frame = parse_frame(readdressed(error.frame, ROUTER_MAC, edge_mac))
        assert (frame.eth_src, frame.eth_dst, frame.dst) == (ROUTER_MAC, edge_mac, ADDRESSES.service)

    def test_an_edge_at_the_port_hears_it_alone(self) -> None:
        data = punted(source=ADDRESSES.service, destination=USER)
        error = IcmpErrors(ADDRESSES).about(0.0, "a1", Reason.TOO_BIG, data, from_host=True)
        assert error is not None
        assert not error.to_all_edges

    @pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.TOO_BIG])
    def test_no_other_error_is_sent_to_an_anycast_address(self, reason: Reason) -> None:
        data = punted(source=ADDRESSES.service, destination=USER)
        assert IcmpErrors(ADDRESSES).about(0.0, "a1", reason, data) is None


class TestRates:
    def sent(
        self,
        errors: IcmpErrors,
        source: IPv6Address,
        times_s: list[float],
        reason: Reason = Reason.NO_ROUTE,
        switch: str = "a1",
    ) -> int:
        data = punted(source)
        return sum(errors.about(now_s, switch, reason, data) is not None for now_s in times_s)

    def test_a_flood_gets_a_burst_and_then_ten_a_second(self) -> None:
        errors = IcmpErrors(ADDRESSES)
        flood = [index / 1000 for index in range(10_000)]
        assert self.sent(errors, USER, flood) in (109, 110)
        assert errors.counters["rate-limited"] + errors.counters["no-route"] == 10_000

    def test_a_traceroute_loses_nothing(self) -> None:
        errors = IcmpErrors(ADDRESSES)
        assert self.sent(errors, USER, [index * 0.1 for index in range(90)], Reason.TIME_EXCEEDED) == 90

    def test_addresses_of_one_prefix_share_and_other_prefixes_do_not(self) -> None:
        errors = IcmpErrors(ADDRESSES)
        assert sum(self.sent(errors, IPv6Address(int(USER) + index), [0.0]) for index in range(40)) == 10
        assert self.sent(errors, OTHER, [0.0]) == 1

    def test_all_sources_of_a_switch_together_have_a_limit(self) -> None:
        errors = IcmpErrors(ADDRESSES)
        for switch in ("a1", "a2"):
            sent = sum(
                self.sent(errors, IPv6Address(int(OTHER) + (index << 64)), [0.0], switch=switch)
                for index in range(200)
            )
            assert sent == 50
        # Whoever was refused because of the others has lost none of its own.
        assert self.sent(errors, IPv6Address(int(OTHER) + (199 << 64)), [1.0] * 20) == 10

    def test_packet_too_big_is_never_held_back_by_other_errors(self) -> None:
        errors = IcmpErrors(ADDRESSES)
        self.sent(errors, USER, [0.0] * 1000)
        assert self.sent(errors, USER, [0.0], Reason.TIME_EXCEEDED) == 0
        assert self.sent(errors, USER, [0.0], Reason.TOO_BIG) == 1
        self.sent(errors, USER, [0.0] * 1000, Reason.TOO_BIG)
        assert self.sent(errors, USER, [0.0], Reason.TOO_BIG) == 0

    def test_users_of_the_service_do_not_share_its_bucket(self) -> None:
        errors = IcmpErrors(ADDRESSES)
        for destination in (USER, OTHER):
            data = punted(ADDRESSES.service, destination)
            sent = sum(errors.about(0.0, "d1", Reason.TOO_BIG, data) is not None for _ in range(100))
            assert sent == 10

    def test_sources_without_number_fill_no_memory(self) -> None:
        errors = IcmpErrors(ADDRESSES)
        for index in range(5000):
            self.sent(errors, IPv6Address(int(OTHER) + (index << 64)), [index / 50])
        assert len(errors) == MAX_BUCKETS

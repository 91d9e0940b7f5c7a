"""Reading what `ofproto/trace` prints. The texts in `traces/` are Open vSwitch 3.1's own."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from controller.openflow.agreement import difference
from controller.openflow.ofproto_trace import MetRule, TraceError, Verdict, bridges_of, passes_of, verdict_of
from controller.openflow.probe import FRAGMENT, Probe, frame_of, trace_arguments
from controller.plan.pipeline import Origin
from controller.plan.rules import CONTROLLER_PORT, COOKIE_MARK, CtState
from controller.verify.packet import TCP, Packet
from controller.wire.frames import ICMPV6, UDP, ipv6_packet, parse_frame, upper_layer

TRACES = Path(__file__).parent / "traces"
A1, C1 = (bridges_of((TRACES / "dpif-show.txt").read_text())[name] for name in ("a1", "c1"))
USER, ROUTER, NEXT, EDGE = (f"02:6e:63:{end}" for end in ("10:00:04", "01:00:05", "01:00:03", "10:00:01"))
PACKET = Packet(USER, ROUTER, IPv6Address("2001:db8:1::104"), IPv6Address("2001:db8:ffff::1"), UDP, 5001, 80)
TO_C1 = Packet(
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    IPv6Address("2001:db8::1"),
    IPv6Address("2001:db8::2"),
    59,
    frame_bytes=60,
)


def cookie(origin: Origin, argument: int = 0) -> int:
    return COOKIE_MARK | argument << 16 | origin


def text(name: str) -> str:
    return (TRACES / f"{name}.txt").read_text()


def test_bridges_and_their_ports() -> None:
    assert A1.name == "a1"
    assert A1.ports == {12: 65534, 8: 1, 11: 2, 9: 3, 7: 4, 10: 5}
    assert not A1.ports.keys() & C1.ports.keys(), "the bridges share one datapath"


def test_a_connection_goes_through_in_two_passes() -> None:
    first, second = passes_of(text("began"))
    assert (first.recirculation, second.recirculation) == (0, 3)
    assert first.megaflow.startswith("recirc_id=0,eth,udp6,in_port=4,")
    assert second.actions.startswith("ct(commit,")
    verdict = verdict_of((first, second), PACKET, A1.ports)
    assert [(rule.table, rule.priority) for rule in verdict.met] == [
        *((0, 300), (1, 100), (2, 100)),
        *((3, 200), (4, 0), (5, 128)),
    ]
    assert verdict.met[-1].cookie == cookie(Origin.SERVICE)
    assert verdict.sent == ((3, replace(PACKET, eth_src=ROUTER, eth_dst=EDGE, hop_limit=63)),)
    assert verdict.commits == ((1, 1),)
    assert not verdict.punts
    assert not verdict.is_dropped


@pytest.mark.parametrize(("frame_bytes", "fits"), [(1298, True), (1299, False)])
def test_what_becomes_of_a_packet_may_depend_on_its_length(frame_bytes: int, fits: bool) -> None:
    verdict = verdict_of(passes_of(text("pinned")), replace(PACKET, frame_bytes=frame_bytes), A1.ports)
    sent = replace(PACKET, eth_src=ROUTER, eth_dst=NEXT, hop_limit=63, frame_bytes=frame_bytes, tags=(2,))
    assert verdict.sent == (((1, sent),) if fits else ())
    assert verdict.punts == (() if fits else (cookie(Origin.TOO_BIG, 1280),))
    assert (verdict.met[-1].priority, len(verdict.met)) == (130 if fits else 1000, 6)


@pytest.mark.parametrize(
    ("frame_bytes", "met", "ports", "punts"),
    [(60, [0, 1, 5, 6], [4], 1), (101, [0, 1, 5], [2], 0), (1295, [0, 1, 5], [1], 0)],
)
def test_a_packet_may_be_measured_more_than_once(
    frame_bytes: int, met: list[int], ports: list[int], punts: int
) -> None:
    verdict = verdict_of(passes_of(text("measured")), replace(TO_C1, frame_bytes=frame_bytes), C1.ports)
    assert [rule.table for rule in verdict.met] == met
    assert [port for port, _ in verdict.sent] == ports
    assert len(verdict.punts) == punts
    expected = replace(
        TO_C1, eth_src="02:00:00:00:00:aa", eth_dst="02:00:00:00:00:bb", frame_bytes=frame_bytes
    )
    assert [packet for _, packet in verdict.sent] == [expected]


def test_an_exhausted_hop_limit_is_no_punt() -> None:
    verdict = verdict_of(passes_of(text("exhausted")), replace(PACKET, hop_limit=1), A1.ports)
    assert verdict.is_dropped
    assert [rule.table for rule in verdict.met] == [0, 7]


def test_every_bucket_has_its_copy() -> None:
    verdict = verdict_of(passes_of(text("buckets")), TO_C1, C1.ports)
    tagged = replace(TO_C1, hop_limit=63, tags=(2,))
    assert verdict.sent == ((2, tagged), (2, TO_C1), (2, TO_C1), (4, TO_C1))
    assert verdict.punts == (cookie(Origin.ROUTE),)
    assert verdict.commits == ((5, 1),)


def test_a_miss_is_a_rule_without_priority() -> None:
    trace = """Flow: udp6

bridge("a1")
------------
 0. No match.
    drop

Final flow: unchanged
Megaflow: recirc_id=0
Datapath actions: drop
"""
    verdict = verdict_of(passes_of(trace), PACKET, A1.ports)
    assert verdict == Verdict((MetRule(0, None, 0),))
    assert verdict.is_dropped


@pytest.mark.parametrize(
    "actions",
    ["99", "recirc(0x9)", "set(tcp(dst=1))", "tnl_push(1)", "check_pkt_len(gt(1),le(2))", "ct(commit)"],
)
def test_what_is_not_known_is_an_error(actions: str) -> None:
    passes = passes_of(f" 0. ipv6, priority 1, cookie 0x1\nMegaflow: any\nDatapath actions: {actions}\n")
    with pytest.raises(TraceError, match=r"^[^\n]+$"):
        verdict_of(passes, PACKET, {1: 1})


def test_a_text_that_is_no_trace_is_an_error() -> None:
    with pytest.raises(TraceError, match="Unknown bridge"):
        passes_of("Unknown bridge\nsyntax")
    twice = " 0. ipv6, priority 1\n    check_pkt_larger(1)->x\n    check_pkt_larger(2)->x\n"
    with pytest.raises(TraceError, match="twice"):
        passes_of(twice + "Datapath actions: drop\n")


def test_differences_are_told_in_words() -> None:
    ours = Verdict.of([MetRule(5, 128, 7)], [(1, PACKET)], [], [(1, None)])
    assert difference(ours, ours) is None
    for theirs, words in (
        (
            replace(ours, met=()),
            "meets nothing more where the walk meets a rule of unicast with priority 128",
        ),
        (replace(ours, met=(MetRule(5, None, 0),)), "meets no rule of unicast where"),
        (
            replace(ours, met=(*ours.met, MetRule(9, 1, 1))),
            "a rule of table 9 with priority 1 and cookie 0x1",
        ),
        (replace(ours, sent=()), "sends nothing where the walk sends by port 1 from 02:6e"),
        (replace(ours, sent=((1, replace(PACKET, tags=(3, 4))),)), "tags (3, 4)"),
        (replace(ours, punts=(16,)), "punts by 0x10 where the walk punts by nothing"),
        (replace(ours, commits=((1, 2),)), "commits (1, 2) where the walk commits (1, None)"),
    ):
        assert words in (difference(ours, theirs) or "")


def test_the_arguments_of_a_trace() -> None:
    plain = frame_of(PACKET).hex()
    assert trace_arguments("a1", Probe(4, PACKET)) == ("a1", "in_port=4", plain)
    probe = Probe(CONTROLLER_PORT, PACKET, (CtState.ESTABLISHED, CtState.INVALID), 7)
    assert trace_arguments("a1", probe, b"\x01") == (
        *("--ct-next", "trk,est", "--ct-next", "trk,inv"),
        *("a1", "in_port=CONTROLLER,ct_state=trk,ct_mark=7", "01"),
    )


@pytest.mark.parametrize(
    "packet",
    [
        PACKET,
        replace(PACKET, ip_proto=TCP, frame_bytes=1514),
        replace(PACKET, ip_proto=ICMPV6, port_src=None, port_dst=None, icmpv6_type=135),
        replace(PACKET, ip_proto=59, port_src=None, port_dst=None, frame_bytes=54),
    ],
)
def test_a_frame_has_the_fields_of_its_packet(packet: Packet) -> None:
    data = frame_of(packet)
    assert len(data) == packet.frame_bytes
    frame = parse_frame(data)
    assert (frame.eth_src, frame.eth_dst, frame.src, frame.dst) == (USER, ROUTER, packet.src, packet.dst)
    assert (frame.protocol, frame.hop_limit) == (packet.ip_proto, 64)
    if packet.port_dst is not None:
        assert frame.payload[:4] == bytes.fromhex("13890050")
    if packet.icmpv6_type is not None:
        assert frame.payload[0] == 135
    tagged = frame_of(replace(packet, tags=(2, 4095)))
    assert tagged[12:22].hex() == "81000002" + "81000fff" + "86dd"
    assert tagged[:12] + tagged[20:] == data


def test_more_headers_hide_nothing_from_us() -> None:
    behind = upper_layer(ipv6_packet(frame_of(PACKET, has_hop_by_hop=True)))
    assert (behind.protocol, behind.offset) == (UDP, 48)
    first = upper_layer(ipv6_packet(frame_of(replace(PACKET, is_fragment=True))))
    assert (first.protocol, first.offset) == (UDP, 48)
    later = upper_layer(ipv6_packet(frame_of(replace(PACKET, ip_proto=FRAGMENT, is_fragment=True))))
    assert (later.protocol, later.offset) == (UDP, None)


def test_no_frame_can_be_made_of_some_packets() -> None:
    with pytest.raises(ValueError, match="too few"):
        frame_of(replace(PACKET, frame_bytes=61))
    with pytest.raises(ValueError, match="extension header"):
        frame_of(replace(PACKET, ip_proto=60))
    with pytest.raises(ValueError, match="is one"):
        frame_of(replace(PACKET, ip_proto=FRAGMENT))

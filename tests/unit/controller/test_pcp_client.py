"""The PCP client against the real machine of the gateway, over real sockets on the loopback interface."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import islice, pairwise, repeat
from random import Random
from threading import Thread

import pytest

from controller import pcp_client
from controller.pcp_client import AskError, Server, ask, default_router, main, waits_s
from controller.plan.facts import Opening, PortId
from controller.state.openings import Openings
from controller.wire.frames import UDP, Frame, parse_frame
from controller.wire.pcp import PCP_PORT, MapRequest, MapResponse, ResultCode, encode_response
from controller.wire.udp import Datagram, decode_udp, encode_udp

LOOPBACK = IPv6Address("::1")
NONCE = bytes(12)
REQUEST = MapRequest(LOOPBACK, NONCE, 6, 8080, 600)
MAC = "02:00:00:00:00:01"
ROUTES = """\
20010db8000100000000000000000000 40 00000000000000000000000000000000 00 \
00000000000000000000000000000000 00000100 00000001 00000000 00040001 user1-eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
fe800000000000000000000000000001 00000400 00000002 00000000 00450003 user1-eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
fe800000000000000000000000000002 00000064 00000002 00000000 00450003    other0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
"""


@contextmanager
def answering(answer: Callable[[bytes], list[bytes]]) -> Iterator[Server]:
    """A server that sends what `answer` makes of each request; an empty datagram ends it."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as channel:
        channel.bind(("::1", 0))
        port = channel.getsockname()[1]

        def serve() -> None:
            while True:
                data, sender = channel.recvfrom(2048)
                if not data:
                    return
                for reply in answer(data):
                    channel.sendto(reply, sender)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield Server(LOOPBACK, "lo", port)
        finally:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as last:
                last.sendto(b"", ("::1", port))
            thread.join()


def by(machine: Openings) -> Callable[[bytes], list[bytes]]:
    """Answers of the gateway's own machine."""

    def answer(data: bytes) -> list[bytes]:
        payload = encode_udp(LOOPBACK, LOOPBACK, Datagram(40000, PCP_PORT, data))
        request = Frame(MAC, MAC, LOOPBACK, LOOPBACK, 64, UDP, payload)
        reply = machine.message(0.0, PortId("a1", 1), MAC, request, True).frame
        return [] if reply is None else [decode_udp(parse_frame(reply)).payload]

    return answer


def test_client_and_gateway_understand_each_other() -> None:
    machine = Openings()
    with answering(by(machine)) as server:
        response = ask(server, REQUEST, 5.0, repeat(5.0))
        assert (response.code, response.lifetime_s) == (ResultCode.SUCCESS, 600)
        assert machine.openings == {Opening(LOOPBACK, 6, 8080)}
        refused = ask(server, replace(REQUEST, nonce=bytes(11) + b"x"), 5.0, repeat(5.0))
        assert refused.code is ResultCode.NOT_AUTHORIZED
        assert ask(server, replace(REQUEST, lifetime_s=0), 5.0, repeat(5.0)).code is ResultCode.SUCCESS
    assert machine.openings == frozenset()


def test_what_is_lost_is_sent_again_and_what_is_not_meant_is_ignored() -> None:
    right = MapResponse(ResultCode.SUCCESS, 600, 0, NONCE, 6, 8080, 8080, LOOPBACK)
    others = [
        b"noise",
        encode_response(replace(right, nonce=bytes(11) + b"x")),
        encode_response(replace(right, port=80)),
        encode_response(replace(right, protocol=17)),
    ]
    received: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        received.append(data)
        return [*others, encode_response(right)] if len(received) == 3 else others

    with answering(answer) as server:
        assert ask(server, REQUEST, 5.0, iter([0.02, 0.02, 5.0])) == right
    assert len(received) == 3
    assert len(set(received)) == 1


def test_a_silent_gateway_is_an_error_in_one_line() -> None:
    with answering(lambda data: []) as server, pytest.raises(AskError, match="no answer from ::1 on lo"):
        ask(server, REQUEST, 0.05, repeat(0.02))


def test_nobody_at_the_port_is_an_error_in_one_line() -> None:
    with answering(lambda data: []) as server:
        pass
    with pytest.raises(AskError, match="refused"):
        ask(server, REQUEST, 5.0, repeat(5.0))


def test_an_address_of_somebody_else_cannot_be_asked_from() -> None:
    with pytest.raises(AskError, match="cannot ask from 2001:db8::1"):
        ask(Server(LOOPBACK, "lo"), replace(REQUEST, client=IPv6Address("2001:db8::1")), 1.0, repeat(1.0))


def test_the_best_default_router_is_asked() -> None:
    assert default_router(None, ROUTES) == Server(IPv6Address("fe80::2"), "other0")
    assert default_router("user1-eth0", ROUTES) == Server(IPv6Address("fe80::1"), "user1-eth0")
    with pytest.raises(AskError, match="no default router on lo"):
        default_router("lo", ROUTES)


def test_waiting_times_double_up_to_the_limit_of_the_rfc() -> None:
    waits = list(islice(waits_s(Random(1)), 20))
    assert 2.7 <= waits[0] <= 3.3
    for earlier, later in pairwise(waits):
        assert 0.9 * min(2 * earlier, 1024) <= later <= 1.1 * min(2 * earlier, 1024)
    assert waits == list(islice(waits_s(Random(1)), 20))


def test_the_command_prints_what_it_got(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(by(Openings())) as server:
        monkeypatch.setattr(pcp_client, "default_router", lambda interface: server)
        options = ["--address", "::1", "--nonce", "00" * 12, "--port", "8080"]
        assert main([*options, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer == {
            "ok": True,
            "result": "SUCCESS",
            "address": "::1",
            "protocol": "tcp",
            "port": 8080,
            "lifetime_s": 3600,
            "epoch_s": 0,
            "nonce": "00" * 12,
        }
        assert main(options) == 0
        assert capsys.readouterr().out == f"tcp port 8080 of ::1 is open for 3600 s, nonce {'00' * 12}\n"
        assert main(["--address", "::1", "--port", "8080"]) == 1
        assert capsys.readouterr().out == "tcp port 8080 of ::1 is refused: NOT_AUTHORIZED\n"
        assert main([*options, "--lifetime-s", "0"]) == 0
        assert capsys.readouterr().out == "tcp port 8080 of ::1 is closed\n"
        assert main(["--address", "::1", "--protocol", "icmpv6"]) == 0
        assert capsys.readouterr().out.startswith("icmpv6 of ::1 is open for 3600 s")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--port", "65536"],
        ["--port", "80", "--lifetime-s", "-1"],
        ["--port", "80", "--protocol", "icmpv6"],
        ["--port", "80", "--nonce", "abc"],
        ["--port", "80", "--nonce", "zz" * 12],
    ],
)
def test_wrong_usage_exits_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2


def test_no_interface_is_an_error_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "80", "--interface", "nosuch0"]) == 1
    assert capsys.readouterr().err == "pcp: no default router on nosuch0\n"

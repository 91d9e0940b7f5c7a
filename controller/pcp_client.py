"""Ask the gateway to open a port of this host for connections from outside: a client of PCP (RFC 6887).

`python -m controller.pcp_client --port 8080 --protocol tcp --lifetime-s 3600` in the network namespace of a
user; a lifetime of 0 closes the port again and needs the nonce that opened it.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from random import Random

from controller.wire.frames import WireError
from controller.wire.pcp import (
    MAX_BYTES,
    NONCE_BYTES,
    PCP_PORT,
    MapRequest,
    MapResponse,
    ResultCode,
    decode_response,
    encode_request,
)

PROTOCOLS = {"tcp": 6, "udp": 17, "icmpv6": 58}
FIRST_WAIT_S = 3.0
LONGEST_WAIT_S = 1024.0
"""IRT and MRT of RFC 6887 section 8.1.1."""

_ROUTES = Path("/proc/net/ipv6_route")
_ANYWHERE = "2001:db8::"
_IPV6_ADDR_PREFERENCES, _PREFER_SRC_PUBLIC = 72, 2
"""RFC 5014: a service is found at a stable address, not at a temporary one."""


class AskError(Exception):
    """Nothing was opened; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Server:
    """The default router, which is the PCP server (RFC 6887 section 8.1), and the interface towards it."""

    address: IPv6Address
    interface: str
    port: int = PCP_PORT


def default_router(interface: str | None = None, routes: str | None = None) -> Server:
    """The router of the best default route, on this interface if one is given; `routes` is what
    /proc/net/ipv6_route says. Raises AskError when there is none."""
    found = []
    for line in (_ROUTES.read_text() if routes is None else routes).splitlines():
        destination, length, _, _, router, metric, _, _, _, name = line.split()
        is_default = int(destination, 16) == 0 and int(length, 16) == 0 and int(router, 16) != 0
        if is_default and interface in (None, name):
            found.append((int(metric, 16), name, IPv6Address(int(router, 16))))
    if not found:
        raise AskError("no default router" + ("" if interface is None else f" on {interface}"))
    _, name, address = min(found)
    return Server(address, name)


def stable_address(server: Server) -> IPv6Address:
    """The address that this host would use towards the world, a stable one where it has any. Raises AskError
    when it has none."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.IPPROTO_IPV6, _IPV6_ADDR_PREFERENCES, _PREFER_SRC_PUBLIC)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, server.interface.encode())
        try:
            # Nothing is sent by this.
            probe.connect((_ANYWHERE, PCP_PORT))
        except OSError as error:
            raise AskError(f"no address on {server.interface}: {error.strerror}") from None
        return IPv6Address(probe.getsockname()[0])


def waits_s(chance: Random) -> Iterator[float]:
    """How long to wait for an answer each time, without end (RFC 6887 section 8.1.1)."""
    wait_s = (1 + chance.uniform(-0.1, 0.1)) * FIRST_WAIT_S
    while True:
        yield wait_s
        wait_s = (1 + chance.uniform(-0.1, 0.1)) * min(2 * wait_s, LONGEST_WAIT_S)


def ask(server: Server, request: MapRequest, timeout_s: float, waits: Iterator[float]) -> MapResponse:
    """The server's answer to a request. Raises AskError when none comes in time."""
    data = encode_request(request)
    end_s = time.monotonic() + timeout_s
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as channel:
        try:
            scope = socket.if_nametoindex(server.interface) if server.address.is_link_local else 0
            channel.bind((str(request.client), 0))
            channel.connect((str(server.address), server.port, 0, scope))
        except OSError as error:
            raise AskError(f"cannot ask from {request.client}: {error.strerror}") from None
        while (left_s := end_s - time.monotonic()) > 0:
            resend_s = time.monotonic() + min(next(waits), left_s)
            try:
                channel.send(data)
                response = _receive(channel, request, resend_s)
            except OSError as error:
                raise AskError(f"{server.address}: {error.strerror}") from None
            if response is not None:
                return response
    raise AskError(f"no answer from {server.address} on {server.interface} within {timeout_s:g} s")


def _receive(channel: socket.socket, request: MapRequest, end_s: float) -> MapResponse | None:
    """The answer to this request, if it comes in time; all else is ignored (RFC 6887 section 11.4)."""
    while (left_s := end_s - time.monotonic()) > 0:
        channel.settimeout(left_s)
        try:
            response = decode_response(channel.recv(MAX_BYTES + 1))
        except TimeoutError:
            return None
        except WireError:
            continue
        asked = request.nonce, request.protocol, request.port
        if (response.nonce, response.protocol, response.port) == asked:
            return response
    return None


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m controller.pcp_client",
        description="Ask the gateway to open a port of this host for connections from outside (RFC 6887).",
        epilog="Exit status: 0 done, 1 refused or not answered, 2 wrong usage.",
    )
    parser.add_argument("--port", type=int, default=0, help="1 to 65535; none for icmpv6")
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), default="tcp")
    parser.add_argument("--lifetime-s", type=int, default=3600, help="seconds; 0 closes the port again")
    parser.add_argument("--interface", help="towards the gateway; default: that of the default route")
    parser.add_argument("--address", type=IPv6Address, help="of this host; default: its stable one")
    parser.add_argument("--nonce", help="24 hexadecimal digits, to renew or close what was opened with it")
    parser.add_argument("--timeout-s", type=float, default=30.0, help="give up after so long (default: 30)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    if (arguments.protocol == "icmpv6") is not (arguments.port == 0):
        parser.error("--port is needed for tcp and udp, and for nothing else")
    if not 0 <= arguments.port <= 0xFFFF or not 0 <= arguments.lifetime_s <= 0xFFFF_FFFF:
        parser.error("--port or --lifetime-s is out of range")
    try:
        arguments.nonce = bytes.fromhex(arguments.nonce) if arguments.nonce else secrets.token_bytes(12)
    except ValueError:
        arguments.nonce = b""
    if len(arguments.nonce) != NONCE_BYTES:
        parser.error(f"--nonce must have {2 * NONCE_BYTES} hexadecimal digits")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, print the answer; returns the exit status."""
    arguments = _arguments(argv)
    try:
        server = default_router(arguments.interface)
        request = MapRequest(
            arguments.address or stable_address(server),
            arguments.nonce,
            PROTOCOLS[arguments.protocol],
            arguments.port,
            arguments.lifetime_s,
        )
        waits = waits_s(Random(int.from_bytes(request.nonce)))
        response = ask(server, request, arguments.timeout_s, waits)
    except AskError as error:
        if arguments.json:
            print(json.dumps({"ok": False, "error": str(error)}))
        else:
            print(f"pcp: {error}", file=sys.stderr)
        return 1
    print(_report(arguments.protocol, request, response, as_json=arguments.json))
    return 0 if response.code is ResultCode.SUCCESS else 1


def _report(protocol: str, request: MapRequest, response: MapResponse, *, as_json: bool) -> str:
    if as_json:
        facts = {
            "ok": response.code is ResultCode.SUCCESS,
            "result": response.code.name,
            "address": str(response.external),
            "protocol": protocol,
            "port": response.external_port,
            "lifetime_s": response.lifetime_s,
            "epoch_s": response.epoch_s,
            "nonce": request.nonce.hex(),
        }
        return json.dumps(facts)
    what = protocol if request.port == 0 else f"{protocol} port {request.port}"
    if response.code is not ResultCode.SUCCESS:
        return f"{what} of {request.client} is refused: {response.code.name}"
    if response.lifetime_s == 0:
        return f"{what} of {request.client} is closed"
    return f"{what} of {response.external} is open for {response.lifetime_s} s, nonce {request.nonce.hex()}"


if __name__ == "__main__":
    sys.exit(main())

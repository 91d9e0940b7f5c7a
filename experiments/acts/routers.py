"""What users can learn of routers: hop by hop by UDP, and by asking every address a router might have."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address

from experiments.acts.context import Context
from topologies.addressing import ERROR_SOURCE, GATEWAY, ROUTER_PREFIX
from topologies.namespaces import NetworkNamespace
from topologies.spec import Role

ROUTE_COLUMNS = ("user", "target", "hop_limit", "answer", "answered_by")
PING_COLUMNS = ("user", "target", "kind", "answered")
INTERVAL_S = 0.05
"""Between two probes of a user: routers answer at a limited rate (RFC 4443 section 2.4 f)."""
WAIT_S = 1.0
TRACEROUTE_PORT = 33434
_IPV6_RECVERR = 25
_MSG_ERRQUEUE = 0x2000
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_OFFENDER = struct.Struct("=HHI16sI")
_ICMPV6_ORIGIN = 3
_PROBE = struct.Struct("!HB")
_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_ANSWERS = {1: "unreachable", 2: "too-big", 3: "time-exceeded", 4: "parameter-problem"}


@dataclass(frozen=True, slots=True)
class Target:
    """An address to try; `kind` says whose it is (`router`, `gateway`, or a host's role)."""

    name: str
    kind: str
    address: IPv6Address


def targets(context: Context) -> Iterator[Target]:
    """Every host of the network, and every address that a router has or might have."""
    testbed = context.testbed
    topology, plan = testbed.topology, testbed.plan
    yield Target("service", "service", plan.service)
    for user in topology.of_role(Role.USER):
        yield Target(user, "user", IPv6Address(testbed.net.global_address(user)))
    for host in topology.of_role(Role.EDGE, Role.ORIGIN, Role.DNS):
        yield Target(host, str(topology.role(host)), plan.hosts[host].unicast)
    for number, switch in enumerate(topology.switches, start=1):
        yield Target(switch, "router", ROUTER_PREFIX[number])
    for switch, prefix in plan.user_prefixes.items():
        yield Target(f"{switch}-users", "router", prefix[1])
    yield Target("error-source", "router", ERROR_SOURCE)
    yield Target("gateway", "gateway", GATEWAY)


def run(context: Context, *, hop_limits: int) -> None:
    """Trace and ping everything from every user."""
    tried = tuple(targets(context))
    users = context.testbed.topology.of_role(Role.USER)
    tracers = {user: Tracer(context.namespace(user)) for user in users}
    pingers = {user: Pinger(context, user) for user in users}
    traced = [(number, target) for number, target in enumerate(tried) if target.kind != "gateway"]
    for number, target in traced:
        for hop_limit in range(1, hop_limits + 1):
            for tracer in tracers.values():
                tracer.send(number, target.address, hop_limit)
            time.sleep(INTERVAL_S)
    for target in tried:
        for pinger in pingers.values():
            pinger.send(target.address)
        time.sleep(INTERVAL_S)
    time.sleep(WAIT_S)
    routes, pings = [], []
    for user in users:
        heard = tracers[user].receive()
        for number, target in traced:
            for hop_limit in range(1, hop_limits + 1):
                answer, by = heard.get((number, hop_limit), ("none", ""))
                routes.append((user, target.name, hop_limit, answer, by))
        replied = pingers[user].receive()
        pings += [(user, item.name, item.kind, int(item.address in replied)) for item in tried]
    context.write("routes.csv", ROUTE_COLUMNS, routes)
    context.write("pings.csv", PING_COLUMNS, pings)


class Tracer:
    """Sends UDP probes with small hop limits and reads the errors that come back (RFC 3542, ip(7))."""

    def __init__(self, namespace: NetworkNamespace) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)

    def send(self, number: int, address: IPv6Address, hop_limit: int) -> None:
        """Send the probe of target `number`. An error of an earlier one, told here, is in the queue too."""
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop_limit)
        for _ in range(2):
            try:
                self._socket.sendto(_PROBE.pack(number, hop_limit), (str(address), TRACEROUTE_PORT))
                return
            except OSError:
                continue

    def receive(self) -> Mapping[tuple[int, int], tuple[str, str]]:
        """What came back: (target, hop limit) to (answer, who gave it)."""
        heard: dict[tuple[int, int], tuple[str, str]] = {}
        with suppress(BlockingIOError):
            while True:
                data, controls, _, _ = self._socket.recvmsg(512, 512, _MSG_ERRQUEUE)
                error = extended_error(controls)
                if error is not None and len(data) >= _PROBE.size:
                    number, hop_limit = _PROBE.unpack_from(data)
                    heard.setdefault((number, hop_limit), error)
        return heard


def extended_error(controls: Sequence[tuple[int, int, bytes]]) -> tuple[str, str] | None:
    """The ICMPv6 error in the ancillary data of an error queue: its kind and who sent it."""
    for level, kind, data in controls:
        if (level, kind) != (socket.IPPROTO_IPV6, _IPV6_RECVERR):
            continue
        _, origin, icmp_type, _, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
        if origin == _ICMPV6_ORIGIN and len(data) >= _EXTENDED_ERROR.size + _OFFENDER.size:
            offender = _OFFENDER.unpack_from(data, _EXTENDED_ERROR.size)[3]
            return _ANSWERS.get(icmp_type, str(icmp_type)), str(IPv6Address(offender))
    return None


class Pinger:
    """Sends echo requests and collects who replies (RFC 4443 section 4)."""

    def __init__(self, context: Context, user: str) -> None:
        with context.namespace(user).entered():
            flags = socket.SOCK_RAW | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_INET6, flags, socket.IPPROTO_ICMPV6)
            self._scope = socket.if_nametoindex(context.testbed.topology.ports[user][0].interface)

    def send(self, address: IPv6Address) -> None:
        """Send one echo request; the kernel adds the checksum."""
        scope = self._scope if address.is_link_local else 0
        with suppress(OSError):
            self._socket.sendto(struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, 1, 1), (str(address), 0, 0, scope))

    def receive(self) -> set[IPv6Address]:
        """The addresses that have replied."""
        replied = set()
        with suppress(BlockingIOError):
            while True:
                data, source = self._socket.recvfrom(512)
                if data[0] == _ECHO_REPLY:
                    replied.add(IPv6Address(source[0].partition("%")[0]))
        return replied

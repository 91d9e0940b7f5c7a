"""Inside a lab: crafted packets from a user's own interface, and probes with UDP, TCP and ping.

Every host is captured with a filter that takes all that arrives; the tests look for marks in the files.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from experiments.scenario import scenario_from_json
from experiments.testbed import HTTP_PORT, Testbed
from lab.bpf import INBOUND
from lab.captures import CaptureSet
from topologies.echo import echo_ms
from topologies.spec import Role

SENDER = "user1"
NEIGHBOUR = "user2"
ELSEWHERE = "user5"
ROGUE_PREFIX = "2001:db8:bad::"
SETTLE_S = 2.0
REPEATS = 3


def probe(out: Path, work: Path, scenario: dict[str, Any]) -> None:
    """Start the network, publish, send everything, leave captures and what the probes said."""
    plan = scenario_from_json(scenario)
    with Testbed(plan, work, out) as testbed:
        testbed.start()
        testbed.publish()
        captures = CaptureSet(out / "probe.csv")
        for host in plan.topology.hosts:
            captures.open(host, testbed.net[host].namespace.fd, out / "probe" / f"{host}.pcap", INBOUND)
        capturing = captures.start()
        sent = _send_crafted(testbed)
        time.sleep(SETTLE_S)
        addresses = {user: testbed.net.global_address(user) for user in plan.topology.of_role(Role.USER)}
        probes = _probes(testbed)
        capturing.stop()
        settings = testbed.net[NEIGHBOUR].cmd("ip -6 address; ip -6 route")
    facts = {"sent": sent, "addresses": addresses, "probes": probes, "neighbour": settings}
    (out / "facts.json").write_text(json.dumps(facts))


def _send_crafted(testbed: Testbed) -> dict[str, int]:
    """Send each packet a few times from SENDER; the number of bytes of each, by its mark."""
    packets = _crafted(testbed)
    interface = testbed.topology.ports[SENDER][0].interface
    with testbed.net[SENDER].namespace.entered():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind((interface, 0))
    with raw:
        for packet in packets.values():
            for _ in range(REPEATS):
                raw.send(packet)
                time.sleep(0.01)
    return {mark: len(packet) for mark, packet in packets.items()}


def _crafted(testbed: Testbed) -> dict[str, bytes]:
    """Frames by mark; the mark is in the payload (of the router advertisement: in its prefix)."""
    from scapy.layers.inet import TCP, UDP
    from scapy.layers.inet6 import (
        ICMPv6EchoRequest,
        ICMPv6ND_RA,
        ICMPv6NDOptPrefixInfo,
        ICMPv6NDOptSrcLLAddr,
        IPv6,
        IPv6ExtHdrRouting,
    )
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    plan, topology = testbed.plan, testbed.topology
    me = testbed.net.global_address(SENDER)
    my_mac = plan.hosts[SENDER].mac
    router = plan.router_macs[topology.ports[SENDER][0].peer]
    edge = str(plan.hosts[testbed.active_edges[0]].unicast)
    origin = str(plan.hosts[testbed.origin].unicast)
    service, group = str(plan.service), str(plan.static_group)
    other = testbed.net.global_address(ELSEWHERE)

    def to_router() -> Any:
        return Ether(src=my_mac, dst=router)

    def multicast(address: str) -> Any:
        tail = socket.inet_pton(socket.AF_INET6, address)[-4:]
        return Ether(src=my_mac, dst="33:33:" + tail.hex(":"))

    def udp(port: int) -> Any:
        return UDP(sport=5000, dport=port)

    frames = {
        "spoofed-other-user": to_router() / IPv6(src=other, dst=service) / udp(9),
        "spoofed-outside": to_router() / IPv6(src="2001:db8:dead::1", dst=service) / udp(9),
        "spoofed-origin": to_router() / IPv6(src=origin, dst=edge) / udp(4001),
        "spoofed-service": to_router() / IPv6(src=service, dst=other) / udp(9),
        "to-edge-plane": to_router() / IPv6(src=me, dst=edge) / udp(8081),
        "to-edge-plane-tcp": to_router() / IPv6(src=me, dst=edge) / TCP(sport=5000, dport=8081, flags="S"),
        "to-origin": to_router() / IPv6(src=me, dst=origin) / udp(8080),
        "to-origin-ping": to_router() / IPv6(src=me, dst=origin) / ICMPv6EchoRequest(),
        "to-origin-by-routing-header": to_router()
        / IPv6(src=me, dst=service)
        / IPv6ExtHdrRouting(addresses=[origin], type=0)
        / udp(9),
        "to-ula-unassigned": to_router() / IPv6(src=me, dst="fd6e:6361:7374:99::1") / udp(9),
        "into-the-group": multicast(group) / IPv6(src=me, dst=group, hlim=64) / udp(4001),
        "into-the-group-as-origin": multicast(group) / IPv6(src=origin, dst=group, hlim=64) / udp(4001),
        "group-to-the-router": to_router() / IPv6(src=origin, dst=group, hlim=64) / udp(4001),
        "regional-group": multicast("ff34::8000:1") / IPv6(src=me, dst="ff34::8000:1") / udp(4001),
        "all-nodes": multicast("ff02::1") / IPv6(src=me, dst="ff02::1", hlim=255) / udp(9),
        "to-core-by-mac": Ether(src=my_mac, dst=plan.router_macs["core1"])
        / IPv6(src=me, dst=origin)
        / udp(8080),
        "hop-limit-1": to_router() / IPv6(src=me, dst=service, hlim=1) / udp(9),
        "allowed": to_router() / IPv6(src=me, dst=service) / udp(9),
    }
    advertisement = (
        multicast("ff02::1")
        / IPv6(src="fe80::1", dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=1800)
        / ICMPv6NDOptSrcLLAddr(lladdr=my_mac)
        / ICMPv6NDOptPrefixInfo(prefix=ROGUE_PREFIX, prefixlen=64)
    )
    built = {mark: bytes(frame / Raw(f"<{mark}>".encode())) for mark, frame in frames.items()}
    return built | {"rogue-ra": bytes(advertisement)}


def _probes(testbed: Testbed) -> dict[str, Any]:
    """Real traffic from SENDER: TCP, UDP and ping, and the router's own address."""
    import dnslib

    service, name = str(testbed.plan.service), testbed.topology.service.name
    user = testbed.net[SENDER]
    origin = testbed.plan.hosts[testbed.origin].unicast
    dns = str(testbed.plan.hosts[testbed.topology.of_role(Role.DNS)[0]].unicast)
    with user.namespace.entered():
        query = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with query:
        query.settimeout(5)
        query.sendto(dnslib.DNSRecord.question(name, "AAAA").pack(), (dns, 53))
        answer = dnslib.DNSRecord.parse(query.recv(4096))
    with connection:
        connection.settimeout(5)
        connection.connect((service, HTTP_PORT))
        connection.sendall(f"GET /index.html HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        reply = b""
        while part := connection.recv(65536):
            reply += part
    return {
        "aaaa": [str(record.rdata) for record in answer.rr],
        "http": reply.split(b"\r\n")[0].decode(),
        "body": reply.split(b"\r\n\r\n", 1)[1].decode(),
        "ping_service_ms": echo_ms(user.namespace, service),
        "origin_by_curl": user.cmd(f"curl -s -o /dev/null -m 3 'http://[{origin}]:8080/'; echo $?"),
    }

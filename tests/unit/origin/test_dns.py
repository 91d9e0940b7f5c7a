"""The name server over real sockets, and against malformed messages."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv6Address

import pytest
from dnslib import EDNS0, QTYPE, RCODE, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import OriginError
from origin.name_server import NameServer
from origin.zone import Zone

NAME = "www.nearcast.test"
ZONE = Zone(NAME, IPv6Address("2001:db8:ffff::1"), ttl_s=30)


def ask(name: str, kind: str, **options: object) -> DNSRecord:
    reply = ZONE.answer(DNSRecord.question(name, kind).pack())
    assert reply is not None
    return DNSRecord.parse(reply)


@pytest.mark.parametrize("name", [NAME, "WWW.NearCast.TEST", NAME + "."])
@pytest.mark.parametrize("kind", ["AAAA", "ANY"])
def test_the_name_has_one_address(name: str, kind: str) -> None:
    reply = ask(name, kind)
    (record,) = reply.rr
    assert (str(record.rdata), record.ttl, record.rtype) == ("2001:db8:ffff::1", 30, QTYPE.AAAA)
    assert reply.header.aa == 1
    assert reply.header.ra == 0
    assert str(record.rname).rstrip(".") == name.rstrip(".")


@pytest.mark.parametrize("kind", ["A", "MX", "HTTPS", "SOA"])
def test_other_types_are_empty_with_an_soa(kind: str) -> None:
    reply = ask(NAME, kind)
    assert (reply.header.rcode, reply.rr) == (RCODE.NOERROR, [])
    assert [(str(r.rname), r.rtype, r.ttl) for r in reply.auth] == [("nearcast.test.", QTYPE.SOA, 30)]


@pytest.mark.parametrize("name", ["nearcast.example", "x.www.nearcast.test", "ww.nearcast.test", "test", "."])
def test_other_names_do_not_exist(name: str) -> None:
    reply = ask(name, "AAAA")
    assert (reply.header.rcode, reply.rr, len(reply.auth)) == (RCODE.NXDOMAIN, [], 1)


def test_the_domain_itself_exists_and_has_the_soa() -> None:
    assert [r.rtype for r in ask("nearcast.test", "SOA").rr] == [QTYPE.SOA]
    empty = ask("nearcast.test", "AAAA")
    assert (empty.header.rcode, empty.rr) == (RCODE.NOERROR, [])


def test_edns_is_answered_with_edns() -> None:
    query = DNSRecord.question(NAME, "AAAA")
    query.add_ar(EDNS0(udp_len=4096))
    reply = DNSRecord.parse(ZONE.answer(query.pack()))
    assert [record.rtype for record in reply.ar] == [QTYPE.OPT]
    newer = DNSRecord.question(NAME, "AAAA")
    newer.add_ar(EDNS0(version=1))
    bad = DNSRecord.parse(ZONE.answer(newer.pack()))
    assert (bad.rr, bad.ar[0].edns_rcode) == ([], 1)


def test_what_is_no_query_for_this_server() -> None:
    def rcode(record: DNSRecord) -> int:
        reply = ZONE.answer(record.pack())
        assert reply is not None
        code: int = DNSRecord.parse(reply).header.rcode
        return code

    chaos = DNSRecord(q=DNSQuestion(NAME, QTYPE.TXT, 3))
    assert rcode(chaos) == RCODE.REFUSED
    update = DNSRecord(DNSHeader(opcode=5), q=DNSQuestion(NAME))
    assert rcode(update) == RCODE.NOTIMP
    assert rcode(DNSRecord(DNSHeader())) == RCODE.FORMERR
    assert rcode(DNSRecord(questions=[DNSQuestion(NAME), DNSQuestion("b")])) == RCODE.FORMERR
    response = DNSRecord(DNSHeader(qr=1), q=DNSQuestion(NAME))
    assert ZONE.answer(response.pack()) is None
    assert ZONE.answer(b"short") is None


@given(st.binary(max_size=80), st.binary(min_size=2, max_size=2))
def test_any_octets_are_answered_or_ignored(data: bytes, ident: bytes) -> None:
    reply = ZONE.answer(ident + data)
    if reply is not None:
        assert reply[:2] == ident
        assert reply[2] & 0x80
        assert ZONE.answer(reply) is None


def with_server(check: Callable[[int], None]) -> int:
    async def run() -> int:
        server = NameServer(ZONE)
        port = await server.start("::1", 0)
        try:
            await asyncio.get_running_loop().run_in_executor(None, check, port)
        finally:
            await server.close()
        return server.queries

    return asyncio.run(run())


def test_udp_and_tcp() -> None:
    query = DNSRecord.question(NAME, "AAAA").pack()

    def check(port: int) -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
            udp.settimeout(5)
            udp.sendto(b"junk", ("::1", port))
            udp.sendto(query, ("::1", port))
            assert udp.recv(2000) == ZONE.answer(query)
        with socket.create_connection(("::1", port), timeout=5) as tcp:
            framed = struct.pack("!H", len(query)) + query
            tcp.sendall(framed + framed[:5])
            tcp.sendall(framed[5:])
            stream = tcp.makefile("rb")
            for _ in range(2):
                (length,) = struct.unpack("!H", stream.read(2))
                assert stream.read(length) == ZONE.answer(query)
            tcp.sendall(b"\0\4junk")
            assert stream.read() == b""

    assert with_server(check) == 5


def test_address_in_use_is_told() -> None:
    def check(port: int) -> None:
        with pytest.raises(OriginError, match=rf"cannot answer DNS on \[::1\]:{port}"):
            asyncio.run(NameServer(ZONE).start("::1", port))

    with_server(check)

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
from origin.geo import GeoError, parse_geo
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


def test_clients_are_told_the_address_of_their_prefix() -> None:
    table = parse_geo("2001:db8:1::/48 2001:db8::a # one\n\n2001:db8:1:2::/64 2001:db8::b\n")
    zone = Zone(NAME, ZONE.address, geo=table)

    def told(client: str) -> str:
        reply = zone.answer(DNSRecord.question(NAME, "AAAA").pack(), IPv6Address(client))
        return ",".join(str(record.rdata) for record in DNSRecord.parse(reply).rr)

    assert told("2001:db8:1::5") == "2001:db8::a"
    assert told("2001:db8:1:2::5") == "2001:db8::b"
    assert told("2001:db8:2::5") == "2001:db8:ffff::1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2001:db8::/32", "line 1: expected an IPv6 prefix and"),
        ("\n10.0.0.0/8 2001:db8::1", "line 2: expected an IPv6 prefix and"),
        ("2001:db8::/32 ::1\n2001:db8::/32 ::2", "line 2: 2001:db8::/32 is listed twice"),
    ],
)
def test_a_table_that_makes_no_sense(text: str, problem: str) -> None:
    with pytest.raises(GeoError, match=problem):
        parse_geo(text)


LONG_ZONE = Zone(".".join(["www", "a" * 60, "b" * 60, "c" * 60, "d" * 40]), IPv6Address("2001:db8::1"))
LONG_NAME = ".".join(["x" * 60] * 4)
"""Its NXDOMAIN names two long domains, which does not fit into 512 octets."""


def test_what_does_not_fit_by_udp_is_cut_and_asked_again_by_tcp() -> None:
    query = DNSRecord.question(LONG_NAME, "AAAA")
    cut = DNSRecord.parse(LONG_ZONE.answer(query.pack(), is_udp=True))
    assert (cut.header.tc, cut.header.rcode, cut.auth) == (1, RCODE.NXDOMAIN, [])
    whole = DNSRecord.parse(LONG_ZONE.answer(query.pack()))
    assert (whole.header.tc, whole.header.rcode, len(whole.auth)) == (0, RCODE.NXDOMAIN, 1)
    query.add_ar(EDNS0(udp_len=4096))
    assert DNSRecord.parse(LONG_ZONE.answer(query.pack(), is_udp=True)).header.tc == 0


def test_the_case_of_the_question_comes_back() -> None:
    reply = ZONE.answer(DNSRecord.question("wWw.nEaRcAsT.tEsT", "AAAA").pack())
    assert reply is not None
    assert reply.count(b"\x03wWw\x08nEaRcAsT\x04tEsT") == 1
    assert str(DNSRecord.parse(reply).rr[0].rname) == "wWw.nEaRcAsT.tEsT."


def test_two_edns_records_are_an_error() -> None:
    query = DNSRecord.question(NAME, "AAAA")
    query.add_ar(EDNS0(udp_len=4096))
    query.add_ar(EDNS0(udp_len=4096))
    assert DNSRecord.parse(ZONE.answer(query.pack())).header.rcode == RCODE.FORMERR

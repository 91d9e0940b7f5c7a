"""The answers of a DNS server that knows one name with one AAAA record (RFC 1034, 1035, 2308, 6891, 8482).
Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from origin.geo import NOBODY, GeoTable

EDNS_UDP_BYTES = 1232
"""The UDP size told to resolvers, and the largest answer by UDP."""
_PLAIN_UDP_BYTES = 512
"""The largest answer by UDP to who says nothing of EDNS (RFC 1035 section 4.2.1)."""
_HEADER_BYTES = 12
_QUERY = 0
_NOERROR, _FORMERR, _NXDOMAIN, _NOTIMP, _REFUSED, _BADVERS = 0, 1, 3, 4, 5, 16
_AAAA, _SOA, _OPT, _ANY, _IN = 28, 6, 41, 255, 1


@dataclass(frozen=True, slots=True)
class Zone:
    """Authority for the domain above `name` (for `www.nearcast.test` `nearcast.test`): only it exists there.

    `ttl_s` holds for the record and for negative answers. Clients in `geo` are told another address, the one
    that it has for them.
    """

    name: str
    address: IPv6Address
    ttl_s: int = 60
    geo: GeoTable = NOBODY

    @property
    def apex(self) -> str:
        """The domain the SOA record stands at."""
        return self.name.rstrip(".").partition(".")[2] or self.name

    def answer(
        self, message: bytes, client: IPv6Address | None = None, *, is_udp: bool = False
    ) -> bytes | None:
        """The answer to a query of `client` in wire format; None for what must stay unanswered.

        An answer by UDP that is longer than the client can take is empty and says so (TC): the client asks
        again by TCP (RFC 7766 section 5).
        """
        from dnslib import DNSHeader, DNSRecord

        if len(message) < _HEADER_BYTES or message[2] & 0x80:
            return None
        try:
            query = DNSRecord.parse(message)
            if query.header.opcode == _QUERY and len(query.questions) != 1:
                raise ValueError("not one question")
            if query.header.opcode != _QUERY:
                return self._reply(query, _NOTIMP)
            offers = [record.edns_len for record in query.ar if record.rtype == _OPT]
            if len(offers) > 1:
                raise ValueError("more than one OPT record (RFC 6891 section 6.1.1)")
            reply = self._answer_question(query, client)
            room_bytes = min(max(*offers, _PLAIN_UDP_BYTES), EDNS_UDP_BYTES) if offers else _PLAIN_UDP_BYTES
            if is_udp and len(reply) > room_bytes:
                reply = self._reply(query, reply[3] & 15, is_cut=True)
            return reply
        except Exception:
            # dnslib raises errors of many kinds for malformed messages; all mean the same here.
            header = DNSHeader(id=int.from_bytes(message[:2], "big"), qr=1, rd=message[2] & 1, rcode=_FORMERR)
            refusal: bytes = DNSRecord(header).pack()
            return refusal

    def _answer_question(self, query: Any, client: IPv6Address | None) -> bytes:
        question = query.questions[0]
        if any(record.rtype == _OPT and record.edns_ver for record in query.ar):
            return self._reply(query, _BADVERS)
        if question.qclass not in (_IN, _ANY):
            return self._reply(query, _REFUSED)
        asked = str(question.qname).rstrip(".").lower()
        if asked == self.name.rstrip(".").lower():
            if question.qtype in (_AAAA, _ANY):
                return self._reply(query, _NOERROR, answers=[self._aaaa(question.qname, client)])
            return self._reply(query, _NOERROR, authority=[self._soa()])
        if asked == self.apex.lower():
            if question.qtype in (_SOA, _ANY):
                return self._reply(query, _NOERROR, answers=[self._soa()])
            return self._reply(query, _NOERROR, authority=[self._soa()])
        return self._reply(query, _NXDOMAIN, authority=[self._soa()])

    def _aaaa(self, owner: Any, client: IPv6Address | None) -> Any:
        from dnslib import AAAA, RR

        address = self.geo.address_for(client) or self.address
        return RR(owner, _AAAA, ttl=self.ttl_s, rdata=AAAA(str(address)))

    def _soa(self) -> Any:
        from dnslib import RR, SOA

        times = (1, 3600, 600, 86400, self.ttl_s)
        return RR(self.apex, _SOA, ttl=self.ttl_s, rdata=SOA(self.name, f"hostmaster.{self.apex}", times))

    def _reply(
        self, query: Any, rcode: int, *, answers: Any = (), authority: Any = (), is_cut: bool = False
    ) -> bytes:
        from dnslib import EDNS0, DNSHeader, DNSRecord

        header = DNSHeader(
            id=query.header.id,
            qr=1,
            aa=rcode in (_NOERROR, _NXDOMAIN),
            tc=is_cut,
            rd=query.header.rd,
            rcode=rcode & 15,
        )
        header.opcode = query.header.opcode
        reply = DNSRecord(header, questions=query.questions, rr=list(answers), auth=list(authority))
        if any(record.rtype == _OPT for record in query.ar):
            reply.add_ar(EDNS0(udp_len=EDNS_UDP_BYTES, ext_rcode=rcode >> 4))
        packed: bytes = reply.pack()
        return packed

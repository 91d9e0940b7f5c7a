"""The answers of a DNS server that knows one name with one AAAA record (RFC 1034, 1035, 2308, 6891). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

EDNS_UDP_BYTES = 1232
"""The UDP size told to resolvers; the answers here never get near it."""
_HEADER_BYTES = 12
_QUERY = 0
_NOERROR, _FORMERR, _NXDOMAIN, _NOTIMP, _REFUSED, _BADVERS = 0, 1, 3, 4, 5, 16
_AAAA, _SOA, _OPT, _ANY, _IN = 28, 6, 41, 255, 1


@dataclass(frozen=True, slots=True)
class Zone:
    """Authority for the domain above `name` (for `www.nearcast.test` `nearcast.test`): only it exists there.

    `ttl_s` holds for the record and for negative answers.
    """

    name: str
    address: IPv6Address
    ttl_s: int = 60

    @property
    def apex(self) -> str:
        """The domain the SOA record stands at."""
        return self.name.rstrip(".").partition(".")[2] or self.name

    def answer(self, message: bytes) -> bytes | None:
        """The answer to a query in wire format; None for what must stay unanswered."""
        from dnslib import DNSHeader, DNSRecord

        if len(message) < _HEADER_BYTES or message[2] & 0x80:
            return None
        try:
            query = DNSRecord.parse(message)
            if query.header.opcode == _QUERY and len(query.questions) != 1:
                raise ValueError("not one question")
            if query.header.opcode != _QUERY:
                return self._reply(query, _NOTIMP)
            return self._answer_question(query)
        except Exception:
            # dnslib raises errors of many kinds for malformed messages; all mean the same here.
            header = DNSHeader(id=int.from_bytes(message[:2], "big"), qr=1, rd=message[2] & 1, rcode=_FORMERR)
            reply: bytes = DNSRecord(header).pack()
            return reply

    def _answer_question(self, query: Any) -> bytes:
        question = query.questions[0]
        if any(record.rtype == _OPT and record.edns_ver for record in query.ar):
            return self._reply(query, _BADVERS)
        if question.qclass not in (_IN, _ANY):
            return self._reply(query, _REFUSED)
        asked = str(question.qname).rstrip(".").lower()
        if asked == self.name.rstrip(".").lower():
            if question.qtype in (_AAAA, _ANY):
                return self._reply(query, _NOERROR, answers=[self._aaaa(question.qname)])
            return self._reply(query, _NOERROR, authority=[self._soa()])
        if asked == self.apex.lower():
            if question.qtype in (_SOA, _ANY):
                return self._reply(query, _NOERROR, answers=[self._soa()])
            return self._reply(query, _NOERROR, authority=[self._soa()])
        return self._reply(query, _NXDOMAIN, authority=[self._soa()])

    def _aaaa(self, owner: Any) -> Any:
        from dnslib import AAAA, RR

        return RR(owner, _AAAA, ttl=self.ttl_s, rdata=AAAA(str(self.address)))

    def _soa(self) -> Any:
        from dnslib import RR, SOA

        times = (1, 3600, 600, 86400, self.ttl_s)
        return RR(self.apex, _SOA, ttl=self.ttl_s, rdata=SOA(self.name, f"hostmaster.{self.apex}", times))

    def _reply(self, query: Any, rcode: int, *, answers: Any = (), authority: Any = ()) -> bytes:
        from dnslib import EDNS0, DNSHeader, DNSRecord

        header = DNSHeader(
            id=query.header.id, qr=1, aa=rcode in (_NOERROR, _NXDOMAIN), rd=query.header.rd, rcode=rcode & 15
        )
        header.opcode = query.header.opcode
        reply = DNSRecord(header, questions=query.questions, rr=list(answers), auth=list(authority))
        if any(record.rtype == _OPT for record in query.ar):
            reply.add_ar(EDNS0(udp_len=EDNS_UDP_BYTES, ext_rcode=rcode >> 4))
        packed: bytes = reply.pack()
        return packed

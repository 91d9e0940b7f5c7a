"""Which ports users have opened for connections from outside: the server side of PCP (RFC 6887), for a
gateway that changes neither addresses nor ports.

A host opens ports of the address it asks from, and of no other; that the address is its own has been
proved by the binding of its port. An opening ends with its lifetime, with the binding, or at the host's wish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from math import ceil

from controller.plan.facts import Opening, PortId
from controller.state.deadlines import Deadlines
from controller.wire.frames import ICMPV6, UDP, Frame, encode_frame
from controller.wire.pcp import (
    NO_WISH,
    PCP_PORT,
    MapRequest,
    MapResponse,
    PcpError,
    ResultCode,
    decode_request,
    encode_error,
    encode_response,
    is_request,
)
from controller.wire.udp import Datagram, decode_udp, encode_udp

MAX_OPENINGS_PER_PORT = 32
"""A host with more services than this asks for none of them by hand."""
MIN_LIFETIME_S = 120
"""RFC 6887 section 15."""
MAX_LIFETIME_S = 7200
"""Shorter than the day that RFC 6887 section 15 allows: a restarted controller finds openings in the switches
without their ends, and has to keep each for as long as it may have been granted."""
LONG_ERROR_S, SHORT_ERROR_S = 1800, 30
"""How long an error is to be expected again (RFC 6887 section 7.4)."""
_TCP = 6
_HOP_LIMIT = 64
_SHORT_ERRORS = frozenset({ResultCode.NETWORK_FAILURE, ResultCode.NO_RESOURCES, ResultCode.USER_EX_QUOTA})
_WITHOUT_PORTS = frozenset({ICMPV6})
_WITH_PORTS = frozenset({_TCP, UDP})


@dataclass(slots=True)
class Answer:
    """What a request leads to: the frame to send out of the port it came in by, ports opened and closed."""

    frame: bytes | None = None
    opened: list[Opening] = field(default_factory=list)
    closed: list[Opening] = field(default_factory=list)


@dataclass(slots=True)
class _Held:
    port: PortId | None
    nonce: bytes | None
    """None until the host has asked again since the controller was restarted."""
    end_s: float


class Openings:
    """The machine. `counters` counts the answers that were given, by result."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._held: dict[Opening, _Held] = {}
        self._at: dict[IPv6Address, set[Opening]] = {}
        self._per_port: Counter[PortId | None] = Counter()
        self._deadlines: Deadlines[Opening] = Deadlines()
        self._epoch_s: float | None = None
        self._openings: frozenset[Opening] | None = frozenset()

    @property
    def openings(self) -> frozenset[Opening]:
        """What is open."""
        if self._openings is None:
            self._openings = frozenset(self._held)
        return self._openings

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        return self._deadlines.next_s

    def message(self, now_s: float, port: PortId, router_mac: str, frame: Frame, is_own: bool) -> Answer:
        """A packet to the PCP port of the router came in by a user's port; `is_own` says whether its source
        is bound to that port. Raises WireError for what is no UDP datagram."""
        datagram = decode_udp(frame)
        answer = Answer()
        cannot_answer = frame.src.is_unspecified or frame.src.is_multicast
        if cannot_answer or datagram.destination_port != PCP_PORT or not is_request(datagram.payload):
            self.counters["ignored"] += 1
            return answer
        if self._epoch_s is None:
            self._epoch_s = now_s
        epoch_s = int(now_s - self._epoch_s)
        code, lifetime_s = ResultCode.SUCCESS, 0
        request: MapRequest | None = None
        try:
            request = decode_request(datagram.payload)
            lifetime_s = self._map(now_s, port, frame.src, is_own, request, answer)
        except PcpError as error:
            code = error.code
            usual_s = SHORT_ERROR_S if code in _SHORT_ERRORS else LONG_ERROR_S
            lifetime_s = usual_s if error.lifetime_s is None else error.lifetime_s
        self.counters[code.name.lower().replace("_", "-")] += 1
        if request is None:
            payload = encode_error(datagram.payload, code, lifetime_s, epoch_s)
        else:
            payload = encode_response(_response(request, code, lifetime_s, epoch_s))
        answer.frame = _reply(router_mac, frame, datagram, payload)
        return answer

    def end(self, address: IPv6Address) -> list[Opening]:
        """Nobody is bound to the address any more, or somebody else is: close its ports."""
        return self._close(self._at.get(address, ()))

    def restore(self, now_s: float, openings: Iterable[Opening]) -> None:
        """What a restarted controller has found in the switches stays open for as long as it may have been
        granted; its host renews it before."""
        for opening in openings:
            self._hold(opening, _Held(None, None, now_s + MAX_LIFETIME_S))

    def tick(self, now_s: float) -> list[Opening]:
        """Close what has run out."""
        return self._close(self._deadlines.pop_due(now_s))

    def _map(
        self,
        now_s: float,
        port: PortId,
        source: IPv6Address,
        is_own: bool,
        request: MapRequest,
        answer: Answer,
    ) -> int:
        """Do what a request asks for; for how many seconds it holds. Raises PcpError to refuse."""
        if request.client != source:
            raise PcpError(ResultCode.ADDRESS_MISMATCH, f"asked for {request.client}")
        if not is_own:
            raise PcpError(ResultCode.NOT_AUTHORIZED, f"{source} is not bound to the port")
        if request.lifetime_s == 0:
            answer.closed += self._delete(now_s, request)
            return 0
        if request.protocol not in _WITH_PORTS | _WITHOUT_PORTS:
            raise PcpError(ResultCode.UNSUPP_PROTOCOL, f"protocol {request.protocol}")
        if (request.port == 0) is not (request.protocol in _WITHOUT_PORTS):
            raise PcpError(ResultCode.UNSUPP_PROTOCOL, f"port {request.port} of {request.protocol}")
        can_provide = request.external in (source, NO_WISH) and request.external_port in (request.port, 0)
        if request.prefer_failure and not can_provide:
            raise PcpError(ResultCode.CANNOT_PROVIDE_EXTERNAL, "nothing is translated here")
        opening = Opening(request.client, request.protocol, request.port)
        held = self._held.get(opening)
        if held is not None and held.nonce not in (None, request.nonce):
            raise self._held_by_another(now_s, [opening])
        if held is None:
            if self._per_port[port] >= MAX_OPENINGS_PER_PORT:
                raise PcpError(ResultCode.USER_EX_QUOTA, "too many openings at one port")
            answer.opened.append(opening)
        lifetime_s = min(max(request.lifetime_s, MIN_LIFETIME_S), MAX_LIFETIME_S)
        self._hold(opening, _Held(port, request.nonce, now_s + lifetime_s))
        return lifetime_s

    def _delete(self, now_s: float, request: MapRequest) -> list[Opening]:
        """Close one port, or all of a protocol or of the host, that were opened with the same nonce. That
        none is open is fine too (RFC 6887 section 15.1)."""
        meant = [
            opening
            for opening in self._at.get(request.client, ())
            if request.protocol in (0, opening.protocol) and request.port in (0, opening.port)
        ]
        known = [opening for opening in meant if self._held[opening].nonce in (None, request.nonce)]
        if meant and not known:
            raise self._held_by_another(now_s, meant)
        return self._close(known)

    def _held_by_another(self, now_s: float, openings: Iterable[Opening]) -> PcpError:
        """Refused until the openings have ended (RFC 6887 section 11.3)."""
        end_s = max(self._held[opening].end_s for opening in openings)
        return PcpError(ResultCode.NOT_AUTHORIZED, "another nonce", ceil(end_s - now_s))

    def _hold(self, opening: Opening, held: _Held) -> None:
        before = self._held.get(opening)
        if before is None:
            self._openings = None
            self._at.setdefault(opening.address, set()).add(opening)
        else:
            self._per_port[before.port] -= 1
        self._held[opening] = held
        self._per_port[held.port] += 1
        self._deadlines.set(opening, held.end_s)

    def _close(self, openings: Iterable[Opening]) -> list[Opening]:
        closed = sorted(openings)
        for opening in closed:
            self._openings = None
            self._per_port[self._held.pop(opening).port] -= 1
            self._deadlines.cancel(opening)
            there = self._at[opening.address]
            there.discard(opening)
            if not there:
                del self._at[opening.address]
        return closed


def _response(request: MapRequest, code: ResultCode, lifetime_s: int, epoch_s: int) -> MapResponse:
    """The external address and port are the internal ones; an error repeats what was suggested."""
    granted = code is ResultCode.SUCCESS and lifetime_s > 0
    return MapResponse(
        code,
        lifetime_s,
        epoch_s,
        request.nonce,
        request.protocol,
        request.port,
        request.port if granted else request.external_port,
        request.client if granted else request.external,
    )


def _reply(router_mac: str, request: Frame, asked: Datagram, payload: bytes) -> bytes:
    datagram = Datagram(asked.destination_port, asked.source_port, payload)
    return encode_frame(
        Frame(
            eth_src=router_mac,
            eth_dst=request.eth_src,
            src=request.dst,
            dst=request.src,
            hop_limit=_HOP_LIMIT,
            protocol=UDP,
            payload=encode_udp(request.dst, request.src, datagram),
        )
    )

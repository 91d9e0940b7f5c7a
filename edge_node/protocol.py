"""uvicorn's HTTP/1.1 protocol behind a gate: strict about every byte, bounded, quick with what is at hand.

One request at a time reaches uvicorn's parser, and only a head that `raw_head` has found in order: a lenient
parser never decides where a request ends. What follows a request waits until it is answered.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edge_node.connections import Phase
from edge_node.gate import RETRY_AFTER_S, Gate
from edge_node.http.hygiene import DEFAULT_LIMITS, Refusal
from edge_node.http.messages import Fields
from edge_node.http.plain import text_answer
from edge_node.http.raw_head import Head, check_beginning, end_of_head, read_head
from edge_node.http.wire import around_date, interim

_WAITING_BYTES = 64 << 10
"""How much may wait behind a request that is being answered."""
_UNWANTED_BYTES = 256 << 10
"""How much content is still taken, to be thrown away, once its request has been answered."""


class EdgeProtocol(HttpToolsProtocol):
    """One connection of a web server with a `gate`."""

    def __init__(self, gate: Gate, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._gate = gate
        self._waiting = bytearray()
        self._content_bytes: int | None = 0
        """How much content of the request is still to come; None when it says so itself (chunked)."""
        self._taken_bytes = 0
        self._is_answered = True
        self._was_served = False
        self._is_leaving = False
        self._is_going_on = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected, who is expected to ask for something."""
        super().connection_made(transport)
        self._gate.open(self, self.client[0] if self.client else "", self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        self._gate.close(self)
        self._waiting.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of heads and content."""
        if self._is_leaving:
            self._taken_bytes += len(data)
            if self._taken_bytes > 2 * _UNWANTED_BYTES:
                self.transport.abort()
            return
        if self._is_free and not self._waiting and self._gate.quick is not None:
            answer = self._gate.quick.remembered(data)
            if answer is not None and not self.flow.write_paused:
                self.transport.write(answer)
                self._rest()
                return
        self._waiting += data
        self._go_on()

    @property
    def _is_free(self) -> bool:
        """Whether what comes now begins a request."""
        return self._is_answered and self._content_bytes == 0

    def _go_on(self) -> None:
        """Take up what has come, as far as it can be used now."""
        if self._is_going_on:  # the parser calls back
            return
        self._is_going_on = True
        try:
            while self._waiting and not self._is_leaving and not self.transport.is_closing():
                if not (self._begin() if self._is_free else self._take_content()):
                    break
        finally:
            self._is_going_on = False
        self._hold_back()

    def _hold_back(self) -> None:
        """Read on as long as what has come is not too much."""
        if len(self._waiting) > _WAITING_BYTES and not self._is_free and not self._is_leaving:
            self.flow.pause_reading()

    def _begin(self) -> bool:
        """Begin with the next request if its head is here; whether there was something to do."""
        end = end_of_head(self._waiting)
        if end is None:
            refused = check_beginning(self._waiting)
            if refused is not None:
                self._refuse(refused)
            elif self._gate.connections.phase(self) is not Phase.HEAD:
                self._gate.enter(self, Phase.HEAD, self.loop)
            return False
        raw = bytes(self._waiting[:end])
        del self._waiting[:end]
        head = read_head(raw)
        if isinstance(head, Refusal):
            self._refuse(head)
            return False
        if self._gate.quick is not None and not self.flow.write_paused:
            answer = self._gate.quick.answer(raw, head)
            if answer is not None:
                self.transport.write(answer)
                self._rest()
                if head.is_last:
                    self.transport.close()
                return not head.is_last
        self._content_bytes, self._is_answered = _content_bytes(head), False
        self._taken_bytes = 0
        if (self._content_bytes or 0) > DEFAULT_LIMITS.content_bytes:
            self._refuse(_TOO_MUCH)
            return False
        self._gate.enter(self, Phase.WORKING if self._content_bytes == 0 else Phase.CONTENT, self.loop)
        self._feed(head.to_bytes() if head.is_other else raw)
        return True

    def _take_content(self) -> bool:
        """Pass content of the request on; whether there was some to take."""
        left = self._content_bytes
        if left == 0:  # the next request waits for the answer to this one
            return False
        part = bytes(self._waiting if left is None else self._waiting[:left])
        del self._waiting[: len(part)]
        if left is not None:
            self._content_bytes = left - len(part)
        self._taken_bytes += len(part)
        if self._taken_bytes > (_UNWANTED_BYTES if self._is_answered else DEFAULT_LIMITS.content_bytes):
            self._refuse(_TOO_MUCH)
            return False
        self._gate.enter(self, Phase.CONTENT, self.loop)
        self._feed(part)
        return True

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nobody has to switch (RFC 9110 section 7.8)
        except httptools.HttpParserInvalidMethodError:
            self._refuse(Refusal(501, "this server does not know the method"))
        except httptools.HttpParserError:
            self._refuse(Refusal(400, "no HTTP/1.1"))

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self.scope["state"].update(was_served=self._was_served, send_interim=self._send_interim)
        super().on_headers_complete()
        if self._content_bytes is None:
            # Where such content ends is for the parser to say, so nothing may follow it (ADR 0018).
            self.cycle.keep_alive = False

    def _send_interim(self, status: int, fields: Fields) -> None:
        """Say something before the answer to the request that is being worked on (RFC 9110 section 15.2)."""
        if not (self._is_answered or self.cycle.response_started or self.transport.is_closing()):
            self.transport.write(interim(status, fields))

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._content_bytes = 0
        super().on_message_complete()
        if not self._is_answered:
            self._gate.enter(self, Phase.WORKING, self.loop)

    def on_response_complete(self) -> None:
        """An answer is on its way: on with what waits."""
        self.server_state.total_requests += 1
        self._is_answered, self._taken_bytes = True, 0
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._content_bytes == 0:
            self._rest()
        self._go_on()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._gate.enter(self, Phase.UNREAD, self.loop)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._rest()

    def _rest(self) -> None:
        """Enter the phase that follows from what is known."""
        if self.flow.write_paused:
            phase = Phase.UNREAD
        else:
            self._was_served = self._was_served or self._is_answered
            phase = Phase.IDLE if self._is_answered else Phase.WORKING
            if self._content_bytes != 0:
                phase = Phase.CONTENT
        self._gate.enter(self, phase, self.loop)

    # What the gate asks for

    def give_way(self) -> None:
        """Close now, for somebody else."""
        self._is_leaving = True
        self.transport.close()

    def turn_away(self) -> None:
        """Say that there is no room, and close."""
        self._say(Refusal(503, "too many connections"), ("Retry-After", str(RETRY_AFTER_S)))

    def too_slow(self, phase: Phase) -> None:
        """Close, since this phase has lasted too long."""
        if phase in (Phase.HEAD, Phase.CONTENT):
            self._refuse(Refusal(408, "the request did not come in time"))
        elif phase is Phase.IDLE:
            self.transport.close()
        else:
            self.transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Say why, if nothing else is being said, and close."""
        self._gate.refused[refusal.status] += 1
        if self._is_answered and self._content_bytes != 0:
            self._leave()
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._is_leaving = True
                self.transport.close()
                return
        self._say(refusal)

    def _say(self, refusal: Refusal, *fields: tuple[str, str]) -> None:
        """An answer that is the last; then wait for the client to close, or what it still sends would take
        the answer from it (RFC 9112 section 9.6)."""
        self._is_leaving = True
        if self.transport.is_closing():
            return
        common: Fields = (("Nearcast-Edge", self._gate.edge),)
        plan = text_answer("GET", refusal.status, refusal.text, common, fields, close=True)
        content = b"".join(piece for piece in plan.content if isinstance(piece, bytes))
        before, after = around_date(plan, content)
        date = dict(self.server_state.default_headers)[b"date"]
        self.transport.write(before + date + after)
        self._leave()

    def _leave(self) -> None:
        """Send nothing more, and close when the client does, or soon."""
        self._is_leaving, self._taken_bytes = True, 0
        self._waiting.clear()
        self.flow.resume_reading()
        if self._gate.connections.can_leave_slowly and self.transport.can_write_eof():
            self.transport.write_eof()
            self._gate.enter(self, Phase.LEAVING, self.loop)
        else:
            self.transport.close()


_TOO_MUCH = Refusal(413, f"more than {DEFAULT_LIMITS.content_bytes} bytes of content")


def _content_bytes(head: Head) -> int | None:
    """The length of a request's content; None when it is chunked."""
    if not head.has_content:
        return 0
    lengths = [int(value) for name, value in head.fields if name == b"content-length"]
    return lengths[0] if lengths else None

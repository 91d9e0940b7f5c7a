"""HTTPS as a part of an edge: the port, the way to it from plain HTTP, and SIGHUP for a new certificate."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from delivery.asgi import listen
from edge_node.gate import Gate
from edge_node.http.redirect import HTTPS_PORT
from edge_node.journal import Journal
from edge_node.quick import QuickAnswers
from edge_node.tls.front import Redirect, SecureFront, WebApp
from edge_node.tls.listener import TlsListener
from edge_node.tls.pair import Certificate, PairError


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """PEM files of the certificate and its key, the TCP port (0 picks a free one), whether HTTP/2 is offered,
    and for how long browsers are to remember that there is HTTPS."""

    certificate: Path
    key: Path
    port: int = HTTPS_PORT
    http2: bool = True
    hsts_max_age_s: int = 0


class Https:
    """The TLS port of an edge on `address`; `gate` is for it, `redirect` for the port without TLS."""

    def __init__(self, options: TlsOptions, address: str, app: WebApp, gate: Gate, journal: Journal) -> None:
        """Raises PairError, and OSError when the address cannot be bound."""
        self._certificate = Certificate(options.certificate, options.key, http2=options.http2)
        self._journal = journal
        self._listener = listen(address, options.port)
        self.port = self._listener.getsockname()[1]
        front = SecureFront(app, options.hsts_max_age_s)
        gate.quick = QuickAnswers(front)
        self._tls = TlsListener(front, gate, self._certificate)
        self.redirect = Redirect(self._certificate.pair.name, self.port, gate.edge)

    async def serve(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Serve until `stop`; SIGHUP reads the files again."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        try:
            self._journal.write("certificate", **self.certificate())
            await self._tls.serve(self._listener, stop, started)
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    def reload(self) -> None:
        """Take up a new certificate and key for handshakes from now on; broken ones change nothing."""
        try:
            self._certificate.reload()
        except PairError as error:
            kept = self._certificate.pair.sha256
            self._journal.write("certificate_refused", reason=str(error), sha256=kept)
        else:
            self._journal.write("certificate", **self.certificate())

    def certificate(self) -> dict[str, str]:
        """The certificate in use: its name, fingerprint and end."""
        pair = self._certificate.pair
        expires = pair.not_after.isoformat(timespec="seconds")
        return {"name": pair.name, "sha256": pair.sha256, "expires": expires}

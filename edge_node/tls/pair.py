"""The certificate and key of the service name: checked, loaded, and changed while the edge runs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2 only what HTTP/2 does not prohibit (RFC 9113 section 9.2.2 and appendix A)."""
_HTTP2, _HTTP1 = "h2", "http/1.1"


class PairError(ValueError):
    """A certificate and key that cannot be served; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What a handshake needs: `name` is the host the certificate is for, `sha256` (hex) its fingerprint."""

    context: ssl.SSLContext
    name: str
    sha256: str
    not_after: datetime


def load_pair(certificate: Path, key: Path, *, http2: bool, now: datetime) -> Pair:
    """Read a certificate (PEM, the chain after it) with its key. Raises PairError."""
    leaf = _leaf(certificate)
    name = _host_name(leaf, certificate)
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        span = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        raise PairError(f"{certificate} is valid from {span}, which is not now")
    return Pair(_context(certificate, key, http2=http2), name, _fingerprint(leaf), leaf.not_valid_after_utc)


def _leaf(certificate: Path) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except OSError as error:
        raise PairError(f"{certificate}: cannot read the certificate: {error.strerror}") from None
    except ValueError as error:
        raise PairError(f"{certificate} is no certificate in PEM: {str(error).splitlines()[0]}") from None


def _host_name(leaf: x509.Certificate, certificate: Path) -> str:
    """The first host that the certificate is for; where plain HTTP is sent to must be one."""
    from cryptography import x509

    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = []
    for name in names:
        if "*" not in name:
            return name.lower()
    raise PairError(f"{certificate} is for no host name; `python -m origin certify` makes one that is")


def _fingerprint(leaf: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return leaf.fingerprint(SHA256()).hex()


def _context(certificate: Path, key: Path, *, http2: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 9113 section 9.2.1; nothing here needs another handshake on an old connection.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols([_HTTP2, _HTTP1] if http2 else [_HTTP1])
    try:
        # A password, or OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise PairError(f"{key} is not the key of {certificate}") from None
        raise PairError(f"{key} is no private key in PEM without a password") from None
    except OSError as error:
        raise PairError(f"{key}: cannot read the key: {error.strerror}") from None
    return context


class Certificate:
    """The pair in use. Handshakes take `pair` when they begin, so a new one ends no connection."""

    def __init__(self, certificate: Path, key: Path, *, http2: bool) -> None:
        """Raises PairError."""
        self._certificate, self._key, self._http2 = certificate, key, http2
        self.pair = self._load()

    def reload(self) -> Pair:
        """Read the files again. Raises PairError, and goes on with what was in use."""
        pair = self._load()
        if pair.name != self.pair.name:
            raise PairError(f"{self._certificate} is for {pair.name}, and this edge is {self.pair.name}")
        self.pair = pair
        return pair

    def _load(self) -> Pair:
        return load_pair(self._certificate, self._key, http2=self._http2, now=datetime.now(UTC))

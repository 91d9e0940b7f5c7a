"""The lab's own certificate authority: one name, one certificate, the same on every edge (RFC 5280)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from delivery.keys import KeyFileError, write_private_key
from origin.errors import OriginError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

CA_CERTIFICATE, CA_KEY = "ca.pem", "ca.key"
CERTIFICATE, KEY = "service.pem", "service.key"
CA_DAYS = 3650
DEFAULT_DAYS = 90
_CLOCKS_DIFFER = timedelta(hours=1)
"""A certificate is valid from a little before it is made, for clients whose clocks are late."""


class CertificateError(OriginError):
    """A certificate could not be issued; the message names the file and the way out."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate for `name` in `folder`, valid until `not_after`; `is_new_ca`: so is the CA."""

    name: str
    folder: Path
    not_after: datetime
    is_new_ca: bool


def certify(
    name: str, folder: Path, *, days: int = DEFAULT_DAYS, reissue: bool = False, now: datetime | None = None
) -> Issued:
    """Issue the certificate of the service name into `folder`, with a new CA unless one is there.

    `days` is how long it is valid from `now`. A certificate that is there already is replaced only with
    `reissue`; the CA never is. Raises CertificateError.
    """
    now = now or datetime.now(UTC)
    if (folder / CERTIFICATE).exists() and not reissue:
        raise CertificateError(
            f"{folder / CERTIFICATE} exists; --reissue puts a new certificate of the same CA in its place"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_new_ca = not (folder / CA_CERTIFICATE).exists()
        if is_new_ca:
            authority, key = _make_authority(name, folder, now)
        else:
            authority, key = _load_authority(name, folder)
        not_after = min(now + timedelta(days=days), authority.not_valid_after_utc)
        if not_after <= now:
            raise CertificateError(f"{folder / CA_CERTIFICATE} is not valid any more; name another folder")
        _issue_leaf(name, folder, authority, key, now, not_after)
    except KeyFileError as error:
        raise CertificateError(str(error)) from None
    except OSError as error:
        raise CertificateError(f"{error.filename or folder}: {error.strerror}") from None
    return Issued(name, folder, not_after, is_new_ca)


def _make_authority(
    name: str, folder: Path, now: datetime
) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    """A CA that can vouch for this one name and for nothing else (section 4.2.1.10): trusting it on a real
    machine gives nobody who finds its key more than the lab's name."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = write_private_key(folder / CA_KEY, ec.generate_private_key(ec.SECP256R1()))
    subject = _subject(f"nearcast lab CA for {name}")
    certificate = (
        _builder(subject, subject, key.public_key(), now, now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_ca=True), critical=True)
        .add_extension(x509.NameConstraints([_dns_name(name)], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, _hash())
    )
    _write(folder / CA_CERTIFICATE, certificate)
    return certificate, key


def _load_authority(name: str, folder: Path) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificate = x509.load_pem_x509_certificate((folder / CA_CERTIFICATE).read_bytes())
        key = load_pem_private_key((folder / CA_KEY).read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"{folder}: no CA of `origin certify`: {str(error).splitlines()[0]}") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateError(f"{folder / CA_KEY} is not the key of {CA_CERTIFICATE}; name another folder")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return certificate, key
    if _dns_name(name) not in (constraints.permitted_subtrees or []):
        raise CertificateError(f"the CA in {folder} may not vouch for {name}; name another folder")
    return certificate, key


def _issue_leaf(
    name: str,
    folder: Path,
    authority: x509.Certificate,
    authority_key: EllipticCurvePrivateKey,
    now: datetime,
    not_after: datetime,
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    aside = folder / f"{KEY}.new"
    aside.unlink(missing_ok=True)
    key = write_private_key(aside, ec.generate_private_key(ec.SECP256R1()))
    authority_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_subject(name), authority.subject, key.public_key(), now, not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_dns_name(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False
        )
        .sign(authority_key, _hash())
    )
    _write(folder / f"{CERTIFICATE}.new", certificate)
    aside.replace(folder / KEY)
    (folder / f"{CERTIFICATE}.new").replace(folder / CERTIFICATE)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePublicKey,
    now: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(not_after)
    )


def _usage(*, is_ca: bool) -> x509.KeyUsage:
    """What the key may do: sign certificates, or sign handshakes (section 4.2.1.3)."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(text: str) -> x509.Name:
    """A name that people can read. Clients look at the alternative names (RFC 9525 section 2); a common name
    has room for 64 characters."""
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text[:64])])


def _dns_name(name: str) -> x509.DNSName:
    from cryptography import x509

    return x509.DNSName(name)


def _hash() -> hashes.SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _write(path: Path, certificate: x509.Certificate) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    with path.open("wb") as file:
        file.write(certificate.public_bytes(Encoding.PEM))
        file.flush()
        os.fsync(file.fileno())

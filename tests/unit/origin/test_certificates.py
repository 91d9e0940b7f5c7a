"""The lab's own CA: what it issues, what OpenSSL says of it, and what it refuses to replace."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from origin.__main__ import main
from origin.certificates import CA_DAYS, CertificateError, certify

NAME = "www.service.example"
NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


def verify(folder: Path, name: str, *, at: datetime = NOW) -> bool:
    """Whether OpenSSL, at its strictest, takes the certificate for `name` at that time."""
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver"]
    command += ["-attime", str(int(at.timestamp())), "-CAfile", str(folder / "ca.pem")]
    command += ["-verify_hostname", name, str(folder / "service.pem")]
    return subprocess.run(command, capture_output=True).returncode == 0


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_openssl_takes_the_certificate_for_the_name_and_its_time(tmp_path: Path) -> None:
    issued = certify(NAME, tmp_path / "tls", days=30, now=NOW)
    assert issued.is_new_ca
    assert issued.not_after == NOW + timedelta(days=30)
    assert verify(issued.folder, NAME)
    assert verify(issued.folder, NAME, at=NOW + timedelta(days=29))
    assert not verify(issued.folder, NAME, at=NOW + timedelta(days=31))
    assert not verify(issued.folder, "other.example")


def test_keys_are_for_nobody_else(tmp_path: Path) -> None:
    certify(NAME, tmp_path, now=NOW)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes.keys() == {"ca.pem", "ca.key", "service.pem", "service.key"}
    assert modes["ca.key"] == modes["service.key"] == 0o600


def test_nothing_is_replaced_unless_asked(tmp_path: Path) -> None:
    certify(NAME, tmp_path, now=NOW)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CertificateError, match="--reissue"):
        certify(NAME, tmp_path, now=NOW)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_certificate_of_the_same_ca(tmp_path: Path) -> None:
    certify(NAME, tmp_path, now=NOW)
    ca, first = (tmp_path / "ca.pem").read_bytes(), load(tmp_path / "service.pem")
    assert not certify(NAME, tmp_path, reissue=True, now=NOW).is_new_ca
    second = load(tmp_path / "service.pem")
    assert (tmp_path / "ca.pem").read_bytes() == ca
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()
    assert verify(tmp_path, NAME)
    assert not list(tmp_path.glob("*.new"))


def test_the_ca_vouches_for_one_name(tmp_path: Path) -> None:
    certify(NAME, tmp_path, now=NOW)
    with pytest.raises(CertificateError, match="may not vouch"):
        certify("other.example", tmp_path, reissue=True, now=NOW)
    constraints = load(tmp_path / "ca.pem").extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [x509.DNSName(NAME)]


def test_a_certificate_does_not_outlive_its_ca(tmp_path: Path) -> None:
    certify(NAME, tmp_path, now=NOW)
    late = NOW + timedelta(days=CA_DAYS - 10)
    assert certify(NAME, tmp_path, days=90, reissue=True, now=late).not_after == NOW + timedelta(days=CA_DAYS)
    with pytest.raises(CertificateError, match="not valid any more"):
        certify(NAME, tmp_path, reissue=True, now=NOW + timedelta(days=CA_DAYS + 1))


def test_a_foreign_key_is_refused(tmp_path: Path) -> None:
    certify(NAME, tmp_path / "a", now=NOW)
    certify(NAME, tmp_path / "b", now=NOW)
    (tmp_path / "b" / "ca.key").replace(tmp_path / "a" / "ca.key")
    with pytest.raises(CertificateError, match="not the key"):
        certify(NAME, tmp_path / "a", reissue=True, now=NOW)
    (tmp_path / "a" / "ca.key").write_bytes(b"nothing")
    with pytest.raises(CertificateError, match="no CA"):
        certify(NAME, tmp_path / "a", reissue=True, now=NOW)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["certify", "--name", NAME, "--out", str(tmp_path / "tls"), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["name"], said["is_new_ca"]) == (NAME, True)
    assert main(words) == 1
    assert "--reissue" in capsys.readouterr().err
    assert main([*words, "--reissue", "--days", "7"]) == 0
    for wrong in (["--name", "a..b"], ["--name", "*.example"], ["--name", "10.0.0.1"], ["--days", "0"]):
        assert main(["certify", "--out", str(tmp_path / "x"), *wrong]) == 2

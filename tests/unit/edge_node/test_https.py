"""A real edge with HTTPS, asked by curl over ::1; its certificate, and a new one while it runs."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_node.__main__ import main
from edge_node.tls.pair import Certificate, PairError, load_pair
from origin.certificates import certify

NAME = "www.service.example"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
LARGE = hashlib.sha256(b"large").digest() * 200_000
Edge = Callable[..., AbstractContextManager[Any]]


def load(folder: Path, *, key: str = "service.key", now: datetime = NOW) -> ssl.SSLContext:
    return load_pair(folder / "service.pem", folder / key, http2=True, now=now).context


def test_a_pair_is_loaded_and_known(tmp_path: Path) -> None:
    certify(NAME, tmp_path, now=NOW, days=5)
    pair = load_pair(tmp_path / "service.pem", tmp_path / "service.key", http2=True, now=NOW)
    assert (pair.name, pair.not_after) == (NAME, NOW + timedelta(days=5))
    assert pair.context.minimum_version is ssl.TLSVersion.TLSv1_2
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "service.pem").read_text())
    assert pair.sha256 == hashlib.sha256(der).hexdigest()


def test_broken_pairs(tmp_path: Path) -> None:
    certify(NAME, tmp_path, now=NOW, days=5)
    for days in (-1, 5):
        with pytest.raises(PairError, match="not now"):
            load(tmp_path, now=NOW + timedelta(days=days))
    with pytest.raises(PairError, match="not the key of"):
        load(tmp_path, key="ca.key")
    (tmp_path / "broken").write_text("broken")
    with pytest.raises(PairError, match="no private key in PEM"):
        load(tmp_path, key="broken")
    with pytest.raises(PairError, match="cannot read the key"):
        load(tmp_path, key="nothing")
    with pytest.raises(PairError, match="for no host name"):
        load_pair(tmp_path / "ca.pem", tmp_path / "ca.key", http2=True, now=NOW)
    (tmp_path / "service.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(PairError, match="no certificate in PEM"):
        load(tmp_path)
    (tmp_path / "service.pem").unlink()
    with pytest.raises(PairError, match="cannot read the certificate"):
        load(tmp_path)


def test_a_pair_for_another_name_is_not_taken_up(tmp_path: Path) -> None:
    certify(NAME, tmp_path / "a")
    certify("other.example", tmp_path / "b")
    certificate = Certificate(tmp_path / "a" / "service.pem", tmp_path / "a" / "service.key", http2=True)
    before = certificate.pair
    for name in ("service.pem", "service.key"):
        shutil.copy(tmp_path / "b" / name, tmp_path / "a" / name)
    with pytest.raises(PairError, match=r"is for other\.example"):
        certificate.reload()
    assert certificate.pair is before


@dataclass
class Running:
    """An edge with HTTPS: its process and ports, the folder of the certificate, its events."""

    edge: Any
    tls: Path
    events_file: Path

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.edge.ready['tls_port']}"

    def events(self, event: str) -> list[dict[str, Any]]:
        found = map(json.loads, self.events_file.read_text().splitlines())
        return [each for each in found if each["event"] == event]

    def wait_for(self, event: str, count: int) -> dict[str, Any]:
        deadline = time.monotonic() + 10
        while len(self.events(event)) < count:
            assert time.monotonic() < deadline, f"no {event}"
            time.sleep(0.01)
        return self.events(event)[-1]

    def curl(self, url: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One request; prints the version, the status, where it is sent to, and a field."""
        ready = self.edge.ready
        command = [
            "curl",
            "-gsS",
            "--max-time",
            "10",
            "--cacert",
            str(self.tls / "ca.pem"),
            "-o",
            "/dev/null",
        ]
        for port in (ready["port"], ready["tls_port"]):
            command += ["--resolve", f"{NAME}:{port}:[::1]"]
        command += ["-w", "%{http_version} %{http_code} %{redirect_url} %header{strict-transport-security}"]
        return subprocess.run([*command, *words, url], capture_output=True, text=True, check=check)


@pytest.fixture
def running(edge: Edge, tmp_path: Path) -> Iterator[Running]:
    site, tls, events = tmp_path / "site", tmp_path / "tls", tmp_path / "events.jsonl"
    site.mkdir()
    (site / "index.html").write_text("<h1>home</h1>")
    (site / "large.bin").write_bytes(LARGE)
    certify(NAME, tls)
    words = ["--store", tmp_path / "store", "--site", site, "--report-file", events, "--tls-port", "0"]
    words += ["--tls-certificate", tls / "service.pem", "--tls-key", tls / "service.key"]
    with edge(*words) as process:
        yield Running(process, tls, events)


def test_https_and_the_way_to_it(running: Running) -> None:
    secure = "max-age=31536000"
    assert running.curl(running.url).stdout == f"2 200  {secure}"
    assert running.curl(running.url, "--http1.1").stdout == f"1.1 200  {secure}"
    assert running.curl(f"{running.url}/none", "--http1.1").stdout == f"1.1 404  {secure}"
    assert running.curl(running.url, "-X", "PUT", "-d", "x").stdout == f"2 405  {secure}"
    assert running.curl(running.url, "--tls-max", "1.2").stdout == f"2 200  {secure}"
    assert running.curl(running.url, "--tls-max", "1.1", check=False).returncode == 35
    assert running.curl(running.url, "--cacert", "/dev/null", check=False).returncode in (60, 77)
    plain = f"http://{NAME}:{running.edge.ready['port']}"
    for words in ((), ("-H", "Host: evil.example"), ("-X", "POST", "-d", "x")):
        answer = running.curl(f"{plain}/a%20b/?c=d", *words).stdout
        assert answer == f"1.1 308 {running.url}/a%20b/?c=d "


def test_a_new_certificate_for_new_connections(running: Running) -> None:
    first = running.wait_for("certificate", 1)["sha256"]
    slow = subprocess.Popen(
        ["curl", "-sS", "--cacert", str(running.tls / "ca.pem"), "--limit-rate", "8M", "--resolve",
         f"{NAME}:{running.edge.ready['tls_port']}:[::1]", f"{running.url}/large.bin"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert slow.stdout is not None
    begun = slow.stdout.read(1)
    certify(NAME, running.tls, reissue=True)
    running.edge.process.send_signal(signal.SIGHUP)
    second = running.wait_for("certificate", 2)["sha256"]
    assert second != first
    assert running.curl(running.url).stdout.startswith("2 200")
    assert begun + slow.stdout.read() == LARGE
    assert slow.wait(10) == 0

    (running.tls / "service.key").write_text("broken")
    running.edge.process.send_signal(signal.SIGHUP)
    refused = running.wait_for("certificate_refused", 1)
    assert refused["sha256"] == second
    assert "service.key" in refused["reason"]
    assert running.curl(running.url).stdout.startswith("2 200")
    status, _ = running.edge.stop()
    assert status == 0


def test_an_edge_says_which_certificate_it_has(edge: Edge, tmp_path: Path, public_key_file: Path) -> None:
    certify(NAME, tmp_path / "tls", now=datetime.now(UTC).replace(microsecond=0), days=30)
    pair = [tmp_path / "tls" / "service.pem", "--tls-key", tmp_path / "tls" / "service.key"]
    words = ["--store", tmp_path / "store", "--public-key", public_key_file, "--tls-certificate", *pair]
    with edge(*words, "--tls-port", "0", "--sync-address", "::1", "--sync-port", "0") as running:
        url = f"https://[::1]:{running.ready['tls_port']}"
        assert subprocess.run(["curl", "-gs", "--max-time", "10", url], check=False).returncode == 60
        deadline = time.monotonic() + 10
        while True:
            status = json.loads(subprocess.check_output(["curl", "-gs", f"{running.sync_url}/status"]))
            if status["connections"]["failed_handshakes"] or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        metrics = subprocess.check_output(["curl", "-gs", f"{running.sync_url}/metrics"], text=True)
    assert status["connections"]["failed_handshakes"] == 1
    assert status["certificate"]["name"] == NAME
    expires = datetime.fromisoformat(status["certificate"]["expires"]).timestamp()
    (line,) = (line for line in metrics.splitlines() if line.startswith("nearcast_edge_certificate_expires"))
    assert float(line.split()[1]) == expires


def test_what_does_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", "--name", "edge1", "--store", str(tmp_path / "store"), "--site", str(tmp_path)]
    certify(NAME, tmp_path / "tls")
    files = ["--tls-certificate", str(tmp_path / "tls" / "service.pem"), "--tls-key"]
    assert main([*words, *files[:2]]) == 2
    assert "belong together" in capsys.readouterr().err
    assert main([*words, *files, str(tmp_path / "tls" / "ca.key"), "--address", "::1", "--port", "0"]) == 1
    assert "ca.key is not the key of" in capsys.readouterr().err

"""Inside a lab: users fetch over HTTPS from edges that share one certificate, which is then changed."""

from __future__ import annotations

import hashlib
import importlib
import json
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

from experiments.curl_users import fetch_all, write_transfers
from experiments.https import HTTPS_PORT, curl_words
from experiments.scenario import scenario_from_json
from experiments.testbed import Testbed
from origin.certificates import CA_CERTIFICATE

_SAYS = "%{http_version} %{http_code} %{exitcode} %header{nearcast-edge} %{redirect_url}|"
_SAYS += "%header{strict-transport-security}"
_SLOW_BYTES_S = 100_000


def https(out: Path, work: Path, scenario: dict[str, Any], users: list[str]) -> None:
    """What `users` meet, who are served by different edges; transfers.csv and facts.json."""
    plan = scenario_from_json(scenario)
    name = plan.topology.service.name
    certify = importlib.import_module("origin.__main__").main
    with Testbed(plan, work, out) as testbed:
        testbed.start()
        testbed.publish()
        assert testbed.tls is not None
        trust = curl_words(testbed.tls)
        rows = fetch_all(testbed.net, plan.workload, work / "curl", time.monotonic(), trust=trust)
        write_transfers(out / "transfers.csv", rows)
        certify(["certify", "--name", name, "--out", str(work / "stranger")])
        stranger = curl_words(work / "stranger")
        facts: dict[str, Any] = {"name": name}
        for user in users:
            facts[user] = {
                "http2": _curl(testbed, user, f"https://{name}/", *trust, "--http2"),
                "http1": _curl(testbed, user, f"https://{name}/", *trust, "--http1.1"),
                "trusting": _curl(testbed, user, f"https://{name}/"),
                "plain": _curl(testbed, user, f"http://{name}/a%20b?c=d"),
                "forged": _curl(testbed, user, f"http://{name}/", "-H", "Host: evil.example"),
                "stranger": _curl(testbed, user, f"https://{name}/", *stranger),
                "certificate": _certificate(testbed, user),
            }
        slow = _download(testbed, users[0], f"https://{name}/video/film.mpg", *trust)
        time.sleep(0.5)
        certify(["certify", "--name", name, "--out", str(testbed.tls), "--reissue"])
        for edge in testbed.edges.values():
            edge.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        for user in users:
            facts[user]["new_certificate"] = _certificate(testbed, user)
        facts["was_slow"] = slow.poll() is None
        facts["slow_sha256"] = hashlib.sha256(slow.communicate()[0]).hexdigest()
        facts["slow_exitcode"] = slow.returncode
    (out / "facts.json").write_text(json.dumps(facts))


def _curl(testbed: Testbed, user: str, url: str, *words: str) -> str:
    """What curl says of one request: version, status, exit code, edge, where it is sent to|HSTS."""
    command = ["curl", "-s", "--max-time", "10", "-o", "/dev/null", "-w", _SAYS, *words, url]
    process = testbed.net[user].popen(*command, stdout=subprocess.PIPE)
    return str(process.communicate()[0].decode())


def _download(testbed: Testbed, user: str, url: str, *words: str) -> subprocess.Popen[bytes]:
    command = ["curl", "-s", "--limit-rate", str(_SLOW_BYTES_S), *words, url]
    process: subprocess.Popen[bytes] = testbed.net[user].popen(*command, stdout=subprocess.PIPE)
    return process


def _certificate(testbed: Testbed, user: str) -> str:
    """The fingerprint of the certificate that the service shows to `user`."""
    assert testbed.tls is not None
    context = ssl.create_default_context(cafile=testbed.tls / CA_CERTIFICATE)
    with testbed.net[user].namespace.entered():
        connection = socket.socket(socket.AF_INET6)
    connection.settimeout(10)
    connection.connect((str(testbed.plan.service), HTTPS_PORT))
    with context.wrap_socket(connection, server_hostname=testbed.topology.service.name) as secured:
        certificate = secured.getpeercert(binary_form=True)
    assert certificate is not None
    return hashlib.sha256(certificate).hexdigest()

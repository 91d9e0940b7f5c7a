"""The unicast-push API, used as an origin would and as an attacker would."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.signing import sign_manifest

Edge = Callable[..., AbstractContextManager[Any]]
Make = Callable[[int, Mapping[str, bytes]], Any]


def put(url: str, body: bytes, *arguments: str) -> tuple[int, str]:
    """PUT `body`; status and text."""
    command = ["curl", "-gsS", "-T", "-", "-w", "\n%{http_code}", *arguments, url]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    text, _, status = done.stdout.decode().rpartition("\n")
    return int(status), text.strip()


def get(url: str) -> bytes:
    """GET, the body."""
    return subprocess.run(["curl", "-gsS", url], capture_output=True, check=True).stdout


@pytest.fixture
def start(edge: Edge, tmp_path: Path, public_key_file: Path) -> Callable[..., AbstractContextManager[Any]]:
    def run(*arguments: str | Path) -> AbstractContextManager[Any]:
        common = ("--store", tmp_path / "store", "--public-key", public_key_file)
        return edge(*common, "--sync-address", "::1", "--sync-port", "0", *arguments)

    return run


def brief_status(edge: Edge) -> dict[str, object]:
    status = json.loads(get(edge.sync_url + "/status"))
    return {name: status[name] for name in ("edge", "version", "complete", "files", "bytes")}


def test_push(start: Edge, release: Make, tmp_path: Path) -> None:
    site = release(1, {"index.html": b"home", "big": bytes(3_000_000), "empty": b""})
    report = tmp_path / "report.jsonl"
    with start("--report-file", report) as edge:
        assert brief_status(edge) == {
            "edge": "edge1", "version": 0, "complete": False, "files": 0, "bytes": 0,
        }  # fmt: skip
        assert put(edge.sync_url + "/manifest", site.signed) == (204, "")
        assert put(edge.sync_url + "/manifest", site.signed) == (204, "")
        assert get(edge.url + "/") == b"404: no such file here\n"
        for sha256, content in site.blobs.items():
            assert put(f"{edge.sync_url}/blobs/{sha256}", content) == (201, "")
            assert put(f"{edge.sync_url}/blobs/{sha256}", content) == (204, "")
        assert get(edge.url + "/big") == bytes(3_000_000)
        assert brief_status(edge) == {
            "edge": "edge1", "version": 1, "complete": True, "files": 3, "bytes": 3_000_004,
        }  # fmt: skip
        status, events = edge.stop()
        assert status == 0
    assert [event["event"] for event in events] == ["manifest", "complete", "stopped"]
    written = [json.loads(line) for line in report.read_text().splitlines()]
    assert [event["event"] for event in written] == ["ready", "manifest", "complete", "stopped"]
    assert written[2]["bytes"] == 3_000_004
    assert all(early["t"] <= late["t"] for early, late in pairwise(written))


def test_what_is_refused(start: Edge, release: Make) -> None:
    site = release(5, {"index.html": b"home", "other": b"other"})
    (home, _), (other, _) = site.blobs.items()
    forged = sign_manifest(release(9, {"index.html": b"evil"}).manifest, Ed25519PrivateKey.generate())
    stale = release(4, {"index.html": b"old"}).signed
    with start() as edge:
        manifest, blobs = edge.sync_url + "/manifest", edge.sync_url + "/blobs/"
        assert put(blobs + home, b"home")[0] == 404
        assert put(manifest, forged) == (400, "manifest signature does not verify")
        assert put(manifest, b"nonsense") == (400, "not a manifest")
        assert put(manifest, site.signed)[0] == 204
        assert put(manifest, stale) == (409, "manifest version 4 is not newer than version 5 held")
        assert put(manifest, forged)[0] == 400
        assert put(manifest, bytes(9 << 20))[0] == 413
        status, text = put(blobs + home, b"evil")
        assert (status, "another digest" in text) == (400, True)
        assert put(blobs + home, b"home and more")[0] == 413
        assert put(blobs + "0" * 64, b"x")[0] == 404
        assert put(blobs + "../../origin.pem", b"x", "--path-as-is")[0] == 404
        assert put(edge.sync_url + "/status", b"x")[0] == 404
        assert get(edge.url + "/") == b"404: no such file here\n"
        assert put(blobs + home, b"home")[0] == 201
        assert get(edge.url + "/") == b"home"
        assert not json.loads(get(edge.sync_url + "/status"))["complete"]
        assert put(blobs + other, b"other")[0] == 201
        assert json.loads(get(edge.sync_url + "/status"))["bytes"] == 9


def test_an_upload_that_breaks_off_leaves_nothing(start: Edge, release: Make, tmp_path: Path) -> None:
    import socket
    import time

    content = bytes(100_000)
    site = release(1, {"a": content})
    (sha256,) = site.blobs
    with start() as edge:
        assert put(edge.sync_url + "/manifest", site.signed)[0] == 204
        with socket.create_connection(("::1", edge.ready["sync_port"])) as client:
            client.sendall(
                f"PUT /blobs/{sha256} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".encode()
            )
            client.sendall(content[:50_000])
            time.sleep(0.2)
        deadline = time.monotonic() + 5
        while list((tmp_path / "store" / "tmp").iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert list((tmp_path / "store" / "tmp").iterdir()) == []
        assert put(f"{edge.sync_url}/blobs/{sha256}", content)[0] == 201
        assert get(edge.url + "/a") == content


def test_a_full_store_says_so_and_serves_on(start: Edge, release: Make) -> None:
    site = release(1, {"small": b"small", "big": bytes(2000)})
    (small, _), (big, _) = site.blobs.items()
    with start("--max-bytes", "1000") as edge:
        assert put(edge.sync_url + "/manifest", site.signed)[0] == 204
        assert put(f"{edge.sync_url}/blobs/{small}", b"small")[0] == 201
        status, text = put(f"{edge.sync_url}/blobs/{big}", bytes(2000))
        assert (status, "store full: 5 of 1000 bytes used" in text) == (507, True)
        assert get(edge.url + "/small") == b"small"

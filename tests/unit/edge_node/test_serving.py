"""A real edge asked by a real client (curl) over ::1."""

from __future__ import annotations

import concurrent.futures
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Edge = Callable[..., AbstractContextManager[Any]]

LARGE = bytes(range(256)) * 12_000
FILES = {
    "index.html": b"<h1>home</h1>",
    "folder/index.html": b"<p>in here</p>",
    "a b/ü.txt": "grüß dich".encode(),
    "100%.css": b"b{}",
    "video.mp4": LARGE,
    "empty": b"",
}


@dataclass(frozen=True)
class Answer:
    """What curl received."""

    status: int
    fields: dict[str, str]
    body: bytes


def curl(url: str, *arguments: str) -> Answer:
    """One request; fields by lower-case name."""
    command = ["curl", "-gsS", "-i", "--max-time", "10", *arguments, url]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    while True:
        head, _, raw = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        if not status.endswith("100 Continue"):
            break
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(status.split()[1]), fields, raw)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    for path, content in FILES.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def url(site: Path, tmp_path_factory: pytest.TempPathFactory, edge_module: Edge) -> Iterator[str]:
    with edge_module("--store", tmp_path_factory.mktemp("store"), "--site", site) as running:
        yield running.url


@pytest.mark.parametrize(
    ("path", "name", "content_type"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/folder/", "folder/index.html", "text/html; charset=utf-8"),
        ("/a%20b/%C3%BC.txt", "a b/ü.txt", "text/plain; charset=utf-8"),
        ("/100%25.css", "100%.css", "text/css; charset=utf-8"),
        ("/video.mp4?start=3", "video.mp4", "video/mp4"),
        ("/empty", "empty", "application/octet-stream"),
    ],
)
def test_get_and_head(url: str, path: str, name: str, content_type: str) -> None:
    got, head = curl(url + path), curl(url + path, "--head")
    assert (got.status, got.body) == (200, FILES[name])
    assert got.fields["content-type"] == content_type
    assert got.fields["nearcast-edge"] == "edge1"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", got.fields["date"])
    got.fields.pop("date"), head.fields.pop("date")
    assert (head.status, head.fields, head.body) == (200, got.fields, b"")


def test_what_is_not_there(url: str) -> None:
    assert curl(url + "/none").status == 404
    assert curl(url + "/%zz").status == 404
    assert curl(url + "/%2e%2e/%2e%2e/etc/passwd").status == 404
    assert curl(url + "/../../etc/passwd", "--path-as-is").status == 404
    assert curl(url + "/", "-X", "DELETE").fields["allow"] == "GET, HEAD, OPTIONS"
    assert curl(url + "/", "--data", "x" * 100_000).status == 405


def test_a_redirect_leads_to_the_folder(url: str) -> None:
    moved = curl(url + "/folder?q=1")
    assert (moved.status, moved.fields["location"]) == (308, "/folder/?q=1")


def test_ranges_of_a_large_file(url: str) -> None:
    part = curl(url + "/video.mp4", "-r", "1000000-2500000")
    assert (part.status, part.body) == (206, LARGE[1_000_000:2_500_001])
    several = curl(url + "/video.mp4", "-r", "0-9,3000000-3000009")
    assert several.status == 206
    assert int(several.fields["content-length"]) == len(several.body)
    assert LARGE[3_000_000:3_000_010] in several.body
    beyond = curl(url + "/video.mp4", "-r", "99999999-")
    assert (beyond.status, beyond.fields["content-range"]) == (416, f"bytes */{len(LARGE)}")


def test_an_interrupted_download_goes_on_only_with_the_same_version(url: str, tmp_path: Path) -> None:
    target = tmp_path / "video.mp4"
    target.write_bytes(LARGE[:1_234_567])
    etag = curl(url + "/video.mp4", "--head").fields["etag"]
    command = ["curl", "-gsS", "-C", "-", "-o", str(target), "-H", f"If-Range: {etag}", url + "/video.mp4"]
    subprocess.run(command, check=True)
    assert target.read_bytes() == LARGE
    other = curl(url + "/video.mp4", "-r", "5-", "-H", 'If-Range: "another"')
    assert (other.status, other.body) == (200, LARGE)


def test_revalidation(url: str) -> None:
    etag = curl(url + "/").fields["etag"]
    fresh = curl(url + "/", "-H", f"If-None-Match: {etag}")
    assert (fresh.status, fresh.body, fresh.fields["etag"]) == (304, b"", etag)
    assert "transfer-encoding" not in fresh.fields


def test_one_connection_serves_many_requests(url: str) -> None:
    paths = ["/", "/none", "/video.mp4", "/empty", "/"]
    command = [
        "curl",
        "-gs",
        "-w",
        "%{stderr}%{http_code} %{num_connects}\n",
        *(url + path for path in paths),
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr.split(b"\n")[:-1] == [b"200 1", b"404 0", b"200 0", b"200 0", b"200 0"]


def raw_exchange(url: str, request: bytes) -> bytes:
    """Bytes on the wire, for what curl refuses to send; the server closes the connection."""
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("::1", port), timeout=5) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_broken_requests_are_refused_and_the_connection_closed(url: str, request_bytes: bytes) -> None:
    answer = raw_exchange(url, request_bytes + b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_pipelined_requests_are_answered_in_order(url: str) -> None:
    get = b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"
    answer = raw_exchange(
        url, get % (b"/", b"") + get % (b"/none", b"") + get % (b"/folder/", b"Connection: close\r\n")
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404", b"200"]


def test_many_at_once_and_clients_that_go_away(url: str) -> None:
    port = int(url.rpartition(":")[2])
    for _ in range(5):
        with socket.create_connection(("::1", port)) as quitter:
            quitter.sendall(b"GET /video.mp4 HTTP/1.1\r\nHost: a\r\n\r\n")
            quitter.recv(10)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(answer.body == LARGE for answer in pool.map(curl, [url + "/video.mp4"] * 16))


def test_sigterm_finishes_the_response(edge: Edge, site: Path, tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "large").write_bytes(LARGE * 8)
    with edge("--store", tmp_path / "store", "--site", tmp_path / "big") as running:
        with socket.create_connection(("::1", running.ready["port"])) as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            received = len(client.recv(1000))
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("::1", running.ready["port"]))
            while data := client.recv(1 << 20):
                received += len(data)
        assert received > len(LARGE) * 8
        assert running.process.wait(5) == 0


def test_an_idle_edge_sleeps(edge: Edge, site: Path, tmp_path: Path) -> None:
    with edge("--store", tmp_path / "store", "--site", site) as running:
        assert curl(running.url + "/").status == 200
        status = Path(f"/proc/{running.process.pid}/status")

        def switches() -> int:
            found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.MULTILINE)
            assert found is not None
            return int(found[1])

        time.sleep(0.2)
        before = switches()
        time.sleep(1)
        assert switches() == before


def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_node", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_verify_finds_every_difference(edge: Edge, site: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with edge("--store", store, "--site", site):
        done = cli("verify", "--store", store, "--against", site, "--json")
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["identical"], verdict["files"]) == (0, True, len(FILES))
    assert verdict["bytes"] == sum(map(len, FILES.values()))
    blob = max(store.glob("blobs/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[1000] ^= 1
    blob.write_bytes(content)
    done = cli("verify", "--store", store)
    assert done.returncode == 1
    assert done.stderr == f"blob {blob.name}: its content has another digest\n"
    next(store.glob("blobs/e3/*")).unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_bytes(FILES["index.html"] + b"!")
    (tmp_path / "other" / "more").write_bytes(b"")
    done = cli("verify", "--store", store, "--against", tmp_path / "other")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "empty: its content is missing" in lines
    assert "more: published but not listed" in lines
    assert f"index.html: differs from the file in {tmp_path / 'other'}" in lines


def test_errors_are_one_line(tmp_path: Path, site: Path) -> None:
    serve = ("serve", "--name", "edge1", "--address", "::1", "--port", "0", "--store", tmp_path / "store")
    cases = [
        (serve, 1, "the store trusts no key yet; give the origin's with --public-key FILE"),
        ((*serve, "--public-key", tmp_path / "none"), 1, "cannot read the key"),
        ((*serve, "--site", tmp_path / "none"), 1, "none: cannot read the site: No such file or directory"),
        ((*serve, "--site", site, "--address", "2001:db8::1"), 1, "Cannot assign requested address"),
        (("verify", "--store", tmp_path / "none"), 1, "the store trusts no key yet"),
        ((*serve, "--group", "ff35::8000:1"), 2, "--group, --source and --interface belong together"),
        ((*serve, "--port", "99999"), 2, "99999 is no port number"),
        ((), 2, "required"),
    ]
    for arguments, status, text in cases:
        done = cli(*arguments)
        assert done.returncode == status, arguments
        assert text in done.stderr.splitlines()[-1]
        assert status == 2 or len(done.stderr.splitlines()) == 1
    assert cli("serve", "--help").returncode == 0


def test_small_answers_do_not_wait_for_acknowledgements(url: str) -> None:
    """Nagle's algorithm would hold back the content behind the fields, 40 ms each time."""
    port = int(url.rpartition(":")[2])
    began = time.monotonic()
    with socket.create_connection(("::1", port), timeout=5) as connection:
        for _ in range(50):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while not answer.endswith(FILES["index.html"]):
                answer += connection.recv(65536)
    assert time.monotonic() - began < 1

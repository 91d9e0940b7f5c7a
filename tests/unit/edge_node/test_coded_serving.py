"""A real edge that serves coded forms to a real client, which decodes them (curl)."""

from __future__ import annotations

import concurrent.futures
import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.edge_node.test_serving import Answer, curl
from tests.unit.edge_node.test_sync_api import get, put

Edge = Callable[..., AbstractContextManager[Any]]

_WORDS = random.Random(4).choices(["edge", "cloud", "near", "cast", "<p>", "</p>", "IPv6"], k=30_000)
PAGE = " ".join(_WORDS).encode()
FILES = {
    "index.html": PAGE,
    "big.json": random.Random(6).randbytes(1_500_000).hex().encode(),
    "noise.txt": random.Random(5).randbytes(9000),
    "picture.png": PAGE,
    "short.css": b"b{}",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coded-site")
    for path, content in FILES.items():
        (root / path).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def running(site: Path, tmp_path_factory: pytest.TempPathFactory, edge_module: Edge) -> Iterator[Any]:
    with edge_module("--store", tmp_path_factory.mktemp("store"), "--site", site) as edge:
        yield edge


def ask(url: str, coding: str | None, *arguments: str) -> Answer:
    accepts = ("-H", f"Accept-Encoding: {coding}") if coding else ()
    return curl(url, *accepts, *arguments)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip"])
def test_each_form_decodes_to_the_file(running: Any, coding: str) -> None:
    coded = ask(running.url + "/", coding)
    assert coded.status == 200
    assert coded.fields["content-encoding"] == coding
    assert coded.fields["vary"] == "Accept-Encoding"
    assert coded.fields["content-type"] == "text/html; charset=utf-8"
    assert coded.fields["etag"].endswith(f'-{coding}"')
    assert int(coded.fields["content-length"]) == len(coded.body) < len(PAGE) / 2
    decoded = ask(running.url + "/", coding, "--compressed")
    assert decoded.body == PAGE


def test_head_has_the_fields_of_get(running: Any) -> None:
    head, got = ask(running.url + "/", "br", "--head"), ask(running.url + "/", "br")
    for answer in (head, got):
        del answer.fields["date"]
    assert head.fields == got.fields
    assert "content-encoding" in head.fields


def test_a_form_is_resumed_and_revalidated(running: Any) -> None:
    whole = ask(running.url + "/", "gzip")
    etag = whole.fields["etag"]
    rest = ask(running.url + "/", "gzip", "-r", "1000-", "-H", f"If-Range: {etag}")
    assert (rest.status, rest.fields["content-encoding"]) == (206, "gzip")
    assert gzip.decompress(whole.body[:1000] + rest.body) == PAGE
    fresh = ask(running.url + "/", "gzip", "-H", f"If-None-Match: {etag}")
    assert (fresh.status, fresh.fields["etag"], fresh.fields["vary"]) == (304, etag, "Accept-Encoding")
    assert ask(running.url + "/", "br", "-H", f"If-None-Match: {etag}").status == 200
    plain = ask(running.url + "/", None, "-r", "1000-", "-H", f"If-Range: {etag}")
    assert (plain.status, plain.body) == (200, PAGE)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip"])
def test_a_form_of_more_than_a_piece(running: Any, coding: str) -> None:
    assert ask(running.url + "/big.json", coding, "--compressed").body == FILES["big.json"]
    whole = ask(running.url + "/big.json", coding).body
    assert 1_400_000 < len(whole) < 2_000_000
    part = ask(running.url + "/big.json", coding, "-r", "1000000-1299999")
    assert (part.status, part.body) == (206, whole[1_000_000:1_300_000])


@pytest.mark.parametrize(
    ("path", "varies"), [("/noise.txt", True), ("/picture.png", False), ("/short.css", False)]
)
def test_files_without_forms(running: Any, path: str, varies: bool) -> None:
    answer = ask(running.url + path, "br, gzip")
    assert answer.body == FILES[path[1:]]
    assert "content-encoding" not in answer.fields
    assert ("vary" in answer.fields) is varies


def test_a_client_that_says_nothing_gets_the_file(running: Any) -> None:
    answer = ask(running.url + "/", None)
    assert (answer.body, answer.fields["vary"]) == (PAGE, "Accept-Encoding")
    assert "content-encoding" not in answer.fields
    refused = ask(running.url + "/noise.txt", "identity;q=0, br")
    assert (refused.status, refused.fields["vary"]) == (406, "Accept-Encoding")


def test_a_memory_for_less_than_all_forms(edge: Edge, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    texts = {f"{number}.txt": random.Random(number).randbytes(2000).hex().encode() for number in range(6)}
    for name, text in texts.items():
        (site / name).write_bytes(text)
    with edge("--store", tmp_path / "store", "--site", site, "--forms-bytes", "5000") as running:

        def fetch(name: str) -> bool:
            return ask(f"{running.url}/{name}", "gzip", "--compressed").body == texts[name]

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            assert all(pool.map(fetch, [*texts] * 3))
        for name in [*texts] * 2:  # whoever asks alone gets the form, made again
            assert ask(f"{running.url}/{name}", "gzip").fields["content-encoding"] == "gzip"


def test_no_forms_at_all(edge: Edge, site: Path, tmp_path: Path) -> None:
    with edge("--store", tmp_path / "store", "--site", site, "--forms-bytes", "0") as running:
        answer = ask(running.url + "/", "br, gzip")
    assert answer.body == PAGE
    assert not {"vary", "content-encoding"} & answer.fields.keys()


def test_status_and_metrics_say_what_forms_cost(
    edge: Edge, release: Callable[..., Any], tmp_path: Path, public_key_file: Path
) -> None:
    version = release(1, {"index.html": PAGE, "noise.txt": FILES["noise.txt"]})
    options = ("--store", tmp_path / "store", "--public-key", public_key_file)
    with edge(*options, "--sync-address", "::1", "--sync-port", "0") as running:
        assert put(running.sync_url + "/manifest", version.signed)[0] == 204
        for sha256, content in version.blobs.items():
            assert put(f"{running.sync_url}/blobs/{sha256}", content)[0] == 201
        form = ask(running.url + "/", "br").body
        ask(running.url + "/noise.txt", "zstd")
        status = json.loads(get(running.sync_url + "/status"))["forms"]
        metrics = get(running.sync_url + "/metrics").decode()
        shown = subprocess.run(
            [sys.executable, "-m", "edge_node", "status", running.sync_url],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert status == {
        "made": {"br": 1},
        "not_worth_it": 1,
        "evicted": 0,
        "saved_bytes": len(PAGE) - len(form),
        "bytes": len(form),
        "max_bytes": 32 << 20,
    }
    assert 'nearcast_edge_forms_made_total{coding="br"} 1.0' in metrics
    assert f"nearcast_edge_forms_bytes {float(len(form))}" in metrics
    assert "1 coded forms made" in shown


def test_every_request_is_counted_once_whichever_way_it_is_answered(
    edge: Edge, release: Callable[..., Any], tmp_path: Path, public_key_file: Path
) -> None:
    version = release(1, {"index.html": PAGE, "small.txt": b"short\n" * 100})
    options = ("--store", tmp_path / "store", "--public-key", public_key_file)
    with edge(*options, "--sync-address", "::1", "--sync-port", "0") as running:
        assert put(running.sync_url + "/manifest", version.signed)[0] == 204
        for sha256, content in version.blobs.items():
            assert put(f"{running.sync_url}/blobs/{sha256}", content)[0] == 201
        small = "/small.txt"
        # Made at once, remembered, remembered; waiting for its form; nothing there.
        for path, coding in ((small, None), (small, None), (small, None), (small, "br"), ("/none", None)):
            ask(running.url + path, coding)
        status = json.loads(get(running.sync_url + "/status"))
    assert status["requests_total"] == 5
    assert status["connections"]["quick_answers"] == 3

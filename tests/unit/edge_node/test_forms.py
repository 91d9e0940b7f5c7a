"""Coded forms: what is coded, that each form is made once, and that memory stays bounded."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import brotli
import pytest
import zstandard

from edge_node.coded_forms import CodedForms, compress
from edge_node.contents import BlobGoneError
from edge_node.forms import LEAST_BYTES, MOST_BYTES, is_codable, undecided
from edge_node.http.messages import Coded, Representation
from tests.unit.edge_node.conftest import noise, sha

TEXT = "".join(f"{number} bottles of beer on the wall, " for number in range(400)).encode()
BR, GZIP = Coded("br", "b", 1), Coded("gzip", "g", 1)


@pytest.mark.parametrize(
    ("content_type", "codable"),
    [
        ("text/html; charset=utf-8", True),
        ("Text/CSS", True),
        ("application/json", True),
        ("application/manifest+json", True),
        ("image/svg+xml", True),
        ("application/wasm", True),
        ("font/ttf", True),
        ("font/woff2", False),
        ("image/png", False),
        ("video/mp4", False),
        ("application/gzip", False),
        ("application/octet-stream", False),
        ("", False),
    ],
)
def test_types(content_type: str, codable: bool) -> None:
    assert is_codable(content_type, 10_000) is codable


def test_sizes() -> None:
    codable = {size for size in (0, LEAST_BYTES - 1, LEAST_BYTES, MOST_BYTES) if is_codable("text/css", size)}
    assert codable == {LEAST_BYTES, MOST_BYTES}
    assert not is_codable("text/css", MOST_BYTES + 1)


@pytest.mark.parametrize(
    ("accepts", "decided", "coding"),
    [
        (None, {}, None),
        ("gzip, br", {}, "br"),
        ("gzip, br", {"gzip": GZIP}, "br"),
        ("gzip, br", {"br": BR}, None),
        ("gzip, br", {"br": None}, "gzip"),
        ("gzip, br", {"br": None, "gzip": None}, None),
        ("gzip, br;q=0.5", {"br": BR}, "gzip"),
        ("identity, br;q=0.5", {}, None),
        ("*;q=0", {}, None),
    ],
)
def test_what_a_client_waits_for(
    accepts: str | None, decided: dict[str, Coded | None], coding: str | None
) -> None:
    assert undecided(accepts, decided) == coding


@dataclass
class Files:
    """Files to make forms of; counts how often each is read, and can be held up."""

    contents: list[bytes]
    reads: Counter[str] = field(default_factory=Counter)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def read(self, sha256: str) -> bytes:
        self.gate.wait(10)
        self.reads[sha256] += 1
        for content in self.contents:
            if sha(content) == sha256:
                return content
        raise BlobGoneError(sha256)


def file_of(content: bytes) -> Representation:
    return Representation(sha(content), len(content), "text/plain", is_codable=True)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


def test_the_form_asked_for_is_made_and_no_other() -> None:
    async def scenario() -> None:
        files, file = Files([TEXT]), file_of(TEXT)
        forms = CodedForms(files.read)
        assert forms.lacks(file, "gzip, zstd") == "zstd"
        await forms.provide(file, "gzip, zstd")
        assert forms.lacks(file, "gzip, zstd") is None
        (form,) = forms.of(file.sha256)
        content = forms.get(form.sha256)
        assert content is not None
        assert (form.coding, form.size, form.sha256) == ("zstd", len(content), sha(content))
        assert zstandard.ZstdDecompressor().decompress(content) == TEXT
        assert forms.to_json() == {
            "made": {"zstd": 1},
            "not_worth_it": 0,
            "evicted": 0,
            "saved_bytes": len(TEXT) - form.size,
            "bytes": form.size,
            "max_bytes": 32 << 20,
        }
        await forms.close()

    run(scenario())


def test_many_who_wait_get_one_form() -> None:
    async def scenario() -> None:
        files, file = Files([TEXT]), file_of(TEXT)
        forms = CodedForms(files.read)
        files.gate.clear()
        waiting = [asyncio.create_task(forms.provide(file, "br")) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # the others get theirs all the same
        files.gate.set()
        await asyncio.gather(*waiting[1:])
        assert files.reads[file.sha256] == 1
        assert forms.lacks(file, "br") is None
        await forms.close()

    run(scenario())


def test_what_does_not_get_smaller_has_no_form() -> None:
    async def scenario() -> None:
        content = noise(1, 5000)
        files, file = Files([content]), file_of(content)
        forms = CodedForms(files.read)
        for _ in range(2):
            await forms.provide(file, "gzip, br")
        assert forms.of(file.sha256) == ()
        assert files.reads[file.sha256] == 2  # br and gzip, each tried once
        assert forms.to_json()["not_worth_it"] == 2
        await forms.close()

    run(scenario())


def test_memory_is_bounded_and_what_gave_way_is_made_again() -> None:
    async def scenario() -> None:
        contents = [noise(seed, 400).hex().encode() for seed in range(3)]
        files = Files(contents)
        forms = CodedForms(files.read, memory_bytes=1000)
        for content in contents:
            await forms.provide(file_of(content), "gzip")
        first, (form,) = file_of(contents[0]), forms.of(sha(contents[0]))
        state = forms.to_json()
        assert (state["evicted"], state["bytes"] <= 1000) == (1, True)
        assert forms.get(form.sha256) is None
        await forms.provide(first, "gzip")  # its entity tag is known, which is enough for a 304
        assert files.reads[first.sha256] == 1
        await forms.provide(first, "gzip", again=True)
        assert forms.of(first.sha256) == (form,)
        again = forms.get(form.sha256)
        assert again is not None
        assert gzip.decompress(again) == contents[0]
        await forms.close()

    run(scenario())


def test_a_form_larger_than_the_memory_is_not_offered() -> None:
    async def scenario() -> None:
        files, file = Files([TEXT]), file_of(TEXT)
        forms = CodedForms(files.read, memory_bytes=100)
        await forms.provide(file, "gzip")
        assert (forms.of(file.sha256), forms.to_json()["bytes"]) == ((), 0)
        await forms.close()

    run(scenario())


def test_no_memory_means_no_forms() -> None:
    forms = CodedForms(Files([TEXT]).read, memory_bytes=0)
    assert not forms.offers("text/html", 10_000)
    assert CodedForms(Files([TEXT]).read).offers("text/html", 10_000)


def test_who_would_wait_too_long_is_served_without() -> None:
    async def scenario() -> None:
        contents = [TEXT + str(number).encode() for number in range(65)]
        files = Files(contents)
        forms = CodedForms(files.read)
        files.gate.clear()
        waiting = [asyncio.create_task(forms.provide(file_of(content), "gzip")) for content in contents[:64]]
        await asyncio.sleep(0)
        last = file_of(contents[64])
        await forms.provide(last, "gzip")
        assert forms.of(last.sha256) == ()
        assert forms.lacks(last, "gzip") == "gzip"  # so this answer is not remembered
        files.gate.set()
        await asyncio.gather(*waiting)
        await forms.provide(last, "gzip")
        assert len(forms.of(last.sha256)) == 1
        await forms.close()

    run(scenario())


def test_a_file_that_has_gone_is_said_to_have() -> None:
    async def scenario() -> None:
        forms = CodedForms(Files([]).read)
        file = file_of(TEXT)
        with pytest.raises(BlobGoneError):
            await forms.provide(file, "br")
        await forms.close()

    run(scenario())


@pytest.mark.parametrize("size", [300, 2 << 20])
def test_every_coding_reads_back_and_is_the_same_every_time(size: int) -> None:
    content = (TEXT * (size // len(TEXT) + 1))[:size]
    decoders = {
        "br": brotli.decompress,
        "zstd": zstandard.ZstdDecompressor().decompress,
        "gzip": gzip.decompress,
    }
    for coding, decode in decoders.items():
        coded = compress(coding, content)
        assert decode(coded) == content
        assert hashlib.sha256(compress(coding, content)).digest() == hashlib.sha256(coded).digest()


def test_windows_are_those_that_browsers_take() -> None:
    frame = compress("zstd", TEXT * (MOST_BYTES // len(TEXT)))
    assert zstandard.get_frame_parameters(frame).window_size <= 8_000_000 * 1.05

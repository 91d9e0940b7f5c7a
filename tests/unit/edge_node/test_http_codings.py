"""Which content coding a client gets, and what goes with it (RFC 9110 sections 8.4, 12.5.3)."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from edge_node.http.codings import choose
from edge_node.http.messages import Coded, Plan, Representation, Slice, request_from
from edge_node.http.respond import Responder

BODY = b"abc" * 1000
BLOBS = {hashlib.sha256(content).hexdigest(): content for content in (BODY, gzip.compress(BODY), b"as zstd")}
PLAIN, GZIP, ZSTD = BLOBS
CODED = (Coded("gzip", GZIP, len(BLOBS[GZIP])), Coded("zstd", ZSTD, len(BLOBS[ZSTD])))
FILE = Representation(PLAIN, len(BODY), "text/plain; charset=utf-8", is_codable=True, coded=CODED)


def ask(
    method: str = "GET", file: Representation = FILE, **fields: str
) -> tuple[Plan, dict[str, str], bytes]:
    raw = [(b"host", b"h"), *((name.replace("_", "-").encode(), v.encode()) for name, v in fields.items())]
    plan = Responder("edge1").respond(
        request_from(method, "/f", "", "1.1", raw), lambda _: file, 1_700_000_000
    )
    pieces = (BLOBS[p.sha256][p.start : p.stop] if isinstance(p, Slice) else p for p in plan.content)
    return plan, dict(plan.fields), b"".join(pieces)


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate, zstd", "zstd"),
        ("gzip;q=1.0, br;q=0.5, zstd;q=0.2", "gzip"),
        ("gzip; q=0.5 , br ;q=0.5", "br"),
        ("*", "br"),
        ("br;q=0, *", "zstd"),
        ("*;q=0, gzip", "gzip"),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("identity;q=0, gzip;q=0.001", "gzip"),
        ("identity;q=0, deflate", None),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("gzip;q=0", "identity"),
        ("deflate, compress", "identity"),
        ("gzip;q=2", "identity"),
        ("gzip;q=0.1234", "identity"),
        ("gzip;q", "identity"),
        ("gzip;q=0, gzip;q=1", "identity"),
    ],
)
def test_choice(accepts: str | None, coding: str | None) -> None:
    assert choose(accepts, ["gzip", "br", "zstd"]) == coding


def test_only_what_is_there_is_chosen() -> None:
    assert choose("br, gzip;q=0.1", ["gzip"]) == "gzip"
    assert choose("br", ["gzip"]) == "identity"
    assert choose("br, identity;q=0", ["gzip"]) is None


def test_each_coding_is_a_representation_of_its_own() -> None:
    plan, fields, body = ask(accept_encoding="gzip")
    assert gzip.decompress(body) == BODY
    assert plan.status == 200
    assert fields["Content-Encoding"] == "gzip"
    assert fields["Content-Length"] == str(len(body))
    assert fields["ETag"] == f'"{GZIP}-gzip"'
    assert fields["Vary"] == "Accept-Encoding"
    _, plain, body = ask()
    assert body == BODY
    assert plain["ETag"] == f'"{PLAIN}"'
    assert plain["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in plain
    assert (
        len({fields["Repr-Digest"], plain["Repr-Digest"], ask(accept_encoding="zstd")[1]["Repr-Digest"]}) == 3
    )


@pytest.mark.parametrize("is_codable", [True, False])
def test_a_file_varies_when_it_may_have_forms(is_codable: bool) -> None:
    file = Representation(PLAIN, len(BODY), "text/plain", is_codable=is_codable)
    for conditions in ({}, {"if_none_match": f'"{PLAIN}"'}, {"range": "bytes=0-1"}):
        _, fields, _ = ask(file=file, accept_encoding="gzip", **conditions)
        assert ("Vary" in fields) == is_codable
        assert "Content-Encoding" not in fields


def test_nothing_acceptable() -> None:
    plan, fields, _ = ask(accept_encoding="identity;q=0, br")
    assert (plan.status, fields["Vary"], fields["Cache-Control"]) == (406, "Accept-Encoding", "no-store")


def test_head_has_the_fields_of_get() -> None:
    assert ask("HEAD", accept_encoding="zstd")[0].fields == ask(accept_encoding="zstd")[0].fields
    assert ask("HEAD", accept_encoding="zstd")[2] == b""


def test_conditions_are_about_the_form_that_was_chosen() -> None:
    plan, fields, _ = ask(accept_encoding="gzip", if_none_match=f'"{GZIP}-gzip"')
    assert (plan.status, fields["Vary"]) == (304, "Accept-Encoding")
    assert "Content-Encoding" not in fields
    assert ask(accept_encoding="zstd", if_none_match=f'"{GZIP}-gzip"')[0].status == 200
    assert ask(if_none_match=f'"{GZIP}-gzip"')[0].status == 200
    assert ask(accept_encoding="gzip", if_match=f'"{PLAIN}"')[0].status == 412


def test_ranges_are_of_the_coded_bytes() -> None:
    whole = BLOBS[GZIP]
    plan, fields, body = ask(accept_encoding="gzip", range="bytes=3-9", if_range=f'"{GZIP}-gzip"')
    assert (plan.status, body) == (206, whole[3:10])
    assert fields["Content-Range"] == f"bytes 3-9/{len(whole)}"
    assert fields["Content-Encoding"] == "gzip"
    plan, fields, body = ask(range="bytes=3-9", if_range=f'"{GZIP}-gzip"')
    assert (plan.status, body) == (200, BODY)
    beyond, fields, _ = ask(accept_encoding="gzip", range="bytes=2000-")
    assert (beyond.status, fields["Content-Range"]) == (416, f"bytes */{len(whole)}")

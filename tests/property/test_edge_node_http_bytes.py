"""Bytes from anywhere: parsers agree or refuse, and coded content comes back whole from its ranges."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import suppress
from itertools import pairwise

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from edge_node.forms import undecided
from edge_node.http.cache.directives import governing, parse_directives
from edge_node.http.codings import IDENTITY, choose, qualities
from edge_node.http.digests import contradicts, digest_value
from edge_node.http.messages import Coded, Representation, Slice, request_from
from edge_node.http.raw_head import Head, check_beginning, end_of_head, read_head
from edge_node.http.respond import Responder
from edge_node.http.structured import MalformedError, Token, parse_dictionary, serialized


class Parsed:
    """What httptools reads."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.messages = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.messages += 1


names = st.sampled_from(
    [
        b"Host",
        b"X",
        b"Content-Length",
        b"Transfer-Encoding",
        b"X ",
        b" X",
        b"",
        b"Connection",
        b"X\x00",
        b"\tX",
    ]
)
contents = st.one_of(
    st.sampled_from([b"h", b"0", b"chunked", b"a\nb", b"a\r\n b", b"a\rb", b"\x00", b"\xff", b"close"]),
    st.binary(max_size=6),
)
lines = st.lists(st.tuples(names, contents, st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"])), max_size=4)


@given(
    st.sampled_from([b"GET", b"POST", b"get", b"G T", b""]),
    st.sampled_from([b"/", b"/a?b", b"*", b"http://h/", b"a", b"/ x", b"/\xff"]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1 ", b"HTTP/9.9", b""]),
    lines,
)
def test_what_is_in_order_is_read_alike(
    method: bytes, target: bytes, version: bytes, sent: list[tuple[bytes, bytes, bytes]]
) -> None:
    head = b" ".join((method, target, version)) + b"\r\nHost: h\r\n"
    head += b"".join(name + b": " + value + end for name, value, end in sent) + b"\r\n"
    end = end_of_head(head)
    if end != len(head) or not isinstance(read_head(head), Head):
        return
    parsed = Parsed()
    parser = HttpRequestParser(parsed)
    try:
        parser.feed_data(head)
    except HttpParserInvalidMethodError:  # it knows only some
        return
    assert parsed.messages == 1
    ours = [(b"host", b"h"), *((name.lower(), value.strip(b" \t")) for name, value, _ in sent)]
    assert parsed.fields == ours
    for cut in range(len(head)):
        assert check_beginning(head[:cut]) is None


@given(st.binary(max_size=60))
@example(b"CONNECT \n\r\n")
def test_any_bytes_are_refused_or_in_order(data: bytes) -> None:
    check_beginning(data)
    read_head(data + b"\r\n\r\n")
    parser = HttpRequestParser(Parsed())
    with suppress(HttpParserError, HttpParserUpgrade):  # what the server is ready for
        parser.feed_data(data)


text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(text)
def test_any_field_is_read_without_a_fault(value: str) -> None:
    parse_directives(value)
    governing((("cdn-cache-control", value), ("cache-control", value)))
    qualities(value)
    contradicts((("repr-digest", value),), "00" * 32, is_whole=True)
    with suppress(MalformedError):
        parse_dictionary(value)


items = st.one_of(
    st.booleans(),
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.binary(max_size=8),
    text,
    st.from_regex(r"[A-Za-z*][A-Za-z0-9:/!]{0,8}", fullmatch=True).map(Token),
)


@given(st.dictionaries(st.from_regex(r"[a-z*][a-z0-9_.*-]{0,5}", fullmatch=True), items, max_size=5))
def test_dictionaries_read_back(members: dict[str, bool | int | bytes | str]) -> None:
    value = " , ".join(f"{key}={serialized(item)};p=1" for key, item in members.items())
    assert parse_dictionary(value) == members


@given(st.binary(max_size=20))
def test_digests_read_back(content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    assert not contradicts((("repr-digest", digest_value(sha256)),), sha256, is_whole=True)
    assert contradicts((("repr-digest", digest_value(sha256)),), "00" * 32, is_whole=True)
    assert not contradicts((("repr-digest", digest_value(sha256)),), "00" * 32, is_whole=False)


codings = st.lists(
    st.tuples(st.sampled_from(["gzip", "br", "zstd", "identity", "*"]), st.integers(0, 1000)), max_size=5
)


@given(codings, st.sets(st.sampled_from(["gzip", "br", "zstd"])))
def test_nothing_refused_is_chosen(accepted: list[tuple[str, int]], available: set[str]) -> None:
    field = ", ".join(f"{coding};q={weight / 1000:.3f}" for coding, weight in accepted)
    weights = dict(reversed(accepted))
    chosen = choose(field, available)
    if chosen is None:
        assert weights.get(IDENTITY, weights.get("*", 1)) == 0
        return
    assert chosen in available | {IDENTITY}
    weight = weights.get(chosen, weights.get("*"))
    assert weight != 0
    if chosen != IDENTITY:
        assert weight is not None
        better = [coding for coding in available if weights.get(coding, weights.get("*", 0)) > weight]
        assert not better


@given(
    codings,
    st.sets(st.sampled_from(["gzip", "br", "zstd"])),
    st.sets(st.sampled_from(["gzip", "br", "zstd"])),
)
def test_a_client_gets_the_same_form_whatever_others_asked_for(
    accepted: list[tuple[str, int]], worth: set[str], asked: set[str]
) -> None:
    accepts = ", ".join(f"{coding};q={weight / 1000:.3f}" for coding, weight in accepted)
    forms = {coding: Coded(coding, coding, 1) for coding in worth}
    decided = {coding: forms.get(coding) for coding in asked}
    for _ in range(4):
        coding = undecided(accepts, decided)
        if coding is None:
            break
        assert coding not in decided
        decided[coding] = forms.get(coding)
    made = [form.coding for form in decided.values() if form]
    assert choose(accepts, made) == choose(accepts, worth)


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(0, 400), max_size=6))
def test_ranges_of_a_coded_file_make_it_whole(content: bytes, cuts: list[int]) -> None:
    coded = zlib.compress(content, wbits=31)
    blobs = {hashlib.sha256(blob).hexdigest(): blob for blob in (content, coded)}
    sha256, coded_sha256 = (hashlib.sha256(blob).hexdigest() for blob in (content, coded))
    form = Coded("gzip", coded_sha256, len(coded))
    file = Representation(sha256, len(content), "text/plain", is_codable=True, coded=(form,))
    edges = sorted({0, len(coded), *(cut for cut in cuts if cut < len(coded))})
    received, tag = b"", ""
    for start, stop in pairwise(edges):
        raw = [
            (b"host", b"h"),
            (b"accept-encoding", b"gzip"),
            (b"range", f"bytes={start}-{stop - 1}".encode()),
        ]
        if tag:
            raw.append((b"if-range", tag.encode()))
        plan = Responder("edge1").respond(request_from("GET", "/", "", "1.1", raw), lambda _: file, 0)
        fields = dict(plan.fields)
        assert plan.status == 206
        assert fields["Content-Range"] == f"bytes {start}-{stop - 1}/{len(coded)}"
        assert tag in ("", fields["ETag"])
        tag = fields["ETag"]
        for piece in plan.content:
            assert isinstance(piece, Slice)
            received += blobs[piece.sha256][piece.start : piece.stop]
    assert zlib.decompress(received, wbits=31) == content

"""Whatever is asked, the answer is well-formed and its bytes are the file's."""

from __future__ import annotations

import hashlib
import os

from hypothesis import given
from hypothesis import strategies as st

from edge_node.http.conditions import entity_tags
from edge_node.http.dates import format_date, parse_date
from edge_node.http.messages import Plan, Representation, Slice, request_from
from edge_node.http.paths import file_name
from edge_node.http.ranges import NoPart, parse_range
from edge_node.http.respond import Responder

number = st.integers(0, 40).map(str)
spec = st.one_of(
    st.builds("{}-{}".format, number, number),
    st.builds("{}-".format, number),
    st.builds("-{}".format, number),
)
range_field = st.one_of(
    st.lists(spec, max_size=18).map(lambda specs: "bytes=" + ",".join(specs)), st.text(max_size=20)
)
sizes = st.integers(0, 30)


@given(range_field, sizes)
def test_parts_lie_inside_the_file_and_never_overlap(value: str, size: int) -> None:
    parts = parse_range(value, size)
    if isinstance(parts, NoPart):
        return
    assert parts
    seen: set[int] = set()
    for start, stop in parts:
        assert 0 <= start < stop <= size
        assert seen.isdisjoint(range(start, stop))
        seen |= set(range(start, stop))


@given(st.lists(spec, min_size=1, max_size=16), sizes)
def test_parts_are_exactly_the_bytes_asked_for(specs: list[str], size: int) -> None:
    wanted: set[int] = set()
    backward = False
    for item in specs:
        first, _, last = item.partition("-")
        if first:
            backward |= bool(last) and int(last) < int(first)
            wanted |= set(range(int(first), min(int(last) + 1 if last else size, size)))
        else:
            wanted |= set(range(max(size - int(last), 0), size))
    parts = parse_range("bytes=" + ", ".join(specs), size)
    if parts is NoPart.IGNORE:
        assert backward or not size
    elif parts is NoPart.UNSATISFIABLE:
        assert not wanted
    else:
        assert wanted == {byte for start, stop in parts for byte in range(start, stop)}


def content_of(plan: Plan, body: bytes) -> bytes:
    return b"".join(
        body[piece.start : piece.stop] if isinstance(piece, Slice) else piece for piece in plan.content
    )


header_text = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
field_names = st.sampled_from(
    [
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "host",
        "x",
    ]
)


@given(
    st.sampled_from(["GET", "HEAD", "OPTIONS", "PUT", "X"]),
    st.one_of(st.just("/f"), st.just("/folder"), st.text(max_size=12).map(lambda text: "/" + text)),
    st.lists(st.tuples(field_names, st.one_of(header_text, range_field, st.just("*"))), max_size=5),
    sizes,
)
def test_every_answer_is_well_formed(method: str, path: str, sent: list[tuple[str, str]], size: int) -> None:
    body = bytes(range(size))
    file = Representation(hashlib.sha256(body).hexdigest(), size, "text/plain; charset=utf-8", 1_000_000_000)
    files = {"/f": file, "/folder/": file}
    raw = [(b"host", b"h"), *((name.encode(), value.encode("latin-1", "replace")) for name, value in sent)]
    plan = Responder("edge1").respond(request_from(method, path, "", "1.1", raw), files.get, 1_700_000_000)
    fields = dict(plan.fields)
    assert len(fields) == len(plan.fields)
    received = content_of(plan, body)
    if method == "HEAD" or plan.status in (204, 304):
        assert received == b""
    else:
        assert int(fields["Content-Length"]) == len(received)
    assert (plan.status == 405) <= ("Allow" in fields)
    assert (plan.status == 308) <= fields.get("Location", "").endswith("/")
    if plan.status == 200 and method == "GET":
        assert received == body
    if plan.status == 206 and "Content-Range" in fields:
        first, last = fields["Content-Range"].removeprefix("bytes ").split("/")[0].split("-")
        assert received == body[int(first) : int(last) + 1]


@given(
    st.lists(st.from_regex(r"[\x21\x23-\x7e]{0,8}", fullmatch=True), min_size=1, max_size=5), st.booleans()
)
def test_lists_of_tags_read_back(tags: list[str], weak: bool) -> None:
    prefix = "W/" if weak else ""
    assert entity_tags(" , ".join(f'{prefix}"{tag}"' for tag in tags)) == [(weak, f'"{tag}"') for tag in tags]


@given(st.integers(0, 253_402_300_799))
def test_dates_read_back(seconds: int) -> None:
    assert parse_date(format_date(seconds), now_s=0) == seconds


@given(st.text(max_size=40), st.sampled_from(["", "/", "/../", "/%2e%2e/", "/a/"]))
def test_no_path_leads_outside(text: str, prefix: str) -> None:
    name = file_name(prefix + text)
    if name is not None:
        assert os.path.normpath(name) == name
        assert not name.startswith(("/", "../"))

"""RFC 9110 as a table: one row per rule a server of files has to keep."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pytest

from edge_node.http.messages import Plan, Representation, Slice, request_from
from edge_node.http.respond import Responder

NOW_S = 1_700_000_000
BODY = b"0123456789"
SHA = hashlib.sha256(BODY).hexdigest()
ETAG = f'"{SHA}"'
MODIFIED_S = 784_111_777
MODIFIED = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER, LATER = "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"
FILES = {
    "/a.html": Representation(SHA, 10, "text/html; charset=utf-8", MODIFIED_S),
    "/undated": Representation(SHA, 10, "video/mp4"),
    "/fresh": Representation(SHA, 10, "video/mp4", NOW_S),
    "/empty": Representation(hashlib.sha256(b"").hexdigest(), 0, "text/plain; charset=utf-8"),
    "/folder/": Representation(SHA, 10, "text/html; charset=utf-8"),
}


def ask(path: str = "/a.html", method: str = "GET", **fields: str) -> Plan:
    """The answer to one request; field names are written with underscores."""
    raw = [(b"host", b"www.nearcast.test")]
    raw += [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()]
    target, _, query = path.partition("?")
    return Responder("edge3").respond(request_from(method, target, query, "1.1", raw), FILES.get, NOW_S)


def content(plan: Plan) -> bytes:
    """What the client receives."""
    return b"".join(
        BODY[piece.start : piece.stop] if isinstance(piece, Slice) else piece for piece in plan.content
    )


@dataclass(frozen=True)
class Case:
    """A request and what its answer must be; `None` in `has` means the field must be absent."""

    rule: str
    status: int
    path: str = "/a.html"
    method: str = "GET"
    sends: dict[str, str] = field(default_factory=dict)
    has: dict[str, str | None] = field(default_factory=dict)
    body: bytes | None = None


CASES = [
    # Methods, targets and fields of an ordinary answer (sections 8, 9, 10, 15)
    Case(
        "GET sends the file",
        200,
        body=BODY,
        has={"Content-Length": "10", "Content-Type": "text/html; charset=utf-8"},
    ),
    Case("the tag is strong and names the content", 200, has={"ETag": ETAG}),
    Case("Last-Modified where it is known", 200, has={"Last-Modified": MODIFIED}),
    Case("no Last-Modified where it is not", 200, "/undated", has={"Last-Modified": None}),
    Case("ranges are offered", 200, has={"Accept-Ranges": "bytes"}),
    Case(
        "the edge tells its name and its hit (RFC 9211)",
        200,
        has={"Nearcast-Edge": "edge3", "Cache-Status": "edge3; hit"},
    ),
    Case("an empty file is a file", 200, "/empty", body=b"", has={"Content-Length": "0"}),
    Case("HEAD has no content", 200, method="HEAD", body=b"", has={"Content-Length": "10", "ETag": ETAG}),
    Case("an unknown file", 404, "/none", has={"Cache-Control": "no-store", "ETag": None}),
    Case("HEAD of an unknown file", 404, "/none", "HEAD", body=b""),
    Case("a folder without its slash", 308, "/folder", has={"Location": "/folder/"}),
    Case("the query survives", 308, "/folder?a=b", has={"Location": "/folder/?a=b"}),
    Case("a query names no other file", 200, "/a.html?v=2", body=BODY),
    Case("POST is known and not allowed", 405, method="POST", has={"Allow": "GET, HEAD, OPTIONS"}),
    Case("DELETE is known and not allowed", 405, method="DELETE", has={"Allow": "GET, HEAD, OPTIONS"}),
    Case("an unknown method", 501, method="BREW"),
    Case("methods are case-sensitive", 501, method="get"),
    Case("OPTIONS", 204, method="OPTIONS", body=b"", has={"Allow": "GET, HEAD, OPTIONS"}),
    Case(
        "two framings at once (RFC 9112 6.1)",
        400,
        sends={"content_length": "1", "transfer_encoding": "chunked"},
    ),
    # Preconditions (section 13)
    Case("If-None-Match: same tag", 304, sends={"if_none_match": ETAG}, body=b"", has={"ETag": ETAG}),
    Case(
        "304 keeps Cache-Control, drops the rest",
        304,
        sends={"if_none_match": ETAG},
        has={"Cache-Control": "no-cache", "Content-Type": None, "Content-Length": None},
    ),
    Case("If-None-Match compares weakly", 304, sends={"if_none_match": f"W/{ETAG}"}),
    Case("If-None-Match: one of several", 304, sends={"if_none_match": f'"x,y", {ETAG}'}),
    Case("If-None-Match: any", 304, sends={"if_none_match": "*"}),
    Case("If-None-Match: another tag", 200, sends={"if_none_match": '"x"'}, body=BODY),
    Case("If-None-Match without quotes is no tag", 200, sends={"if_none_match": SHA}),
    Case("If-None-Match of a HEAD", 304, method="HEAD", sends={"if_none_match": ETAG}),
    Case("If-None-Match of no file", 404, "/none", sends={"if_none_match": "*"}),
    Case("If-Match: same tag", 200, sends={"if_match": ETAG}),
    Case("If-Match: any", 200, sends={"if_match": "*"}),
    Case("If-Match: another tag", 412, sends={"if_match": '"x"'}),
    Case("If-Match compares strongly", 412, sends={"if_match": f"W/{ETAG}"}),
    Case("If-Match of a HEAD", 412, method="HEAD", sends={"if_match": '"x"'}, body=b""),
    Case("If-Unmodified-Since: unchanged", 200, sends={"if_unmodified_since": MODIFIED}),
    Case("If-Unmodified-Since: changed", 412, sends={"if_unmodified_since": EARLIER}),
    Case("If-Unmodified-Since: no date", 200, sends={"if_unmodified_since": "yesterday"}),
    Case("If-Unmodified-Since of an undated file", 200, "/undated", sends={"if_unmodified_since": EARLIER}),
    Case(
        "If-Match goes before If-Unmodified-Since",
        200,
        sends={"if_match": ETAG, "if_unmodified_since": EARLIER},
    ),
    Case("If-Modified-Since: unchanged", 304, sends={"if_modified_since": MODIFIED}),
    Case("If-Modified-Since: later", 304, sends={"if_modified_since": LATER}),
    Case("If-Modified-Since: changed", 200, sends={"if_modified_since": EARLIER}),
    Case("If-Modified-Since: no date", 200, sends={"if_modified_since": "1994"}),
    Case(
        "If-Modified-Since in RFC 850 form",
        304,
        sends={"if_modified_since": "Sunday, 06-Nov-94 08:49:37 GMT"},
    ),
    Case("If-Modified-Since in asctime form", 304, sends={"if_modified_since": "Sun Nov  6 08:49:37 1994"}),
    Case(
        "If-None-Match goes before If-Modified-Since",
        200,
        sends={"if_none_match": '"x"', "if_modified_since": LATER},
    ),
    Case("If-Match goes before If-None-Match", 412, sends={"if_match": '"x"', "if_none_match": ETAG}),
    # Ranges (section 14)
    Case(
        "the first bytes",
        206,
        sends={"range": "bytes=0-3"},
        body=b"0123",
        has={"Content-Range": "bytes 0-3/10", "Content-Length": "4", "ETag": ETAG},
    ),
    Case(
        "from somewhere on",
        206,
        sends={"range": "bytes=7-"},
        body=b"789",
        has={"Content-Range": "bytes 7-9/10"},
    ),
    Case("the last bytes", 206, sends={"range": "bytes=-3"}, body=b"789"),
    Case(
        "more last bytes than there are",
        206,
        sends={"range": "bytes=-99"},
        body=BODY,
        has={"Content-Range": "bytes 0-9/10"},
    ),
    Case(
        "a range that ends beyond",
        206,
        sends={"range": "bytes=8-99"},
        body=b"89",
        has={"Content-Range": "bytes 8-9/10"},
    ),
    Case("a number beyond any integer type", 206, sends={"range": "bytes=8-" + "9" * 5000}, body=b"89"),
    Case(
        "a range that begins beyond", 416, sends={"range": "bytes=10-"}, has={"Content-Range": "bytes */10"}
    ),
    Case("no last byte", 416, sends={"range": "bytes=-0"}, has={"Content-Range": "bytes */10"}),
    Case(
        "no byte of an empty file",
        416,
        "/empty",
        sends={"range": "bytes=0-"},
        has={"Content-Range": "bytes */0"},
    ),
    Case("the last bytes of an empty file", 200, "/empty", sends={"range": "bytes=-5"}, body=b""),
    Case("the unit in capitals", 206, sends={"range": "BYTES=0-0"}, body=b"0"),
    Case("an unknown unit is ignored", 200, sends={"range": "lines=0-3"}, body=BODY),
    Case("a malformed range is ignored", 200, sends={"range": "bytes=a-b"}, body=BODY),
    Case("a backward range is ignored", 200, sends={"range": "bytes=5-2"}, body=BODY),
    Case("an empty set is ignored", 200, sends={"range": "bytes="}, body=BODY),
    Case("a bare dash is ignored", 200, sends={"range": "bytes=-"}, body=BODY),
    Case("a sign is malformed", 200, sends={"range": "bytes=+1-2"}, body=BODY),
    Case(
        "HEAD ignores Range",
        200,
        method="HEAD",
        sends={"range": "bytes=0-3"},
        has={"Content-Length": "10", "Content-Range": None},
    ),
    Case("HEAD ignores a range beyond", 200, method="HEAD", sends={"range": "bytes=99-"}),
    Case("blanks in a set", 206, sends={"range": "bytes= 0-3 , "}, body=b"0123"),
    Case(
        "overlapping ranges become one",
        206,
        sends={"range": "bytes=0-5,3-7"},
        body=b"01234567",
        has={"Content-Range": "bytes 0-7/10"},
    ),
    Case(
        "one of two is satisfiable",
        206,
        sends={"range": "bytes=0-1,50-60"},
        body=b"01",
        has={"Content-Range": "bytes 0-1/10"},
    ),
    Case("none of two is satisfiable", 416, sends={"range": "bytes=40-41,50-60"}),
    Case("too many ranges are ignored", 200, sends={"range": "bytes=" + ",".join(["0-0"] * 17)}, body=BODY),
    Case(
        "several parts have no Content-Range of their own",
        206,
        sends={"range": "bytes=0-1,8-9"},
        has={"Content-Range": None},
    ),
    Case("If-Range: same tag", 206, sends={"range": "bytes=0-3", "if_range": ETAG}, body=b"0123"),
    Case("If-Range: another tag", 200, sends={"range": "bytes=0-3", "if_range": '"x"'}, body=BODY),
    Case(
        "If-Range: a weak tag never counts",
        200,
        sends={"range": "bytes=0-3", "if_range": f"W/{ETAG}"},
        body=BODY,
    ),
    Case(
        "If-Range: the date of last change",
        206,
        sends={"range": "bytes=0-3", "if_range": MODIFIED},
        body=b"0123",
    ),
    Case(
        "If-Range: a later date is no match", 200, sends={"range": "bytes=0-3", "if_range": LATER}, body=BODY
    ),
    Case(
        "If-Range: a date of this second is weak",
        200,
        "/fresh",
        sends={"range": "bytes=0-3", "if_range": "Tue, 14 Nov 2023 22:13:20 GMT"},
        body=BODY,
    ),
    Case("If-Range: neither tag nor date", 200, sends={"range": "bytes=0-3", "if_range": "x"}, body=BODY),
    Case("If-Range without Range", 200, sends={"if_range": ETAG}, body=BODY),
    Case(
        "If-Range with a range beyond and another tag",
        200,
        sends={"range": "bytes=99-", "if_range": '"x"'},
        body=BODY,
    ),
    Case("If-None-Match goes before Range", 304, sends={"range": "bytes=0-3", "if_none_match": ETAG}),
    Case("If-Match goes before Range", 412, sends={"range": "bytes=0-3", "if_match": '"x"'}),
    Case("a range of no file", 404, "/none", sends={"range": "bytes=0-3"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_rule(case: Case) -> None:
    plan = ask(case.path, case.method, **case.sends)
    assert plan.status == case.status
    fields = dict(plan.fields)
    for name, value in case.has.items():
        assert fields.get(name) == value, name
    if case.body is not None:
        assert content(plan) == case.body


def test_several_ranges_are_a_multipart_message_in_the_order_asked_for() -> None:
    from email import message_from_bytes

    plan = ask(range="bytes=8-9,0-1")
    fields = dict(plan.fields)
    raw = content(plan)
    assert fields["Content-Length"] == str(len(raw))
    message = message_from_bytes(f"Content-Type: {fields['Content-Type']}\r\n\r\n".encode() + raw)
    parts = message.get_payload()
    assert message.get_content_type() == "multipart/byteranges"
    assert [(part["Content-Range"], part.get_payload(decode=True)) for part in parts] == [
        ("bytes 8-9/10", b"89"),
        ("bytes 0-1/10", b"01"),
    ]
    assert {part["Content-Type"] for part in parts} == {"text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("version", "hosts", "status"), [("1.1", 0, 400), ("1.1", 2, 400), ("1.0", 0, 200), ("1.1", 1, 200)]
)
def test_host_field(version: str, hosts: int, status: int) -> None:
    request = request_from("GET", "/a.html", "", version, [(b"host", b"a")] * hosts)
    plan = Responder("edge3").respond(request, FILES.get, NOW_S)
    assert (plan.status, plan.close) == (status, status == 400)


def test_head_has_the_fields_of_get() -> None:
    for path in [*FILES, "/none", "/folder"]:
        assert ask(path, "HEAD").fields == ask(path).fields


@pytest.mark.parametrize(
    ("sends", "status"), [({}, 200), ({"range": "bytes=2-4"}, 206), ({"if_none_match": ETAG}, 304)]
)
def test_an_answer_names_the_version_it_is_from(sends: dict[str, str], status: int) -> None:
    raw = [(b"host", b"x"), *((name.replace("_", "-").encode(), v.encode()) for name, v in sends.items())]
    target = Representation(SHA, 10, "text/plain", version=17)
    plan = Responder("edge3").respond(request_from("GET", "/", "", "1.1", raw), lambda _: target, NOW_S)
    assert plan.status == status
    assert dict(plan.fields)["Nearcast-Version"] == "17"
    assert "Nearcast-Version" not in dict(ask(**sends).fields)

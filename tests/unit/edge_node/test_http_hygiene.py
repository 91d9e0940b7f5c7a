"""Requests that are refused before anybody looks at what they ask for (RFC 9112, RFC 9110)."""

from __future__ import annotations

import pytest

from edge_node.http.hygiene import DEFAULT_LIMITS, check_request
from edge_node.http.raw_head import Head, check_beginning, end_of_head, read_head

GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    "head",
    [
        GET,
        b"\r\n" + GET,
        b"GET / HTTP/1.0\r\n",
        b"GET /a?b=c%20d HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n",
        b"GET http://H/a HTTP/1.1\r\nHost: h\r\n",
        b"GET http://h?x HTTP/1.1\r\nHost: h\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n",
        b"M-SEARCH / HTTP/1.1\r\nHost: h\r\n",
        POST + b"Content-Length: 3\r\n",
        POST + b"Transfer-Encoding: Chunked\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 0\r\n",
        GET + b"X:\r\n",
        GET + b"X: \t a\tb \xff\r\n",
        GET + b"Cookie: a\r\nCookie: b\r\n",
    ],
)
def test_what_is_in_order(head: bytes) -> None:
    head += b"\r\n"
    assert end_of_head(head + b"more") == len(head)
    assert isinstance(read_head(head), Head)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (b"GET http://other/a?b HTTP/1.1\r\nHost: h\r\nX: 1", b"GET /a?b HTTP/1.1\r\nhost: other\r\nx: 1"),
        (b"GET http://h HTTP/1.1\r\nHost: h", b"GET / HTTP/1.1\r\nhost: h"),
        (b"GET HTTPS://h?b HTTP/1.0", b"GET /?b HTTP/1.0\r\nhost: h"),
        (b"GET /a HTTP/1.7\r\nHost: h", b"GET /a HTTP/1.1\r\nhost: h"),
    ],
)
def test_what_a_head_says_in_another_way(said: bytes, meant: bytes) -> None:
    head = read_head(said + b"\r\n\r\n")
    assert isinstance(head, Head)
    assert head.is_other
    assert head.to_bytes() == meant + b"\r\n\r\n"
    again = read_head(head.to_bytes())
    assert isinstance(again, Head)
    assert (again.fields, again.target, again.is_other) == (head.fields, head.target, False)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        # Line ends (RFC 9112 section 2.2)
        (b"GET / HTTP/1.1\nHost: h\r\n", 400),
        (GET + b"X: a\nY: b\r\n", 400),
        (GET + b"X: a\rY: b\r\n", 400),
        (GET + b"X: a\n\nGET /b HTTP/1.1\r\n", 400),
        # The request line (section 3)
        (b"GET  / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET / \r\nHost: h\r\n", 400),
        (b"GET /\r\nHost: h\r\n", 400),
        (b"GET / http/1.1\r\nHost: h\r\n", 400),
        (b"GET / HTTP/1.10\r\nHost: h\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: h\r\n", 505),
        (b" GET / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"G@T / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"G" * 33 + b" / HTTP/1.1\r\nHost: h\r\n", 501),
        (b"GET a HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET /\\a HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET http://other/ HTTP/1.1\r\n", 400),
        (b"GET http://other/ HTTP/1.1\r\nHost: a b\r\n", 400),
        (b"GET http://user@h/ HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n", 400),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n", 400),
        (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: h\r\n", 414),
        # Fields (section 5, RFC 9110 section 5)
        (GET + b" X: a\r\n", 400),
        (GET + b"X: a\r\n folded\r\n", 400),
        (GET + b"X: a\r\n\tfolded\r\n", 400),
        (GET + b"X : a\r\n", 400),
        (GET + b"Transfer-Encoding : chunked\r\n", 400),
        (GET + b"no colon\r\n", 400),
        (GET + b": a\r\n", 400),
        (GET + b"X[]: a\r\n", 400),
        (GET + b"X\x00: a\r\n", 400),
        (GET + b"X: a\x00b\r\n", 400),
        (GET + b"X: a\x0bb\r\n", 400),
        (GET + b"X: a\r\n" * 100, 431),
        (GET + b"X: " + b"a" * 16_384 + b"\r\n", 431),
        (GET + (b"X: " + b"a" * 10_000 + b"\r\n") * 4, 431),
        # Host (section 3.2)
        (b"GET / HTTP/1.1\r\n", 400),
        (GET + b"Host: h\r\n", 400),
        (GET + b"host: other\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        # Framing (section 6)
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n", 400),
        (POST + b"Content-Length: 3, 3\r\n", 400),
        (POST + b"Content-Length: +3\r\n", 400),
        (POST + b"Content-Length: -3\r\n", 400),
        (POST + b"Content-Length: 0x3\r\n", 400),
        (POST + b"Content-Length: 3 3\r\n", 400),
        (POST + b"Content-Length:\r\n", 400),
        (POST + b"Content-Length: 99999999999999999999\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        (POST + b"Transfer-Encoding: chunked, identity\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (POST + b"Transfer-Encoding: xchunked\r\n", 501),
        (POST + b"Transfer-Encoding: \r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n", 400),
        # Fields of which only one can be meant (RFC 9110 section 5.3)
        (GET + b"Range: bytes=0-1\r\nRange: bytes=2-3\r\n", 400),
        (GET + b"Authorization: a\r\nAuthorization: b\r\n", 400),
        (POST + b"Expect: miracles\r\n", 417),
    ],
)
def test_what_is_refused(head: bytes, status: int) -> None:
    refused = read_head(head + b"\r\n")
    assert refused is not None
    assert refused.status == status


@pytest.mark.parametrize("cut", range(len(GET) + 2))
def test_a_head_that_is_not_all_here_may_become_one(cut: int) -> None:
    part = (GET + b"\r\n")[:cut]
    assert end_of_head(part) is None
    assert check_beginning(part) is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\n", 400),
        (b"\x16\x03\x01", 400),
        (b" GET", 400),
        (b"\nGET", 400),
        (b"A" * 50_000, 431),
    ],
)
def test_a_beginning_that_becomes_none(data: bytes, status: int) -> None:
    refused = check_beginning(data)
    assert refused is not None
    assert refused.status == status


def test_a_scope_is_checked_alike() -> None:
    host = (b"host", b"h")
    assert check_request(b"GET", b"/?a", "1.1", [host]) is None
    assert check_request(b"GET", b"/", "2", [host, (b"transfer-encoding", b"chunked")]) is not None
    assert check_request(b"GET", b"/", "1.1", [host] + [(b"x", b"")] * DEFAULT_LIMITS.fields) is not None


@pytest.mark.parametrize(
    "field",
    [
        (b"connection", b"close"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"te", b"trailers, gzip"),
    ],
)
def test_in_http2_the_connection_is_not_for_fields(field: tuple[bytes, bytes]) -> None:
    fields = [(b"host", b"h"), field]
    refused = check_request(b"GET", b"/", "2", fields)
    assert refused is not None
    assert refused.status == 400
    assert check_request(b"GET", b"/", "1.1", fields) is None


def test_in_http2_there_is_a_host() -> None:
    assert check_request(b"GET", b"/", "2", [(b"host", b"h"), (b"te", b"trailers")]) is None
    assert check_request(b"GET", b"/", "2", [(b"host", b"")]) is not None
    assert check_request(b"GET", b"/", "2", []) is not None

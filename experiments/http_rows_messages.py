"""Rows about messages and connections, from RFC 9112 (and what RFC 9110 says of fields, Host and Expect)."""

from __future__ import annotations

from experiments.http_rows import DIGITS, ETAG, FILES, Row, get, refused, row

_OK = get()
_LENGTH = "Content-Length: 5"
_CHUNKED = "Transfer-Encoding: chunked"


def _post(*lines: str | bytes, content: bytes = b"") -> bytes:
    """Content that a file takes as well as any: with GET, whose content has no meaning (9110 9.3.1)."""
    return get("/digits.bin", *lines) + content


LINES = (
    row("a request", "9112 3", _OK, 200, content=DIGITS, stays=True),
    row("in pieces of one byte", "9112 2.2", tuple(bytes([byte]) for byte in _OK), 200, content=DIGITS),
    row("empty line before it", "9112 2.2", b"\r\n" + _OK, 200, content=DIGITS),
    refused("lines end with LF alone", "9112 2.2", _OK.replace(b"\r\n", b"\n")),
    refused("one line ends with LF alone", "9112 2.2", b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n"),
    refused("CR alone in a field", "9112 2.2", get("/digits.bin", b"A: b\rc")),
    refused("CR alone ends the head", "9112 2.2", b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"),
    refused("space before the first field", "9112 2.2", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    refused("space before the method", "9112 3", b" " + _OK),
    refused("two spaces after the method", "9112 3", _OK.replace(b"GET ", b"GET  ")),
    refused("two spaces before the version", "9112 3", _OK.replace(b" HTTP", b"  HTTP")),
    refused("tab after the method", "9112 3", _OK.replace(b"GET ", b"GET\t")),
    refused("space after the version", "9112 3", _OK.replace(b"1.1\r\n", b"1.1 \r\n")),
    refused("no version", "9112 3", b"GET /digits.bin\r\nHost: h\r\n\r\n"),
    refused("bytes of another protocol", "9112 3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    refused("version in lower case", "9112 2.3", _OK.replace(b"HTTP/", b"http/")),
    refused("version without its dot", "9112 2.3", _OK.replace(b"1.1", b"11")),
    refused("version of two digits", "9112 2.3", _OK.replace(b"1.1", b"1.10"), 400, 505),
    refused("a major version nobody has", "9110 15.6.6", _OK.replace(b"1.1", b"3.1"), 505),
    refused("the preface of HTTP/2", "9110 15.6.6", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505),
    row("a higher minor version", "9110 2.5", _OK.replace(b"1.1", b"1.2"), 200, content=DIGITS),
)
"""The request line and the ends of lines."""

TARGETS = (
    row("absolute form", "9112 3.2.2", get("http://h/digits.bin"), 200, content=DIGITS),
    row("absolute form in capitals", "9110 4.2.3", get("HTTP://H/digits.bin"), 200, content=DIGITS),
    row("absolute form without a path", "9110 4.2.3", get("http://h"), 404),
    row("absolute form beats Host", "9112 3.2.2", get("http://h/digits.bin", host="other"), 200),
    refused("absolute form of another scheme", "9110 7.4", get("ftp://h/digits.bin"), 400, 404, 421),
    refused("authority form", "9112 3.2.3", get("h:80")),
    refused("a path that is not absolute", "9112 3.2.1", get("digits.bin")),
    refused("asterisk form with GET", "9112 3.2.4", get("*")),
    refused("a fragment", "9112 3.2", get("/digits.bin#a")),
    refused("a space in the target", "9112 3.2", get("/digits bin")),
    refused("a byte above 127 in the target", "9112 3.2", _OK.replace(b"/d", b"/\xe9d")),
    refused("a control character in the target", "9112 3.2", _OK.replace(b"/d", b"/\x01d")),
    row("a query", "9110 4.2.2", get("/digits.bin?a=b&c=/../"), 200, content=DIGITS),
    row("an encoded space", "9110 4.2.3", get("/sp%20ace.txt"), 200, content=FILES["sp ace.txt"]),
    row("an encoded letter", "9110 4.2.3", get("/%64igits.bin"), 200, content=DIGITS),
    row("an encoding that is none", "9110 4.2.3", get("/digits%zz.bin"), 400, 404),
    row("a path out of the site", "9110 17.3", get("/../../../../etc/passwd"), 400, 404),
    row("an encoded path out of the site", "9110 17.3", get("/%2e%2e/%2e%2e/etc/passwd"), 400, 404),
    row("an encoded zero byte", "9110 17.3", get("/digits.bin%00"), 400, 404),
    refused("a URI longer than any", "9110 15.5.15", get("/" + "a" * 20_000), 414),
    row("a folder", "9110 15.4.9", get("/folder"), 301, 307, 308, fields={"location": ".*/folder/"}),
    row("the page of a folder", "9110 9.3.1", get("/folder/"), 200, content=FILES["folder/index.html"]),
    row("nothing there", "9110 15.5.5", get("/none"), 404, stays=True),
)

HOSTS = (
    refused("no Host", "9112 3.2", get(host="")),
    refused("two Hosts", "9112 3.2", get("/digits.bin", "Host: i")),
    refused("the same Host twice", "9112 3.2", get("/digits.bin", "Host: h")),
    refused("Host with a space", "9112 3.2", get(host="a b")),
    refused("Host with a user", "9110 7.2", get(host="user@h")),
    refused("Host with a path", "9110 7.2", get(host="h/digits.bin")),
    refused("Host with a port of letters", "9110 7.2", get(host="h:http")),
    refused("Host with an open bracket", "9110 7.2", get(host="[::1")),
    row("Host with a port", "9110 7.2", get(host="h:8080"), 200),
    row("Host that is an address", "9110 7.2", get(host="[2001:db8::1]:80"), 200),
    row("an empty Host", "9112 3.2", get("/digits.bin", "Host:", host=""), 200),
    row("no Host in HTTP/1.0", "9112 3.2", get(host="", version="1.0"), 200),
)

FIELDS = (
    refused("space before a colon", "9112 5.1", get("/digits.bin", "A : b")),
    refused("tab before a colon", "9112 5.1", get("/digits.bin", "Content-Length\t: 5")),
    refused("a folded line", "9112 5.2", get("/digits.bin", "A: b", " c")),
    refused("a line without a colon", "9112 5", get("/digits.bin", "A")),
    refused("a field without a name", "9110 5.1", get("/digits.bin", ": b")),
    refused("a name that is no token", "9110 5.1", get("/digits.bin", "A(b): c")),
    refused("a name with a byte above 127", "9110 5.1", get("/digits.bin", b"\xc3\xa4: c")),
    refused("a zero byte in a value", "9110 5.5", get("/digits.bin", b"A: b\0c")),
    refused("a control character in a value", "9110 5.5", get("/digits.bin", b"A: b\x01c")),
    row("a byte above 127 in a value", "9110 5.5", get("/digits.bin", b"A: \xe9"), 200),
    row("an empty value", "9110 5.5", get("/digits.bin", "A:"), 200),
    row("fields nobody knows", "9110 5.1", get("/digits.bin", "Unheard-Of: 1"), 200),
    row("names in any case", "9110 5.1", get("/digits.bin", b"iF-nONE-mATCH: " + ETAG), 304),
    row("space around a value", "9112 5.1", get("/digits.bin", b"If-None-Match: \t " + ETAG + b" \t"), 304),
    row("no space before a value", "9112 5.1", get("/digits.bin", b"If-None-Match:" + ETAG), 304),
    row(
        "a list in two lines", "9110 5.3",
        get("/digits.bin", 'If-None-Match: "a"', b"If-None-Match: " + ETAG), 304,
    ),
    row(
        "a list with empty elements", "9110 5.6.1",
        get("/digits.bin", b'If-None-Match: , "a" ,,' + ETAG + b","), 304,
    ),
    refused("more fields than any", "6585 5", get("/digits.bin", *(f"A{n}: b" for n in range(500))), 431),
    refused("a field longer than any", "6585 5", get("/digits.bin", "A: " + "b" * 40_000), 431),
    refused("a head without an end", "6585 5", _OK[:-2] + b"A: " + b"b" * 100_000, 431),
)  # fmt: skip

FRAMING = (
    row("content by its length", "9112 6.2", _post(_LENGTH, content=b"hello"), 200, stays=True),
    row("content that looks like a request", "9112 6.3",
        _post(f"Content-Length: {len(_OK)}", content=_OK), 200, content=DIGITS),
    row("chunked content", "9112 7.1", _post(_CHUNKED, content=b"5\r\nhello\r\n0\r\n\r\n"), 200),
    row("Chunked in capitals", "9112 7", _post("Transfer-Encoding: CHUNKED", content=b"0\r\n\r\n"), 200),
    row("chunk extensions", "9112 7.1.1", _post(_CHUNKED, content=b"5;a=b\r\nhello\r\n0;c\r\n\r\n"), 200),
    row("a chunk size with zeros", "9112 7.1", _post(_CHUNKED, content=b"005\r\nhello\r\n000\r\n\r\n"), 200),
    row("trailers", "9112 7.1.2", _post(_CHUNKED, content=b"0\r\nA: b\r\n\r\n"), 200),
    refused("both framings", "9112 6.1", _post(_LENGTH, _CHUNKED, content=b"0\r\n\r\n")),
    refused("both framings, the other order", "9112 6.1", _post(_CHUNKED, _LENGTH, content=b"0\r\n\r\n")),
    refused("two lengths", "9112 6.3", _post(_LENGTH, "Content-Length: 6", content=b"hello")),
    refused("the same length twice", "9110 8.6", _post(_LENGTH, _LENGTH, content=b"hello")),
    refused("a list of lengths", "9110 8.6", _post("Content-Length: 5, 5", content=b"hello")),
    refused("a length with a sign", "9110 8.6", _post("Content-Length: +5", content=b"hello")),
    refused("a negative length", "9110 8.6", _post("Content-Length: -1")),
    refused("a hexadecimal length", "9110 8.6", _post("Content-Length: 0x5", content=b"hello")),
    refused("an empty length", "9110 8.6", _post("Content-Length:")),
    refused("a length with a space inside", "9110 8.6", _post("Content-Length: 1 2")),
    refused("a length beyond any", "9110 8.6", _post("Content-Length: 9" + "0" * 30), 400, 413),
    refused("a coding that is not chunked", "9112 6.3", _post("Transfer-Encoding: gzip"), 400, 501),
    refused("chunked is not the last", "9112 6.3", _post("Transfer-Encoding: chunked, gzip")),
    refused("chunked twice", "9112 6.1", _post("Transfer-Encoding: chunked, chunked"), 400, 501),
    refused("two codings", "9112 6.1", _post("Transfer-Encoding: gzip, chunked"), 501),
    refused("chunked in two lines", "9112 6.1", _post(_CHUNKED, "Transfer-Encoding: identity"), 400, 501),
    refused("almost chunked", "9112 6.1", _post("Transfer-Encoding: xchunked"), 400, 501),
    refused("chunked after a control character", "9112 6.1", _post(b"Transfer-Encoding: \x0bchunked")),
    refused("an empty coding", "9112 6.1", _post("Transfer-Encoding:")),
    refused("chunked in HTTP/1.0", "9112 6.1",
            get("/digits.bin", _CHUNKED, version="1.0") + b"0\r\n\r\n"),
)  # fmt: skip

CHUNKS = (
    ("no size", b"x\r\nhello\r\n0\r\n\r\n"),
    ("size with a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("size beyond any", b"f" * 17 + b"\r\nhello\r\n0\r\n\r\n"),
    ("chunk longer than its size", b"3\r\nhello\r\n0\r\n\r\n"),
    ("LF alone after the size", b"5\nhello\r\n0\r\n\r\n"),
    ("empty size", b"\r\nhello\r\n0\r\n\r\n"),
)
BAD_CHUNKS = tuple(
    row(f"chunked: {name}", "9112 7.1", (_post(_CHUNKED), content), 200, 400, stays=False)
    for name, content in CHUNKS
)
"""Refused, or answered before the content is read: in both cases what follows is not taken for a request."""

EXPECTATIONS = (
    row("100-continue without content", "9110 10.1.1", get("/digits.bin", "Expect: 100-continue"), 200),
    row("100-continue in HTTP/1.0", "9110 10.1.1",
        get("/digits.bin", "Expect: 100-continue", version="1.0"), 200, content=DIGITS),
    row("an answer instead of 100", "9110 10.1.1",
        get("/digits.bin", "Expect: 100-continue", _LENGTH, method="PUT"), 405, later=b"hello"),
    row("another expectation", "9110 10.1.1", get("/digits.bin", "Expect: 200-ok"), 200, 417),
)  # fmt: skip

CONNECTIONS = (
    row("Connection: close", "9112 9.6", get("/digits.bin", "Connection: close"), 200, stays=False,
        fields={"connection": "(?i).*close.*"}),
    row("Connection: CLOSE", "9110 7.6.1", get("/digits.bin", "Connection: CLOSE"), 200, stays=False),
    row("close among others", "9110 7.6.1", get("/digits.bin", "Connection: a, close"), 200, stays=False),
    row("close in a second line", "9110 7.6.1",
        get("/digits.bin", "Connection: a", "Connection: close"), 200, stays=False),
    row("HTTP/1.0 ends", "9112 9.3", get(version="1.0"), 200, content=DIGITS, stays=False,
        absent=("transfer-encoding",)),
    row("HTTP/1.0 with keep-alive", "9112 9.3",
        get("/digits.bin", "Connection: keep-alive", version="1.0"), 200, content=DIGITS),
    row("no chunks for HTTP/1.0", "9112 6.1", get("/large.bin", version="1.0"), 200,
        content=FILES["large.bin"], absent=("transfer-encoding",)),
    row("three at once", "9112 9.3.2", _OK + get("/none") + _OK, 200, then=(404, 200),
        methods=("GET", "GET", "GET"), stays=True),
    row("HEAD among others", "9112 9.3.2", _OK + get(method="HEAD") + get("/empty.txt"), 200,
        then=(200, 200), methods=("GET", "HEAD", "GET"), stays=True),
    row("a large file among others", "9112 9.3.2", get("/large.bin") + _OK, 200, then=(200,),
        content=FILES["large.bin"], methods=("GET", "GET")),
    row("304 among others", "9112 6.3", get("/digits.bin", b"If-None-Match: " + ETAG) + _OK, 304,
        then=(200,), methods=("GET", "GET"), stays=True),
    row("nothing after close", "9112 9.6", get("/digits.bin", "Connection: close") + _OK, 200, stays=False),
    row("content, then a request", "9112 9.3.2", _post(_LENGTH, content=b"hello") + _OK, 200,
        then=(200,), methods=("GET", "GET"), stays=True),
    row("what follows content is no request", "9112 9.3", _post(_LENGTH, content=b"hello") + b" bad\r\n", 200,
        then=(400,), methods=("GET", "GET"), stays=False),
    row("an upgrade nobody has", "9110 7.8",
        get("/digits.bin", "Connection: upgrade", "Upgrade: h2c"), 200, content=DIGITS, stays=True),
    row("Connection names a field", "9110 7.6.1", get("/digits.bin", "Connection: A", "A: b"), 200),
)  # fmt: skip

ROWS: tuple[Row, ...] = (
    *LINES, *TARGETS, *HOSTS, *FIELDS, *FRAMING, *BAD_CHUNKS, *EXPECTATIONS, *CONNECTIONS,
)  # fmt: skip

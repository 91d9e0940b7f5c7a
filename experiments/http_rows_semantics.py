"""Rows about methods, conditions, ranges and negotiation, from RFC 9110."""

from __future__ import annotations

from experiments.http_rows import (
    DIGITS,
    ETAG,
    PAGE,
    Row,
    get,
    like_get,
    no_more_than_the_file,
    parts_of_digits,
    range_of_what_it_names,
    refused,
    row,
    says_page_in,
)

_PAST, _FUTURE = "Tue, 15 Nov 1994 12:45:26 GMT", "Fri, 31 Dec 2100 23:59:59 GMT"
_DATE = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT"
_TAG = r'(W/)?"[\x21\x23-\x7e]*"'
_UNSATISFIED = {"content-range": r"bytes \*/1000"}


def _asks(*lines: str | bytes, method: str = "GET") -> bytes:
    return get("/digits.bin", *lines, method=method)


def _page(*lines: str, method: str = "GET") -> bytes:
    return get("/page.html", *lines, method=method)


def _refuses_method(method: str, *lines: str, content: bytes = b"") -> Row:
    request = get("/digits.bin", *lines, method=method) + content
    allow = {"allow": r"(?=.*\bGET\b)(?=.*\bHEAD\b).*"}
    return row(f"{method} of a file", "9110 15.5.6", request, 405, fields=allow)


METHODS = (
    row("GET", "9110 9.3.1", _asks(), 200, content=DIGITS, fields={"content-length": "1000"}),
    row("GET of an empty file", "9110 8.6", get("/empty.txt"), 200, content=b"",
        fields={"content-length": "0"}),
    row("GET of a large file", "9110 9.3.1", get("/large.bin"), 200, content=DIGITS * 600),
    row("HEAD", "9110 9.3.2", _asks(method="HEAD"), 200, judge=like_get("/digits.bin"), stays=True),
    row("HEAD of a page", "9110 9.3.2", _page(method="HEAD"), 200, judge=like_get("/page.html"), stays=True),
    row("HEAD of an empty file", "9110 9.3.2", get("/empty.txt", method="HEAD"), 200,
        judge=like_get("/empty.txt"), stays=True),
    row("HEAD of nothing", "9110 9.3.2", get("/none", method="HEAD"), 404, stays=True),
    row("HEAD of a folder", "9110 9.3.2", get("/folder", method="HEAD"), 301, 307, 308, stays=True),
    _refuses_method("POST", "Content-Length: 5", content=b"hello"),
    _refuses_method("PUT", "Content-Length: 5", content=b"hello"),
    _refuses_method("PATCH", "Content-Length: 5", content=b"hello"),
    _refuses_method("DELETE"),
    row("OPTIONS", "9110 9.3.7", _asks(method="OPTIONS"), 200, 204, 405, fields={"allow": ".*GET.*"}),
    row("OPTIONS of the server", "9110 9.3.7", get("*", method="OPTIONS"), 200, 204, 405),
    row("TRACE tells nothing", "9110 9.3.8", _asks("Secret: 1", method="TRACE"), 405, 501,
        judge=lambda answer, _plain: "it tells what came" if b"Secret" in answer.content else ""),
    row("CONNECT", "9110 9.3.6", b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 400, 405, 501),
    row("a method nobody knows", "9110 9.1", _asks(method="BREW"), 501),
    row("a method that is longer than any", "9110 9.1", _asks(method="B" * 200), 400, 501),
    row("a method in lower case", "9110 9.1", _asks(method="get"), 501),
    refused("a method that is no token", "9110 9.1", _asks(method="G(T")),
    row("condition on another method", "9110 13.2.1", _asks("If-None-Match: *", method="DELETE"), 405),
)  # fmt: skip

FIELDS = (
    row("Date", "9110 6.6.1", _asks(), 200, fields={"date": _DATE}),
    row("Date of what is refused", "9110 6.6.1", get("/none"), 404, fields={"date": _DATE}),
    row("ETag", "9110 8.8.3", _asks(), 200, fields={"etag": _TAG}),
    row("Content-Type", "9110 8.3", _page(), 200, fields={"content-type": "text/html.*"}),
    row("Accept-Ranges", "9110 14.3", _asks(), 200, fields={"accept-ranges": "bytes"}),
    row("no Content-Range without a range", "9110 14.4", _asks(), 200, absent=("content-range",)),
    row("one framing", "9112 6.2", _asks(), 200, absent=("transfer-encoding",)),
    row("how long a copy is good", "9111 5.2.2", _asks(), 200, fields={"cache-control": ".+"}),
)

_SAME, _OTHER = b"If-Match: " + ETAG, 'If-Match: "other"'
_NOT_SAME, _NOT_OTHER = b"If-None-Match: " + ETAG, 'If-None-Match: "other"'

CONDITIONS = (
    row("If-None-Match is true", "9110 13.1.2", _asks(_NOT_OTHER), 200, content=DIGITS),
    row("If-None-Match is false", "9110 13.1.2", _asks(_NOT_SAME), 304, stays=True,
        fields={"etag": _TAG, "date": _DATE, "cache-control": ".+"}),
    row("304 tells of no content", "9110 15.4.5", _asks(_NOT_SAME), 304,
        absent=("transfer-encoding", "content-encoding", "content-range"), stays=True),
    row("If-None-Match: *", "9110 13.1.2", _asks("If-None-Match: *"), 304),
    row("If-None-Match, weak", "9110 13.1.2", _asks(b"If-None-Match: W/" + ETAG), 304),
    row("If-None-Match, several", "9110 13.1.2", _asks(b'If-None-Match: "a", W/"b", ' + ETAG), 304),
    row("If-None-Match, comma in a tag", "9110 8.8.3", _asks(b'If-None-Match: "a,b", ' + ETAG), 304),
    row("If-None-Match without quotes", "9110 8.8.3", _asks("If-None-Match: other"), 200, 400),
    row("If-None-Match of nothing", "9110 13.2.1", get("/none", "If-None-Match: *"), 404),
    row("If-None-Match with HEAD", "9110 13.1.2", _asks(_NOT_SAME, method="HEAD"), 304, stays=True),
    row("If-Match is true", "9110 13.1.1", _asks(_SAME), 200, content=DIGITS),
    row("If-Match is false", "9110 13.1.1", _asks(_OTHER), 412, stays=True),
    row("If-Match: *", "9110 13.1.1", _asks("If-Match: *"), 200),
    row("If-Match, weak", "9110 13.1.1", _asks(b"If-Match: W/" + ETAG), 412),
    row("If-Match, several", "9110 13.1.1", _asks(b'If-Match: "a", ' + ETAG), 200),
    row("If-Match with HEAD", "9110 13.1.1", _asks(_OTHER, method="HEAD"), 412, stays=True),
    row("If-Match of nothing", "9110 13.2.1", get("/none", "If-Match: *"), 404),
    row("If-Modified-Since without a date", "9110 13.1.3", _asks(f"If-Modified-Since: {_FUTURE}"), 200),
    row("If-Modified-Since that is no date", "9110 13.1.3", _asks("If-Modified-Since: yesterday"), 200),
    row("If-Modified-Since gives way", "9110 13.1.3",
        _asks(_NOT_OTHER, f"If-Modified-Since: {_FUTURE}"), 200),
    row("If-None-Match alone counts", "9110 13.1.3", _asks(_NOT_SAME, f"If-Modified-Since: {_PAST}"), 304),
    row("If-Unmodified-Since without a date", "9110 13.1.4", _asks(f"If-Unmodified-Since: {_PAST}"), 200),
    row("If-Unmodified-Since gives way", "9110 13.1.4",
        _asks(_SAME, f"If-Unmodified-Since: {_PAST}"), 200),
    row("If-Match comes first", "9110 13.2.2", _asks(_OTHER, _NOT_SAME), 412),
    row("then If-None-Match", "9110 13.2.2", _asks(_SAME, _NOT_SAME), 304),
    row("If-Match before a range", "9110 13.2.2", _asks(_OTHER, "Range: bytes=0-4"), 412),
    row("If-None-Match before a range", "9110 13.2.2", _asks(_NOT_SAME, "Range: bytes=0-4"), 304),
    row("a range when both are true", "9110 13.2.2",
        _asks(_SAME, _NOT_OTHER, "Range: bytes=0-4"), 206, content=DIGITS[:5]),
)  # fmt: skip


def _range(name: str, value: str, first: int, last: int) -> Row:
    """A range that comes as it is asked for."""
    says = {"content-range": f"bytes {first}-{last}/1000", "content-length": str(last - first + 1)}
    request = _asks(f"Range: {value}")
    return row(f"range: {name}", "9110 14.1.2", request, 206, content=DIGITS[first : last + 1], fields=says)


_FIVE = "Range: bytes=0-4"

RANGES = (
    _range("the first bytes", "bytes=0-4", 0, 4),
    _range("one byte", "bytes=7-7", 7, 7),
    _range("to the end", "bytes=995-", 995, 999),
    _range("the last bytes", "bytes=-5", 995, 999),
    _range("more than all", "bytes=-5000", 0, 999),
    _range("beyond the end", "bytes=990-5000", 990, 999),
    _range("all", "bytes=0-", 0, 999),
    _range("the unit in capitals", "BYTES=0-4", 0, 4),
    _range("an end beyond any number", "bytes=990-99999999999999999999999", 990, 999),
    row("a part has the tag", "9110 15.3.7", _asks(_FIVE), 206,
        fields={"etag": _TAG, "date": _DATE, "cache-control": ".+"}),
    row("begins after the end", "9110 14.1.2", _asks("Range: bytes=1000-"), 416, fields=_UNSATISFIED),
    row("far after the end", "9110 14.1.2", _asks("Range: bytes=99999999999999999999-"), 416,
        fields=_UNSATISFIED),
    row("the last 0 bytes", "9110 14.1.2", _asks("Range: bytes=-0"), 416, fields=_UNSATISFIED),
    row("of an empty file", "9110 14.1.2", get("/empty.txt", "Range: bytes=0-"), 200, 416),
    row("the end before the beginning", "9110 14.1.1", _asks("Range: bytes=5-2"), 200, 400, 416),
    row("no numbers", "9110 14.2", _asks("Range: bytes=a-b"), 200, 400, 416),
    row("a sign", "9110 14.2", _asks("Range: bytes=+0-4"), 200, 400, 416),
    row("nothing", "9110 14.2", _asks("Range: bytes="), 200, 400, 416),
    row("another unit", "9110 14.2", _asks("Range: lines=0-4"), 200, content=DIGITS),
    row("no unit", "9110 14.2", _asks("Range: 0-4"), 200, 400, 416),
    row("with HEAD", "9110 14.2", _asks(_FIVE, method="HEAD"), 200, judge=like_get("/digits.bin"),
        stays=True),
    row("of nothing", "9110 14.2", get("/none", _FIVE), 404),
    row("two", "9110 14.6", _asks("Range: bytes=0-4,10-14"), 206, stays=True,
        judge=parts_of_digits((0, 4), (10, 14))),
    row("two with spaces", "9110 5.6.1", _asks("Range: bytes=0-4 , 10-14"), 206,
        judge=parts_of_digits((0, 4), (10, 14))),
    row("first and last", "9110 14.6", _asks("Range: bytes=0-0,-1"), 206,
        judge=parts_of_digits((0, 0), (999, 999))),
    row("in another order", "9110 15.3.7.2", _asks("Range: bytes=10-14,0-4"), 206,
        judge=parts_of_digits((10, 14), (0, 4))),
    row("two of which one is there", "9110 15.3.7.2", _asks("Range: bytes=0-4,2000-"), 206),
    row("two that are not there", "9110 15.5.17", _asks("Range: bytes=1000-,2000-"), 416,
        fields=_UNSATISFIED),
    row("many that overlap", "9110 14.2", _asks("Range: bytes=" + ",".join(["0-"] * 200)), 200, 206, 400, 416,
        judge=no_more_than_the_file),
    row("If-Range is true", "9110 13.1.5", _asks(_FIVE, b"If-Range: " + ETAG), 206, content=DIGITS[:5]),
    row("If-Range is false", "9110 13.1.5", _asks(_FIVE, 'If-Range: "other"'), 200, content=DIGITS),
    row("If-Range, weak", "9110 13.1.5", _asks(_FIVE, b"If-Range: W/" + ETAG), 200, content=DIGITS),
    row("If-Range with a date", "9110 13.1.5", _asks(_FIVE, f"If-Range: {_FUTURE}"), 200, content=DIGITS),
    row("If-Range without a range", "9110 13.1.5", _asks('If-Range: "other"'), 200, content=DIGITS),
    row("If-Range is false, nothing there", "9110 13.1.5",
        _asks("Range: bytes=1000-", 'If-Range: "other"'), 200, content=DIGITS),
    row("If-Range is true, nothing there", "9110 14.2",
        _asks("Range: bytes=1000-", b"If-Range: " + ETAG), 416, fields=_UNSATISFIED),
)  # fmt: skip


def _coding(name: str, accepts: str, *codings: str | None) -> Row:
    return row(
        f"coding: {name}",
        "9110 12.5.3",
        _page(f"Accept-Encoding: {accepts}"),
        200,
        judge=says_page_in(*codings),
    )


NEGOTIATION = (
    row("no preference", "9110 12.5.3", _page(), 200, content=PAGE,
        fields={"vary": "(?i).*accept-encoding.*"}),
    _coding("gzip", "gzip", "gzip"),
    _coding("x-gzip", "x-gzip", "gzip", "x-gzip", None),
    _coding("in capitals", "GZIP", "gzip"),
    _coding("br", "br", "br", None),
    _coding("zstd", "zstd", "zstd", None),
    _coding("as browsers say", "gzip, deflate, br, zstd", "gzip", "br", "zstd"),
    _coding("the heavier one", "gzip;q=0.5, br;q=1.0", "br", "gzip"),
    _coding("the other way round", "br;q=0.1, gzip;q=0.9", "gzip"),
    _coding("none but identity", "identity", None),
    _coding("none at all", "", None),
    _coding("gzip forbidden", "gzip;q=0", None),
    _coding("gzip forbidden, any other", "gzip;q=0, *;q=1", "br", "zstd", None),
    _coding("all but identity forbidden", "identity;q=1, *;q=0", None),
    _coding("unknown", "unheard-of", None),
    _coding("spaces around weights", "gzip ; q=1.000 , br ; q=0", "gzip"),
    row("identity forbidden", "9110 12.5.3", _page("Accept-Encoding: identity;q=0, gzip"), 200,
        judge=says_page_in("gzip")),
    row("nothing acceptable", "9110 12.5.3", _asks("Accept-Encoding: identity;q=0, *;q=0"), 200, 406),
    row("what does not compress", "9110 12.5.3", get("/empty.txt", "Accept-Encoding: gzip"), 200,
        absent=("content-encoding",), content=b""),
    row("HEAD of a coded form", "9110 9.3.2", _page("Accept-Encoding: gzip", method="HEAD"), 200,
        fields={"content-encoding": "gzip", "vary": "(?i).*accept-encoding.*"}, stays=True),
    row("a range of a coded form", "9110 14.2", _page("Accept-Encoding: gzip", _FIVE.replace("4", "9")), 206,
        judge=range_of_what_it_names),
    row("a range of the plain form", "9110 14.2", _page(_FIVE.replace("4", "9")), 206,
        judge=range_of_what_it_names),
    row("Accept for another type", "9110 12.5.1", _page("Accept: image/png"), 200, 406),
    row("a language", "9110 12.5.4", _page("Accept-Language: tlh"), 200, content=PAGE),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*METHODS, *FIELDS, *CONDITIONS, *RANGES, *NEGOTIATION)

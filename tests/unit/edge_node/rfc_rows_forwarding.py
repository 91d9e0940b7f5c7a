"""Ranges and forwarding as a table (RFC 9110, 9111, 9211, 9530, 8586)."""

from __future__ import annotations

import hashlib

from edge_node.http.digests import digest_value
from tests.unit.edge_node.rfc_language import (
    BODY,
    FRESH,
    SAME,
    TAGGED,
    VARY,
    Row,
    cached,
    says,
    step,
    uncached,
)

DIGEST = digest_value(hashlib.sha256(BODY).hexdigest())

# fmt: off
ROWS: list[Row] = [
    # Ranges (RFC 9111 section 3.3, 3.4; RFC 9110 section 14)
    (
        "range-of-stored",
        "a range of a stored response (RFC 9110 14.2)",
        cached(
            FRESH,
            sends={"range": "bytes=2-4"},
            status=206,
            body=b"234",
            has={"content-range": "bytes 2-4/10", "content-length": "3"},
        ),
    ),
    (
        "range-beyond",
        "416 (RFC 9110 15.5.17)",
        cached(FRESH, sends={"range": "bytes=10-"}, status=416, has={"content-range": "bytes */10"}),
    ),
    (
        "range-if-range",
        "If-Range with the tag",
        cached(TAGGED, sends={"range": "bytes=-1", "if_range": '"a"'}, status=206, body=b"9"),
    ),
    (
        "range-if-range-other",
        "If-Range with another (RFC 9110 13.1.5)",
        cached(TAGGED, sends={"range": "bytes=-1", "if_range": '"b"'}, body=BODY),
    ),
    (
        "range-weak",
        "a weak tag is not for ranges (RFC 9110 13.1.5)",
        cached(
            says(cache_control="max-age=9", etag='W/"a"'),
            sends={"range": "bytes=-1", "if_range": 'W/"a"'},
            body=BODY,
        ),
    ),
    (
        "range-stored",
        "a part is stored and answers for its parts (3.3)",
        [
            step(
                "origin",
                says(206, b"345", cache_control="max-age=9", content_range="bytes 3-5/10"),
                sends={"range": "bytes=3-5"},
                status=206,
                asked={"range": "bytes=3-5"},
            ),
            step("cache", sends={"range": "bytes=4-4"}, status=206, body=b"4"),
        ],
    ),
    (
        "range-lies",
        "a part that is not what it says is not stored (3.3)",
        [
            step(
                "origin",
                says(206, b"34", cache_control="max-age=9", content_range="bytes 3-5/10"),
                sends={"range": "bytes=3-5"},
                status=206,
            ),
            step(
                "origin",
                says(206, b"4", content_range="bytes 4-4/10"),
                sends={"range": "bytes=4-4"},
                status=206,
            ),
        ],
    ),
    (
        "range-combined",
        "parts with one strong tag are combined (3.4)",
        [
            step(
                "origin",
                says(206, b"01234", cache_control="max-age=9", etag='"a"', content_range="bytes 0-4/10"),
                sends={"range": "bytes=0-4"},
                status=206,
            ),
            step(
                "origin",
                says(206, b"56789", cache_control="max-age=9", etag='"a"', content_range="bytes 5-9/10"),
                sends={"range": "bytes=5-"},
                status=206,
            ),
            step("cache", body=BODY),
        ],
    ),
    (
        "range-weak-combined",
        "those with weak ones are not (3.4)",
        [
            step(
                "origin",
                says(206, b"01234", cache_control="max-age=9", etag='W/"a"', content_range="bytes 0-4/10"),
                sends={"range": "bytes=0-4"},
                status=206,
            ),
            step(
                "origin",
                says(206, b"56789", cache_control="max-age=9", etag='W/"a"', content_range="bytes 5-9/10"),
                sends={"range": "bytes=5-"},
                status=206,
            ),
            step("origin", FRESH, body=BODY, asked={"range": None}),
        ],
    ),
    (
        "range-completed",
        "only what is missing is fetched (3.4)",
        [
            step(
                "origin",
                says(206, b"01234", cache_control="max-age=9", etag='"a"', content_range="bytes 0-4/10"),
                sends={"range": "bytes=0-4"},
                status=206,
            ),
            step(
                "both",
                says(206, b"56789", cache_control="max-age=9", etag='"a"', content_range="bytes 5-9/10"),
                body=BODY,
                asked={"range": "bytes=5-", "if-range": '"a"'},
                has={"content-range": None, "content-length": "10"},
            ),
            step("cache", body=BODY),
        ],
    ),
    (
        "range-changed",
        "unless it has changed (RFC 9110 13.1.5)",
        [
            step(
                "origin",
                says(206, b"01234", cache_control="max-age=9", etag='"a"', content_range="bytes 0-4/10"),
                sends={"range": "bytes=0-4"},
                status=206,
            ),
            step("origin", says(body=b"new", cache_control="max-age=9", etag='"b"'), body=b"new"),
            step("cache", body=b"new"),
        ],
    ),
    (
        "range-unasked",
        "a part nobody asked for is an error of the origin",
        [step("origin", says(206, b"0", content_range="bytes 0-0/10"), status=502)],
    ),
    # Forwarding (RFC 9110 section 7.6, RFC 8586, 9211, 9530)
    (
        "via",
        "Via in both directions (RFC 9110 7.6.3)",
        [
            step(
                "origin",
                FRESH,
                sends={"via": "1.0 x"},
                asked={"via": "1.0 x, 1.1 edge1"},
                has={"via": "1.1 edge1"},
            )
        ],
    ),
    (
        "cdn-loop",
        "CDN-Loop is said (RFC 8586 2)",
        [step("origin", FRESH, sends={"cdn_loop": "x; a=b"}, asked={"cdn-loop": "x; a=b, edge1"})],
    ),
    (
        "cdn-loop-refused",
        "and loops are refused (RFC 8586 2)",
        [step("cache", sends={"cdn_loop": "x, Edge1;p"}, status=508)],
    ),
    (
        "hop-by-hop",
        "connection fields are not forwarded (RFC 9110 7.6.1)",
        [
            step(
                "origin",
                FRESH,
                sends={"connection": "x, host", "x": "1", "te": "gzip"},
                asked={"x": None, "te": None, "connection": None, "host": "h"},
            )
        ],
    ),
    (
        "max-forwards",
        "Max-Forwards counts down (RFC 9110 7.6.2)",
        [step("origin", says(), method="OPTIONS", sends={"max_forwards": "2"}, asked={"max-forwards": "1"})],
    ),
    (
        "max-forwards-zero",
        "and ends here (RFC 9110 7.6.2)",
        [step("cache", method="OPTIONS", sends={"max_forwards": "0"}, status=204)],
    ),
    ("trace", "no TRACE", [step("cache", method="TRACE", status=405)]),
    (
        "status-hit",
        "hit and ttl (RFC 9211 2.1, 2.4)",
        cached(FRESH, wait_s=10, has={"cache-status": "edge1; hit; ttl=90"}),
    ),
    (
        "status-uri-miss",
        "uri-miss, stored (RFC 9211 2.2)",
        [step("origin", FRESH, has={"cache-status": "edge1; fwd=uri-miss; fwd-status=200; stored"})],
    ),
    (
        "status-vary-miss",
        "vary-miss (RFC 9211 2.2)",
        [
            step("origin", VARY),
            step(
                "origin",
                VARY,
                sends={"foo": "1"},
                has={"cache-status": "edge1; fwd=vary-miss; fwd-status=200; stored"},
            ),
        ],
    ),
    (
        "status-stale",
        "fwd=stale (RFC 9211 2.2)",
        [
            step("origin", TAGGED),
            step("both", SAME, wait_s=200, has={"cache-status": "edge1; fwd=stale; fwd-status=304; ttl=100"}),
        ],
    ),
    (
        "status-request",
        "fwd=request (RFC 9211 2.2)",
        [
            step("origin", TAGGED),
            step(
                "both",
                SAME,
                sends={"cache_control": "no-cache"},
                has={"cache-status": "edge1; fwd=request; fwd-status=304; ttl=100"},
            ),
        ],
    ),
    (
        "status-method",
        "fwd=method (RFC 9211 2.2)",
        [step("origin", says(), method="POST", has={"cache-status": "edge1; fwd=method; fwd-status=200"})],
    ),
    (
        "status-appended",
        "after those nearer to the origin (RFC 9211 2)",
        cached(
            says(cache_control="max-age=100", cache_status="up; hit"),
            has={"cache-status": "up; hit, edge1; hit; ttl=100"},
        ),
    ),
    ("digest-made", "Repr-Digest of what is here (RFC 9530 3)", cached(FRESH, has={"repr-digest": DIGEST})),
    (
        "digest-wrong",
        "what contradicts its digest is not stored (RFC 9530 5)",
        uncached(says(cache_control="max-age=9", repr_digest=f"sha-256=:{'A' * 43}=:")),
    ),
]

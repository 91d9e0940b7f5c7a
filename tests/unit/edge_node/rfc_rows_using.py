"""RFC 9111 as a table, second half: validation, wishes, stale responses, invalidation."""

from __future__ import annotations

from edge_node.http.dates import format_date
from tests.unit.edge_node.rfc_language import (
    BODY,
    FRESH,
    NOW_S,
    OLD,
    OLDER,
    SAME,
    TAGGED,
    Row,
    cached,
    says,
    step,
)

# fmt: off
ROWS: list[Row] = [
    # Validation (section 4.3)
    (
        "validate-etag",
        "stale: If-None-Match (4.3.1)",
        [
            step("origin", TAGGED),
            step("both", SAME, wait_s=200, body=BODY, asked={"if-none-match": '"a"'}, has={"age": "0"}),
            step("cache", wait_s=99),
        ],
    ),
    (
        "validate-modified",
        "stale: If-Modified-Since (4.3.1)",
        [
            step("origin", says(cache_control="max-age=9", last_modified=OLD)),
            step(
                "both",
                says(304, b"", last_modified=OLD),
                wait_s=20,
                asked={"if-modified-since": OLD},
                body=BODY,
            ),
        ],
    ),
    (
        "validate-changed",
        "a full response replaces what is stored (4.3.3)",
        [
            step("origin", TAGGED),
            step("origin", says(body=b"b", cache_control="max-age=100", etag='"b"'), wait_s=200, body=b"b"),
            step("cache", body=b"b"),
        ],
    ),
    (
        "validate-other",
        "a 304 about something else updates nothing (4.3.4)",
        [
            step("origin", TAGGED),
            step("twice", says(304, b"", etag='"b"'), wait_s=200, status=502),
        ],
    ),
    (
        "validate-updates",
        "a 304 updates fields, but for those of the content (3.2)",
        [
            step("origin", says(cache_control="max-age=9", etag='"a"', x="1", y="1", content_type="text/x")),
            step(
                "both",
                says(304, b"", etag='"a"', x="2", content_length="99", content_encoding="gzip"),
                wait_s=20,
                has={"x": "2", "y": "1", "content-length": "10", "content-encoding": None},
            ),
        ],
    ),
    (
        "validate-no-cache",
        "no-cache: validated each time, however fresh (5.2.2.4)",
        [
            step("origin", says(cache_control="no-cache, max-age=100", etag='"a"')),
            step("both", says(304, b"", etag='"a"'), asked={"if-none-match": '"a"'}, body=BODY),
        ],
    ),
    (
        "validate-client-304",
        "a client's condition is answered from here (4.3.2)",
        cached(
            TAGGED,
            sends={"if_none_match": 'W/"a"'},
            status=304,
            body=b"",
            has={"etag": '"a"', "content-length": None},
        ),
    ),
    (
        "validate-client-precedence",
        "If-None-Match goes before If-Modified-Since (RFC 9110 13.2.2)",
        cached(
            says(cache_control="max-age=9", etag='"a"', last_modified=OLD),
            sends={"if_none_match": '"b"', "if_modified_since": OLD},
            body=BODY,
        ),
    ),
    (
        "validate-client-date",
        "If-Modified-Since of a client (4.3.2)",
        cached(
            says(cache_control="max-age=9", last_modified=OLDER), sends={"if_modified_since": OLD}, status=304
        ),
    ),
    (
        "validate-client-no-date",
        "Date stands in for Last-Modified (4.3.2)",
        cached(FRESH, sends={"if_modified_since": format_date(NOW_S)}, status=304),
    ),
    (
        "validate-client-stale",
        "a client's condition is kept back while we validate our own copy (4.3.1)",
        [
            step("origin", TAGGED),
            step(
                "both",
                SAME,
                wait_s=200,
                sends={"if_none_match": '"x", "a"'},
                status=304,
                asked={"if-none-match": '"a"'},
            ),
        ],
    ),
    (
        "validate-if-match",
        "an If-Match that holds is a hit",
        cached(TAGGED, sends={"if_match": '"a"'}),
    ),
    (
        "validate-if-match-other",
        "one that does not is for the origin (4.3.2)",
        [
            step("origin", TAGGED),
            step("origin", says(412, b""), sends={"if_match": '"x"'}, status=412, asked={"if-match": '"x"'}),
        ],
    ),
    (
        "validate-private-after",
        "what is replaced by something private is forgotten (4.3.3)",
        [
            step("origin", TAGGED),
            step("origin", says(cache_control="private"), wait_s=200),
            step("origin", FRESH, asked={"if-none-match": None}),
        ],
    ),
    (
        "validate-head-200",
        "200 to HEAD updates (4.3.5)",
        [
            step("origin", says(cache_control="max-age=9", x="1", etag='"a"')),
            step(
                "both",
                says(200, b"", cache_control="max-age=9", x="2", etag='"a"', content_length="10"),
                wait_s=20,
                method="HEAD",
                has={"x": "2"},
                body=b"",
            ),
            step("cache", has={"x": "2"}, body=BODY),
        ],
    ),
    (
        "validate-head-other",
        "or makes stale (4.3.5)",
        [
            step("origin", says(cache_control="max-age=9")),
            step("origin", says(200, b"", content_length="11"), wait_s=20, method="HEAD", body=b""),
            step("origin", FRESH),
        ],
    ),
    (
        "head-hit",
        "HEAD is answered from a stored GET (4)",
        cached(FRESH, method="HEAD", body=b"", has={"content-length": "10"}),
    ),
    (
        "head-miss",
        "HEAD is not stored for GET (4)",
        [step("origin", says(200, b"", cache_control="max-age=9"), method="HEAD"), step("origin", FRESH)],
    ),
    # Requests' wishes (section 5.2.1)
    (
        "wish-no-cache",
        "no-cache",
        [
            step("origin", TAGGED),
            step("both", SAME, sends={"cache_control": "no-cache"}, asked={"if-none-match": '"a"'}),
        ],
    ),
    (
        "wish-max-age",
        "max-age",
        [step("origin", TAGGED), step("both", SAME, wait_s=5, sends={"cache_control": "max-age=4"})],
    ),
    (
        "wish-max-age-enough",
        "max-age that suffices",
        cached(TAGGED, wait_s=5, sends={"cache_control": "max-age=5"}),
    ),
    (
        "wish-min-fresh",
        "min-fresh",
        [step("origin", TAGGED), step("both", SAME, wait_s=50, sends={"cache_control": "min-fresh=51"})],
    ),
    ("wish-max-stale", "max-stale", cached(TAGGED, wait_s=150, sends={"cache_control": "max-stale=50"})),
    (
        "wish-max-stale-any",
        "max-stale without a number",
        cached(TAGGED, wait_s=9_999, sends={"cache_control": "max-stale"}),
    ),
    (
        "wish-max-stale-less",
        "max-stale that does not suffice",
        [step("origin", TAGGED), step("both", SAME, wait_s=150, sends={"cache_control": "max-stale=49"})],
    ),
    (
        "wish-max-stale-forbidden",
        "must-revalidate goes before max-stale (5.2.2.2)",
        [
            step("origin", says(cache_control="max-age=9, must-revalidate", etag='"a"')),
            step("both", SAME, wait_s=20, sends={"cache_control": "max-stale"}),
        ],
    ),
    (
        "wish-only-if-cached",
        "only-if-cached of nothing: 504 (5.2.1.7)",
        [step("cache", sends={"cache_control": "only-if-cached"}, status=504)],
    ),
    (
        "wish-only-if-cached-hit",
        "only-if-cached of something",
        cached(FRESH, sends={"cache_control": "only-if-cached"}),
    ),
    # Stale responses (section 4.2.4, RFC 5861)
    (
        "stale-unreachable",
        "stale while the origin is away (4.2.4)",
        [step("origin", TAGGED), step("away", wait_s=200)],
    ),
    (
        "stale-must-revalidate",
        "must-revalidate: 504 (5.2.2.2)",
        [
            step("origin", says(cache_control="max-age=9, must-revalidate")),
            step("away", wait_s=20, status=504),
        ],
    ),
    (
        "stale-proxy-revalidate",
        "proxy-revalidate: likewise (5.2.2.8)",
        [
            step("origin", says(cache_control="max-age=9, proxy-revalidate")),
            step("away", wait_s=20, status=504),
        ],
    ),
    (
        "stale-s-maxage",
        "s-maxage: likewise (5.2.2.10)",
        [step("origin", says(cache_control="s-maxage=9")), step("away", wait_s=20, status=504)],
    ),
    (
        "stale-error",
        "an error is passed on (4.2.4)",
        [step("origin", TAGGED), step("origin", says(503), wait_s=200, status=503)],
    ),
    (
        "stale-if-error",
        "stale-if-error (RFC 5861 4)",
        [
            step("origin", says(cache_control="max-age=9, stale-if-error=50")),
            step("both", says(503), wait_s=50, body=BODY),
        ],
    ),
    (
        "stale-if-error-ends",
        "and its end (RFC 5861 4)",
        [
            step("origin", says(cache_control="max-age=9, stale-if-error=50")),
            step("origin", says(500), wait_s=60, status=500),
        ],
    ),
    (
        "stale-if-error-wish",
        "stale-if-error in the request (RFC 5861 4)",
        [
            step("origin", TAGGED),
            step("both", says(502), wait_s=150, sends={"cache_control": "stale-if-error=50"}, body=BODY),
        ],
    ),
    (
        "stale-while-revalidate",
        "served at once, validated behind, fresh again (RFC 5861 3)",
        [
            step("origin", says(cache_control="max-age=9, stale-while-revalidate=50", etag='"a"')),
            step("both", SAME, wait_s=20, has={"age": "20"}, body=BODY),
            step("cache", has={"age": "0"}),
        ],
    ),
    (
        "stale-while-revalidate-ends",
        "and its end (RFC 5861 3)",
        [
            step("origin", says(cache_control="max-age=9, stale-while-revalidate=50", etag='"a"')),
            step("both", SAME, wait_s=60, has={"age": "0"}),
        ],
    ),
    # Invalidation (section 4.4)
    *(
        (
            f"invalidate-{method}",
            f"{method} invalidates (4.4)",
            [
                step("origin", FRESH),
                step("origin", says(204, b""), method=method, status=204),
                step("origin", FRESH),
            ],
        )
        for method in ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH")
    ),
    (
        "invalidate-error",
        "an error invalidates nothing (4.4)",
        [step("origin", FRESH), step("origin", says(500), method="PUT", status=500), step("cache")],
    ),
    (
        "invalidate-safe",
        "nor does a safe method (4.4)",
        [step("origin", FRESH), step("origin", says(), method="OPTIONS"), step("cache")],
    ),
    (
        "invalidate-location",
        "Location at the same origin (4.4)",
        [
            step("origin", FRESH, path="/b"),
            step("origin", says(201, location="/b"), method="POST", status=201),
            step("origin", FRESH, path="/b"),
        ],
    ),
    (
        "invalidate-content-location",
        "Content-Location at the same origin (4.4)",
        [
            step("origin", FRESH, path="/b"),
            step("origin", says(content_location="http://h/b"), method="POST"),
            step("origin", FRESH, path="/b"),
        ],
    ),
    (
        "invalidate-elsewhere",
        "not at another (4.4)",
        [
            step("origin", FRESH, path="/b"),
            step("origin", says(location="http://x/b"), method="POST"),
            step("cache", path="/b"),
        ],
    ),
]

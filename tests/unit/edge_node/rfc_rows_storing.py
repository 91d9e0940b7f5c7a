"""RFC 9111 as a table, first half: what is stored, for which requests, and for how long."""

from __future__ import annotations

from edge_node.http.dates import format_date
from tests.unit.edge_node.rfc_language import (
    AUTH,
    BODY,
    FRESH,
    NOW_S,
    OLD,
    VARY,
    Row,
    cached,
    says,
    step,
    uncached,
)

# fmt: off
ROWS: list[Row] = [
    # Storing (RFC 9111 section 3)
    ("store-max-age", "explicit freshness is stored and reused (3, 4)", cached(FRESH, body=BODY)),
    ("store-nothing-said", "no freshness, no validator: not reused (3)", uncached(says())),
    ("store-no-store", "no-store (5.2.2.5)", uncached(says(cache_control="no-store, max-age=100"))),
    (
        "store-no-store-case",
        "directives in any case (5.2)",
        uncached(says(cache_control="No-StOrE, max-age=9")),
    ),
    (
        "store-private",
        "private is not for shared caches (5.2.2.7)",
        uncached(says(cache_control="private, max-age=9")),
    ),
    (
        "store-private-field",
        "qualified private: stored without the fields (5.2.2.7)",
        cached(says(cache_control='private="x", max-age=9', x="1", y="2"), has={"x": None, "y": "2"}),
    ),
    (
        "store-no-cache-field",
        "qualified no-cache: reused without the fields (5.2.2.4)",
        cached(says(cache_control='no-cache="x", max-age=9', x="1"), has={"x": None}),
    ),
    (
        "store-request-no-store",
        "no-store in the request (5.2.1.5)",
        uncached(FRESH, first_sends={"cache_control": "no-store"}),
    ),
    ("store-auth", "Authorization (3.5)", uncached(FRESH, first_sends=AUTH)),
    (
        "store-auth-public",
        "Authorization with public (3.5)",
        [step("origin", says(cache_control="public, max-age=9"), sends=AUTH), step("cache")],
    ),
    (
        "store-auth-must-revalidate",
        "Authorization with must-revalidate (3.5)",
        [step("origin", says(cache_control="must-revalidate, max-age=9"), sends=AUTH), step("cache")],
    ),
    (
        "store-auth-s-maxage",
        "Authorization with s-maxage (3.5)",
        [step("origin", says(cache_control="s-maxage=9"), sends=AUTH), step("cache")],
    ),
    (
        "store-must-understand",
        "must-understand lets no-store be ignored (5.2.2.3)",
        cached(says(cache_control="no-store, must-understand, max-age=9")),
    ),
    (
        "store-must-understand-unknown",
        "must-understand with an unknown status (5.2.2.3)",
        uncached(says(599, cache_control="no-store, must-understand, max-age=9")),
    ),
    (
        "store-unknown-status",
        "a final status with explicit freshness (3)",
        cached(says(499, cache_control="max-age=9")),
    ),
    (
        "store-vary-star",
        "Vary: * never matches (4.1)",
        uncached(says(cache_control="max-age=9", vary="foo, *")),
    ),
    (
        "store-connection",
        "fields that Connection names are not stored (3.1)",
        cached(says(cache_control="max-age=9", connection="x", x="1", y="2"), has={"x": None, "y": "2"}),
    ),
    (
        "store-hop-by-hop",
        "connection fields are not stored (3.1)",
        cached(says(cache_control="max-age=9", keep_alive="x", te="y"), has={"keep-alive": None, "te": None}),
    ),
    (
        "store-set-cookie",
        "Set-Cookie inhibits nothing (7.3)",
        cached(says(cache_control="max-age=9", set_cookie="a=b"), has={"set-cookie": "a=b"}),
    ),
    ("store-negative", "404 may be reused for a while (4.2.2)", cached(says(404), wait_s=4)),
    ("store-negative-ends", "negative caching ends", uncached(says(404), wait_s=6)),
    ("key-query", "the query is part of the key (2)", uncached(FRESH, path="/a?b")),
    (
        "key-post",
        "a response to POST for its own URL may answer GET (RFC 9110 9.3.3)",
        [
            step("origin", says(cache_control="max-age=9", content_location="/a"), method="POST"),
            step("cache"),
        ],
    ),
    (
        "key-post-elsewhere",
        "a response to POST about another URL may not (RFC 9110 9.3.3)",
        [
            step("origin", says(cache_control="max-age=9", content_location="/b"), method="POST"),
            step("origin", FRESH),
        ],
    ),
    # Variants (section 4.1)
    (
        "vary-match",
        "same selecting fields (4.1)",
        [step("origin", VARY, sends={"foo": "1"}), step("cache", sends={"foo": "1"})],
    ),
    (
        "vary-other",
        "other selecting fields (4.1)",
        [step("origin", VARY, sends={"foo": "1"}), step("origin", VARY, sends={"foo": "2"})],
    ),
    (
        "vary-absent",
        "absent and present differ (4.1)",
        [step("origin", VARY), step("origin", VARY, sends={"foo": "1"})],
    ),
    (
        "vary-both",
        "two variants are kept side by side (4.1)",
        [
            step("origin", VARY, sends={"foo": "1"}),
            step("origin", says(body=b"2", cache_control="max-age=9", vary="foo"), sends={"foo": "2"}),
            step("cache", sends={"foo": "1"}, body=BODY),
            step("cache", sends={"foo": "2"}, body=b"2"),
        ],
    ),
    (
        "vary-blanks",
        "blanks between members mean nothing (4.1)",
        [step("origin", VARY, sends={"foo": "1,2"}), step("cache", sends={"foo": "1 ,  2"})],
    ),
    (
        "vary-order",
        "preferences are ordered by weight (4.1)",
        [
            step(
                "origin",
                says(cache_control="max-age=9", vary="accept-language"),
                sends={"accept_language": "en, de"},
            ),
            step("cache", sends={"accept_language": "DE,en;q=1.0"}),
        ],
    ),
    # Freshness and age (section 4.2)
    ("fresh-ends", "stale once max-age has passed (4.2)", uncached(FRESH, wait_s=100)),
    (
        "fresh-s-maxage",
        "s-maxage goes before max-age (4.2.1)",
        cached(says(cache_control="max-age=1, s-maxage=9"), wait_s=5),
    ),
    (
        "fresh-s-maxage-short",
        "also when it is shorter (4.2.1)",
        uncached(says(cache_control="max-age=9, s-maxage=1"), wait_s=5),
    ),
    (
        "fresh-max-age-expires",
        "max-age goes before Expires (4.2.1)",
        cached(says(cache_control="max-age=9", expires=OLD), wait_s=5),
    ),
    ("fresh-expires", "Expires minus Date (4.2.1)", cached(says(expires=format_date(NOW_S + 50)), wait_s=40)),
    ("fresh-expires-past", "Expires in the past (5.3)", uncached(says(expires=OLD))),
    (
        "fresh-expires-zero",
        "an Expires that is no date is past (5.3)",
        uncached(says(expires="0", last_modified=OLD)),
    ),
    (
        "fresh-expires-case",
        "dates in any case (4.2)",
        cached(says(expires=format_date(NOW_S + 50).upper().replace("GMT", "gmt"))),
    ),
    (
        "fresh-expires-zone",
        "a date with another zone is none (4.2)",
        uncached(says(expires=format_date(NOW_S + 50).replace("GMT", "UTC"))),
    ),
    (
        "fresh-clock-ahead",
        "an origin's clock that is ahead changes no lifetime (4.2.3)",
        uncached(says(date=format_date(NOW_S + 400), expires=format_date(NOW_S + 410)), wait_s=10),
    ),
    (
        "fresh-clock-behind",
        "one that is behind makes it older (4.2.3)",
        uncached(says(cache_control="max-age=100", date=OLD)),
    ),
    (
        "fresh-date-bad",
        "a Date that is none counts as now (RFC 9110 6.6.1)",
        cached(says(cache_control="max-age=9", date="x")),
    ),
    (
        "fresh-heuristic",
        "a tenth of the time unchanged (4.2.2)",
        cached(says(last_modified=OLD), wait_s=9_000),
    ),
    ("fresh-heuristic-ends", "and no more (4.2.2)", uncached(says(last_modified=OLD), wait_s=10_001)),
    (
        "fresh-heuristic-201",
        "only where the status allows it (4.2.2)",
        uncached(says(201, last_modified=OLD)),
    ),
    (
        "fresh-heuristic-public",
        "or public does (5.2.2.9)",
        cached(says(599, cache_control="public", last_modified=OLD)),
    ),
    (
        "fresh-negative-number",
        "a malformed max-age is stale (4.2.1)",
        uncached(says(cache_control="max-age=-9")),
    ),
    ("fresh-quoted", "a quoted max-age is read (5.2)", cached(says(cache_control='max-age="9"'))),
    (
        "fresh-in-quotes",
        "directives inside quotes are none (5.2)",
        uncached(says(cache_control='x="max-age=9"')),
    ),
    (
        "fresh-huge",
        "numbers beyond 2^31 (1.2.2)",
        cached(says(cache_control="max-age=99999999999999999999999")),
    ),
    (
        "fresh-first",
        "the first of two max-age counts (4.2.1)",
        uncached(says(cache_control="max-age=1, max-age=9"), wait_s=5),
    ),
    ("age-received", "Age counts (4.2.3)", uncached(says(cache_control="max-age=100", age="100"))),
    (
        "age-first",
        "the first of several Ages (5.1)",
        uncached(says(cache_control="max-age=100", age="100, 0")),
    ),
    (
        "age-bad",
        "an Age that is no number is ignored (5.1)",
        cached(says(cache_control="max-age=100", age="-100")),
    ),
    (
        "age-sent",
        "Age is generated, Date stays (5.1, RFC 9110 6.6.1)",
        cached(
            says(cache_control="max-age=100", age="7"),
            wait_s=5,
            has={"age": "12", "date": format_date(NOW_S)},
        ),
    ),
    # CDN-Cache-Control (RFC 9213)
    (
        "cdn-first",
        "CDN-Cache-Control goes before Cache-Control",
        cached(says(cache_control="no-store", cdn_cache_control="max-age=9")),
    ),
    ("cdn-private", "and forbids", uncached(says(cache_control="max-age=9", cdn_cache_control="private"))),
    (
        "cdn-expires",
        "and before Expires",
        uncached(says(expires=format_date(NOW_S + 50), cdn_cache_control="max-age=0")),
    ),
    (
        "cdn-malformed",
        "malformed, it counts for nothing (2.1)",
        uncached(says(cache_control="no-store", cdn_cache_control="max-age=9, &&")),
    ),
    (
        "cdn-type",
        "as do arguments of a wrong type (2.1)",
        uncached(says(cache_control="max-age=9", cdn_cache_control='max-age="9"')),
    ),
]

"""The cache tests of cache-tests.fyi against an edge: `python -m experiments.cache_tests [--suite DIR]`.

The edge is a reverse proxy in front of the suite's own server. Every test that is required or optimal and is
not passed must be one that is explained. Exit status 1 when too few pass, or one fails that is not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.cache_suite import CacheTest, Suite, counts, failures
from experiments.http_servers import BenchError, Core, clean_up_on_sigterm, start_edge
from lab.processes import ProcessError, ProcessTable

BARS = {"required": 150, "optimal": 85}
"""How many of the repository's tests must pass. The release has fewer, some of which RFC 9111 overtook."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an edge does not pass these tests; `is_of_release`: they are so in the release only."""

    tests: tuple[str, ...]
    reason: str
    is_of_release: bool = False


EXPLANATIONS = (
    Explanation(
        (
            "freshness-max-age-s-maxage-private",
            "freshness-max-age-s-maxage-private-multiple",
            "cc-resp-private-private",
            "cc-resp-immutable-fresh",
            "cc-resp-immutable-stale",
        ),
        "for caches of one browser; the suite does not run them against a shared cache",
    ),
    Explanation(
        ("vary-normalise-lang-select",),
        "the cache would have to guess by which weights the server chooses a language; another"
        " Accept-Language is another request (RFC 9111 section 4.1)",
    ),
    Explanation(
        ("headers-store-Transfer-Encoding",),
        "the server sends a transfer coding that nobody knows, so nobody knows where the content ends: 502",
    ),
    Explanation(
        (
            "partial-store-partial-reuse-partial",
            "partial-store-partial-reuse-partial-byterange",
            "partial-store-partial-reuse-partial-absent",
            "partial-store-partial-reuse-partial-suffix",
        ),
        "Content-Range says 6 bytes, the content has 5; such a part is not stored",
    ),
    Explanation(
        ("partial-store-partial-complete",),
        "the part has no strong validator, and without one parts are not combined (RFC 9111 section 3.4)",
    ),
    Explanation(
        ("conditional-lm-fresh-no-lm",),
        "the stored response has no Last-Modified, and its Date is later than the date asked about, so it is"
        " sent (RFC 9111 section 4.3.2)",
    ),
    Explanation(
        (
            "age-parse-nonnumeric",
            "age-parse-negative",
            "age-parse-float",
            "age-parse-prefix-twoline",
            "age-parse-dup-0",
            "age-parse-dup-0-twoline",
            "age-parse-dup-old",
            "age-parse-parameter",
            "age-parse-numeric-parameter",
        ),
        "an Age that is none made a response stale in drafts; RFC 9111 section 5.1 has it ignored",
        is_of_release=True,
    ),
    Explanation(
        (
            "stale-close-must-revalidate",
            "stale-close-proxy-revalidate",
            "stale-close-no-cache",
            "stale-close-s-maxage=2",
        ),
        "the edge answers 502, as it should; the release takes any answer that its server did not give for"
        " one from the cache",
        is_of_release=True,
    ),
    Explanation(
        ("304-etag-update-response-ETag",),
        "the server says 304 with another entity tag than was asked about: no stored response is selected"
        " (RFC 9111 section 4.3.4), and there is none to send",
        is_of_release=True,
    ),
)


def unexplained(failed: Mapping[str, str]) -> dict[str, str]:
    """The failures that nobody has explained."""
    known = {test for explanation in EXPLANATIONS for test in explanation.tests}
    return {test: reason for test, reason in failed.items() if test not in known}


def run(suite: Path | None) -> list[CacheTest]:
    """Every test with its result. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="nearcast-cache-tests-") as name:
        folder = Path(name)
        site = folder / "site"
        site.mkdir()
        (site / "index.html").write_text("<p>nothing of the suite's</p>\n")
        tests = Suite(folder, suite)
        processes = ProcessTable(folder / "logs")
        try:
            origin = tests.start_origin(processes)
            edge = start_edge(processes, Core(0), folder, site, ["--proxy-url", origin])
            return tests.run(edge)
        finally:
            processes.stop_all()


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.cache_tests", description=__doc__)
    parser.add_argument("--suite", type=Path, metavar="DIR", help="a checkout of http-tests/cache-tests")
    parser.add_argument("--json", action="store_true", help="print what failed as JSON")
    arguments = parser.parse_args(argv)
    clean_up_on_sigterm()
    try:
        tests = run(arguments.suite)
    except (BenchError, ProcessError, OSError) as error:
        print(f"cache_tests: {error}", file=sys.stderr)
        return 1
    failed, found = failures(tests), counts(tests)
    is_short = arguments.suite is not None and any(found[kind][0] < bar for kind, bar in BARS.items())
    surprises = unexplained(failed)
    if arguments.json:
        print(json.dumps({"counts": found, "failed": failed, "unexplained": sorted(surprises)}, indent=2))
    else:
        for kind, (good, total) in found.items():
            print(f"{kind}: {good} of {total} pass")
        for test, reason in failed.items():
            print(f"{'without explanation' if test in surprises else 'explained'}: {test}: {reason}")
    return int(is_short or bool(surprises))


if __name__ == "__main__":
    sys.exit(main())

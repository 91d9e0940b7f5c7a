"""Plain HTTP is sent to HTTPS at the service's own name, whatever a request says of its host."""

from __future__ import annotations

import pytest

from edge_node.http.messages import Request
from edge_node.http.redirect import https_url, redirect_to_https


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/", "https://www.example/"),
        ("/a%20b/?c=d&e", "https://www.example/a%20b/?c=d&e"),
        ("//evil.example/", "https://www.example//evil.example/"),
        ("/@evil.example", "https://www.example/@evil.example"),
        ("/https://evil.example/", "https://www.example/https://evil.example/"),
        ("*", "https://www.example"),
    ],
)
def test_the_target_stays_and_the_host_is_ours(target: str, url: str) -> None:
    assert https_url("www.example", 443, target) == url


def test_another_port_is_named() -> None:
    assert https_url("www.example", 8443, "/a") == "https://www.example:8443/a"


@pytest.mark.parametrize("host", ["evil.example", "www.example:80", "", "[::1]"])
def test_the_answer(host: str) -> None:
    plan = redirect_to_https(Request("GET", "/a", "b", fields={"host": host}), "www.example", 443, "edge1")
    fields = dict(plan.fields)
    assert (plan.status, fields["Location"]) == (308, "https://www.example/a?b")
    assert "Strict-Transport-Security" not in fields, "only over TLS (RFC 6797 section 7.2)"
    assert fields["Cache-Control"] == "no-store"
    assert plan.content
    assert not plan.close


def test_content_is_not_waited_for() -> None:
    request = Request("PUT", "/local/a", fields={"host": "x", "content-length": "9"})
    assert redirect_to_https(request, "www.example", 443, "edge1").close

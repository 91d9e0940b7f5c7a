"""No request can choose the host it is sent to by a redirect."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypothesis import assume, given
from hypothesis import strategies as st

from edge_node.http.hygiene import check_request
from edge_node.http.messages import request_from
from edge_node.http.redirect import redirect_to_https

NAME = "www.service.example"
TARGETS = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40).map(lambda text: "/" + text),
    st.lists(st.sampled_from(["/", "\\", "@", ":", "?", "#", "//", "evil.example", "%0d%0a", ".."])).map(
        lambda parts: "/" + "".join(parts)
    ),
)


@given(target=TARGETS, host=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30))
def test_the_host_is_the_services(target: str, host: str) -> None:
    fields = [(b"host", host.encode())]
    assume(check_request(b"GET", target.encode("latin-1"), "1.1", fields) is None)
    path, _, query = target.partition("?")
    plan = redirect_to_https(request_from("GET", path, query, "1.1", fields), NAME, 443, "edge1")
    (location,) = (value for name, value in plan.fields if name == "Location")
    there = urlsplit(location)
    assert (there.scheme, there.netloc, there.username) == ("https", NAME, None)
    assert there.path == path
    assert there.query == query
    assert not there.fragment
    assert all(0x21 <= ord(character) <= 0x7E for character in location)

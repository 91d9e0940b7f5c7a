"""The portal's page, without a browser: what everybody must be able to read, and what must not be in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from experiments.pages import TEMPLATES
from experiments.portal import SCRIPT, STYLE, portal_page

LINKS = [("/wsug/index.html", "A guide"), ("/video/city.mpg", 'A "city" & more')]
PAGE = portal_page(LINKS)
CSS = (TEMPLATES / STYLE).read_text()
JS = (TEMPLATES / SCRIPT).read_text()
MOST_BYTES = 20_000
CONTRAST = 4.5
"""WCAG 2.2, 1.4.3, level AA."""


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def page() -> _Elements:
    parser = _Elements()
    parser.feed(PAGE)
    return parser


def test_it_is_light() -> None:
    assert len(PAGE.encode()) + len(CSS.encode()) + len(JS.encode()) < MOST_BYTES


def test_it_has_a_language_a_title_landmarks_and_headings_in_order(page: _Elements) -> None:
    assert page.all("html")[0]["lang"] == "en"
    tags = [tag for tag, _ in page.found]
    for tag in ("title", "header", "main", "footer"):
        assert tags.count(tag) == 1
    headings = [tag for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}


def test_every_control_and_section_has_a_name(page: _Elements) -> None:
    labelled = {attributes["for"] for attributes in page.all("label")}
    ids = {attributes.get("id") for _, attributes in page.found}
    for tag in ("input", "select"):
        assert {attributes["id"] for attributes in page.all(tag)} <= labelled
    assert all(attributes["aria-labelledby"] in ids for attributes in page.all("section"))
    assert page.all("video")[0]["aria-label"]
    assert all(attributes.get("type") in ("button", "submit") for attributes in page.all("button"))


def test_nothing_comes_from_elsewhere_and_no_script_is_in_the_page(page: _Elements) -> None:
    for tag, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert re.match(r"(/(?!/)|data:,$|$)", value), value
    assert [attributes["src"] for attributes in page.all("script")] == [f"/{SCRIPT}"]
    policy = next(each["content"] for each in page.all("meta") if "http-equiv" in each) or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in CSS
    assert "http" not in JS


def test_without_scripts_there_is_the_text_and_no_dead_control(page: _Elements) -> None:
    for place in ("facts", "look-row", "player", "upload", "video", "served"):
        (found,) = [attributes for _, attributes in page.found if attributes.get("id") == place]
        assert "hidden" in found, f"{place} does nothing without scripts"
    assert len(page.all("noscript")) == 2
    for href, _ in LINKS:
        assert f'href="{href}"' in PAGE
    assert "A &#34;city&#34; &amp; more" in PAGE


def test_the_script_speaks_of_elements_that_exist(page: _Elements) -> None:
    ids = {attributes.get("id") for _, attributes in page.found}
    used = set(re.findall(r'(?:find|say|put|failing)\("([a-z-]+)"', JS))
    assert len(used) > 10
    assert used <= ids


@pytest.mark.parametrize(
    ("ink", "paper"),
    [("ink", "paper"), ("muted", "paper"), ("muted", "soft"), ("accent", "paper"), ("on-accent", "accent")],
)
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out(scheme: int, ink: str, paper: str) -> None:
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", CSS.split("@media")[scheme]))
    lighter, darker = sorted((_luminance(colours[ink]), _luminance(colours[paper])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= CONTRAST


def _luminance(colour: str) -> float:
    """WCAG's relative luminance of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    shares = (int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4))
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

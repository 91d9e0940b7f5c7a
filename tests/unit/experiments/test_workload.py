"""What users fetch: only what the site has, what a browser would load, and the same for the same seed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as some

from experiments.workload import Page, SiteMap, embedded, map_site, plan_workload

USERS = [f"user{number}" for number in range(1, 17)]
HOST = "www.nearcast.test"


def _site(folder: Path) -> SiteMap:
    files = {
        "index.html": "<a href='guide/a.html'>a</a>",
        "guide/a.html": "<link rel='stylesheet' href='../style.css'><img src='images/one two.png'>"
        "<img src='images/one%20two.png'><script src='/app.js'></script>",
        "guide/b.html": "<img src='http://elsewhere.test/x.png'><img src='//other.test/y.png'>"
        "<img src='missing.png'><img src='../../outside.png'><img src='images/ü.png#part'>",
        "guide/images/one two.png": "png",
        "guide/images/ü.png": "png",
        "style.css": "",
        "app.js": "",
        "video/city.mpg": "mpeg",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return map_site(folder)


def test_a_page_embeds_what_the_site_has(tmp_path: Path) -> None:
    site = _site(tmp_path)
    pages = {page.path: page.parts for page in site.pages}
    assert pages == {
        "index.html": (),
        "guide/a.html": ("style.css", "guide/images/one two.png", "app.js"),
        "guide/b.html": ("guide/images/ü.png",),
    }
    assert site.videos == ("video/city.mpg",)


def test_users_get_pages_with_images_and_a_video(tmp_path: Path) -> None:
    site = _site(tmp_path)
    plan = plan_workload(site, USERS, 1, HOST)
    assert list(plan) == USERS
    ids = [entry["page"] for entries in plan.values() for entry in entries]
    assert len(ids) == len(set(ids)) == 16 * 4
    for entries in plan.values():
        assert [entry["kind"] for entry in entries] == ["page", "page", "page", "video"]
        starts = [entry["start_s"] for entry in entries]
        assert starts == sorted(starts)
        for entry in entries:
            for url in entry["urls"]:
                address = urlsplit(url)
                assert (address.scheme, address.netloc) == ("http", HOST)
                assert (tmp_path / unquote(address.path).lstrip("/")).is_file()
                assert " " not in url
        assert all(len(entry["urls"]) > 1 for entry in entries[:3])


def test_one_seed_gives_one_plan_and_another_seed_another(tmp_path: Path) -> None:
    site = _site(tmp_path)
    assert plan_workload(site, USERS, 1, HOST) == plan_workload(site, USERS, 1, HOST)
    assert plan_workload(site, USERS, 1, HOST) != plan_workload(site, USERS, 2, HOST)


def test_a_site_without_images_or_videos_still_gives_pages() -> None:
    site = SiteMap((Page("a.html", ()),), ())
    plan = plan_workload(site, ["user1"], 1, HOST)
    assert [entry["urls"] for entry in plan["user1"]] == [[f"http://{HOST}/a.html"]] * 3
    assert plan_workload(SiteMap((), ()), ["user1"], 1, HOST) == {"user1": []}


@given(some.text(max_size=300))
def test_any_text_can_be_a_page(html: str) -> None:
    known = frozenset({"a.html", "b.png"})
    assert set(embedded("a.html", html, known)) <= known - {"a.html"}

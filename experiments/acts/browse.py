"""A user's browser: the portal, a live channel while edges die, an upload; with pictures of what it shows."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any

from delivery.sessions import CHANNELS
from experiments.acts.context import Context
from experiments.acts.resume import DEATHS, wait_accepting
from experiments.browser import Browser
from experiments.downloads import COLUMNS, Download
from experiments.network_log import BrowserRequest, requests_of

MOMENTS = ("moment", "t_s", "screenshot", "text")
PLAYBACK = ("t_s", "position_s", "buffered_s", "ready_state", "is_paused")
REQUESTS = (
    "method", "path", "started_s", "total_s", "bytes", "status", "edge", "error", "is_cancelled", "identical"
)  # fmt: skip
SAID, WRONG, CONSOLE = "said", "wrong", "console"
"""Moments without a picture: what the page's status lines said, failures apart; the console's warnings."""
FACTS = ("edge", "distance", "version", "cache", "holds", "load")
SAMPLE_MS = 100
SHOWN_S = 4.0
"""So long after an edge has died the picture is taken."""
_SAMPLER = """
const video = document.getElementById("video");
window.samples = [];
window.said = [];
setInterval(() => {
  const ranges = video.buffered;
  const end = ranges.length ? ranges.end(ranges.length - 1) : 0;
  window.samples.push([Date.now(), video.currentTime, end, video.readyState, Number(video.paused)]);
}, arguments[0]);
for (const place of document.querySelectorAll("[role=status]"))
  new MutationObserver(() => {
    const text = place.textContent.trim();
    if (text) window.said.push([Date.now(), place.classList.contains("wrong"), place.id + ": " + text]);
  }).observe(place, { childList: true, characterData: true, subtree: true });
"""
_FACTS = """
const shown = (id) => document.getElementById(id).innerText.replace(/\\n+/g, ", ");
return arguments[0].map((id) => id + ": " + shown(id)).join("; ");
"""


def run(
    context: Context, *, user: str, reader: str, channel: str, watch_s: float, kill_s: float, unplug_s: float
) -> None:
    """Watch `channel` for `watch_s`. The edge that answers is killed `kill_s` after the picture began to
    move, the machine of the next one unplugged after `unplug_s`. Then upload a picture. When all edges are
    back, `reader` reads it."""
    visit = _Visit(context, user)
    with Browser(context.namespace(user), context.out / "logs" / "chromedriver.log") as browser:
        (context.out / "browser.txt").write_text(browser.version + "\n")
        killed, unplugged = visit.watch(browser, channel, watch_s, (kill_s, unplug_s))
        place = visit.upload(browser)
        visit.without_scripts(browser)
    visit.write()
    context.testbed.net.set_plug(unplugged, up=True)
    context.testbed.start_edge(killed)
    wait_accepting(context, killed, unplugged)
    _read(context, reader, place)


def _read(context: Context, reader: str, place: str) -> None:
    """Fetch the upload as another user, by curl."""
    testbed = context.testbed
    url = f"http://{testbed.topology.service.name}{place}"
    download = Download(testbed.net, reader, url, context.work / "upload")
    started_s = context.now_s
    download.start()
    part = download.wait()
    row = (reader, place, 1, 0, f"{started_s:.6f}", f"{part.total_s:.6f}", part.bytes, part.status, part.edge,
           part.etag, part.exitcode, download.sha256 if part.is_whole else "")  # fmt: skip
    context.write("downloads.csv", COLUMNS, [row])


class _Visit:
    """One person's visit, and what has been seen so far."""

    def __init__(self, context: Context, user: str) -> None:
        self._context, self._user = context, user
        self._host = context.testbed.topology.service.name
        self._pictures = context.out / "screenshots"
        self._pictures.mkdir(exist_ok=True)
        self._moments: list[tuple[Any, ...]] = []
        self._playback: list[tuple[Any, ...]] = []
        self._requests: list[tuple[Any, ...]] = []
        self._epoch_s = time.time() - context.now_s

    def watch(
        self, browser: Browser, channel: str, watch_s: float, deaths_s: tuple[float, float]
    ) -> tuple[str, str]:
        """Open the portal and watch; the two edges that died meanwhile."""
        testbed = self._context.testbed
        browser.open(f"http://{self._host}/")
        browser.wait("document.querySelector('#distance strong') !== null", "the portal's facts")
        self._picture(browser, "portal", browser.run(_FACTS, FACTS))
        browser.run(_SAMPLER, SAMPLE_MS)
        browser.run("document.getElementById('channel').value = arguments[0]", channel)
        browser.click("#play")
        browser.wait("document.getElementById('video').currentTime > 0", "a moving picture")
        began_s = time.monotonic()
        died: list[str] = []
        for kind, at_s in zip(("killed", "unplugged"), deaths_s, strict=True):
            _sleep_until(began_s + at_s)
            if not died:
                self._picture(browser, "playing", browser.text("served"))
            edge = str(browser.run("return document.querySelector('#edge strong').innerText"))
            if kind == "killed":
                testbed.kill_edge(edge)
            else:
                testbed.net.set_plug(edge, up=False)
            self._context.write("deaths.csv", DEATHS, [("browse", edge, kind, f"{self._context.now_s:.6f}")])
            died.append(edge)
            time.sleep(SHOWN_S)
            self._picture(browser, kind, browser.text("served"))
        _sleep_until(began_s + watch_s)
        self._take_samples(browser)
        self._take_requests(browser)
        browser.click("#play")
        return died[0], died[1]

    def upload(self, browser: Browser) -> str:
        """Upload the picture of the portal; where the page says that it can be read."""
        browser.type("#file", str((self._pictures / "portal.png").resolve()))
        browser.click("#upload button")
        link = "document.querySelector('#upload-status a')?.getAttribute('href')"
        place = str(browser.wait(link, "the answer to an upload"))
        self._picture(browser, "uploaded", place)
        self._take_said(browser)
        self._take_requests(browser)
        return place

    def without_scripts(self, browser: Browser) -> None:
        """The portal as somebody sees it whose browser runs no scripts."""
        for line in browser.complaints():
            self._moments.append((CONSOLE, f"{self._context.now_s:.6f}", "", line))
        browser.command("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.open(f"http://{self._host}/")
        self._picture(browser, "no-scripts", "")

    def write(self) -> None:
        """Leave it all as raw data."""
        self._moments.sort(key=lambda row: float(row[1]))
        self._context.write("moments.csv", MOMENTS, self._moments)
        self._context.write("playback.csv", PLAYBACK, self._playback)
        self._context.write("browser-requests.csv", REQUESTS, self._requests)

    def _picture(self, browser: Browser, name: str, text: str) -> None:
        path = self._pictures / f"{name}.png"
        browser.screenshot(path)
        self._moments.append((name, f"{self._context.now_s:.6f}", path.name, text))

    def _take_samples(self, browser: Browser) -> None:
        for epoch_ms, *rest in browser.run("return window.samples"):
            self._playback.append((self._time(epoch_ms), *rest))

    def _take_said(self, browser: Browser) -> None:
        for epoch_ms, is_wrong, text in browser.run("return window.said"):
            self._moments.append((WRONG if is_wrong else SAID, self._time(epoch_ms), "", text))

    def _time(self, epoch_ms: float) -> str:
        return f"{epoch_ms / 1000 - self._epoch_s:.6f}"

    def _take_requests(self, browser: Browser) -> None:
        for request in requests_of(browser.events(), self._host):
            total_s = max(0.0, request.ended_s - request.started_s)
            self._requests.append(
                (request.method, request.path, f"{request.started_s - self._context.origin_s:.6f}",
                 f"{total_s:.6f}", request.bytes, request.status, request.edge, request.error,
                 int(request.is_cancelled), _identical(browser, request))
            )  # fmt: skip


def _identical(browser: Browser, request: BrowserRequest) -> str:
    """1 when the bytes of a segment, as the browser has them, are those that its entity tag names; empty for
    anything else than a segment."""
    is_segment = request.path.startswith(f"/{CHANNELS}/") and request.path.endswith(".ts")
    if not is_segment or request.status != 200 or request.error:
        return ""
    answer = browser.command("Network.getResponseBody", {"requestId": request.key})
    body = base64.b64decode(answer["body"]) if answer["base64Encoded"] else answer["body"].encode()
    return str(int(request.fields.get("etag") == f'"{hashlib.sha256(body).hexdigest()}"'))


def _sleep_until(monotonic_s: float) -> None:
    time.sleep(max(0.0, monotonic_s - time.monotonic()))

"""A user's browser: a headless Chromium in a host's namespace, driven over WebDriver (W3C)."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from topologies.namespaces import NetworkNamespace

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

WIDTH_PX, HEIGHT_PX = 900, 1000
_POLL_S = 0.1
_SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # the lab is the sandbox; in it everybody is root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-features=OptimizationHints,MediaRouter,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
    "--hide-scrollbars",
    f"--window-size={WIDTH_PX},{HEIGHT_PX}",
)


class BrowserError(RuntimeError):
    """The browser did not start, or did not get where it should; the message is one line."""


class Browser:
    """Use it with `with`: at the end the browser and its driver are ended, by their handles.

    Raises BrowserError when a program is missing or does not start.
    """

    def __init__(self, namespace: NetworkNamespace, log: Path) -> None:
        """All its sockets are made in `namespace`; the driver writes to `log`."""
        self._namespace, self._log = namespace, log
        self._driver: WebDriver | None = None

    def __enter__(self) -> Browser:
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service
        from selenium.webdriver.chrome.webdriver import WebDriver

        options = Options()
        options.binary_location = program("chromium")
        for switch in _SWITCHES:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        with self._namespace.entered():
            try:
                service = Service(program("chromedriver"), log_output=str(self._log))
                self._driver = WebDriver(options, service)
            except WebDriverException as error:
                raise BrowserError(
                    f"chromium did not start: {one_line(error)}; see {self._log.name}"
                ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            with self._namespace.entered():
                driver.quit()

    def open(self, url: str) -> None:
        """Load a page and everything it names. Raises BrowserError."""
        self._do(lambda driver: driver.get(url))

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript function body in the page. Raises BrowserError."""
        return self._do(lambda driver: driver.execute_script(script, *arguments))

    def text(self, place: str) -> str:
        """What the element with this id shows to people."""
        return str(self.run("return document.getElementById(arguments[0]).innerText", place)).strip()

    def click(self, selector: str) -> None:
        """Click on the element, as a person would. Raises BrowserError when it cannot be clicked."""
        self._do(lambda driver: driver.find_element("css selector", selector).click())

    def type(self, selector: str, text: str) -> None:
        """Type into the element; into a file chooser, the path of a file."""
        self._do(lambda driver: driver.find_element("css selector", selector).send_keys(text))

    def wait(self, condition: str, what: str, timeout_s: float = 30.0) -> Any:
        """The first value of the JavaScript expression that counts as true. Raises BrowserError, naming
        `what` was waited for."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            value = self.run(f"return {condition}")
            if value:
                return value
            time.sleep(_POLL_S)
        raise BrowserError(f"browser: {what} not within {timeout_s:g} s")

    def screenshot(self, path: Path) -> None:
        """Write what the window shows, the page in its whole height, as PNG."""
        shown = self.command("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shown["data"]))

    def command(self, name: str, arguments: dict[str, Any]) -> Any:
        """A command of the DevTools protocol. Raises BrowserError."""
        return self._do(lambda driver: driver.execute_cdp_cmd(name, arguments))

    def events(self) -> list[dict[str, Any]]:
        """The DevTools events since the last call, as {"method", "params"}."""
        entries = self._do(lambda driver: driver.get_log("performance"))  # type: ignore[no-untyped-call]
        return [json.loads(entry["message"])["message"] for entry in entries]

    def complaints(self) -> list[str]:
        """What the page's console said since the last call, from warnings upwards."""
        entries = self._do(lambda driver: driver.get_log("browser"))  # type: ignore[no-untyped-call]
        return [str(entry["message"]) for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    @property
    def version(self) -> str:
        """The browser's name and version."""
        facts = self._do(lambda driver: driver.capabilities)
        return f"{facts['browserName']} {facts['browserVersion']}"

    def _do(self, task: Callable[[WebDriver], Any]) -> Any:
        from selenium.common.exceptions import WebDriverException

        if self._driver is None:
            raise BrowserError("browser: it has not been started")
        with self._namespace.entered():
            try:
                return task(self._driver)
            except WebDriverException as error:
                raise BrowserError(f"browser: {one_line(error)}") from None


def program(name: str) -> str:
    """Where a program is. Raises BrowserError."""
    path = shutil.which(name)
    if path is None:
        raise BrowserError(f"{name} is not installed; `scripts/bootstrap.sh clients` brings it")
    return path


def one_line(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(getattr(error, "msg", "") or error).strip().splitlines() or ["no message"])[0]

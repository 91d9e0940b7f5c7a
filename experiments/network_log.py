"""What a browser asked for and what came, from the events of its DevTools protocol; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Event = Mapping[str, Any]


@dataclass(slots=True)
class BrowserRequest:
    """One request of a page; `started_s` and `ended_s` on the machine's monotonic clock (0: it never ended),
    `error` the browser's word for why nothing came, empty when all did. `is_cancelled` says that the page
    itself gave it up."""

    key: str
    method: str
    path: str
    started_s: float
    ended_s: float = 0.0
    status: int = 0
    bytes: int = 0
    error: str = ""
    is_cancelled: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def edge(self) -> str:
        """The edge that answered."""
        return self.fields.get("nearcast-edge", "")


def requests_of(events: Iterable[Event], host: str) -> list[BrowserRequest]:
    """The HTTP requests to `host` in the order in which they began."""
    found: dict[str, BrowserRequest] = {}
    for event in events:
        params = event.get("params", {})
        key = params.get("requestId", "")
        name = event.get("method")
        if name == "Network.requestWillBeSent":
            target = urlsplit(params["request"]["url"])
            if target.scheme in ("http", "https") and target.hostname == host:
                path = f"{target.path}?{target.query}" if target.query else target.path
                found[key] = BrowserRequest(key, params["request"]["method"], path, params["timestamp"])
        elif key in found:
            _note(found[key], str(name), params)
    return list(found.values())


def _note(request: BrowserRequest, name: str, params: Mapping[str, Any]) -> None:
    if name == "Network.responseReceived":
        response = params["response"]
        request.status = response["status"]
        request.fields = {key.lower(): str(value) for key, value in response["headers"].items()}
    elif name == "Network.dataReceived":
        request.bytes += params["dataLength"]
    elif name == "Network.loadingFinished":
        request.ended_s = params["timestamp"]
    elif name == "Network.loadingFailed":
        request.ended_s = params["timestamp"]
        request.error = params.get("errorText") or "failed"
        request.is_cancelled = bool(params.get("canceled"))

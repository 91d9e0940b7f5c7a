"""The origin's API around its sessions' parts of it: routing, status, metrics, keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from prometheus_client.parser import text_string_to_metric_families

from delivery.coding import unwrap_keys
from delivery.session_api import Offer, SessionApp
from origin.api import OriginApi
from origin.members import Members
from tests.unit.delivery.asgi_client import answered

SESSION: dict[str, Any] = {
    "name": "site", "group": "ff35::1", "site": "s", "tsi": 1, "version": 4, "files": 2, "bytes": 10,
    "bundles": 1, "symbols": 1, "epoch": 0, "rate_mbps": 100.0, "idle": True, "datagrams": 9,
    "wire_bytes": 1234, "source_symbols": 5, "spare_symbols": 1, "repair_symbols": 3, "carousel_symbols": 0,
    "fdt_packets": 2,
    "repair_rounds": 1, "send_errors": 0, "objects": 6, "unicast_objects": 7, "unicast_bytes": 70,
    "edges": {
        "edge1": {"version": 4, "complete": True, "missing_symbols": 0, "heard_s_ago": 1, "completed_s": 1.0},
        "edge2": {"version": 0, "complete": False, "missing_symbols": None, "heard_s_ago": None,
                  "completed_s": None},
    },
}  # fmt: skip
STATUS = {
    "site": "s", "version": 4, "uptime_s": 3.0, "epoch": 0, "members": [], "peers": [],
    "sessions": [SESSION, {**SESSION, "name": "live/news", "edges": {}}],
}  # fmt: skip


def app(name: str, base: str = "") -> SessionApp:
    return SessionApp(lambda _: None, Offer(name.encode(), {}, lambda *_: b""), base)


def api(members: Members | None = None) -> OriginApi:
    others = [app("news", "/live/news"), app("sport", "/live/sport")]
    return OriginApi(app("site"), others, lambda: STATUS, members)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/manifest", b"site"), ("/live/news/manifest", b"news"), ("/live/sport/manifest", b"sport")],
)
def test_each_session_answers_below_its_path(path: str, body: bytes) -> None:
    assert answered(api(), "GET", path).body == body


@pytest.mark.parametrize("path", ["/live/newsx/manifest", "/live/other/manifest", "/x"])
def test_other_paths_are_nowhere(path: str) -> None:
    assert answered(api(), "GET", path).status == 404


def test_status_is_plain_data() -> None:
    answer = answered(api(), "GET", "/status")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == STATUS
    assert answered(api(), "HEAD", "/status").body == b""
    assert answered(api(), "POST", "/status").status == 405


def test_metrics_say_the_same() -> None:
    answer = answered(api(), "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    values = {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }
    assert values["nearcast_object_delivery_total", "site", "cache-hit-m"] == 6
    assert values["nearcast_object_delivery_total", "site", "cache-hit-a"] == 7
    assert values["nearcast_origin_version", "live/news"] == 4
    assert values["nearcast_origin_wire_bytes_total", "site"] == 1234
    assert values["nearcast_origin_edge_complete", "edge1", "site"] == 1
    assert values["nearcast_origin_edge_complete", "edge2", "site"] == 0
    assert ("nearcast_origin_edge_missing_symbols", "edge2", "site") not in values
    assert not any(name[0].startswith("python_") for name in values)


def test_keys_are_for_members(tmp_path: Path) -> None:
    key = X25519PrivateKey.generate()
    (tmp_path / "members").write_text(json.dumps({"edge1": key.public_key().public_bytes_raw().hex()}))
    members = Members(tmp_path, tmp_path / "members")
    answer = answered(api(members), "POST", "/keys", b'{"edge": "edge1"}')
    assert answer.status == 200
    assert unwrap_keys(answer.body, key) == {1: members.current.key}
    assert answered(api(members), "POST", "/keys", b'{"edge": "edge2"}').status == 403
    for body in (b"", b"{}", b"[]", b'{"edge": 1}'):
        assert answered(api(members), "POST", "/keys", body).status == 400
    assert answered(api(members), "POST", "/keys", b'{"edge": "' + b"x" * 2000 + b'"}').status == 413
    assert answered(api(members), "GET", "/keys").status == 405
    assert answered(api(), "POST", "/keys", b'{"edge": "edge1"}').status == 404

"""Packages of the npm registry: taken only as they were when they were chosen."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from experiments.npm import NpmError, Package, folder_of


def archive() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        member = tarfile.TarInfo("package/dist/player.js")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"play;"))
    return made.getvalue()


CONTENT = archive()
INTEGRITY = "sha512-" + base64.b64encode(hashlib.sha512(CONTENT).digest()).decode()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A registry on loopback; the paths that it was asked for."""
    paths: list[str] = []

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
    yield paths
    server.shutdown()
    server.server_close()


def test_a_package_is_downloaded_once(asked: list[str], tmp_path: Path) -> None:
    package = Package("@nearcast/player", "1.2.3", INTEGRITY)
    for _ in range(2):
        folder = folder_of(package, cache=tmp_path)
        assert (folder / "dist" / "player.js").read_bytes() == b"play;"
    assert asked == ["/@nearcast/player/-/player-1.2.3.tgz"]


def test_another_archive_than_the_chosen_one_is_not_used(asked: list[str], tmp_path: Path) -> None:
    package = Package("player", "1.2.3", "sha512-AAAA")
    with pytest.raises(NpmError, match="its digest is"):
        folder_of(package, cache=tmp_path)
    assert asked
    assert not [path for path in (tmp_path / "npm").iterdir() if path.is_dir()]

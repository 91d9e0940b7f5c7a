"""Sites, signed manifests and running edges for the tests of the edge."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.keys import save_public_key
from delivery.manifest import FileEntry, Manifest
from delivery.signing import sign_manifest
from delivery.tree import content_type


@dataclass(frozen=True)
class Release:
    """A version of a site: its contents by path, its manifest, and that signed."""

    contents: Mapping[str, bytes]
    manifest: Manifest
    signed: bytes

    @property
    def blobs(self) -> dict[str, bytes]:
        """Contents by digest, in the manifest's order."""
        return {sha(content): content for content in self.contents.values()}


def sha(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def noise(seed: int, size: int) -> bytes:
    """`size` bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


@pytest.fixture(scope="session")
def private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def public_key_file(tmp_path: Path, private_key: Ed25519PrivateKey) -> Path:
    path = tmp_path / "public.pem"
    save_public_key(path, private_key.public_key())
    return path


@pytest.fixture
def release(private_key: Ed25519PrivateKey) -> Callable[[int, Mapping[str, bytes]], Release]:
    """Makes a signed version of a site that consists of the given files."""

    def make(version: int, contents: Mapping[str, bytes]) -> Release:
        files = tuple(
            FileEntry(path, len(content), sha(content), content_type(path))
            for path, content in contents.items()
        )
        manifest = Manifest("test", version, files, ())
        return Release(contents, manifest, sign_manifest(manifest, private_key))

    return make


@dataclass(frozen=True)
class RunningEdge:
    """A real edge process; `ready` is its first event with its addresses."""

    process: subprocess.Popen[str]
    ready: dict[str, object]

    @property
    def url(self) -> str:
        return f"http://[::1]:{self.ready['port']}"

    @property
    def sync_url(self) -> str:
        return f"http://[::1]:{self.ready['sync_port']}"

    def stop(self) -> tuple[int, list[dict[str, object]]]:
        """SIGTERM; the exit status and the events since it was ready."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=10)
        return self.process.returncode, [json.loads(line) for line in output.splitlines()]


@contextlib.contextmanager
def edge(*arguments: str | Path) -> Iterator[RunningEdge]:
    """Run `python -m edge_node serve` on ::1 and free ports until the block ends."""
    command = [
        sys.executable,
        "-m",
        "edge_node",
        "serve",
        "--name",
        "edge1",
        "--address",
        "::1",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, "--json", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        event: dict[str, object] = {}
        while event.get("event") != "ready":
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(process.communicate()[1])
            event = json.loads(line)
        yield RunningEdge(process, event)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(name="edge")
def edge_fixture() -> Callable[..., contextlib.AbstractContextManager[RunningEdge]]:
    return edge


@pytest.fixture(scope="module")
def edge_module() -> Callable[..., contextlib.AbstractContextManager[RunningEdge]]:
    return edge

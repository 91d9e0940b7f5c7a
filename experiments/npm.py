"""Packages of the npm registry by name and version: downloaded once, checked, kept in the cache."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lab.cache import cache_dir, locked, publish_dir
from lab.progress import Progress, ProgressSink, silent

REGISTRY = "https://registry.npmjs.org"
_TIMEOUT_S = 60
_MOST_BYTES = 64 << 20


class NpmError(RuntimeError):
    """A package cannot be had. The message is one line: what failed and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package; `integrity` is the registry's, of the form sha512-BASE64."""

    name: str
    version: str
    integrity: str


HLS_JS = Package(
    "hls.js",
    "1.7.4",
    "sha512-3GlxGdPvT2YHvQYOt+yOzT/DEior/qJVNIylHA77kgeoBTdQQqi70GwefNEUmHQeNGyjC8U62+bruqW/Tpm+tg==",
)
"""Plays HLS in browsers that cannot by themselves (Apache-2.0)."""


def folder_of(package: Package, progress: ProgressSink = silent, cache: Path | None = None) -> Path:
    """The unpacked package: from the cache, or downloaded now. A second caller waits for the first.

    The registry is that of npm's own variable `npm_config_registry`, where it is set. Raises NpmError.
    """
    packages = (cache_dir() if cache is None else cache) / "npm"
    final = packages / f"{package.name.replace('/', '+')}-{package.version}"
    if final.is_dir():
        return final
    try:
        with locked(packages / f"{final.name}.lock", lambda who: progress(Progress(f"waiting for {who}"))):
            if not final.is_dir():
                progress(Progress(f"downloading {package.name} {package.version}"))
                _unpack(_download(package), final)
    except (OSError, tarfile.TarError) as error:
        raise NpmError(f"cannot get {package.name} {package.version} from npm: {error}") from None
    return final


def _download(package: Package) -> bytes:
    registry = os.environ.get("npm_config_registry", REGISTRY).rstrip("/")  # noqa: SIM112
    url = f"{registry}/{package.name}/-/{package.name.rpartition('/')[2]}-{package.version}.tgz"
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
        archive: bytes = answer.read(_MOST_BYTES + 1)
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != package.integrity:
        raise NpmError(f"{url}: its digest is {found}, not {package.integrity}; it was not used")
    return archive


def _unpack(archive: bytes, final: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".new-", dir=final.parent) as scratch:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(scratch, filter="data")
        (top,) = Path(scratch).iterdir()
        publish_dir(top, final)

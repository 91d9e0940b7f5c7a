"""Debian packages without installing them: what apt offers, its download, and unpacking. Needs no root."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lab.cache import cache_dir, locked, publish_dir
from lab.process_group import run_group
from lab.progress import Progress, ProgressSink, silent

_T = TypeVar("_T")


class DebianError(RuntimeError):
    """A package cannot be had. The message is one line: what failed and what to do."""


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A package as apt describes it; `sha256` is the digest of its .deb file."""

    name: str
    version: str
    sha256: str


def parse_packages(text: str) -> tuple[DebianPackage, ...]:
    """The packages in the output of `apt-cache show`. Of several versions of one package the first, which is
    apt's choice, counts."""
    found: dict[str, DebianPackage] = {}
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[\w-]+: ", line))
        name = fields.get("Package", "")
        if name and name not in found and {"Version", "SHA256"} <= set(fields):
            found[name] = DebianPackage(name, fields["Version"], fields["SHA256"])
    return tuple(found.values())


class Apt:
    """apt with the system's package lists, or with private ones below `state`, which needs no root."""

    def __init__(self, state: Path | None = None) -> None:
        self._options = ["-o", "APT::Sandbox::User=root"]
        if state is not None:
            for folder in ("lists/partial", "cache/archives/partial"):
                (state / folder).mkdir(parents=True, exist_ok=True)
            self._options += ["-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]

    def update(self) -> None:
        """Fetch fresh package lists. What fails shows in what `show` returns."""
        self._run("apt-get", "-qq", "update")

    def names(self, prefix: str) -> list[str]:
        """The names of all packages that begin so. Raises DebianError without apt."""
        return self._run("apt-cache", "pkgnames", prefix).split()

    def show(self, names: Sequence[str]) -> tuple[DebianPackage, ...]:
        """What apt knows of the packages with these names. Raises DebianError without apt."""
        if not names:
            return ()
        return parse_packages(self._run("apt-cache", "show", "--no-all-versions", *names))

    def download(self, package: DebianPackage, folder: Path, on_fraction: Callable[[float], None]) -> Path:
        """The package's .deb in `folder`, downloaded unless there; apt checks it. Raises DebianError."""
        final = folder / f"{package.name}_{package.version.replace(':', '%3a')}.deb"
        if final.exists() and _sha256(final) == package.sha256:
            return final

        def line(text: str) -> None:
            if text.startswith("dlstatus:"):
                on_fraction(float(text.split(":")[2]) / 100)

        partial = folder / f"partial-{package.name}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        command = ["apt-get", *self._options, "-qq", "-o", "APT::Status-Fd=1", "download"]
        status, last = run_group([*command, f"{package.name}={package.version}"], partial, line)
        files = sorted(partial.glob("*.deb"))
        if status or not files:
            reasons = [text.removeprefix("E: ") for text in last if text.startswith("E: ")]
            reason = " ".join(reasons) or f"apt-get ended with {status}"
            raise DebianError(
                f"cannot download {package.name} {package.version}: {reason}; check the network and try again"
            )
        files[0].rename(final)
        partial.rmdir()
        return final

    def _run(self, program: str, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [program, *self._options, *arguments],
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise DebianError(
                f"{program} is not installed; packages come from Debian or Ubuntu, use one of them"
                " (the Vagrantfile does)"
            ) from None
        return done.stdout


def with_fresh_lists(state: Path, use: Callable[[Apt], _T], also: type[Exception] = DebianError) -> _T:
    """What `use` returns with the system's package lists. When it raises DebianError or `also`,
    they are empty or too old: then it is used again with fresh lists, kept below `state`; the system stays
    as it is."""
    try:
        return use(Apt())
    except (DebianError, also):
        fresh = Apt(state)
        fresh.update()
        return use(fresh)


def unpacked(names: Sequence[str], progress: ProgressSink = silent, cache: Path | None = None) -> Path:
    """A folder with the files of all these packages, as they would lie below /: from the cache, or
    downloaded now. Nothing is installed, and what they depend on is not brought. Raises DebianError."""
    base = cache_dir() if cache is None else cache

    def use(apt: Apt) -> Path:
        packages = apt.show(names)
        if missing := set(names) - {package.name for package in packages}:
            raise DebianError(f"apt offers no {', '.join(sorted(missing))}; check the sources in /etc/apt")
        return _unpacked(apt, packages, base, progress)

    return with_fresh_lists(base / "apt", use)


def _unpacked(apt: Apt, packages: Sequence[DebianPackage], cache: Path, progress: ProgressSink) -> Path:
    final = cache / "debian" / f"{packages[0].name}-{packages[0].version.replace(':', '%3a')}"
    with locked(final.with_name(f"{final.name}.lock"), lambda who: progress(Progress(f"waiting for {who}"))):
        if final.is_dir():
            return final
        try:
            with tempfile.TemporaryDirectory(prefix=".new-", dir=final.parent) as scratch:
                for package in packages:
                    progress(Progress(f"downloading {package.name} {package.version}"))
                    archive = apt.download(package, cache / "downloads", lambda _fraction: None)
                    subprocess.run(["dpkg-deb", "-x", archive, f"{scratch}/files"], check=True)
                publish_dir(Path(scratch) / "files", final)
        except (OSError, subprocess.CalledProcessError) as error:
            raise DebianError(f"cannot unpack {packages[0].name} into {final}: {error}") from None
    return final


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

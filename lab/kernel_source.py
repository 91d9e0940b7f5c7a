"""The distribution's kernel source: what apt offers, its download and its unpacking. Needs no root."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.process_group import run_group

SOURCE_VARIABLE = "NEARCAST_LINUX_SOURCE"
"""Environment variable naming the source package to take instead of the newest, e.g. linux-source-6.12."""

OLDEST_RELEASE = (6, 12)
"""The kernel series that the patches in `lab/patches` are made for; an older one does not take them."""

UNUSED_IN_GUEST = (
    "*/Documentation/*/*",
    "*/arch/[a-tv-wyz]*/*.[chS]",
    "*/boot/dts/*",
    "*/drivers/gpu/*.[chS]",
    "*/drivers/media/*.[chS]",
    "*/drivers/net/ethernet/*.[chS]",
    "*/drivers/net/wireless/*.[chS]",
    "*/sound/*.[chS]",
    "*/tools/perf/*",
    "*/tools/testing/*",
)
"""Not unpacked: two thirds of the tree. All Kconfig files stay, configuration reads them."""

_PACKAGE = re.compile(r"linux-source-\d+(?:\.\d+)+")
_TARBALL = re.compile(r"usr/src/(?:.*/)?linux-source-[^/]*\.tar\.(xz|bz2|gz)$")
_DECOMPRESS = {"xz": "xz -dc -T0", "bz2": "bzip2 -dc", "gz": "gzip -dc"}


class KernelError(Exception):
    """The guest kernel cannot be had. The message is one line: what failed, where, and what to do."""


@dataclass(frozen=True, slots=True)
class SourcePackage:
    """A source package as apt describes it; `sha256` is the digest of its .deb file."""

    name: str
    version: str
    sha256: str


def release_order(text: str) -> tuple[int, ...]:
    """The numbers in `text`, to sort releases by: 6.1 comes before 6.12."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def parse_offers(text: str) -> tuple[SourcePackage, ...]:
    """The linux-source packages in the output of `apt-cache show`, oldest kernel series first.

    Of several versions of one package the first, which is apt's choice, counts.
    """
    offers: dict[str, SourcePackage] = {}
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[\w-]+: ", line))
        name = fields.get("Package", "")
        if _PACKAGE.fullmatch(name) and name not in offers and {"Version", "SHA256"} <= set(fields):
            offers[name] = SourcePackage(name, fields["Version"], fields["SHA256"])
    return tuple(sorted(offers.values(), key=lambda offer: release_order(offer.name)))


def choose_package(offers: Sequence[SourcePackage], wanted: str | None) -> SourcePackage | None:
    """The package named `wanted`, by default the newest that the patches are made for; None without one."""
    suitable = [
        offer
        for offer in offers
        if offer.name == wanted or (wanted is None and release_order(offer.name) >= OLDEST_RELEASE)
    ]
    return suitable[-1] if suitable else None


class Apt:
    """apt with the system's package lists, or with private ones below `state`, which needs no root."""

    def __init__(self, state: Path | None = None) -> None:
        self._options = ["-o", "APT::Sandbox::User=root"]
        if state is not None:
            for folder in ("lists/partial", "cache/archives/partial"):
                (state / folder).mkdir(parents=True, exist_ok=True)
            self._options += ["-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]

    def update(self) -> None:
        """Fetch fresh package lists. What fails shows in what `offers` returns."""
        self._run("apt-get", "-qq", "update")

    def offers(self) -> tuple[SourcePackage, ...]:
        """The linux-source packages apt knows, oldest kernel series first. Raises KernelError without apt."""
        known = self._run("apt-cache", "pkgnames", "linux-source-").split()
        names = [name for name in known if _PACKAGE.fullmatch(name)]
        return parse_offers(self._run("apt-cache", "show", "--no-all-versions", *names)) if names else ()

    def download(self, package: SourcePackage, folder: Path, on_fraction: Callable[[float], None]) -> Path:
        """Download the package into the empty `folder`; apt verifies it. Raises KernelError."""

        def line(text: str) -> None:
            if text.startswith("dlstatus:"):
                on_fraction(float(text.split(":")[2]) / 100)

        command = ["apt-get", *self._options, "-qq", "-o", "APT::Status-Fd=1", "download"]
        status, last = run_group([*command, f"{package.name}={package.version}"], folder, line)
        files = sorted(folder.glob("*.deb"))
        if status or not files:
            reasons = [text.removeprefix("E: ") for text in last if text.startswith("E: ")]
            reason = " ".join(reasons) or f"apt-get ended with {status}"
            raise KernelError(
                f"cannot download {package.name} {package.version}: {reason}; check the network and try again"
            )
        return files[0]

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
            raise KernelError(
                f"{program} is not installed; the guest kernel comes from the linux-source package of Debian"
                " or Ubuntu, use one of them (the Vagrantfile does)"
            ) from None
        return done.stdout


def fetch_source(
    workspace: Path, wanted: str | None, on_fraction: Callable[[float], None]
) -> tuple[SourcePackage, Path]:
    """The source package `wanted` (default: the newest apt offers) and its .deb, in `workspace`/downloads.

    When the system's package lists are empty, too old to download by or know only older kernels, fresh ones
    are fetched into `workspace`; the system stays as it is. `on_fraction` gets the downloaded part, 0..1.
    Raises KernelError.
    """
    try:
        return _fetch(Apt(), workspace, wanted, on_fraction)
    except KernelError:
        fresh = Apt(workspace / "apt")
        fresh.update()
        return _fetch(fresh, workspace, wanted, on_fraction)


def _fetch(
    apt: Apt, workspace: Path, wanted: str | None, on_fraction: Callable[[float], None]
) -> tuple[SourcePackage, Path]:
    package = choose_package(apt.offers(), wanted)
    if package is None:
        oldest = ".".join(map(str, OLDEST_RELEASE))
        raise KernelError(
            f"apt offers no {wanted or f'linux-source package of series {oldest} or newer'}; check the"
            " network and the package sources in /etc/apt (Debian 12: bookworm-security), then try again"
        )
    downloads = workspace / "downloads"
    final = downloads / f"{package.name}_{package.version.replace(':', '%3a')}.deb"
    if not (final.exists() and _sha256(final) == package.sha256):
        partial = downloads / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        apt.download(package, partial, on_fraction).rename(final)
        for old in set(downloads.glob("linux-source-*.deb")) - {final}:
            old.unlink()
    return package, final


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack_source(package: Path, folder: Path) -> None:
    """Unpack the kernel tree of a linux-source .deb into the empty `folder`. Raises KernelError."""
    names: list[str] = []
    listing = 'set -o pipefail; dpkg-deb --fsys-tarfile "$0" | tar -t'
    run_group(["bash", "-c", listing, str(package)], folder, names.append)
    found = next(filter(None, map(_TARBALL.search, names)), None)
    if found is None:
        raise KernelError(f"{package} holds no kernel source archive; delete the file and try again")
    pipeline = (
        f'set -o pipefail; dpkg-deb --fsys-tarfile "$0" | tar -xO "$1" | {_DECOMPRESS[found[1]]}'
        ' | tar -x --strip-components=1 --no-same-owner --wildcards "${@:2}"'
    )
    excluded = [f"--exclude={pattern}" for pattern in UNUSED_IN_GUEST]
    status, last = run_group(["bash", "-c", pipeline, str(package), found.string, *excluded], folder, _ignore)
    if status:
        raise KernelError(
            f"cannot unpack {package} into {folder}: {last[-1] if last else f'exit code {status}'};"
            " check the free disk space and try again"
        )


def _ignore(line: str) -> None:
    pass

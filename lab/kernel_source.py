"""The distribution's kernel source: what apt offers, its download and its unpacking. Needs no root."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.debian import Apt, DebianError, DebianPackage, with_fresh_lists
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


def release_order(text: str) -> tuple[int, ...]:
    """The numbers in `text`, to sort releases by: 6.1 comes before 6.12."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def sorted_by_series(packages: Sequence[DebianPackage]) -> tuple[DebianPackage, ...]:
    """The linux-source packages among `packages`, oldest kernel series first."""
    found = [package for package in packages if _PACKAGE.fullmatch(package.name)]
    return tuple(sorted(found, key=lambda package: release_order(package.name)))


def choose_package(offers: Sequence[DebianPackage], wanted: str | None) -> DebianPackage | None:
    """The package named `wanted`, by default the newest that the patches are made for; None without one."""
    suitable = [
        offer
        for offer in offers
        if offer.name == wanted or (wanted is None and release_order(offer.name) >= OLDEST_RELEASE)
    ]
    return suitable[-1] if suitable else None


def known_sources(apt: Apt) -> tuple[DebianPackage, ...]:
    """The linux-source packages apt knows, oldest kernel series first. Raises DebianError without apt."""
    names = [name for name in apt.names("linux-source-") if _PACKAGE.fullmatch(name)]
    return sorted_by_series(apt.show(names))


def fetch_source(
    workspace: Path, wanted: str | None, on_fraction: Callable[[float], None]
) -> tuple[DebianPackage, Path]:
    """The source package `wanted` (default: the newest apt offers) and its .deb, in `workspace`/downloads.

    When the system's package lists are empty, too old to download by or know only older kernels, fresh ones
    are fetched into `workspace`; the system stays as it is. `on_fraction` gets the downloaded part, 0..1.
    Raises KernelError.
    """
    try:
        return with_fresh_lists(
            workspace / "apt", lambda apt: _fetch(apt, workspace, wanted, on_fraction), KernelError
        )
    except DebianError as error:
        raise KernelError(str(error)) from None


def _fetch(
    apt: Apt, workspace: Path, wanted: str | None, on_fraction: Callable[[float], None]
) -> tuple[DebianPackage, Path]:
    package = choose_package(known_sources(apt), wanted)
    if package is None:
        oldest = ".".join(map(str, OLDEST_RELEASE))
        raise KernelError(
            f"apt offers no {wanted or f'linux-source package of series {oldest} or newer'}; check the"
            " network and the package sources in /etc/apt (Debian 12: bookworm-security), then try again"
        )
    downloads = workspace / "downloads"
    final = apt.download(package, downloads, on_fraction)
    for old in set(downloads.glob("linux-source-*.deb")) - {final}:
        old.unlink()
    return package, final


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

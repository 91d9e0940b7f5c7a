"""From a person's words to what an experiment needs: lab, topology, site, workload; everything checked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from delivery.tree import walk
from experiments.options import Options
from experiments.sites import SiteError, default_site, one_page_site
from experiments.workload import Page, SiteMap, map_site, plan_workload
from lab.doctor import examine
from lab.jobs import SCRATCH, LabError
from lab.progress import Progress, ProgressSink
from lab.run import LabKind
from origin.catalogue import read_catalogue
from origin.errors import OriginError
from topologies.spec import Role, Topology

HIDDEN_IN_GUEST = ("/run", "/dev", "/proc", "/sys", "/out")
"""Folders of the host that the guest covers with its own."""


class UsageError(ValueError):
    """The words of the command are off; exit status 2."""


def choose_lab(word: str) -> LabKind:
    """`guest`, `native`, or `auto` for the first that is usable. Raises UsageError, LabError."""
    if word == "auto":
        report = examine()
        if report.lab is None:
            raise LabError(report.conclusion)
        return LabKind(report.lab)
    try:
        return LabKind(word)
    except ValueError:
        raise UsageError(f"--lab {word}: no such lab; choose guest, native or auto") from None


def choose_edges(topology: Topology, names: Sequence[str], option: str) -> tuple[str, ...]:
    """Names that must be edges of the topology. Raises UsageError."""
    edges = topology.of_role(Role.EDGE)
    for name in names:
        if name not in edges:
            raise UsageError(f"{option} {name}: no such edge in {topology.name}; it has {', '.join(edges)}")
    if set(names) == set(edges):
        raise UsageError(f"{option}: these are all edges of {topology.name}; leave at least one")
    return tuple(dict.fromkeys(names))


def prepare_site(
    site: Path | None, kind: LabKind, progress: ProgressSink, note: Callable[[str], None]
) -> Path:
    """The site to publish: the person's folder, read once to find out what is wrong with it, or the
    default one. Raises SiteError, and UsageError for a folder no lab can see."""
    if site is None:
        return default_site(progress)
    folder = site.resolve()
    if kind is LabKind.GUEST and any(folder.is_relative_to(hidden) for hidden in HIDDEN_IN_GUEST):
        raise UsageError(
            f"--site {site}: the guest has its own {', '.join(HIDDEN_IN_GUEST)}; copy the site elsewhere"
        )
    try:
        warnings = read_catalogue(folder).warnings
    except OriginError as error:
        raise SiteError(f"--site {site}: {error}") from None
    for warning in warnings:
        note(f"site: {warning}")
    return folder


@contextmanager
def site_for(
    site: Path | None, kind: LabKind, progress: ProgressSink, note: Callable[[str], None], *, small: bool
) -> Iterator[Path]:
    """The person's site for the length of the block; without one, one page if `small`, else the default site.

    Raises what `prepare_site` raises.
    """
    if site is not None or not small:
        yield prepare_site(site, kind, progress, note)
        return
    with tempfile.TemporaryDirectory(prefix="nearcast-site-", dir=SCRATCH) as folder:
        yield one_page_site(Path(folder))


@contextmanager
def made_site(make: Callable[[Path, Options], None], options: Options) -> Iterator[Path]:
    """A site that an experiment makes up itself, for the length of the block. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix="nearcast-site-", dir=SCRATCH) as folder:
        make(Path(folder), options)
        yield Path(folder)


def plan_fetches(
    site: Path, topology: Topology, seed: int, *, https: bool = False
) -> Mapping[str, list[dict[str, Any]]]:
    """What every user fetches from `site`; files of any kind serve where there is no page."""
    found = map_site(site)
    if not found.pages:
        found = SiteMap(tuple(Page(path, ()) for path in walk(site)), found.videos)
    scheme = "https" if https else "http"
    return plan_workload(found, topology.of_role(Role.USER), seed, topology.service.name, scheme=scheme)


def prepare_lab(kind: LabKind, progress: ProgressSink) -> None:
    """Make the lab usable; building the kernel takes minutes the first time."""
    progress(Progress(f"preparing the {kind} lab"))
    kind.prepare(progress)

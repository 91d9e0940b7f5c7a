"""Labs and small jobs for the tests. Nothing is skipped: without a kernel it is built, or the tests fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.jobs import Job
from lab.kernel import KernelImage, ensure_kernel
from tests.lab.lab_catalogue import makers
from tests.lab.labs import Finished, Labs
from tests.lab.site import LARGE_BINARY_BYTES, make_site

SUFFIX = "_lab"


@pytest.fixture(scope="session")
def image() -> KernelImage:
    """The guest kernel."""
    return ensure_kernel()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The web site that the labs publish."""
    return make_site(tmp_path_factory.mktemp("site") / "die site")


@pytest.fixture(scope="session")
def large_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same site with a larger binary."""
    return make_site(tmp_path_factory.mktemp("large-site"), LARGE_BINARY_BYTES)


@pytest.fixture(scope="session", autouse=True)
def labs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    image: KernelImage,
    site: Path,
    large_site: Path,
) -> Iterator[Labs]:
    """All labs; those that the chosen tests want run in the background from now on."""
    known = makers(site, large_site)
    running = Labs(image.path, tmp_path_factory.mktemp("labs"), known)
    wanted = [
        name.removesuffix(SUFFIX)
        for item in request.session.items
        for name in getattr(item, "fixturenames", ())
        if name.removesuffix(SUFFIX) in known and name.endswith(SUFFIX)
    ]
    running.start(dict.fromkeys(wanted))
    yield running
    running.close()


def _lab_fixture(name: str) -> Any:
    @pytest.fixture(scope="session", name=name + SUFFIX)
    def finished(labs: Labs) -> Finished:
        return labs.finished(name)

    return finished


edge_lab = _lab_fixture("edge")
again_lab = _lab_fixture("again")
other_seed_lab = _lab_fixture("other_seed")
central_lab = _lab_fixture("central")
push_lab = _lab_fixture("push")
lossy_lab = _lab_fixture("lossy")
killed_lab = _lab_fixture("killed")
switched_off_lab = _lab_fixture("switched_off")
cut_lab = _lab_fixture("cut")
streams_lab = _lab_fixture("streams")
packets_lab = _lab_fixture("packets")
native_lab = _lab_fixture("native")


@pytest.fixture
def run_job(labs: Labs, tmp_path: Path) -> Callable[..., Finished]:
    """Run a job of `guest_jobs` in a guest of its own; keyword arguments of `Job` may be given."""

    def run(function: str, arguments: dict[str, Any] | None = None, **options: Any) -> Finished:
        options.setdefault("out", tmp_path / "out")
        options.setdefault("wall_limit_s", 120)
        return labs.run(Job(f"tests.lab.guest_jobs:{function}", arguments or {}, **options))

    return run

"""The guest kernel: User-Mode Linux built once from the distribution's linux-source and kept in the cache.

An image is named by a key over everything that makes it: source package and version, configuration, patches
and commands. All checkouts of a user share the cache. A newer source package alone does not cause a rebuild:
what is built keeps working without a network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cache import cache_dir, locked, publish_dir
from lab.debian import DebianPackage
from lab.kernel_source import (
    SOURCE_VARIABLE,
    UNUSED_IN_GUEST,
    KernelError,
    fetch_source,
    release_order,
    unpack_source,
)
from lab.process_group import run_group
from lab.progress import Progress, ProgressSink, progress_display, silent

CONFIGURE = ("make", "ARCH=um", "KCONFIG_ALLCONFIG=../guest.config", "allnoconfig")
COMPILE = ("make", "ARCH=um", "linux")
BUILD_ENVIRONMENT = {
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
    "KBUILD_BUILD_USER": "nearcast",
    "KBUILD_BUILD_HOST": "nearcast",
    "KBUILD_BUILD_VERSION": "1",
}
"""Fixed so that the same source and compiler give the same image."""

STEPS = 1334
"""Lines of work `make` prints for one whole build, counted from a real one, for the progress bar."""
CORE_SECONDS = 440
"""Processor time of one whole build on a current machine."""
NEEDED_MIB = 1500
"""Free disk space a build takes at its peak."""

_STEP = re.compile(r"  [A-Z]+ +(\S+)")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What we add to the source: the configuration and the patches (file name, content), in order."""

    config: bytes
    patches: tuple[tuple[str, bytes], ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over configuration, patches and build commands."""
        parts = [
            b"".join(part) for part in ((name.encode(), b"\0", content) for name, content in self.patches)
        ]
        commands = json.dumps([CONFIGURE, COMPILE, BUILD_ENVIRONMENT, UNUSED_IN_GUEST]).encode()
        hashes = [hashlib.sha256(part).hexdigest() for part in (commands, self.config, *parts)]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A finished guest kernel: the executable, its release (e.g. 6.12.117) and the key of its making."""

    path: Path
    version: str
    key: str


def read_recipe(folder: Path | None = None) -> Recipe:
    """The recipe in `folder` (default: this package): guest.config and patches/*.patch, sorted by name."""
    folder = folder or Path(__file__).parent
    patches = sorted((folder / "patches").glob("*.patch"))
    return Recipe(
        (folder / "guest.config").read_bytes(), tuple((patch.name, patch.read_bytes()) for patch in patches)
    )


def kernel_key(source: str, source_version: str, recipe: Recipe) -> str:
    """The name of the image that this source package and recipe make."""
    return hashlib.sha256(f"{source}={source_version}\n{recipe.digest}".encode()).hexdigest()[:16]


def cached_image(recipe: Recipe | None = None, cache: Path | None = None) -> KernelImage | None:
    """The newest finished image made by `recipe` (default: this checkout's), or None. Builds nothing."""
    digest = (recipe or read_recipe()).digest
    images = []
    for info_file in ((cache or cache_dir()) / "kernels").glob("*/build.json"):
        try:
            info = json.loads(info_file.read_bytes())
        except ValueError:
            continue
        image = info_file.parent / "linux"
        if info.get("recipe") == digest and image.exists():
            images.append(KernelImage(image, info["version"], info["key"]))
    return max(images, key=lambda image: (release_order(image.version), image.key), default=None)


def expected_build_s(cores: int) -> float:
    """How long a build will take on so many cores, in seconds, download not counted."""
    return 30 + CORE_SECONDS / cores


def ensure_kernel(progress: ProgressSink = silent) -> KernelImage:
    """The guest kernel of this checkout's recipe, from the cache or built now (minutes).

    Safe to call from several processes: one builds, the others wait and say so. An interrupted build counts
    for nothing and is taken up again by the next call. Raises KernelError with the way out.
    """
    recipe, cache = read_recipe(), cache_dir()
    if image := cached_image(recipe, cache):
        return image

    def waiting(holder: str) -> None:
        progress(Progress(f"waiting for {holder}, which is building the guest kernel"))

    try:
        with locked(cache / "locks" / "kernel", waiting):
            return cached_image(recipe, cache) or _build(recipe, cache, progress)
    except OSError as error:
        raise KernelError(f"cannot build the guest kernel: {error}; mend that and try again") from error


def _build(recipe: Recipe, cache: Path, progress: ProgressSink) -> KernelImage:
    cache.mkdir(parents=True, exist_ok=True)
    free_mib = shutil.disk_usage(cache).free >> 20
    if free_mib < NEEDED_MIB:
        raise KernelError(
            f"{cache} has {free_mib} MiB free and building the guest kernel takes {NEEDED_MIB}; make room or"
            " set XDG_CACHE_HOME to a folder on a larger disk"
        )
    stage = "downloading the kernel source"
    progress(Progress(stage))
    wanted = os.environ.get(SOURCE_VARIABLE) or None
    source, package = fetch_source(cache, wanted, lambda part: progress(Progress(stage, part)))
    key = kernel_key(source.name, source.version, recipe)
    workspace, log = cache / "build" / key, cache / "logs" / f"kernel-{key}.log"
    log.parent.mkdir(exist_ok=True)
    began_s = time.monotonic()
    resumed = (workspace / "ready").exists()
    if not resumed:
        _prepare(recipe, package, workspace, log, progress)
    try:
        _compile(workspace, log, progress)
    except KernelError:
        if not resumed:
            raise
        _prepare(recipe, package, workspace, log, progress)
        _compile(workspace, log, progress)
    image = _install(recipe, source, key, workspace, cache / "kernels" / key, time.monotonic() - began_s)
    shutil.rmtree(cache / "build", ignore_errors=True)
    return image


def _prepare(recipe: Recipe, package: Path, workspace: Path, log: Path, progress: ProgressSink) -> None:
    progress(Progress("unpacking the kernel source"))
    shutil.rmtree(workspace.parent, ignore_errors=True)
    tree = workspace / "linux"
    tree.mkdir(parents=True)
    unpack_source(package, tree)
    (workspace / "guest.config").write_bytes(recipe.config)
    for name, content in recipe.patches:
        (workspace / name).write_bytes(content)
        _step(("patch", "-p1", "--batch", "-i", f"../{name}"), tree, log, f"apply lab/patches/{name}")
    progress(Progress("configuring the guest kernel"))
    _step(CONFIGURE, tree, log, "configure the guest kernel")
    check_config(recipe.config.decode(), (tree / ".config").read_text())
    (workspace / "ready").touch()


def check_config(asked: str, configured: str) -> None:
    """Raise KernelError naming every option of `asked` that the kernel's configuration did not take over."""
    have = set(configured.splitlines())
    lost = [line for line in asked.splitlines() if line.startswith("CONFIG_") and line not in have]
    if lost:
        raise KernelError(
            f"this kernel source does not take {', '.join(lost)}; mend lab/guest.config or name another"
            f" source package in {SOURCE_VARIABLE}"
        )


def _compile(workspace: Path, log: Path, progress: ProgressSink) -> None:
    stage, done = "building the guest kernel (once)", 0

    def line(text: str) -> None:
        nonlocal done
        if match := _STEP.match(text):
            done += 1
            progress(Progress(stage, min(done / STEPS, 0.99), match[1]))

    progress(Progress(stage, 0))
    jobs = len(os.sched_getaffinity(0))
    _step((*COMPILE, f"-j{jobs}"), workspace / "linux", log, "build the guest kernel", line)


def _ignore(line: str) -> None:
    pass


def _step(
    argv: Sequence[str], folder: Path, log: Path, what: str, on_line: Callable[[str], None] = _ignore
) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(argv)}\n")
        status, last = run_group(argv, folder, on_line, env=BUILD_ENVIRONMENT, log=file)
    if status:
        tail = "\n".join(f"    {text}" for text in last)
        raise KernelError(
            f"cannot {what}: {argv[0]} ended with {status}; `make doctor` names missing tools; the full log"
            f" is {log} and ends:\n{tail}"
        )


def _install(
    recipe: Recipe, source: DebianPackage, key: str, workspace: Path, final: Path, build_s: float
) -> KernelImage:
    staged = workspace / "image"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    shutil.copy2(workspace / "linux" / "linux", staged / "linux")
    shutil.copy2(workspace / "linux" / ".config", staged / "config")
    run = subprocess.run([staged / "linux", "--version"], capture_output=True, text=True, check=False)
    version = run.stdout.strip()
    if run.returncode or not version:
        raise KernelError(
            f"the guest kernel was built but does not start here: {run.stderr.strip() or run.returncode};"
            f" try it by hand: {workspace / 'linux' / 'linux'} --version"
        )
    info = {
        "key": key,
        "version": version,
        "source": source.name,
        "source_version": source.version,
        "recipe": recipe.digest,
        "patches": [name for name, _ in recipe.patches],
        "build_s": round(build_s, 1),
    }
    (staged / "build.json").write_text(json.dumps(info, indent=2) + "\n")
    final.parent.mkdir(exist_ok=True)
    publish_dir(staged, final)
    return KernelImage(final / "linux", version, key)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m lab.kernel`: build the guest kernel unless it is there. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.kernel", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="build nothing; exit 1 when there is no kernel")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if arguments.check:
            image = cached_image()
            if image is None:
                print("no guest kernel; `make kernel` builds it", file=sys.stderr)
                return 1
        else:
            with progress_display() as progress:
                image = ensure_kernel(progress)
    except KernelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next build goes on where this one stopped", file=sys.stderr)
        return 130
    print(f"guest kernel {image.version}: {image.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

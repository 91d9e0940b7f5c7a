import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.cache import cache_dir, locked, publish_dir
from lab.debian import parse_packages
from lab.kernel import KernelImage, Recipe, cached_image, check_config, kernel_key, main, read_recipe
from lab.kernel_source import KernelError, choose_package, release_order, sorted_by_series, unpack_source
from lab.process_group import run_group
from lab.progress import Progress, plain_sink

RECIPE = Recipe(b"CONFIG_NET=y\n", (("0001-a.patch", b"a"), ("0002-b.patch", b"b")))

APT_SHOW = """\
Package: linux-source-6.12
Source: linux-6.12
Version: 6.12.117-1~deb12u1
Description: Linux kernel source
 Version: not a field, but the description's second line
SHA256: e849

Package: linux-source-6.12
Version: 6.12.115-2~deb12u1
SHA256: 8f69

Package: linux-source-6.1
Version: 6.1.170-1
SHA256: 1111

Package: linux-source
Version: 6.1.170-1
SHA256: 2222
"""


def test_newest_series_comes_last_and_apts_choice_of_version_counts() -> None:
    offers = sorted_by_series(parse_packages(APT_SHOW))
    assert [(offer.name, offer.version, offer.sha256) for offer in offers] == [
        ("linux-source-6.1", "6.1.170-1", "1111"),
        ("linux-source-6.12", "6.12.117-1~deb12u1", "e849"),
    ]


def test_a_kernel_that_does_not_take_the_patches_is_only_taken_by_name() -> None:
    old, new = sorted_by_series(parse_packages(APT_SHOW))
    assert choose_package((old, new), None) == new
    assert choose_package((old,), None) is None, "fresh package lists may know a newer one"
    assert choose_package((old, new), old.name) == old
    assert choose_package((old,), new.name) is None


def test_an_empty_apt_offers_nothing() -> None:
    assert parse_packages("") == ()


def test_releases_sort_by_number() -> None:
    assert sorted(["6.12", "6.1", "6.9", "10.1"], key=release_order) == ["6.1", "6.9", "6.12", "10.1"]


@pytest.mark.parametrize(
    "other",
    [
        replace(RECIPE, config=b"CONFIG_NET=n\n"),
        replace(RECIPE, patches=RECIPE.patches[:1]),
        replace(RECIPE, patches=(("0001-a.patch", b"c"), RECIPE.patches[1])),
        replace(RECIPE, patches=(("0001-c.patch", b"a"), RECIPE.patches[1])),
        replace(RECIPE, patches=()),
    ],
)
def test_every_part_of_the_recipe_is_in_the_key(other: Recipe) -> None:
    assert kernel_key("s", "1", other) != kernel_key("s", "1", RECIPE)


def test_source_and_its_version_are_in_the_key() -> None:
    keys = {kernel_key(source, version, RECIPE) for source in ("a", "b") for version in ("1", "2")}
    assert len(keys) == 4
    assert kernel_key("a", "1", replace(RECIPE)) in keys


def test_the_tree_carries_a_recipe_with_what_the_lab_needs() -> None:
    config = read_recipe().config.decode().splitlines()
    features = (
        "OPENVSWITCH VETH NET_SCH_NETEM NET_SCH_HTB NET_SCH_TBF IPV6 NF_TABLES INET6_ESP OVERLAY_FS HOSTFS"
    )
    for name in (*features.split(), "UML_TIME_TRAVEL_SUPPORT", "KALLSYMS", "SYN_COOKIES"):
        assert f"CONFIG_{name}=y" in config


def test_a_folder_without_patches_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "guest.config").write_text("CONFIG_NET=y\n")
    assert read_recipe(tmp_path) == Recipe(b"CONFIG_NET=y\n", ())


def test_an_option_the_source_does_not_know_is_named() -> None:
    with pytest.raises(KernelError, match="does not take CONFIG_GONE=y;"):
        check_config("# why\nCONFIG_NET=y\nCONFIG_GONE=y\n", "CONFIG_NET=y\n# CONFIG_GONE is not set\n")


def put_image(cache: Path, recipe: Recipe, version: str, key: str, *, finished: bool = True) -> None:
    folder = cache / "kernels" / key
    folder.mkdir(parents=True)
    info = f'{{"recipe": "{recipe.digest}", "version": "{version}", "key": "{key}"}}'
    (folder / "build.json").write_text(info if finished else info[:20])
    (folder / "linux").touch()


def test_the_newest_finished_image_of_our_recipe_is_taken(tmp_path: Path) -> None:
    assert cached_image(RECIPE, tmp_path) is None
    put_image(tmp_path, RECIPE, "6.9.1", "aa")
    put_image(tmp_path, RECIPE, "6.12.2", "bb")
    put_image(tmp_path, RECIPE, "6.13.0", "dd", finished=False)
    put_image(tmp_path, replace(RECIPE, config=b""), "7.0", "cc")
    assert cached_image(RECIPE, tmp_path) == KernelImage(tmp_path / "kernels/bb/linux", "6.12.2", "bb")


def test_check_without_an_image_fails_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["--check"]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "make kernel" in capsys.readouterr().err


def test_cache_directory_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    for value, expected in (
        ("/var/c", "/var/c/nearcast"),
        ("", "/home/ann/.cache/nearcast"),
        ("relative", "/home/ann/.cache/nearcast"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_dir() == Path(expected)


def test_a_second_process_waits_for_the_lock_and_names_its_holder(tmp_path: Path) -> None:
    lock, waiting = tmp_path / "locks" / "kernel", tmp_path / "waiting"
    script = (
        "from pathlib import Path\nfrom lab.cache import locked\n"
        f"with locked(Path({str(lock)!r}), Path({str(waiting)!r}).write_text):\n"
        "    print('mine', flush=True)\n"
    )
    with locked(lock):
        second = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        while not waiting.exists() or not waiting.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert waiting.read_text() == f"process {os.getpid()}"
        assert second.poll() is None
    assert second.communicate(timeout=20)[0] == "mine\n"


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    script = (
        "import time\nfrom pathlib import Path\nfrom lab.cache import locked\n"
        f"with locked(Path({str(tmp_path / 'lock')!r})):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate(timeout=20)
    waits: list[str] = []
    with locked(tmp_path / "lock", waits.append):
        assert waits == []


def test_publishing_replaces_the_old_directory(tmp_path: Path) -> None:
    for name in ("staged", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    publish_dir(tmp_path / "staged", tmp_path / "final")
    assert (tmp_path / "final" / "file").read_text() == "staged"
    assert not (tmp_path / "staged").exists()


def test_lines_of_both_streams_reach_the_caller_and_the_log(tmp_path: Path) -> None:
    lines: list[str] = []
    with (tmp_path / "log").open("w") as log:
        script = "echo one; echo two >&2; exit 3"
        status, last = run_group(["sh", "-c", script], tmp_path, lines.append, log=log)
    assert (status, lines, last) == (3, ["one", "two"], ("one", "two"))
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_an_interrupt_kills_the_whole_process_group(tmp_path: Path) -> None:
    children: list[int] = []

    def interrupt(line: str) -> None:
        children.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_group(["sh", "-c", "sleep 600 & echo $!; wait"], tmp_path, interrupt)
    deadline = time.monotonic() + 20  # a busy machine takes a while to carry out a SIGKILL
    while _lives(children[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(children[0])


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def make_package(folder: Path, member: str) -> Path:
    """A real .deb whose `member` is a kernel source archive, small."""
    tree = folder / "linux-source-9.9"
    files = {
        "Makefile": "all:",
        "drivers/gpu/Kconfig": "menu",
        "drivers/gpu/drm.c": "int x;",
        "drivers/net/veth.c": "int y;",
        "arch/arm/Kconfig": "config ARM",
        "arch/arm/boot.S": "nop",
        "arch/um/boot.c": "int z;",
    }
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    root = folder / "root"
    archive = root / member
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, f"w:{archive.suffix[1:]}") as tar:
        tar.add(tree, tree.name)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(
        "Package: linux-source-9.9\nVersion: 9.9\nArchitecture: all\n"
        "Maintainer: t <t@example.org>\nDescription: t\n"
    )
    package = folder / "source.deb"
    subprocess.run(["dpkg-deb", "--build", root, package], check=True, stdout=subprocess.DEVNULL)
    return package


@pytest.mark.parametrize(
    "member",
    ["usr/src/linux-source-9.9.tar.xz", "usr/src/linux-source-9.9/linux-source-9.9.tar.bz2"],
)
def test_unpacking_leaves_out_what_the_guest_never_compiles(tmp_path: Path, member: str) -> None:
    package = make_package(tmp_path, member)
    tree = tmp_path / "tree"
    tree.mkdir()
    unpack_source(package, tree)
    found = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    assert found == {
        "Makefile",
        "drivers/gpu/Kconfig",
        "drivers/net/veth.c",
        "arch/arm/Kconfig",
        "arch/um/boot.c",
    }


def test_a_package_without_source_or_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with pytest.raises(KernelError, match="holds no kernel source archive"):
        unpack_source(make_package(tmp_path, "usr/src/other.tar.xz"), tree)
    damaged = tmp_path / "damaged.deb"
    damaged.write_bytes(b"!<arch>\n")
    with pytest.raises(KernelError, match=r"damaged\.deb"):
        unpack_source(damaged, tree)


def test_plain_progress_writes_stages_and_then_one_line_each_half_minute() -> None:
    now_s = 0.0
    lines: list[str] = []
    show = plain_sink(lines.append, lambda: now_s)
    for second in range(70):
        now_s = float(second)
        show(Progress("building", second / 100, "a.o"))
    show(Progress("installing"))
    assert lines == [
        "building ...",
        "building ... 30% after 30 s",
        "building ... 60% after 60 s",
        "installing ...",
    ]

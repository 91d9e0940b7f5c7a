"""The guest lab: jobs, their results, their time and randomness, and what they can do to the host."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.guest import EPOCH_NS, run_in_guest
from lab.jobs import Clock, Job, LabError
from lab.kernel import KernelImage
from tests.lab.host import Watch
from tests.lab.labs import Finished

RunJob = Callable[..., Finished]


def test_result_and_facts(run_job: RunJob, image: KernelImage) -> None:
    finished = run_job("randomness")
    assert finished.result.ok
    assert finished.result.error == ""
    assert finished.result.facts["kernel"] == image.version
    assert finished.result.facts["clock"] == "virtual"
    assert finished.result.wall_s > 0


def test_seed_fixes_randomness(run_job: RunJob, tmp_path: Path) -> None:
    first, same, other = (
        run_job("randomness", seed=seed, out=tmp_path / name).facts()
        for name, seed in (("first", 5), ("second, in another folder", 5), ("other", 6))
    )
    assert first == same
    assert first["wall_clock"] == pytest.approx(EPOCH_NS / 1e9, abs=60)
    for kind in ("bytes", "boot_id", "ports", "temporary"):
        assert first[kind] != other[kind], kind
    assert first["hash"] == other["hash"]


def test_real_clock_has_todays_time_and_a_seed_as_well(run_job: RunJob, tmp_path: Path) -> None:
    first = run_job("randomness", clock=Clock.REAL, seed=5, out=tmp_path / "first")
    assert first.result.facts["clock"] == "real"
    assert abs(first.facts()["wall_clock"] - first.out.stat().st_mtime) < 3600


def test_an_hour_passes_in_virtual_time(run_job: RunJob) -> None:
    facts = run_job("an_hour", wall_limit_s=60).facts()
    assert facts["monotonic_s"] == pytest.approx(3600, abs=1e-3)
    assert facts["wall_clock_s"] == pytest.approx(3600, abs=1e-3)


def test_host_cannot_be_changed_from_inside(run_job: RunJob, tmp_path: Path) -> None:
    checkout = Path(__file__).resolve().parents[2]
    mine = tmp_path / "mine.txt"
    mine.write_text("before")
    readme = checkout / "pyproject.toml"
    victims = [str(mine), str(readme), "/etc/hostname"]
    before = {victim: Path(victim).read_bytes() for victim in victims}
    finished = run_job("vandal", {"victims": victims, "folder": str(tmp_path)})
    assert finished.result.ok, finished.result.error
    assert finished.facts()["seen"] == dict.fromkeys(victims, "changed by the guest")
    assert {victim: Path(victim).read_bytes() for victim in victims} == before
    assert not (tmp_path / "made by the guest").exists()
    assert (finished.out / "tief/unten/ergebnis ü.txt").read_text() == "comes back"
    back = {path.name for path in finished.out.iterdir()}
    assert back == {"tief", "facts.json", "job-result.json", "console.log"}


def test_out_folder_with_an_awkward_name(run_job: RunJob, tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner, mit 'Zeichen' \"und\" 我们 = ü" / "tief"
    finished = run_job("randomness", out=folder)
    assert finished.result.ok, finished.result.error
    assert len(finished.facts()["bytes"]) == 64


def test_job_that_raises_gives_one_line_and_a_traceback(run_job: RunJob) -> None:
    finished = run_job("fails")
    assert not finished.result.ok
    assert finished.result.error == "the first line and the second"
    assert "guest_jobs.py" in (finished.out / "traceback.txt").read_text()


def test_mistake_in_a_job_names_its_kind(run_job: RunJob) -> None:
    assert run_job("wrong").result.error == "IndexError: list index out of range"


def test_unknown_job_is_an_error_of_one_line(run_job: RunJob) -> None:
    error = run_job("no_such_function").result.error
    assert "no_such_function" in error
    assert "\n" not in error


def test_result_of_an_earlier_job_is_not_taken_for_this_one(run_job: RunJob, tmp_path: Path) -> None:
    assert run_job("randomness").result.ok
    with pytest.raises(LabError):
        run_job("dies")


def test_watchdog_ends_a_job_that_never_does(run_job: RunJob, tmp_path: Path) -> None:
    with Watch(tmp_path) as watch, pytest.raises(LabError) as caught:
        run_job("busy", wall_limit_s=4)
    message = str(caught.value)
    assert "was ended after 4 s" in message
    assert "tests.lab.guest_jobs:busy" in message
    assert str(tmp_path / "out") in message
    assert "a line of the job that never ends" in message
    assert "\n" not in message
    watch.check_nothing_left()


def test_kernel_panic_is_reported_with_the_last_lines(run_job: RunJob, tmp_path: Path) -> None:
    with Watch(tmp_path) as watch, pytest.raises(LabError) as caught:
        run_job("dies")
    message = str(caught.value)
    assert "last words of the job" in message
    assert "Kernel panic" in message
    assert "Attempted to kill init" in message
    assert "\n" not in message
    console = tmp_path / "out" / "console.log"
    assert str(console) in message
    assert "Kernel panic" in console.read_text()
    watch.check_nothing_left()


def test_cancel_ends_the_guest(image: KernelImage, tmp_path: Path) -> None:
    cancel = threading.Event()
    job = Job("tests.lab.guest_jobs:busy", {}, tmp_path / "out", wall_limit_s=60)
    with Watch(tmp_path) as watch, pytest.raises(LabError, match="interrupted"):
        run_in_guest(image.path, job, lambda text: cancel.set() if text == "running" else None, cancel)
    watch.check_nothing_left()


def test_success_leaves_nothing_behind(run_job: RunJob, tmp_path: Path) -> None:
    with Watch(tmp_path) as watch:
        assert run_job("busy_for_a_moment", clock=Clock.REAL).result.ok
    watch.check_nothing_left()


def test_two_labs_side_by_side_do_not_meet(image: KernelImage, tmp_path: Path) -> None:
    cancel = threading.Event()
    outcome: dict[str, Finished] = {}

    def run(token: str) -> None:
        job = Job(
            "tests.lab.guest_jobs:neighbour",
            {"token": token},
            tmp_path / token,
            Clock.REAL,
            seed=random.Random(token).randrange(1000),
            wall_limit_s=120,
        )
        outcome[token] = Finished(job, run_in_guest(image.path, job, lambda _text: None, cancel))

    threads = [threading.Thread(target=run, args=(token,)) for token in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for token in ("left", "right"):
        assert outcome[token].result.ok, outcome[token].result.error
        facts = outcome[token].facts()
        assert {name: set(met) for name, met in facts["met"].items()} == {
            "outer": {token},
            "inner": {token},
            "local": {token},
        }
        assert set(facts["files"]) == {token}
        assert facts["found_before"] == []
        assert "guest_init.py" in facts["first"]
        assert not Path("/tmp/shared").exists()

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.checks import (
    GUEST,
    NATIVE,
    Check,
    Tool,
    check_disk,
    check_features,
    check_kernel,
    check_memory,
    check_open_files,
    check_python,
    check_root,
    check_tool,
    read_tools,
)
from lab.doctor import Report, report_lines
from lab.probe import FEATURES, Feature, parse_probe

CHECKOUT = Path(__file__).resolve().parents[3]
FINE = Check("python", True, "3.11.2", "3.11 or newer")
NO_ROOT = Check("root", False, "user 1000", "root", "sudo", (NATIVE,))
NO_PTRACE = Check("ptrace", False, "3", "below 3", "reboot", (GUEST,))
NO_CURL = Check("curl", False, "missing", "client", "apt-get install -y curl")
NOTE = Check("address randomization", False, "on", "off", "seccomp", ())


@pytest.mark.parametrize(
    ("checks", "lab", "exit_code"),
    [
        ((FINE,), GUEST, 0),
        ((FINE, NO_ROOT), GUEST, 0),
        ((FINE, NOTE), GUEST, 0),
        ((FINE, NO_PTRACE), NATIVE, 0),
        ((NO_ROOT, NO_PTRACE), None, 1),
        ((NO_CURL,), None, 1),
    ],
)
def test_a_lab_is_usable_when_nothing_it_needs_is_missing(
    checks: tuple[Check, ...], lab: str | None, exit_code: int
) -> None:
    report = Report(checks)
    assert (report.lab, report.exit_code) == (lab, exit_code)


def test_the_conclusion_names_the_lab_or_the_first_command() -> None:
    assert Report((FINE,)).conclusion == "the guest lab will be used"
    conclusion = Report((NO_ROOT, NO_CURL, NO_PTRACE)).conclusion
    assert conclusion == "no lab is usable: curl (missing); mend it with: apt-get install -y curl"


def test_json_says_all_that_people_are_told() -> None:
    data = json.loads(json.dumps(Report((FINE, NO_CURL)).as_json()))
    assert data["lab"] is None
    assert data["usable"] == {"guest": False, "native": False}
    assert data["checks"][1]["remedy"] == "apt-get install -y curl"
    assert data["checks"][0]["labs"] == ["guest", "native"]


def test_what_is_missing_is_shown_with_need_and_remedy() -> None:
    text = "\n".join(line for _, line in report_lines(Report((FINE, NO_ROOT))))
    assert "needed for the native lab: root" in text
    assert "to mend it: sudo" in text
    assert text.splitlines()[-1] == "the guest lab will be used"


def test_the_tools_file_names_a_package_and_a_use_for_every_tool() -> None:
    tools = read_tools((CHECKOUT / "lab" / "tools.config").read_text())
    assert {tool.use for tool in tools} == {"run", "build", "bench", "clients"}
    assert {"ovs-vswitchd", "curl", "gcc", "xz"} <= {tool.command for tool in tools}
    assert all(tool.package and tool.purpose for tool in tools)


def test_a_missing_tool_is_mended_by_its_package() -> None:
    check = check_tool(Tool("no-such-program", "some-package", "run", "nothing"), kernel_built=True)
    assert not check.ok
    assert check.remedy.endswith("apt-get install -y some-package")
    assert check.labs == (GUEST, NATIVE)


def test_build_tools_are_needed_only_until_the_kernel_is_built() -> None:
    compiler = Tool("no-such-compiler", "gcc", "build", "compiles")
    assert check_tool(compiler, kernel_built=False).labs == (GUEST,)
    assert check_tool(compiler, kernel_built=True).labs == ()


def test_a_tool_that_is_there_is_found_with_its_version() -> None:
    check = check_tool(Tool("curl", "curl", "run", "client"), kernel_built=True)
    assert check.ok
    assert check.found[0].isdigit()


def test_a_kernel_to_be_built_is_no_fault_but_its_time_is_told() -> None:
    check = check_kernel(None, cores=2)
    assert check.ok
    assert "in about 4 min on 2 cores" in check.found


@pytest.mark.parametrize(("version", "ok"), [((3, 10, 14), False), ((3, 11, 0), True), ((3, 14, 1), True)])
def test_python_version(version: tuple[int, int, int], ok: bool) -> None:
    assert check_python(version).ok is ok


@pytest.mark.parametrize(("mib", "ok"), [(2047, False), (2048, True)])
def test_memory(mib: int, ok: bool) -> None:
    assert check_memory({"MemAvailable": mib}).ok is ok


def test_disk_space_is_that_of_the_nearest_parent(tmp_path: Path) -> None:
    assert check_disk("disk", tmp_path / "not" / "yet", 1).ok
    full = check_disk("disk", tmp_path / "not" / "yet", 1 << 40)
    assert not full.ok
    assert str(tmp_path) in full.remedy


@pytest.mark.parametrize(("most", "ok"), [(1024, False), (4096, True), (1_048_576, True)])
def test_open_files(most: int, ok: bool) -> None:
    check = check_open_files(most)
    assert (check.ok, check.labs) == (ok, (GUEST,))
    assert ok or "limits.conf" in check.remedy


def test_only_root_may_run_the_native_lab() -> None:
    assert check_root(0).ok
    assert check_root(1000).labs == (NATIVE,)
    assert not check_root(1000).ok


def test_probe_output_names_every_feature_and_its_reason() -> None:
    features = parse_probe("veth\tok\t\nnetem\tno\tError: Specified qdisc kind is unknown.\nnoise\n")
    found = {feature.name: feature for feature in features}
    assert list(found) == list(FEATURES)
    assert found["veth"] == Feature("veth", True)
    assert found["netem"].reason == "Error: Specified qdisc kind is unknown."
    assert found["htb"] == Feature("htb", False, "the probe gave no answer")


def test_a_missing_kernel_feature_has_a_remedy() -> None:
    fine, missing = check_features((Feature("veth", True), Feature("netem", False, "unknown")), "6.1.0")
    assert fine.ok
    assert fine.remedy == ""
    assert not missing.ok
    assert "modprobe sch_netem" in missing.remedy
    assert "unknown" in missing.found


def test_examining_this_machine_is_repeatable_and_leaves_nothing(tmp_path: Path) -> None:
    def interfaces() -> set[str]:
        return set(os.listdir("/sys/class/net"))

    before = interfaces()
    run = [sys.executable, "-m", "lab.doctor", "--json"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(run, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    data = json.loads(done.stdout)
    assert done.returncode == (0 if data["lab"] else 1)
    assert {"python", "ovs-vswitchd", "guest kernel", "root"} <= {check["name"] for check in data["checks"]}
    assert interfaces() == before
    assert list(tmp_path.iterdir()) == []

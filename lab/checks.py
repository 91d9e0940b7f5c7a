"""The doctor's single checks: each looks at one thing of this machine and says what to do about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.guest import memory_folder
from lab.jobs import LabError
from lab.kernel import KernelImage, expected_build_s
from lab.probe import FEATURES, Feature

GUEST, NATIVE = "guest", "native"
LABS = (GUEST, NATIVE)
PYTHON = (3, 11)
MEMORY_MIB = 2048
"""Memory a lab of the default topology may take, in the guest's memory file or on the host."""
OPEN_FILES = 4096
"""Python's modules, the programs and a site of a few thousand files."""

_MODULES = {
    "veth": "veth",
    "ipv6": "ipv6",
    "netem": "sch_netem",
    "htb": "sch_htb",
    "openvswitch": "openvswitch",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `labs` are the labs that cannot run while `ok` is false (none: it is only good to know);
    `remedy` is a command or an advice, empty when all is well."""

    name: str
    ok: bool
    found: str
    needed: str
    remedy: str = ""
    labs: tuple[str, ...] = LABS


@dataclass(frozen=True, slots=True)
class Tool:
    """A line of tools.config: a command or a file, the Debian package with it, and what it is for."""

    command: str
    package: str
    use: str
    purpose: str


def read_tools(text: str) -> tuple[Tool, ...]:
    """The tools in the text of tools.config."""
    lines = [line.split(None, 3) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return tuple(Tool(*fields) for fields in lines)


def check_python(version: tuple[int, int, int]) -> Check:
    """Python is new enough."""
    found = ".".join(map(str, version))
    needed = ".".join(map(str, PYTHON)) + " or newer"
    return Check("python", version[:2] >= PYTHON, found, needed, f"install Python {needed}")


def install_command(packages: Iterable[str]) -> str:
    """The command by which this user installs Debian packages."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install -y {' '.join(packages)}"


def check_tool(tool: Tool, kernel_built: bool) -> Check:
    """The tool is there. Without the build tools a guest kernel that is built already does as well."""
    search = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    path = shutil.which(tool.command, path=search) if not tool.command.startswith("/") else tool.command
    ok = path is not None and Path(path).exists()
    needed_by = {"run": LABS, "build": () if kernel_built else (GUEST,)}
    labs = needed_by.get(tool.use, ())
    found = _version(path) if ok and path else "missing"
    return Check(tool.command, ok, found, tool.purpose, "" if ok else install_command([tool.package]), labs)


def _version(path: str) -> str:
    if Path(path).name not in ("ovs-vswitchd", "ovsdb-server", "curl", "gcc"):
        return path
    done = subprocess.run(
        [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    match = re.search(r"\d+\.\d+(?:\.\d+)*", done.stdout)
    return f"{match[0]} in {path}" if match else path


def check_kernel(image: KernelImage | None, cores: int) -> Check:
    """The guest kernel is in the cache; when not, the first run builds it, so that this is no fault."""
    if image:
        return Check("guest kernel", True, f"{image.version} in {image.path}", "built once", labs=(GUEST,))
    minutes = expected_build_s(cores) / 60
    found = f"not built; the first run builds it in about {minutes:.0f} min on {cores} cores"
    return Check("guest kernel", True, found, "built once", "make kernel", ())


def read_meminfo() -> Mapping[str, int]:
    """/proc/meminfo in MiB."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {fields[0].rstrip(":"): int(fields[1]) >> 10 for fields in lines if len(fields) == 3}


def check_memory(meminfo_mib: Mapping[str, int]) -> Check:
    """Enough memory is available now (free or reclaimable)."""
    available = meminfo_mib.get("MemAvailable", 0)
    return Check(
        "memory",
        available >= MEMORY_MIB,
        f"{available} MiB available",
        f"{MEMORY_MIB} MiB",
        "" if available >= MEMORY_MIB else "end other programs or give the machine more memory",
    )


def check_disk(name: str, folder: Path, needed_mib: int) -> Check:
    """`folder`, or the nearest parent that exists, has the space and may be written."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free >> 20
    if not os.access(folder, os.W_OK):
        remedy = f"chown {os.geteuid()} {folder}, or work in a checkout (and XDG_CACHE_HOME) of your own"
        return Check(name, False, f"{folder} is read-only for us", "a writable folder", remedy)
    ok = free >= needed_mib
    remedy = "" if ok else f"make room in {folder}"
    return Check(name, ok, f"{free} MiB free in {folder}", f"{needed_mib} MiB", remedy)


def check_memory_file() -> Check:
    """There is a place for the guest's memory: its file must be mappable executable and may grow."""
    needed = f"{MEMORY_MIB} MiB on a file system without noexec"
    advice = "export TMPDIR=FOLDER, a folder with room for it on a file system mounted without noexec"
    try:
        folder = memory_folder()
    except LabError as error:
        return Check("guest memory file", False, str(error), needed, advice, (GUEST,))
    free = shutil.disk_usage(folder).free >> 20
    ok = free >= MEMORY_MIB
    remedy = "" if ok else f"make room in {folder}"
    return Check("guest memory file", ok, f"{free} MiB free in {folder}", needed, remedy, (GUEST,))


def check_open_files(most: int) -> Check:
    """The guest keeps every file of the host open that it has seen; `most` is the hard limit."""
    ok = most >= OPEN_FILES
    remedy = "" if ok else f"raise nofile's hard limit to {OPEN_FILES} in /etc/security/limits.conf"
    return Check("open files", ok, f"at most {most}", f"{OPEN_FILES}", remedy, (GUEST,))


def check_ptrace() -> Check:
    """User-Mode Linux may trace its own children."""
    setting = Path("/proc/sys/kernel/yama/ptrace_scope")
    scope = int(setting.read_text()) if setting.exists() else 0
    ok = scope < 3
    remedy = (
        "" if ok else "reboot with kernel.yama.ptrace_scope below 3 in /etc/sysctl.d (3 cannot be undone)"
    )
    return Check("ptrace", ok, f"yama ptrace_scope {scope}", "below 3", remedy, (GUEST,))


def check_personality() -> Check:
    """Address randomization can be turned off for the guest; only the exact repetition of runs needs it."""
    done = subprocess.run(
        ["setarch", "-R", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    ok = done.returncode == 0
    return Check(
        "address randomization",
        ok,
        "can be turned off" if ok else "cannot be turned off here (a container's seccomp filter?)",
        "off, for two runs of a seed to be identical",
        "" if ok else "run the container with --security-opt seccomp=unconfined",
        (),
    )


def check_root(user: int) -> Check:
    """The native lab changes the kernel's network state and so needs root."""
    ok = user == 0
    remedy = "" if ok else "run nearcast as root for the native lab; the guest lab needs no root"
    return Check("root", ok, "root" if ok else f"user {user}", "root", remedy, (NATIVE,))


def check_features(features: Sequence[Feature], release: str) -> list[Check]:
    """One check for each kernel feature the native lab needs."""
    checks = []
    for feature in features:
        found = f"in {release}" if feature.present else f"not in {release}: {feature.reason}"
        remedy = "" if feature.present else f"modprobe {_MODULES[feature.name]}, or use LAB=guest"
        needed = FEATURES[feature.name]
        checks.append(Check(f"kernel {feature.name}", feature.present, found, needed, remedy, (NATIVE,)))
    return checks

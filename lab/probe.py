"""What this machine's own kernel can do, tried for real in a network namespace that ends with the probe."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

_SCRIPT = """
PATH=$PATH:/usr/sbin:/sbin
probe() {
    name=$1; shift
    if out=$("$@" 2>&1 </dev/null); then state=ok out=; else state=no; fi
    printf '%s\\t%s\\t%s\\n' "$name" $state "$(echo "$out" | tail -n 1)"
}
probe veth ip link add nearcast0 type veth peer name nearcast1
ip link set lo up
probe ipv6 ip -6 address add fd00::1/128 dev lo nodad
probe netem tc qdisc replace dev lo root netem delay 1ms
probe htb tc qdisc replace dev lo root handle 1: htb
probe openvswitch genl ctrl get name ovs_datapath
"""

FEATURES: Mapping[str, str] = {
    "veth": "virtual Ethernet pairs (veth)",
    "ipv6": "IPv6",
    "netem": "link delay and loss (sch_netem)",
    "htb": "link rate (sch_htb)",
    "openvswitch": "Open vSwitch datapath (openvswitch)",
}
"""What the native lab needs of the kernel."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One kernel feature as found; `reason` is the tool's own message when it is missing."""

    name: str
    present: bool
    reason: str = ""


def parse_probe(output: str) -> tuple[Feature, ...]:
    """The probe's findings, one for each of FEATURES; what the probe did not report counts as missing."""
    found: dict[str, Feature] = {}
    for line in output.splitlines():
        name, separator, rest = line.partition("\t")
        if separator and name in FEATURES:
            state, _, reason = rest.partition("\t")
            found[name] = Feature(name, state == "ok", reason.strip())
    return tuple(found.get(name, Feature(name, False, "the probe gave no answer")) for name in FEATURES)


def probe_kernel() -> tuple[Feature, ...]:
    """Try every feature in a scratch network namespace, which is gone when this returns. Needs root."""
    try:
        done = subprocess.run(
            ["unshare", "--net", "--", "sh", "-c", _SCRIPT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return tuple(Feature(name, False, str(error)) for name in FEATURES)
    if done.returncode and not done.stdout:
        return tuple(Feature(name, False, done.stderr.strip()) for name in FEATURES)
    return parse_probe(done.stdout)

"""A network for tests, built inside `unshare -rnmp --fork --kill-child`: origin - lossy relay - edges.

Runs the real `python -m origin` and `python -m edge_node`; prints what happened as JSON.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

LOSS = 0.05
ORIGIN, EDGE = "fd6e::1", "fd6e::2"
URL = f"http://[{ORIGIN}]:8080"


def run(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def build() -> None:
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    for name in ("origin", "edge"):
        run("ip", "netns", "add", name)
    for name, address in (("origin", ORIGIN), ("edge", EDGE)):
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", name, "address", "add", f"{address}/64", "dev", "eth0", "nodad")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "netns", "exec", name, sys.executable, __file__, "no-offload", "eth0")
        run("ip", "link", "set", name, "promisc", "on", "up")


def no_offload(interface: str) -> None:
    """Full checksums in every frame, no frame larger than the link: the relay copies what it sees."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
        for command in (0x17, 0x1F, 0x24):  # ETHTOOL_STXCSUM, STSO, SGSO
            value = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
            fcntl.ioctl(control, 0x8946, request)


def relay(counters: dict[str, int]) -> None:
    """Copy frames between the two ends; lose some of the FLUTE datagrams."""
    ends = []
    for name in ("origin", "edge"):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
        end.bind((name, 0x86DD))
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        ends.append(end)
    chance = random.Random(1)
    while True:
        for source in select.select(ends, [], [])[0]:
            frame, address = source.recvfrom(65536)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            flute = frame[20] == socket.IPPROTO_UDP and frame[56:58] == (4001).to_bytes(2, "big")
            counters["datagrams"] += flute
            is_fdt = frame[72:74] == b"\0\0"  # the TOI in the short LCT header of RFC 5651
            if flute and (chance.random() < LOSS if not counters["only_fdt"] else not is_fdt):
                counters["lost"] += 1
                continue
            counters["unicast_bytes"] += 0 if flute else len(frame)
            ends[1 - ends.index(source)].send(frame)


class Edge:
    """An edge process in the edges' namespace, and the events it has written."""

    def __init__(self, folder: Path, name: str, public: Path) -> None:
        self.store, self.report = folder / name, folder / f"{name}.jsonl"
        self.earlier_life = len(self.report.read_text().splitlines()) if self.report.exists() else 0
        command = ["ip", "netns", "exec", "edge", sys.executable, "-m", "edge_node", "serve", "--name", name]
        command += [
            "--store",
            str(self.store),
            "--report-file",
            str(self.report),
            "--public-key",
            str(public),
        ]
        command += ["--address", "::1", "--port", "0", "--group", "ff35::8000:1", "--source", ORIGIN]
        command += ["--interface", "eth0", "--origin-url", URL]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.report.read_text().splitlines()[self.earlier_life :]]

    def wait_for(self, event: str, **details: Any) -> dict[str, Any]:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            for found in self.events():
                if found["event"] == event and details.items() <= found.items():
                    return found
            time.sleep(0.05)
        raise TimeoutError(f"no {event} {details} among {self.events()}")

    def verdict(self, site: Path) -> bool:
        command = [
            sys.executable,
            "-m",
            "edge_node",
            "verify",
            "--store",
            self.store,
            "--against",
            site,
            "--json",
        ]
        return bool(json.loads(run(*command))["identical"])


def publish(folder: Path, site: Path, *arguments: str) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", "origin", sys.executable, "-m", "origin", "publish", str(site)]
    command += ["--source", ORIGIN, "--interface", "eth0", "--key", str(folder / "key.pem")]
    command += ["--state", str(folder / "state"), "--timeout-s", "20", "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def attack() -> None:
    """Datagrams to the group from the origin's link, but from another address."""
    script = (
        "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM);"
        "i = socket.if_nametoindex('eth0'); s.setsockopt(41, 17, i); s.bind(('fd6e::66', 0));"
        "[s.sendto(b'\\x10\\x80' + bytes(200), ('ff35::8000:1', 4001, 0, i)) for _ in range(50)]"
    )
    run("ip", "-n", "origin", "address", "add", "fd6e::66/64", "dev", "eth0", "nodad")
    run("ip", "netns", "exec", "origin", sys.executable, "-c", script)


def main(folder: Path) -> dict[str, Any]:
    """Publish to two edges; update while one of them is away; let it come back; update in vain."""
    counters = {"datagrams": 0, "lost": 0, "unicast_bytes": 0, "only_fdt": 0}
    build()
    threading.Thread(target=relay, args=(counters,), daemon=True).start()
    run(
        sys.executable,
        "-m",
        "origin",
        "keygen",
        "--key",
        folder / "key.pem",
        "--public",
        folder / "public.pem",
    )
    site = folder / "site"
    (site / "pages").mkdir(parents=True)
    content = random.Random(7)
    for number in range(300):
        (site / "pages" / f"{number}.html").write_bytes(content.randbytes(content.randrange(0, 4000)))
    (site / "video.mp4").write_bytes(content.randbytes(5_000_000))
    time.sleep(1.5)  # the kernel takes a second to use a new link for multicast
    edges = [Edge(folder, name, folder / "public.pem") for name in ("edge1", "edge2")]
    attack()
    origin = publish(folder, site, "--edges", "edge1,edge2")
    first = json.loads(origin.communicate()[0])
    result: dict[str, Any] = {"first": first, "status": origin.returncode, **counters}
    result["identical"] = [edge.verdict(site) for edge in edges]
    result["repairs"] = sum(event["event"] == "repair" for edge in edges for event in edge.events())

    edges[1].process.send_signal(signal.SIGKILL)
    edges[1].process.wait()
    (site / "pages" / "0.html").write_bytes(b"new")
    (site / "pages" / "1.html").unlink()
    (site / "more.bin").write_bytes(content.randbytes(700_000))
    origin = publish(folder, site, "--edges", "edge1", "--stay")
    edges[0].wait_for("complete", version=2)
    time.sleep(0.3)
    before = counters["datagrams"]
    edges[1] = Edge(folder, "edge2", folder / "public.pem")
    edges[1].wait_for("complete", version=2)
    result["back"] = [event["event"] for event in edges[1].events()]
    result["resent"] = counters["datagrams"] - before
    result["identical"] += [edge.verdict(site) for edge in edges]
    origin.terminate()
    origin.communicate()

    counters["only_fdt"] = 1
    (site / "pages" / "2.html").write_bytes(b"last resort")
    origin = publish(folder, site, "--edges", "edge1,edge2")
    result["last_resort"] = json.loads(origin.communicate()[0])["complete"]
    result["identical"] += [edge.verdict(site) for edge in edges]
    for edge in edges:
        edge.process.terminate()
        edge.process.wait()
    result["rejected"] = [edge.events()[-1]["rejected"] for edge in edges]
    result["exits"] = [edge.process.returncode for edge in edges]
    return result


if __name__ == "__main__":
    if sys.argv[1] == "no-offload":
        no_offload(sys.argv[2])
    else:
        print(json.dumps(main(Path(sys.argv[1]))), flush=True)
        os._exit(0)

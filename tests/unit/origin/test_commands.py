"""The command line: push to real edges, keys, usage, DNS until SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dnslib import DNSRecord

from delivery.asgi import listen
from delivery.keys import load_private_key, load_public_key
from origin.__main__ import main


def free_port() -> int:
    with listen("::1", 0) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "film.mp4").write_bytes(os.urandom(700_000))
    (folder / "a page.html").write_bytes(b"<p>hello")
    (folder / "empty").write_bytes(b"")
    assert main(["keygen", "--key", str(tmp_path / "key"), "--public", str(tmp_path / "public")]) == 0
    return folder


@contextmanager
def edge(name: str, tmp_path: Path) -> Iterator[int]:
    """A real edge node; gives the port of its sync API."""
    port = free_port()
    command = [sys.executable, "-m", "edge_node", "serve", "--name", name, "--store", str(tmp_path / name)]
    command += ["--public-key", str(tmp_path / "public"), "--address", "::1", "--port", str(free_port())]
    command += ["--sync-address", "::1", "--sync-port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("::1", port), timeout=5).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        assert process.wait(10) == 0


def push(tmp_path: Path, site: Path, *targets: str) -> list[str]:
    to = [word for target in targets for word in ("--to", target)]
    return [
        "push",
        str(site),
        *to,
        "--key",
        str(tmp_path / "key"),
        "--state",
        str(tmp_path / "state"),
        "--json",
    ]


def test_push_puts_the_site_on_every_edge(
    tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with edge("edge1", tmp_path) as one, edge("edge2", tmp_path) as two:
        assert main(push(tmp_path, site, f"edge1=[::1]:{one}", f"edge2=[::1]:{two}")) == 0
        first = json.loads(capsys.readouterr().out)
        (site / "new").write_bytes(b"new")
        assert main(push(tmp_path, site, f"edge1=[::1]:{one}", f"edge2=[::1]:{two}")) == 0
        second = json.loads(capsys.readouterr().out)
    assert (first["version"], first["files"], first["bytes"], first["complete"]) == (1, 3, 700_008, True)
    assert [pushed["edge"] for pushed in first["edges"]] == ["edge1", "edge2"]
    assert all(pushed["bytes"] > 700_008 for pushed in first["edges"])
    assert (second["version"], second["files"]) == (2, 4)
    wanted = {path.read_bytes() for path in site.iterdir()}
    for name in ("edge1", "edge2"):
        blobs = (tmp_path / name / "blobs").glob("*/*")
        assert {path.read_bytes() for path in blobs} >= wanted


def test_push_to_an_edge_that_is_not_there(
    tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    assert main(push(tmp_path, site, f"edge1=[::1]:{port}")) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["complete"] is False
    assert captured.err == f"origin: edge1: [::1]:{port}: Connection refused\n"


def test_push_with_another_key_is_refused(
    tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with edge("edge1", tmp_path) as port:
        (tmp_path / "key").unlink()
        assert main(["keygen", "--key", str(tmp_path / "key"), "--public", str(tmp_path / "other")]) == 0
        assert main(push(tmp_path, site, f"edge1=[::1]:{port}")) == 1
    assert "PUT /manifest was answered 400" in capsys.readouterr().err


def test_keygen_makes_a_pair(tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signature = load_private_key(tmp_path / "key").sign(b"x")
    load_public_key(tmp_path / "public").verify(signature, b"x")
    assert main(["keygen", "--key", str(tmp_path / "key"), "--public", str(tmp_path / "public")]) == 1
    assert "exists" in capsys.readouterr().err


SOURCE = ["--source", "fd00::1", "--interface", "lo", "--key", "k", "--state", "s"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["publish", "dir"],
        ["publish", "dir", *SOURCE],
        ["publish", "dir", *SOURCE, "--expect", "-1"],
        ["publish", "dir", *SOURCE, "--stay", "--group", "fd00::2"],
        ["publish", "dir", *SOURCE, "--stay", "--rate-mbps", "0"],
        ["publish", "dir", *SOURCE, "--stay", "--port", "65536"],
        ["publish", "dir", *SOURCE, "--edges", ","],
        ["publish", "dir", *SOURCE, "--stay", "--mtu-bytes", "many"],
        ["publish", "dir", *SOURCE, "--stay", "--encrypt"],
        ["publish", "dir", *SOURCE, "--stay", "--members", "m"],
        ["watch", "dir", *SOURCE, "--interval-s", "0"],
        ["watch", "dir", *SOURCE, "--channel", "dir"],
        ["watch", "dir", *SOURCE, "--channel", "a/b=dir"],
        ["watch", "dir", *SOURCE, "--channel-group-base", "fd00::1"],
        ["rotate-key", "--state", "s", "--key", "k"],
        ["push", "dir", "--to", "edge1=::1:80", "--key", "k", "--state", "s"],
        ["push", "dir", "--to", "[::1]:80", "--key", "k", "--state", "s"],
        ["dns", "--address", "1.2.3.4", "--aaaa", "::1"],
        ["keygen"],
    ],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [[], ["publish"], ["watch"], ["push"], ["status"], ["dns"], ["keygen"], ["rotate-key"]]
)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "usage:" in capsys.readouterr().out


def test_missing_key_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(tmp_path), *SOURCE, "--stay"]) == 1
    assert capsys.readouterr().err == (
        "origin: k: cannot read the key: No such file or directory; make one with `python -m origin keygen`\n"
    )


def test_same_edge_twice(tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(push(tmp_path, site, "edge1=[::1]:1", "edge1=[::1]:2")) == 1
    assert "names an edge twice" in capsys.readouterr().err


def test_dns_serves_until_sigterm() -> None:
    command = [sys.executable, "-m", "origin", "dns", "--address", "::1", "--port", "0"]
    command += ["--aaaa", "2001:db8:ffff::1", "--ttl-s", "7", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        begun = json.loads(process.stdout.readline())
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
            udp.settimeout(5)
            udp.sendto(DNSRecord.question("www.nearcast.test", "AAAA").pack(), ("::1", begun["port"]))
            (record,) = DNSRecord.parse(udp.recv(2000)).rr
        process.send_signal(signal.SIGTERM)
        assert json.loads(process.stdout.readline()) == {"queries": 1}
        assert process.wait(10) == 0
    assert (str(record.rdata), record.ttl) == ("2001:db8:ffff::1", 7)


def test_dns_reads_its_table_again_on_sighup(tmp_path: Path) -> None:
    table = tmp_path / "geo"
    table.write_text("::1/128 2001:db8::1\n")
    command = [sys.executable, "-m", "origin", "dns", "--address", "::1", "--port", "0"]
    command += ["--aaaa", "2001:db8:ffff::1", "--geo", str(table), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = json.loads(process.stdout.readline())["port"]

        def told() -> str:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
                udp.settimeout(5)
                udp.sendto(DNSRecord.question("www.nearcast.test", "AAAA").pack(), ("::1", port))
                return str(DNSRecord.parse(udp.recv(2000)).rr[0].rdata)

        assert told() == "2001:db8::1"
        table.write_text("# the edge is gone\n::1/128 2001:db8::2\n")
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while told() != "2001:db8::2":
            assert time.monotonic() < deadline
        table.write_text("nonsense\n")
        process.send_signal(signal.SIGHUP)
        assert "line 1: expected an IPv6 prefix and an IPv6 address" in process.stderr.readline()
        assert told() == "2001:db8::2"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_table_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["dns", "--address", "::1", "--port", "0", "--aaaa", "::1", "--geo", str(tmp_path / "none")]
    assert main(argv) == 1
    assert "none: No such file or directory" in capsys.readouterr().err


def test_a_channel_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = ["--channel", f"news={tmp_path}", "--channel", f"news={tmp_path}"]
    assert main(["watch", str(tmp_path), *SOURCE, *channels]) == 1
    assert capsys.readouterr().err == "origin: --channel names a channel twice\n"


def test_watch_serves_its_status_until_sigterm(
    tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "origin", "watch", str(site), "--source", "::1", "--interface", "lo"]
    command += ["--group", "::1", "--http-port", str(port), "--interval-s", "0.05", "--edges", "edge1"]
    command += ["--key", str(tmp_path / "key"), "--state", str(tmp_path / "state"), "--json"]
    # The loopback interface has no multicast: the command line checks the group, the service does not.
    patched = [
        sys.executable,
        "-c",
        "import sys, origin.arguments as a; a._group = a._address; "
        "from origin.__main__ import main; sys.exit(main(sys.argv[1:]))",
        *command[3:],
    ]
    with subprocess.Popen(patched, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        (site / "new").write_bytes(b"new")
        second = json.loads(process.stdout.readline())
        assert main(["status", f"http://[::1]:{port}", "--json"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert main(["status", f"http://[::1]:{port}"]) == 0
        table = capsys.readouterr().out
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert (first["version"], first["files"], first["new_bytes"]) == (1, 3, 700_008)
    assert (second["version"], second["files"], second["new_bytes"]) == (2, 4, 3)
    assert (status["version"], status["sessions"][0]["edges"]["edge1"]["complete"]) == (2, False)
    assert "edge1" in table
    assert json.loads((tmp_path / "state" / "origin.json").read_text())["version"] == 2


def test_rotate_key_is_remembered(tmp_path: Path, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = ["--key", str(tmp_path / "key2"), "--public", str(tmp_path / "public2")]
    assert main(["keygen", *new]) == 0
    arguments = ["--state", str(tmp_path / "state"), "--key", str(tmp_path / "key")]
    rotate = ["rotate-key", *arguments, "--new-key", str(tmp_path / "key2")]
    assert main(rotate) == 1
    assert "nothing has been published" in capsys.readouterr().err
    port = free_port()
    assert main(push(tmp_path, site, f"edge1=[::1]:{port}")) == 1
    capsys.readouterr()
    assert main(rotate) == 0
    assert main(rotate) == 1
    assert "under way" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://x", "is no URL of an origin"),
        ("http://[::1", "is no URL of an origin"),
        ("http://[::1]:1", "does not answer"),
    ],
)
def test_status_of_nobody(url: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", url]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

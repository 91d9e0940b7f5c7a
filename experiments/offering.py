"""What a scenario offers besides the site: live channels, users' uploads; the origin stays for it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delivery.sessions import CHANNELS, LOCAL, Session
from topologies.spec import Role

if TYPE_CHECKING:
    from experiments.testbed import Testbed
    from lab.processes import LabProcess

CHANNEL_GROUPS = "ff35::8001:0"
"""The first channel's group; the others follow."""
LOCAL_GROUPS = "ff35::8002:0"
"""The group of the first edge's local content; the others follow."""
SEGMENT_S = 2
PLAYLIST_SEGMENTS = 8
_COMPLETE_TIMEOUT_S = 120.0
_SITE_TSI = 1


@dataclass(frozen=True, slots=True)
class Offering:
    """`channels` are names of live HLS streams; with `has_local` users may upload to their edge.

    An edge leaves what nobody has asked it for in `idle_s`. With `by_unicast` edges join nothing, but fetch
    what users ask for, as caches. The rate is that of one channel, of whole frames; `upload_bytes` is the
    most an upload may have, `burst_bytes` what one user may upload at once.
    """

    channels: tuple[str, ...] = ()
    has_local: bool = False
    idle_s: float = 30.0
    by_unicast: bool = False
    channel_rate_mbps: float = 50.0
    upload_bytes: int = 16 << 20
    burst_bytes: int = 32 << 20


def offering_to_json(offering: Offering | None) -> dict[str, Any] | None:
    """Plain data, see `offering_from_json`."""
    return None if offering is None else asdict(offering)


def offering_from_json(data: dict[str, Any] | None) -> Offering | None:
    """The inverse of `offering_to_json`."""
    return None if data is None else Offering(**{**data, "channels": tuple(data["channels"])})


def group_of(first: str, number: int) -> str:
    """The group `number` places after the first one."""
    return str(IPv6Address(int(IPv6Address(first)) + number))


def edge_words(offering: Offering | None, number: int, mtu_bytes: int) -> list[str]:
    """What `python -m edge_node serve` is told of the offering, at the edge with this number (from 0), whose
    own packets may have `mtu_bytes`."""
    if offering is None:
        return []
    words = ["--idle-s", repr(offering.idle_s)]
    if offering.by_unicast:
        words.append("--unicast-sessions")
    if offering.has_local:
        words += ["--local-group", group_of(LOCAL_GROUPS, number)]
        words += ["--upload-bytes", str(offering.upload_bytes)]
        words += ["--mtu-bytes", str(mtu_bytes)]
        words += ["--upload-burst-bytes", str(offering.burst_bytes)]
    return words


def start_origin(testbed: Testbed, offering: Offering, words: list[str]) -> str:
    """Start encoders and the origin, which stays; what it says of itself (JSON) once every edge has the site.

    `words` are the origin's options that have nothing to do with the offering. Raises TestbedError.
    """
    words = [*words, "--channel-group-base", CHANNEL_GROUPS]
    words += ["--channel-rate-mbps", repr(offering.channel_rate_mbps)]
    words += ["--json-log", str(testbed.raw / "origin.jsonl")]
    for name in offering.channels:
        words += ["--channel", f"{name}={start_encoder(testbed, name)}"]
    if offering.has_local:
        words += ["--peer", str(_write_peers(testbed))]
    namespace = testbed.net[testbed.origin].namespace
    origin = testbed.processes.start_module(
        "origin", "origin.__main__", ["watch", str(testbed.site), *words], namespace
    )
    return json.dumps(_wait_complete(testbed, origin, offering), indent=1)


def start_encoder(testbed: Testbed, name: str) -> Path:
    """Start an encoder that writes live HLS; the folder."""
    folder = testbed.work / "channels" / name
    folder.mkdir(parents=True)
    testbed.processes.start_program(
        f"encoder-{name}", encoder_command(folder), testbed.net[testbed.origin].namespace
    )
    return folder


def encoder_command(folder: Path) -> list[str]:
    """A test picture and a tone, at the pace of the clock, some 0.5 Mbit/s. One thread and the same bits in
    every run: `bitexact` leaves the versions of the programs out."""
    from imageio_ffmpeg import get_ffmpeg_exe

    frames = 12
    words = [get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-filter_threads", "1"]
    words += ["-re", "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate={frames}"]
    words += ["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    words += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1"]
    words += ["-b:v", "400k", "-maxrate", "400k", "-bufsize", "400k", "-pix_fmt", "yuv420p"]
    words += ["-g", str(frames * SEGMENT_S), "-keyint_min", str(frames * SEGMENT_S), "-sc_threshold", "0"]
    words += ["-c:a", "aac", "-b:a", "48k", "-flags", "+bitexact", "-fflags", "+bitexact"]
    words += ["-f", "hls", "-hls_time", str(SEGMENT_S), "-hls_list_size", str(PLAYLIST_SEGMENTS)]
    words += ["-hls_flags", "temp_file+delete_segments"]
    return [*words, "-hls_segment_filename", str(folder / "%05d.ts"), str(folder / "index.m3u8")]


def _write_peers(testbed: Testbed) -> Path:
    """The sessions of the edges' local content, for the origin to describe."""
    from delivery.keys import to_hex
    from edge_node.trust import own_key
    from experiments.testbed import FLUTE_PORT, SYNC_PORT

    sessions = []
    for edge in testbed.active_edges:
        address = str(testbed.plan.hosts[edge].unicast)
        number = testbed.topology.of_role(Role.EDGE).index(edge)
        session = Session(
            f"{LOCAL}/{edge}",
            address,
            group_of(LOCAL_GROUPS, number),
            FLUTE_PORT,
            _SITE_TSI,
            f"http://[{address}]:{SYNC_PORT}/{LOCAL}/{edge}",
            public_key=to_hex(own_key(testbed.store(edge)).public_key()),
        )
        sessions.append(asdict(session))
    path = testbed.work / "peers.json"
    path.write_text(json.dumps(sessions))
    return path


def _wait_complete(testbed: Testbed, origin: LabProcess, offering: Offering) -> dict[str, Any]:
    """Poll the origin until every edge has the site and every channel has begun. Raises TestbedError."""
    from experiments.testbed import ORIGIN_PORT, TestbedError
    from origin.errors import OriginError
    from origin.status_table import fetch_status

    url = f"http://[{testbed.plan.hosts[testbed.origin].unicast}]:{ORIGIN_PORT}"
    deadline_s = time.monotonic() + _COMPLETE_TIMEOUT_S
    said = ""
    while time.monotonic() < deadline_s:
        time.sleep(0.25)
        testbed.check_processes()
        try:
            with testbed.net[testbed.origin].namespace.entered():
                status = fetch_status(url)
        except OriginError as error:
            said = str(error)
            continue
        site, *others = status["sessions"]
        rows = [site["edges"].get(edge, {}) for edge in testbed.active_edges]
        playing = [row for row in others if row["name"].startswith(f"{CHANNELS}/") and row["version"]]
        if all(row.get("complete") for row in rows) and len(playing) == len(offering.channels):
            return status
        said = json.dumps(site["edges"])
    raise TestbedError(f"{origin.name}: not every edge has the site after {_COMPLETE_TIMEOUT_S:g} s: {said}")

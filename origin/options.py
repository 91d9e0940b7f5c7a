"""The command line of `python -m origin publish` and `watch`, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What to publish, how, and for whom. Rates count whole frames.

    `channels` are names with the folders their encoders write to. `timeout_s` is for `publish` alone,
    `interval_s` for `watch`.
    """

    folder: Path
    source: str
    interface: str
    key: Path
    state: Path
    site: str
    group: str
    port: int
    http_port: int
    rate_mbps: float
    edges: tuple[str, ...]
    expect: int
    timeout_s: float
    overhead_percent: float
    mtu_bytes: int = 1500
    carousel_mbps: float = 0.0
    interval_s: float = 1.0
    rules: Path | None = None
    channels: tuple[tuple[str, Path], ...] = ()
    channel_group_base: str = "ff35::8001:0"
    channel_rate_mbps: float = 50.0
    peers: tuple[Path, ...] = ()
    encrypt: bool = False
    members: Path | None = None
    new_epoch: bool = False
    json_log: Path | None = None

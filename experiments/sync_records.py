"""Records of the sweeps over ways of sync (docs/architecture.md, "Raw data of a run")."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyncCell:
    """One cell of a sweep: what a way of sync cost, and what came of it. `last_s` is None when an edge was
    left without something, `repair_symbols` where the way has none."""

    cell: str
    method: str
    edges: int
    loss_percent: float
    content: str
    content_bytes: int
    objects: int
    origin_bytes: int
    origin_packets: int
    busiest: str
    busiest_bytes: int
    last_s: float | None
    identical: int
    repair_symbols: float | None
    origin_ipsec: int
    error: str

    @property
    def is_whole(self) -> bool:
        """Whether every edge has everything, bit by bit."""
        return not self.error and self.last_s is not None and self.identical == self.edges

    @property
    def origin_share(self) -> float:
        """Bytes sent by the origin for each byte of content."""
        return self.origin_bytes / self.content_bytes

    @property
    def busiest_share(self) -> float:
        """Bytes sent over the most-loaded backbone link for each byte of content."""
        return self.busiest_bytes / self.content_bytes

    @property
    def goodput_mbps(self) -> float:
        """Content per second until the last edge had it; 0 when one never had."""
        return self.content_bytes * 8e-6 / self.last_s if self.last_s else 0.0


@dataclass(frozen=True, slots=True)
class TunnelCount:
    """IPsec in one cell: what the kernels held, and what left the origin with ESP and without."""

    cell: str
    edges: int
    origin_associations: int
    origin_policies: int
    edge_associations: int
    edge_policies: int
    esp_frames: int
    clear_frames: int
    inner_bytes: int
    inner_packets: int

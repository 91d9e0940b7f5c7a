"""UFTP: multicast with negative acknowledgements, to a source-specific group of its own.

It gets what helps it: the tree stands before it sends, the sender knows whom to expect, announcements and
data go to one group, blocks fill the packets, and its rate is the same on the wire as ours.
"""

from __future__ import annotations

from pathlib import Path

from experiments.ways.folders import FolderWay

GROUP = "ff35::8000:5"
PORT = 1044
BLOCK_BYTES = 1428
"""The largest that fits a packet of 1,500 bytes: IPv6 40, UDP 8, UFTP 24."""
PACKET_BYTES, FRAME_BYTES = 1500, 1514
SENDER_ID = 0xFFFF
BUFFER_BYTES = 4 << 20
HOP_LIMIT = 64


class Uftp(FolderWay):
    """`uftpd` in the foreground at each edge, one `uftp` at the origin."""

    def place(self, edge: str) -> Path:
        """UFTP puts the folder under its name into the edge's folder."""
        return self.task.received(edge) / "site"

    def prepare(self) -> None:
        """The receivers, and the tree to all of them. Raises TestbedError, ControlError."""
        super().prepare()
        servers = self.task.folder / "servers"
        servers.write_text(f"{_identity(SENDER_ID)}|{self.task.origin_address}\n")
        for number, edge in enumerate(self.task.edges, start=1):
            command = ["uftpd", "-d", "-q", "-U", _identity(number), "-I", self.task.address(edge)]
            command += ["-M", GROUP, "-p", str(PORT), "-S", str(servers), "-B", str(BUFFER_BYTES)]
            self.programs.start(f"uftpd-{edge}", edge, [*command, "-D", str(self.task.received(edge))])
        wanted = set(self.task.edges)
        self.task.testbed.control.wait_until(
            lambda status: bool(status["synced"]) and wanted <= set(status["members"].get(GROUP, ())),
            "all uftpd in their group",
            check=self.programs.check,
        )

    def send(self) -> None:
        """One transmission for all. Raises TestbedError when it fails."""
        members = ",".join(_identity(number) for number in range(1, len(self.task.edges) + 1))
        command = ["uftp", "-R", str(rate_word(self.task.rate_mbps)), "-b", str(BLOCK_BYTES)]
        command += ["-t", str(HOP_LIMIT), "-U", _identity(SENDER_ID), "-I", self.task.origin_address]
        command += ["-M", GROUP, "-P", GROUP, "-p", str(PORT), "-B", str(BUFFER_BYTES), "-H", members]
        self.programs.start("uftp", self.task.testbed.origin, [*command, "-D", "site", str(self.task.site)])
        self.programs.finish("uftp")


def rate_word(rate_mbps: float) -> int:
    """What `-R` wants for a rate of whole frames: it counts 1,024 bits, and packets without Ethernet."""
    return round(rate_mbps * 1e6 / 1024 * PACKET_BYTES / FRAME_BYTES)


def _identity(number: int) -> str:
    """By default it would be the end of the address, which is the same for all edges."""
    return f"0x{number:08X}"

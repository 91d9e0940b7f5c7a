"""What the application reads from Ryu's messages, and how it keeps Ryu from reading too much."""

from __future__ import annotations

import struct
from typing import Any

from controller.openflow.ryu_api import ofp, parser

OFP_VERSION = ofp.OFP_VERSION


class _RawEntry:
    """An entry of a multipart reply that only knows its length."""

    def __init__(self, length: int) -> None:
        self.length = length

    @classmethod
    def parser(cls, data: bytes, offset: int) -> _RawEntry:
        """The runtime's way to make one."""
        return cls(struct.unpack_from("!H", data, offset)[0])


def keep_statistics_raw() -> None:
    """Let the runtime hand on what switches hold without parsing it: `controller.openflow.dump` does that,
    and knows all of Open vSwitch's extensions that the pipeline uses."""
    for reply in (
        parser.OFPFlowStatsReply,
        parser.OFPGroupDescStatsReply,
        parser.OFPMeterConfigStatsReply,
    ):
        reply.cls_stats_body_cls = _RawEntry


def port_is_up(description: Any) -> bool:
    """Whether a port description says that the port is enabled and has a carrier."""
    return not (description.config & ofp.OFPPC_PORT_DOWN or description.state & ofp.OFPPS_LINK_DOWN)


def is_deletion(reason: int) -> bool:
    """Whether a port status message says that the port is gone."""
    return bool(reason == ofp.OFPPR_DELETE)

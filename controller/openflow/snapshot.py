"""What all switches of a lab hold at one moment, as they say themselves: kept as their own messages, so that
a snapshot is evidence, and understood by the decoder that the controller uses.

Each switch is read at one instant, all of them one right after the other: under the lab's virtual clock at
the same time, on the real clock within some milliseconds.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from controller.openflow import encode
from controller.openflow.channel import ANSWER_TIMEOUT_S, Channel
from controller.openflow.held import READ_KINDS, Held, multipart_kind, read_requests
from controller.plan.facts import PortId
from controller.plan.rules import Tables
from topologies.spec import Topology, from_json, to_json

FORMAT, VERSION = "nearcast-snapshot", 1


class SnapshotError(ValueError):
    """A snapshot or a recording is damaged; the message is one line that says where and how."""


@dataclass(frozen=True)
class Snapshot:
    """`replies` are what each switch has answered to `held.read_requests`; `t_s` is when the last answer was
    there, in seconds on the lab's monotonic clock."""

    t_s: float
    topology: Topology
    replies: Mapping[str, tuple[bytes, ...]]

    @cached_property
    def held(self) -> Mapping[str, Held]:
        """What each switch holds, decoded. Do not change it. Raises SnapshotError."""
        found = {}
        for switch, replies in self.replies.items():
            try:
                found[switch] = Held(replies)
            except ValueError as error:
                raise SnapshotError(f"switch {switch}: {error}") from None
        return found

    @cached_property
    def tables(self) -> Mapping[str, Tables]:
        """What each switch holds of ours. Raises SnapshotError."""
        return {switch: held.tables for switch, held in self.held.items()}

    @cached_property
    def foreign(self) -> Mapping[str, tuple[str, ...]]:
        """What switches hold of somebody else's, a line each; only switches that do. Raises SnapshotError."""
        return {switch: held.foreign for switch, held in self.held.items() if held.foreign}

    @cached_property
    def down_ports(self) -> frozenset[PortId]:
        """The switch ports of the topology that are not there, disabled or without a carrier. Raises
        SnapshotError."""
        return frozenset().union(
            *(ports_down(self.topology, switch, held) for switch, held in self.held.items())
        )

    @property
    def rule_count(self) -> int:
        """How many rules of ours there are in all switches. Raises SnapshotError."""
        return sum(len(tables.rules) for tables in self.tables.values())

    def to_json(self) -> dict[str, Any]:
        """The snapshot as plain data."""
        switches = {switch: messages_to_json(replies) for switch, replies in self.replies.items()}
        head = {"format": FORMAT, "version": VERSION, "t_s": self.t_s}
        return {**head, "topology": to_json(self.topology), "switches": switches}

    def save(self, path: Path) -> None:
        """Write a JSON file. Raises OSError."""
        path.write_text(json.dumps(self.to_json()) + "\n")


def ports_down(topology: Topology, switch: str, held: Held) -> frozenset[PortId]:
    """The ports of a switch that the topology has and that are not up."""
    up = held.up_ports
    return frozenset(PortId(switch, port.number) for port in topology.ports[switch] if port.number not in up)


def read_snapshot(folder: Path, topology: Topology, timeout_s: float = ANSWER_TIMEOUT_S) -> Snapshot:
    """Read all switches of a topology; `folder` is where Open vSwitch has their management sockets. All are
    asked before the first answer is waited for. Raises ChannelError."""
    requests = [*read_requests(), encode.barrier()]
    with ExitStack() as stack:
        channels = [stack.enter_context(Channel(switch, folder, timeout_s)) for switch in topology.switches]
        barriers = [channel.send(requests) for channel in channels]
        replies = {
            channel.switch: read_replies(channel.receive_until(barrier)[0])
            for channel, barrier in zip(channels, barriers, strict=True)
        }
        return Snapshot(time.monotonic(), topology, replies)


def read_replies(messages: Iterable[bytes]) -> tuple[bytes, ...]:
    """Those messages that answer `held.read_requests`."""
    return tuple(message for message in messages if multipart_kind(message) in READ_KINDS)


def load_snapshot(path: Path) -> Snapshot:
    """Read what `Snapshot.save` has written, and check that all of it can be understood. Raises
    SnapshotError, and OSError when the file cannot be read."""
    try:
        return snapshot_from_json(json.loads(path.read_bytes()))
    except ValueError as error:
        raise SnapshotError(f"{path}: {error}") from None


def snapshot_from_json(data: Any) -> Snapshot:
    """The inverse of `Snapshot.to_json`. Raises SnapshotError when something is missing or damaged."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SnapshotError("this is no snapshot of a lab's switches; `nearcast verify` says how to take one")
    if data.get("version") != VERSION:
        raise SnapshotError(f"format version {data.get('version')!r}; this program reads {VERSION}")
    try:
        topology = from_json(data["topology"])
        switches = {switch: messages_from_json(texts) for switch, texts in data["switches"].items()}
        snapshot = Snapshot(float(data["t_s"]), topology, switches)
    except SnapshotError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SnapshotError(f"damaged ({type(error).__name__}: {error}); take it again") from None
    if set(switches) != set(topology.switches):
        odd = sorted(set(switches) ^ set(topology.switches))
        raise SnapshotError(f"the switches are not those of its topology ({', '.join(odd)}); take it again")
    _ = snapshot.tables
    return snapshot


def messages_to_json(messages: Sequence[bytes]) -> list[str]:
    """OpenFlow messages as text."""
    return [base64.b64encode(data).decode() for data in messages]


def messages_from_json(texts: Any) -> tuple[bytes, ...]:
    """The inverse of `messages_to_json`. Raises SnapshotError when one is not whole."""
    messages = []
    for text in texts:
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise SnapshotError("a message is no base64; the file is damaged") from None
        if len(data) < 8 or int.from_bytes(data[2:4]) != len(data):
            raise SnapshotError("a message is cut off; the file is damaged")
        messages.append(data)
    return tuple(messages)

"""Multicast groups of every scope: who may hear what from whom, tried with all hosts at once."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv6Address

from edge_node.multicast import join
from experiments.acts.context import Context

COLUMNS = ("group", "sender", "receiver", "sent", "received")
PORT = 4100
JOIN_S = 2.0
"""From the join to the tree: MLD reports, the plan, the switches."""
INTERVAL_S = 0.01
ARRIVE_S = 0.5


def run(
    context: Context,
    *,
    groups: Sequence[str],
    senders: Sequence[str],
    receivers: Sequence[str],
    packets: int,
    payload_bytes: int = 64,
    phase: str = "",
) -> None:
    """Every receiver joins every group (of every sender, where the group is source-specific), every sender
    sends `packets` to every group. With `phase` the links are counted meanwhile under that name.

    One empty datagram goes ahead and is not counted: by it the switches learn the senders to any-source
    groups.
    """
    testbed = context.testbed
    sources = {sender: str(testbed.plan.hosts[sender].unicast) for sender in senders}
    listeners = {
        (group, receiver): _listen(context, group, receiver, tuple(sources.values()))
        for group in groups
        for receiver in receivers
    }
    outlets = {sender: _outlet(context, sender, sources[sender]) for sender in senders}
    time.sleep(JOIN_S)
    _send(outlets, groups, 1, 0)
    time.sleep(JOIN_S)
    if phase:
        with context.sampler.phase(phase, INTERVAL_S * packets):
            _send(outlets, groups, packets, payload_bytes)
            time.sleep(ARRIVE_S)
    else:
        _send(outlets, groups, packets, payload_bytes)
        time.sleep(ARRIVE_S)
    names = {source: sender for sender, source in sources.items()}
    rows = []
    for (group, receiver), sockets in listeners.items():
        heard = _heard(sockets)
        for sender in senders:
            if sender != receiver:
                count = sum(number for source, number in heard.items() if names.get(source) == sender)
                rows.append((group, sender, receiver, packets, count))
        for sock in sockets:
            sock.close()
    for outlet in outlets.values():
        outlet.close()
    context.write("groups.csv", COLUMNS, rows)


def _listen(context: Context, group: str, receiver: str, sources: Sequence[str]) -> list[socket.socket]:
    interface = context.testbed.topology.ports[receiver][0].interface
    with context.namespace(receiver).entered():
        if IPv6Address(group).packed[1] >> 4 == 3:
            return [join(group, source, interface, PORT) for source in sources]
        listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        index = socket.if_nametoindex(interface)
    listener.bind((group, PORT, 0, index))
    membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
    return [listener]


def _outlet(context: Context, sender: str, source: str) -> socket.socket:
    with context.namespace(sender).entered():
        outlet = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        index = socket.if_nametoindex(context.testbed.topology.ports[sender][0].interface)
    outlet.bind((source, 0))
    outlet.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    outlet.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 64)
    outlet.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    return outlet


def _send(outlets: Mapping[str, socket.socket], groups: Sequence[str], packets: int, size: int) -> None:
    for _ in range(packets):
        for outlet in outlets.values():
            for group in groups:
                outlet.sendto(bytes(size), (group, PORT))
        time.sleep(INTERVAL_S)


def _heard(sockets: Sequence[socket.socket]) -> Counter[str]:
    """How many datagrams came from each source, without the empty ones."""
    heard: Counter[str] = Counter()
    for sock in sockets:
        with suppress(BlockingIOError):
            while True:
                data, source = sock.recvfrom(2048)
                heard[source[0].partition("%")[0]] += len(data) > 0
    return heard

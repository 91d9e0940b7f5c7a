"""What Open vSwitch makes of a group: which buckets it uses, and in which order it carries them out."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice

from controller.plan.rules import (
    Action,
    Bucket,
    Commit,
    DecHopLimit,
    Group,
    GroupKind,
    Output,
    PopTag,
    Punt,
    PushTag,
    SetEthDst,
    SetEthSrc,
    ToGroup,
    Track,
)


def used_buckets(group: Group, down: Container[int]) -> tuple[Bucket, ...]:
    """The buckets of a group that packets go through while some ports are down."""
    if group.kind is GroupKind.ALL:
        return group.buckets
    live = (bucket for bucket in group.buckets if bucket.watch_port not in down)
    return tuple(islice(live, 1))


@lru_cache(maxsize=65536)
def carried_out(bucket: Bucket) -> Bucket:
    """A bucket with its actions as Open vSwitch carries them out: not as a list but as a set (OpenFlow Switch
    Specification 1.4.1, section 5.10). A tag is taken off, then one is pushed, the hop limit falls by one,
    addresses are set; then follows one action, the last that names a group, or else a port, or else a
    connection. Without such an action nothing happens at all."""

    def of(*kinds: type) -> list[Action]:
        return [action for action in bucket.actions if isinstance(action, kinds)]

    final = (of(ToGroup) or of(Output, Punt) or of(Commit, Track))[-1:]
    if not final:
        return replace(bucket, actions=())
    first = (of(PopTag)[-1:], of(PushTag)[-1:], of(DecHopLimit)[-1:])
    return replace(bucket, actions=(*chain(*first), *of(SetEthSrc, SetEthDst), *final))

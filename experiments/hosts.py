"""Hosts of the lab by name, handed to a forked process as words of its command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from topologies.mininet_net import LabNet
from topologies.namespaces import NetworkNamespace


def host_words(net: LabNet, names: Iterable[str]) -> list[str]:
    """`NAME=FD` for each host; the descriptors are those of this process, which the child inherits."""
    return [f"{name}={net[name].namespace.fd}" for name in names]


def read_hosts(words: Iterable[str]) -> Mapping[str, NetworkNamespace]:
    """The inverse of `host_words`, in the child. Raises ValueError for a word of another form."""
    pairs = [word.partition("=") for word in words]
    return {name: NetworkNamespace(int(fd), name) for name, _, fd in pairs}

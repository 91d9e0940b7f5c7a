"""What is to be proved: a list of things that must and must not happen, in the names of a topology.

Without a policy of one's own it is the table of docs/verify.md; a policy file replaces or extends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from topologies.addressing import plan_addresses
from topologies.spec import Role, Topology

ROLES: Mapping[str, tuple[Role, ...]] = {
    "users": (Role.USER,),
    "edges": (Role.EDGE,),
    "origin": (Role.ORIGIN,),
    "dns": (Role.DNS,),
    "servers": (Role.EDGE, Role.ORIGIN, Role.DNS),
    "everyone": (Role.USER, Role.EDGE, Role.ORIGIN, Role.DNS),
}
"""Names for many hosts at once."""
BUILT_IN: Mapping[str, tuple[str, str]] = {
    "isolation": (
        "C8",
        "nothing from a user port, spoofed or not, is delivered to the origin or the ULA plane",
    ),
    "scope": ("C10", "scoped groups never cross their zone; only the bound source injects"),
    "private routing": ("C11", "no router address is reachable beyond its neighbours"),
    "gateway": ("C12", "nothing unsolicited reaches a user"),
    "anti-spoofing": ("", "a host's port emits only its own sources"),
    "no ambiguity": ("", "no packet is for two rules of one priority that do different things"),
    "no loops": ("", "nothing goes round in circles"),
    "no black holes": ("", "every planned pair is delivered, and nothing dies on the way"),
    "nearest": ("C5", "the service address goes to the nearest edge that answers"),
}
"""The invariants by name, with the claim that each is about."""
SAFETY = frozenset({"isolation", "scope", "gateway"})
"""What no moment may break, not even while switches are being updated."""


class PolicyError(ValueError):
    """A policy that makes no sense; the message says where and what is expected."""


@dataclass(frozen=True, slots=True)
class Reachability:
    """A rule of one's own: packets `senders` send, to these destinations (none: any), do or do not arrive at
    these hosts (none: any)."""

    name: str
    senders: tuple[str, ...]
    hosts: tuple[str, ...]
    destinations: tuple[IPv6Network, ...]
    must: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """What is to be proved: invariants by name, and rules of one's own."""

    invariants: tuple[str, ...] = tuple(BUILT_IN)
    rules: tuple[Reachability, ...] = ()


DEFAULT = Policy()


def read_policy(document: Any, topology: Topology) -> Policy:
    """The policy in a document (parsed YAML or JSON). Raises PolicyError.

    `invariants` lists names (all of them when it is left out); `must` and `must_not` list entries with
    `from`, and `to`, `dst` or both, and a `name`.
    """
    if not isinstance(document, Mapping):
        raise PolicyError("a policy is a mapping with invariants, must and must_not")
    unknown = set(document) - {"invariants", "must", "must_not"}
    if unknown:
        raise PolicyError(f"{min(map(str, unknown))!r}: expected invariants, must or must_not")
    names = document.get("invariants", list(BUILT_IN))
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise PolicyError("invariants: expected a list of names")
    for name in names:
        if name not in BUILT_IN:
            raise PolicyError(f"invariants: {name!r} is none; there are {', '.join(BUILT_IN)}")
    rules = [
        _rule(entry, f"{key}[{number}]", key == "must", topology)
        for key in ("must", "must_not")
        for number, entry in enumerate(document.get(key) or ())
    ]
    return Policy(tuple(names), tuple(rules))


def _rule(entry: Any, where: str, must: bool, topology: Topology) -> Reachability:
    if not isinstance(entry, Mapping):
        raise PolicyError(f"{where}: expected a mapping with from, and to or dst")
    unknown = set(entry) - {"name", "from", "to", "dst"}
    if unknown:
        raise PolicyError(f"{where}: {min(map(str, unknown))!r}: expected name, from, to or dst")
    if "from" not in entry or not ({"to", "dst"} & set(entry)):
        raise PolicyError(f"{where}: expected from, and to or dst")
    senders = _hosts(entry["from"], f"{where}.from", topology)
    hosts = _hosts(entry["to"], f"{where}.to", topology) if "to" in entry else ()
    destinations = _networks(entry["dst"], f"{where}.dst", topology) if "dst" in entry else ()
    if must and not destinations:
        destinations = _addresses(hosts, f"{where}.to", topology)
    word = "reaches" if must else "never reaches"
    name = entry.get("name") or f"{_words(entry['from'])} {word} {_words(entry.get('to', entry.get('dst')))}"
    return Reachability(str(name), senders, hosts, destinations, must)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(map(str, value))


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value]


def _hosts(value: Any, where: str, topology: Topology) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in _listed(value):
        if name in ROLES:
            found |= dict.fromkeys(topology.of_role(*ROLES[name]))
        elif name in topology.hosts:
            found[name] = None
        else:
            raise PolicyError(f"{where}: {name!r} is no host of {topology.name}, nor {', '.join(ROLES)}")
    if not found:
        raise PolicyError(f"{where}: names no host of {topology.name}")
    return tuple(found)


def _networks(value: Any, where: str, topology: Topology) -> tuple[IPv6Network, ...]:
    addresses, found = plan_addresses(topology), list[IPv6Network]()
    for name in _listed(value):
        if name == "service":
            found.append(IPv6Network(addresses.service))
        elif name == "infrastructure":
            found.append(addresses.infrastructure)
        elif name in topology.hosts:
            found += _addresses((name,), where, topology)
        else:
            try:
                found.append(IPv6Network(name))
            except ValueError:
                raise PolicyError(
                    f"{where}: {name!r} is no prefix, no host of {topology.name}, "
                    "and not service or infrastructure"
                ) from None
    return tuple(found)


def _addresses(hosts: Sequence[str], where: str, topology: Topology) -> tuple[IPv6Network, ...]:
    """The addresses of hosts; a user stands for the prefix that it is in."""
    addresses, found = plan_addresses(topology), list[IPv6Network]()
    for host in hosts:
        fixed = [IPv6Address(interface.ip) for interface in addresses.hosts[host].addresses]
        if not fixed:
            raise PolicyError(f"{where}: {host} has no fixed address; name its address with dst")
        found += [IPv6Network(address) for address in fixed]
    return tuple(found)

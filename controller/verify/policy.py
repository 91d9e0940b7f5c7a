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

Path = tuple[str | int, ...]
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
    """A policy that makes no sense; the message says where and what is expected. `path` is where, as keys and
    indexes of the document."""

    def __init__(self, path: Path, message: str) -> None:
        self.path = path
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        super().__init__(f"{where}: {message}" if where else message)


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
        raise PolicyError((), "expected a mapping with invariants, must and must_not")
    for key in document:
        if key not in ("invariants", "must", "must_not"):
            raise PolicyError((str(key),), "no such part of a policy; expected invariants, must or must_not")
    named = document.get("invariants", list(BUILT_IN))
    if named is None:
        raise PolicyError(("invariants",), "expected a list; leave it out for all of them, [] for none")
    for number, name in enumerate(_items(named, ("invariants",))):
        if not isinstance(name, str) or name not in BUILT_IN:
            text = f"{name!r} is no invariant; there are {', '.join(BUILT_IN)}"
            raise PolicyError(("invariants", number), text)
    rules: dict[str, Reachability] = {}
    for key in ("must", "must_not"):
        for number, entry in enumerate(_items(document.get(key), (key,))):
            rule = _rule(entry, (key, number), key == "must", topology)
            if rule.name in (*BUILT_IN, *rules):
                raise PolicyError((key, number), f"another rule is called {rule.name!r}; give it a name")
            rules[rule.name] = rule
    if not named and not rules:
        raise PolicyError((), "asks for nothing; name invariants, must or must_not")
    return Policy(tuple(dict.fromkeys(named)), tuple(rules.values()))


def _items(value: Any, where: Path) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise PolicyError(where, "expected a list")
    return value


def _rule(entry: Any, where: Path, must: bool, topology: Topology) -> Reachability:
    if not isinstance(entry, Mapping):
        raise PolicyError(where, "expected a mapping with from, and to or dst")
    for key in entry:
        if key not in ("name", "from", "to", "dst"):
            raise PolicyError((*where, str(key)), "no such part of a rule; expected name, from, to or dst")
    if "from" not in entry or not ({"to", "dst"} & set(entry)):
        raise PolicyError(where, "expected from, and to or dst")
    senders = _hosts(entry["from"], (*where, "from"), topology)
    hosts = _hosts(entry["to"], (*where, "to"), topology) if "to" in entry else ()
    destinations = _networks(entry["dst"], (*where, "dst"), topology) if "dst" in entry else ()
    if must and not destinations:
        destinations = _addresses(hosts, (*where, "to"), topology)
    word = "reaches" if must else "never reaches"
    name = entry.get("name") or f"{_words(entry['from'])} {word} {_words(entry.get('to', entry.get('dst')))}"
    return Reachability(str(name), senders, hosts, destinations, must)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(map(str, value))


def _listed(value: Any, where: Path) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise PolicyError(where, "expected a name or a list of names")
    return list(value)


def _hosts(value: Any, where: Path, topology: Topology) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in _listed(value, where):
        if name in ROLES:
            found |= dict.fromkeys(topology.of_role(*ROLES[name]))
        elif name in topology.hosts:
            found[name] = None
        else:
            raise PolicyError(where, f"{name!r} is no host of {topology.name}, nor {', '.join(ROLES)}")
    if not found:
        raise PolicyError(where, f"names no host of {topology.name}")
    return tuple(found)


def _networks(value: Any, where: Path, topology: Topology) -> tuple[IPv6Network, ...]:
    addresses, found = plan_addresses(topology), list[IPv6Network]()
    for name in _listed(value, where):
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
                text = f"{name!r} is no prefix, no host of {topology.name}, and not service or infrastructure"
                raise PolicyError(where, text) from None
    if not found:
        raise PolicyError(where, "names no destination")
    return tuple(found)


def _addresses(hosts: Sequence[str], where: Path, topology: Topology) -> tuple[IPv6Network, ...]:
    """The fixed addresses of hosts."""
    addresses, found = plan_addresses(topology), list[IPv6Network]()
    for host in hosts:
        fixed = [IPv6Address(interface.ip) for interface in addresses.hosts[host].addresses]
        if not fixed:
            raise PolicyError(where, f"{host} has no fixed address; name its address with dst")
        found += [IPv6Network(address) for address in fixed]
    return tuple(found)

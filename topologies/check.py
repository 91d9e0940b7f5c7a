"""What makes a topology valid: every rule that a file, a generator or another process may break.

Pure: `check(topology)` returns findings, each with the element it concerns, so that `topologies.files`
can name the line. An empty result means that the address plan, the emulator and the controller can
work with the topology as it is.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from topologies.check_service import service_problems
from topologies.spec import SWITCH_ROLES, Role, Topology

TOPOLOGY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
NAME = re.compile(r"[a-z][a-z0-9]*")
NAME_LENGTH = 10
INTERFACE_LENGTH = 15
"""IFNAMSIZ of Linux is 16 bytes, the closing zero included."""
MIN_MTU_BYTES = 1280
"""The least link MTU of IPv6 (RFC 8200 section 5)."""
MAX_MTU_BYTES = 65535
MAX_ACCESS = 0xFFFC
"""Access switch i owns 2001:db8:i::/48; the last three of them are the routers', DNS's and the service's."""
MAX_NODES = 0xFFFF
"""Hosts, and switches, that 16 bits of a MAC address can count."""


class Part(StrEnum):
    """A part of a topology that a finding is about."""

    TOPOLOGY = "topology"
    SERVICE = "service"
    CONTROL = "control"
    NODES = "nodes"
    NODE = "node"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake. `index` is the place of the node or link in the topology, `field` its attribute.

    `role` is the group of nodes concerned when no single node is. `needs` lists the parts that must be
    complete for the finding to be true: a reader that lost a link must not believe "has no link".
    """

    part: Part
    message: str
    index: int = -1
    field: str = ""
    role: Role | None = None
    needs: frozenset[Part] = frozenset()


_ALL_NODES = frozenset({Part.NODES})
_ALL_LINKS = frozenset({Part.LINK})


def check(topology: Topology) -> tuple[Finding, ...]:
    """Every mistake in the topology, in a fixed order; empty when it is valid."""
    found = [*_names(topology), *_counts(topology), *_link_ends(topology), *_link_values(topology)]
    found += [Finding(Part.SERVICE, text, field=field) for field, text in service_problems(topology)]
    found += _control(topology)
    found += _attachments(topology)
    if not any(finding.part is Part.LINK and finding.field == "ends" for finding in found):
        found += _interfaces(topology)
    if not found:
        found += _connections(topology)
    return tuple(found)


def _names(topology: Topology) -> Iterator[Finding]:
    if not TOPOLOGY_NAME.fullmatch(topology.name):
        yield Finding(
            Part.TOPOLOGY,
            f"{topology.name!r} cannot name a topology; expected 1 to 40 of a-z, 0-9 and -",
            field="name",
        )
    seen: dict[str, Role] = {}
    for index, node in enumerate(topology):
        if not NAME.fullmatch(node.name):
            yield Finding(
                Part.NODE,
                f"{node.name!r} cannot name a node; expected a letter a-z, then letters a-z and digits",
                index,
            )
        elif len(node.name) > NAME_LENGTH:
            yield Finding(
                Part.NODE,
                f"{node.name!r} has {len(node.name)} characters; expected at most {NAME_LENGTH} "
                "(it becomes part of an interface name)",
                index,
            )
        if node.name in seen:
            before = "twice" if seen[node.name] is node.role else f"as {seen[node.name]} and as {node.role}"
            yield Finding(Part.NODE, f"{node.name!r} is listed {before}; expected unique names", index)
        seen.setdefault(node.name, node.role)


def _counts(topology: Topology) -> Iterator[Finding]:
    counts = Counter(node.role for node in topology)
    for role in (Role.ORIGIN, Role.DNS):
        if counts[role] > 1:
            names = ", ".join(topology.of_role(role))
            yield Finding(Part.NODES, f"{counts[role]} {role} nodes ({names}); expected one", role=role)
    for role in (Role.ACCESS, Role.EDGE, Role.ORIGIN, Role.USER, Role.DNS):
        if not counts[role]:
            amount = "one" if role in (Role.ORIGIN, Role.DNS) else "at least one"
            yield Finding(
                Part.NODES, f"no {role} node; expected {amount} under `{role}`", role=role, needs=_ALL_NODES
            )
    switches = sum(counts[role] for role in SWITCH_ROLES)
    limits = (
        (counts[Role.ACCESS], MAX_ACCESS, "access switches", "2001:db8:i::/48 has no more prefixes"),
        (switches, MAX_NODES, "switches", "their MAC addresses count 16 bits"),
        (len(topology.nodes) - switches, MAX_NODES, "hosts", "their MAC addresses count 16 bits"),
    )
    for count, limit, what, why in limits:
        if count > limit:
            yield Finding(Part.NODES, f"{count} {what}; expected at most {limit} ({why})")


def _link_ends(topology: Topology) -> Iterator[Finding]:
    known = dict.fromkeys(node.name for node in topology)
    seen: set[frozenset[str]] = set()
    for index, link in enumerate(topology.links):
        for end in dict.fromkeys((link.a, link.b)):
            if end not in known:
                close = get_close_matches(end, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else "expected a name listed under `nodes`"
                yield Finding(
                    Part.LINK,
                    f"there is no node {end!r}; {hint}",
                    index,
                    "ends",
                    needs=_ALL_NODES,
                )
        pair = frozenset({link.a, link.b})
        if link.a == link.b:
            yield Finding(
                Part.LINK, f"joins {link.a!r} to itself; expected two different nodes", index, "ends"
            )
        elif pair in seen:
            yield Finding(
                Part.LINK,
                f"joins {link.a!r} and {link.b!r} a second time; expected one link between two nodes",
                index,
                "ends",
            )
        seen.add(pair)


def _link_values(topology: Topology) -> Iterator[Finding]:
    for index, link in enumerate(topology.links):
        rules = (
            ("delay_ms", link.delay_ms >= 0, "0 or more"),
            ("rate_mbps", link.rate_mbps > 0, "more than 0"),
            ("loss_percent", 0 <= link.loss_percent <= 100, "0 to 100"),
            (
                "mtu_bytes",
                MIN_MTU_BYTES <= link.mtu_bytes <= MAX_MTU_BYTES,
                f"{MIN_MTU_BYTES} to {MAX_MTU_BYTES} (RFC 8200 section 5)",
            ),
            ("queue_packets", link.queue_packets >= 1, "1 or more"),
        )
        for field, holds, expected in rules:
            value = getattr(link, field)
            if not holds or not math.isfinite(value):
                yield Finding(Part.LINK, f"{value:g} is out of range; expected {expected}", index, field)


def _control(topology: Topology) -> Iterator[Finding]:
    delay_ms, place = topology.control.delay_ms, topology.control.at
    if not (delay_ms >= 0 and math.isfinite(delay_ms)):
        text = f"{delay_ms:g} is out of range; expected 0 or more"
        yield Finding(Part.CONTROL, text, field="delay_ms")
    if place is None or place in topology.switches:
        return
    if any(node.name == place for node in topology):
        text = f"{place!r} is a host; expected a switch"
        yield Finding(Part.CONTROL, text, field="at")
        return
    close = get_close_matches(place, topology.switches, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "expected a switch listed under `nodes`"
    text = f"there is no switch {place!r}; {hint}"
    yield Finding(Part.CONTROL, text, field="at", needs=_ALL_NODES)


def _attachments(topology: Topology) -> Iterator[Finding]:
    roles: dict[str, Role | None] = {}
    for node in topology:
        # A name with two roles has its own finding; what it may be linked to is anyone's guess.
        roles[node.name] = node.role if roles.get(node.name, node.role) is node.role else None
    counts: Counter[str] = Counter()
    dangling = any(end not in roles for link in topology.links for end in (link.a, link.b))
    for index, link in enumerate(topology.links):
        if link.a == link.b:
            continue
        counts.update((link.a, link.b))
        a, b = roles.get(link.a), roles.get(link.b)
        if a is None or b is None:
            continue
        if not a.is_switch and not b.is_switch:
            text = f"joins the hosts {link.a!r} and {link.b!r}; expected a switch at one end"
            yield Finding(Part.LINK, text, index, "ends")
        for host, role, switch, layer in ((link.a, a, link.b, b), (link.b, b, link.a, a)):
            if role in (Role.EDGE, Role.USER) and layer in (Role.CORE, Role.DISTRIBUTION):
                yield Finding(
                    Part.LINK,
                    f"attaches the {role} {host!r} to the {layer} switch {switch!r}; "
                    "expected an access switch",
                    index,
                    "ends",
                )
    for index, node in enumerate(topology):
        count = counts[node.name]
        if roles[node.name] is None:
            continue
        if not node.role.is_switch and count > 1:
            text = f"the {node.role} {node.name!r} has {count} links; expected exactly one"
            yield Finding(Part.NODE, text, index)
        elif not count and not dangling:
            amount = "at least one" if node.role.is_switch else "exactly one"
            kind = "switch" if node.role.is_switch else node.role
            text = f"the {kind} {node.name!r} has no link; expected {amount}"
            yield Finding(Part.NODE, text, index, needs=_ALL_LINKS)


def _interfaces(topology: Topology) -> Iterator[Finding]:
    for index, node in enumerate(topology):
        ports = topology.ports[node.name]
        if len(node.name) <= NAME_LENGTH and ports and len(ports[-1].interface) > INTERFACE_LENGTH:
            yield Finding(
                Part.NODE,
                f"{node.name!r} with {len(ports)} links would have the interface {ports[-1].interface!r}; "
                f"expected at most {INTERFACE_LENGTH} characters: shorten the name",
                index,
            )


def _connections(topology: Topology) -> Iterator[Finding]:
    switches = topology.switches
    reached = {switches[0]}
    queue = [switches[0]]
    while queue:
        for port in topology.ports[queue.pop()]:
            if port.peer not in reached and topology.role(port.peer).is_switch:
                reached.add(port.peer)
                queue.append(port.peer)
    for index, node in enumerate(topology):
        if node.role.is_switch and node.name not in reached:
            behind = [
                port.peer for port in topology.ports[node.name] if not topology.role(port.peer).is_switch
            ]
            hosts = f", nor the hosts behind it ({', '.join(behind)})" if behind else ""
            yield Finding(
                Part.NODE,
                f"the switch {node.name!r} has no path to {switches[0]!r}{hosts}; "
                "expected links that connect all switches",
                index,
                needs=_ALL_NODES | _ALL_LINKS,
            )

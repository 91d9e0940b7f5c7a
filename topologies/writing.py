"""A topology as the text of a file that people can read and edit (the inverse of `topologies.files`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Any

import yaml

from topologies.layers import LAYER_KEYS, link_key
from topologies.spec import ControlPlane, Link, OriginMode, Role, RouterAddressing, Topology

_REQUIRED = ("delay_ms", "rate_mbps")
_FIELDS = {name: field.default for name, field in Link.__dataclass_fields__.items() if name not in ("a", "b")}


def to_yaml(topology: Topology, description: str = "", comment: str = "") -> str:
    """The topology as YAML; `comment` becomes comment lines at the top.

    What most links of a layer have in common is written once, under `layers`. Reading the text gives
    the same topology, with the nodes grouped by role in the order of `spec.Role`.
    """
    return "\n".join(_lines(topology, description, comment)) + "\n"


def _lines(topology: Topology, description: str, comment: str) -> Iterator[str]:
    for line in comment.splitlines():
        yield f"# {line}".rstrip()
    yield f"name: {_scalar(topology.name)}"
    if description:
        yield f"description: {_scalar(description)}"
    yield "service:"
    yield f"  name: {_scalar(topology.service.name)}"
    yield f"  address: {_scalar(topology.service.address)}"
    if topology.origin is not OriginMode.HIDDEN:
        yield f"origin: {topology.origin}"
    if topology.routers is not RouterAddressing.LINK_LOCAL:
        yield f"routers: {topology.routers}"
    if topology.control != ControlPlane():
        yield f"control: {_mapping(_control(topology.control))}"
    yield "layers:"
    layers = _layers(topology)
    for key, values in layers.items():
        yield f"  {key}: {_mapping(values)}"
    yield "nodes:"
    for role in Role:
        names = topology.of_role(role)
        if names:
            yield from _list(str(role), [_scalar(name) for name in names])
    yield "links:"
    for link in topology.links:
        common = {**_FIELDS, **dict.fromkeys(_REQUIRED), **layers[link_key(topology, link)]}
        own = {name: getattr(link, name) for name in _FIELDS if getattr(link, name) != common[name]}
        ends = f"[{_scalar(link.a)}, {_scalar(link.b)}]"
        yield f"  - {{ends: {ends}, {_mapping(own)[1:]}" if own else f"  - {ends}"


def _control(control: ControlPlane) -> dict[str, Any]:
    """What of it has to be written."""
    values = {"at": control.at, "delay_ms": control.delay_ms}
    return {name: value for name, value in values.items() if value}


def _layers(topology: Topology) -> dict[str, dict[str, Any]]:
    links: dict[str, list[Link]] = {key: [] for key in LAYER_KEYS}
    for link in topology.links:
        links[link_key(topology, link)].append(link)
    return {key: _common(members) for key, members in links.items() if members}


def _common(links: list[Link]) -> dict[str, Any]:
    """The values that more than half of the links have, but for those that need not be written."""
    common: dict[str, Any] = {}
    for name, default in _FIELDS.items():
        value, count = Counter(getattr(link, name) for link in links).most_common(1)[0]
        if 2 * count > len(links) and (name in _REQUIRED or value != default):
            common[name] = value
    return common


def _list(key: str, items: list[str]) -> Iterable[str]:
    text = f"{key}: [{', '.join(items)}]"
    return wrap(text, 100, initial_indent="  ", subsequent_indent=" " * (len(key) + 5))


def _mapping(values: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {_scalar(value)}" for name, value in values.items()) + "}"


def _scalar(value: str | float) -> str:
    """A scalar in YAML, quoted where YAML would take it for something else."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    # Line breaks beyond ASCII (U+0085, U+2028) survive as escapes only.
    plain = not isinstance(value, str) or value.isprintable()
    text: str = yaml.safe_dump([value], default_flow_style=True, allow_unicode=plain, width=10**9)
    return text.strip()[1:-1]

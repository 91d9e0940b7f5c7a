"""From the plain data of a file to a topology, as far as it can be read.

A file with mistakes in single values still gives a draft, so that the rules between nodes and links are
checked in the same run; what could not be read is left out, and the draft says which parts lost an entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from topologies.check import Finding, Part
from topologies.explain import explain
from topologies.format import LINK_FIELDS, LinkEntry, TopologyFile
from topologies.layers import LAYER_KEYS, layer_key
from topologies.spec import ControlPlane, Link, Node, Role, Service, Topology
from topologies.yaml_tree import Path

Mistake = tuple[Path, str]
"""The path of the value concerned, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A topology that may be incomplete, and where in the file each of its elements stands."""

    topology: Topology
    description: str
    node_paths: tuple[Path, ...]
    link_paths: tuple[Path, ...]
    lost: frozenset[Part]

    def path(self, finding: Finding) -> Path:
        """Where in the file the element of a finding stands."""
        match finding.part:
            case Part.NODE:
                return self.node_paths[finding.index]
            case Part.LINK:
                return (*self.link_paths[finding.index], finding.field)
            case Part.NODES:
                return ("nodes", str(finding.role)) if finding.role else ("nodes",)
            case Part.TOPOLOGY:
                return (finding.field,)
            case Part.SERVICE:
                return ("service", finding.field)
            case Part.CONTROL:
                return ("control", finding.field)


def read_draft(data: Any, unread: frozenset[Path] = frozenset()) -> tuple[Draft | None, list[Mistake]]:
    """The draft of a file's data and the mistakes in single values; no draft when nothing can be read.

    `unread` has the paths of values that are None because YAML already gave them up.
    """
    try:
        return _build(TopologyFile.model_validate(data), _Mended(), frozenset())
    except ValidationError as error:
        errors = error.errors(include_url=False)
    wrong = frozenset(_loc(error) for error in errors)
    mistakes = [
        (_loc(error), explain(error))
        for error in errors
        if not (error["input"] is None and _loc(error) in unread)
    ]
    if not isinstance(data, dict):
        return None, mistakes
    mended = _Mended()
    copy = mended.mend(data, errors)
    try:
        draft, more = _build(TopologyFile.model_validate(copy), mended, wrong)
    except ValidationError:
        return None, mistakes
    return draft, mistakes + more


def _loc(error: ErrorDetails) -> Path:
    return tuple(error["loc"])


@dataclass
class _Mended:
    """Data with the wrong values taken out, and the places of what is left."""

    lost: set[Part] = field(default_factory=set)
    dropped: defaultdict[Path, set[int]] = field(default_factory=lambda: defaultdict(set))

    def mend(self, data: dict[str, Any], errors: Iterable[ErrorDetails]) -> dict[str, Any]:
        copy = deepcopy(data)
        for error in errors:
            self._take_out(copy, _loc(error))
        for role, names in copy.get("nodes", {}).items():
            copy["nodes"][role] = self._rest(names, ("nodes", role))
        copy["links"] = self._rest(copy.get("links", []), ("links",))
        return {"name": "unnamed", "nodes": {}, **copy}

    def places(self, container: Path, count: int) -> tuple[Path, ...]:
        """Where in the file the first `count` items left in a list stand."""
        dropped = self.dropped[container]
        indexes = (index for index in range(count + len(dropped)) if index not in dropped)
        return tuple((*container, index) for index in indexes)

    def _take_out(self, copy: dict[str, Any], loc: Path) -> None:
        # A link without both its ends is no link; any other value of it can be missing.
        whole_link = loc[0] == "links" and (len(loc) < 3 or loc[2] == "ends")
        if whole_link or loc[0] == "nodes":
            self.lost.add(Part.LINK if whole_link else Part.NODES)
        target = loc[:2] if whole_link else loc[:3]
        parent: Any = copy
        for step in target[:-1]:
            parent = parent[step]
        if isinstance(parent, list):
            self.dropped[target[:-1]].add(int(target[-1]))
        else:
            parent.pop(target[-1], None)

    def _rest(self, items: list[Any], container: Path) -> list[Any]:
        return [item for index, item in enumerate(items) if index not in self.dropped[container]]


def _build(file: TopologyFile, mended: _Mended, wrong: frozenset[Path]) -> tuple[Draft, list[Mistake]]:
    nodes: list[Node] = []
    node_paths: list[Path] = []
    for role in Role:
        names: tuple[str, ...] = getattr(file.nodes, role)
        nodes += [Node(name, role) for name in names]
        node_paths += mended.places(("nodes", str(role)), len(names))
    link_paths = mended.places(("links",), len(file.links))
    links, mistakes = _links(file, {node.name: node.role for node in nodes}, link_paths, wrong)
    draft = Draft(
        topology=Topology(
            file.name,
            tuple(nodes),
            tuple(links),
            _service(file),
            file.origin,
            file.routers,
            ControlPlane(file.control.delay_ms, file.control.at),
        ),
        description=file.description,
        node_paths=tuple(node_paths),
        link_paths=link_paths,
        lost=frozenset(mended.lost),
    )
    return draft, mistakes


def _service(file: TopologyFile) -> Service:
    try:
        return Service(file.service.name, str(IPv6Address(file.service.address)))
    except AddressValueError:
        return Service(file.service.name, file.service.address)


def _links(
    file: TopologyFile, roles: dict[str, Role], paths: tuple[Path, ...], wrong: frozenset[Path]
) -> tuple[list[Link], list[Mistake]]:
    links: list[Link] = []
    missing: dict[tuple[str, str], list[Path]] = {}
    for entry, path in zip(file.links, paths, strict=True):
        a, b = entry.ends
        key = layer_key(roles[a], roles[b]) if a in roles and b in roles else ""
        values = _values(file, entry, key)
        # The rest of the link is still worth checking, with any value for what is missing.
        expected = key and a != b and not any(_explains(place, path, key) for place in wrong)
        for name in ("delay_ms", "rate_mbps"):
            if name not in values:
                values[name] = 1.0
                if expected:
                    missing.setdefault((key, name), []).append(path)
        links.append(Link(a, b, **values))
    return links, [_missing(key, name, where) for (key, name), where in missing.items()]


def _explains(place: Path, link: Path, key: str) -> bool:
    """Whether a mistake at that place may be why a link of this kind has no delay or no rate."""
    unknown_kind = place[0] == "layers" and (len(place) < 2 or place[1] not in LAYER_KEYS)
    return unknown_kind or place[:2] in (link, ("layers", key))


def _values(file: TopologyFile, entry: LinkEntry, key: str) -> dict[str, Any]:
    """What the link says, completed by its layer; what neither says is absent."""
    sources = (entry, file.layers.of(key)) if key else (entry,)
    given = {name: [getattr(source, name) for source in sources] for name in LINK_FIELDS}
    return {
        name: next(value for value in values if value is not None)
        for name, values in given.items()
        if any(value is not None for value in values)
    }


def _missing(key: str, name: str, links: list[Path]) -> Mistake:
    more = len(links) - 1
    others = f" (nor {'does' if more == 1 else 'do'} {more} more of this kind)" if more else ""
    return links[0], f"does not have a {name}{others}; expected it in the link or under `layers.{key}`"

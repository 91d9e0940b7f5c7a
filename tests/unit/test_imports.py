"""Who may import whom (docs/architecture.md), how large a module is, what it may be called."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PARTS = ("topologies", "controller", "delivery", "edge_node", "origin", "lab", "experiments")
MODULES = sorted(path for part in PARTS for path in (CHECKOUT / part).rglob("*.py"))
MAX_LINES = 500

PURE_TOPOLOGIES = (
    "topologies.spec",
    "topologies.addressing",
    "topologies.graph",
    "topologies.files",
    "topologies.check",
    "topologies.three_tier",
    "topologies.heartbeat",
)
BASE = ("topologies.spec", "topologies.addressing", "topologies.graph", "topologies.heartbeat")

# part of the tree (longest prefix counts) -> what of ours it may import, besides itself
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "topologies": (),
    "delivery": (),
    "controller": BASE,
    "edge_node": ("delivery", *PURE_TOPOLOGIES),
    "origin": ("delivery", *PURE_TOPOLOGIES, "topologies.yaml_tree"),
    "lab": ("topologies", "delivery", "controller", "edge_node", "origin"),
    "experiments": PARTS,
}

# third-party package -> the only modules (and what is below them) that may import it
ONLY_USERS: dict[str, tuple[str, ...]] = {
    "mininet": ("topologies.mininet_net", "topologies.mininet_cli"),
    "os_ken": ("controller.openflow.ryu_api",),
    "ryu": ("controller.openflow.ryu_api",),
    "scapy": ("experiments",),
    "flute": (),
    "raptorq": ("delivery",),
    "hypercorn": ("edge_node.tls",),
    "h2": ("edge_node.tls",),
}

# these parts use nothing but the standard library and the packages named
THIRD_PARTY: dict[str, tuple[str, ...]] = {
    "delivery": ("cryptography", "raptorq", "zstandard"),
    "delivery.asgi": ("uvicorn",),
    "topologies.spec": (),
    "topologies.addressing": (),
    "topologies.graph": (),
    "controller.wire": (),
    "controller.plan": ("numpy",),
    "controller.state": (),
    "controller.verify": (),
}

# a pure part does no input or output and reads no clock: time is an argument
PURE = (
    *PURE_TOPOLOGIES,
    "controller.wire",
    "controller.plan",
    "controller.state",
    "controller.verify",
)
IMPURE_STDLIB = (
    "asyncio",
    "multiprocessing",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
)
IMPURE_TOPOLOGIES = (
    "topologies.mininet_net",
    "topologies.mininet_cli",
    "topologies.netem",
    "topologies.namespaces",
    "topologies.cli",
)


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def module_name(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(module: str, source: str, *, package: bool = False) -> Iterator[str]:
    """Every module that `source` imports, anywhere in it, by its full name."""
    home = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{name}.{alias.name}"
                yield full if (CHECKOUT / Path(*full.split("."))).with_suffix(".py").exists() else name


def violations(module: str, imported: str) -> Iterator[str]:
    """The rules that `module` breaks by importing `imported`."""
    part, other = module.split(".")[0], imported.split(".")[0]
    if other in PARTS:
        if other != part and not within(imported, MAY_IMPORT[part]):
            yield f"{part} may import of ours only {', '.join(MAY_IMPORT[part]) or 'itself'}"
        if within(module, PURE) and other == part:
            impure = (
                within(imported, IMPURE_TOPOLOGIES) if part == "topologies" else not within(imported, PURE)
            )
            if impure:
                yield "a pure part imports only pure parts"
        return
    if other in ONLY_USERS and not within(module, ONLY_USERS[other]):
        yield f"only {', '.join(ONLY_USERS[other]) or 'tests'} may import {other}"
    if other in sys.stdlib_module_names:
        if within(module, PURE) and other in IMPURE_STDLIB:
            yield "a pure part does no input or output and takes time as an argument"
        return
    closest = max((prefix for prefix in THIRD_PARTY if within(module, (prefix,))), key=len, default=None)
    if closest is not None and other not in THIRD_PARTY[closest]:
        allowed = "".join(f", {name}" for name in THIRD_PARTY[closest])
        yield f"{closest} uses only the standard library{allowed}"


def test_there_is_something_to_check() -> None:
    assert {module_name(path).split(".")[0] for path in MODULES} == set(PARTS)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    module = module_name(path)
    found = [
        f"{module} imports {imported}: {rule}"
        for imported in imports(module, path.read_text(), package=path.name == "__init__.py")
        for rule in violations(module, imported)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_is_small_and_not_named_like_its_package(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert path.stem != path.parent.name


@pytest.mark.parametrize(
    ("module", "imported", "fine"),
    [
        ("controller.plan.unicast", "topologies.graph", True),
        ("controller.plan.unicast", "controller.wire.icmp", True),
        ("controller.plan.unicast", "controller.app", False),
        ("controller.plan.unicast", "time", False),
        ("controller.plan.unicast", "networkx", False),
        ("controller.openflow.ryu_api", "os_ken.base", True),
        ("controller.settings", "os_ken", False),
        ("controller.app", "scapy.all", False),
        ("controller.app", "delivery.manifest", False),
        ("controller.app", "topologies.mininet_net", False),
        ("edge_node.store", "delivery.manifest", True),
        ("edge_node.store", "origin.catalogue", False),
        ("edge_node.store", "lab.guest", False),
        ("origin.publisher", "topologies.mininet_net", False),
        ("delivery.fec", "raptorq", True),
        ("delivery.fec", "numpy", False),
        ("delivery.fec", "topologies.spec", False),
        ("topologies.spec", "yaml", False),
        ("topologies.files", "topologies.mininet_net", False),
        ("topologies.mininet_net", "mininet.net", True),
        ("lab.processes", "mininet.net", False),
        ("lab.native", "experiments.runner", False),
        ("experiments.testbed", "lab.guest", True),
    ],
)
def test_the_rules_themselves(module: str, imported: str, fine: bool) -> None:
    assert (not list(violations(module, imported))) is fine


def unseeded(source: str) -> Iterator[str]:
    """Uses of the random module's hidden, unseeded generator; `random.Random(seed)` is the way."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            if node.attr != "Random":
                yield f"line {node.lineno}: random.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "random":
            yield from (f"line {node.lineno}: {alias.name}" for alias in node.names if alias.name != "Random")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_randomness_is_seeded(path: Path) -> None:
    assert list(unseeded(path.read_text())) == []


def test_unseeded_randomness_is_seen() -> None:
    assert list(unseeded("import random\nr = random.Random(1)\nx = r.random()\n")) == []
    assert list(unseeded("import random\nx = random.random()\n")) == ["line 2: random.random"]
    assert list(unseeded("from random import Random, choice\n")) == ["line 1: choice"]


def test_every_form_of_import_is_seen() -> None:
    source = """
import a.b
from topologies import spec
from . import x
from ..up import y
def f():
    import late
"""
    assert set(imports("p.q.m", source)) == {"a.b", "topologies.spec", "p.q", "p.up", "late"}

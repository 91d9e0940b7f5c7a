"""What pydantic found wrong with a topology file, said in the words of the file format."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from topologies.format import (
    ControlEntry,
    Layers,
    LinkEntry,
    LinkValues,
    Nodes,
    ServiceEntry,
    TopologyFile,
)
from topologies.spec import OriginMode, RouterAddressing

_EXPECTED = {
    "delay_ms": "a number of milliseconds, 0 or more",
    "rate_mbps": "a number of Mbit/s, more than 0",
    "loss_percent": "a number from 0 to 100",
    "mtu_bytes": "a whole number from 1280 (RFC 8200 section 5) to 65535",
    "queue_packets": "a whole number, 1 or more",
    "ends": "two node names, e.g. [core1, dist1]",
    "links": "a list of links",
    "nodes": "a mapping of roles to names, e.g. `core: [core1, core2]`",
    "layers": "a mapping of link kinds to values, e.g. `user: {delay_ms: 2, rate_mbps: 100}`",
    "service": "a mapping with `name` and `address`",
    "control": "a mapping, e.g. {at: core1, delay_ms: 5}",
    "at": "the name of a switch",
}
_CHOICES = {
    "origin": " or ".join(OriginMode),
    "routers": " or ".join(RouterAddressing),
}
"""Of fields of the file; `nodes.origin` is another one."""
_TOP = "a mapping with `name`, `layers`, `nodes` and `links`"
_LINK = "[a, b] or {ends: [a, b], delay_ms: ...}"


def explain(error: ErrorDetails) -> str:
    """One line on one error: what is wrong, then what was expected."""
    loc = error["loc"]
    if error["type"] == "missing":
        return f"missing; expected {_expected(loc)}"
    if error["type"] == "extra_forbidden":
        return _unknown(loc)
    if error["type"] in ("too_short", "too_long"):
        count = len(error["input"])
        return f"{count} node{'' if count == 1 else 's'}; expected {_expected(loc)}"
    shown, verdict = _show(error["input"]), _verdict(error["type"])
    return f"{shown} is {verdict}; expected {_expected(loc)}{_hint(error)}"


def _hint(error: ErrorDetails) -> str:
    """What YAML 1.1 makes of a value that looks right."""
    value = error["input"]
    if isinstance(value, bool) and error["type"] == "string_type":
        return " (YAML reads on, off, yes and no as true and false: put quotes around them)"
    number = error["type"] in ("float_type", "int_type") and isinstance(value, str)
    if number and value.replace(".", "", 1).replace("e", "", 1).lstrip("-+").isdigit():
        return " (without quotes, and without exponent: 1000, not 1e3)"
    return ""


def _verdict(kind: str) -> str:
    if kind in ("greater_than", "greater_than_equal", "less_than_equal"):
        return "out of range"
    return "not valid here"


def _show(value: Any) -> str:
    """A value as the file has it, short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str | float) else f"{value:.3g}" if value > 10**20 else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _expected(loc: tuple[str | int, ...]) -> str:
    if not loc:
        return _TOP
    last = loc[-1]
    if len(loc) == 1 and last in _CHOICES:
        return _CHOICES[str(last)]
    if last in _EXPECTED:
        return _EXPECTED[str(last)]
    if loc[0] == "links" and len(loc) == 2:
        return _LINK
    if loc[0] == "layers" and len(loc) == 2:
        return "a mapping, e.g. {delay_ms: 2, rate_mbps: 100}"
    if loc[0] == "nodes" and len(loc) == 2:
        return "a list of names, e.g. [user1, user2]"
    return "text"


def _unknown(loc: tuple[str | int, ...]) -> str:
    """An unknown field, with the known one that looks most like it."""
    known = _fields(loc[:-1])
    close = get_close_matches(str(loc[-1]), known, n=1)
    if close:
        return f"unknown field; did you mean `{close[0]}`?"
    return f"unknown field; expected one of {', '.join(known)}"


def _fields(loc: tuple[str | int, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "service": ServiceEntry,
        "control": ControlEntry,
        "nodes": Nodes,
        "layers": Layers,
        "links": LinkEntry,
    }
    model: type[BaseModel] = models[str(loc[0])] if loc else TopologyFile
    if len(loc) == 2 and loc[0] == "layers":
        model = LinkValues
    return [field.alias or name for name, field in model.model_fields.items()]

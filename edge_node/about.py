"""What an edge tells its users of itself: `GET /.well-known/nearcast` (RFC 8615), as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from delivery.manifest import Manifest
from delivery.sessions import CHANNELS
from edge_node.http.messages import Plan, Request

WELL_KNOWN = "/.well-known/nearcast"


@dataclass(frozen=True, slots=True)
class About:
    """`version` is that of the site as users see it, 0 before there is one; `complete` whether everything of
    the newest version is here, of which `files` are listed. An upload may have `upload_bytes`, 0 where none
    are taken. `load_percent` is the share of the capacity in use."""

    edge: str
    version: int
    complete: bool
    files: int
    channels: tuple[str, ...]
    upload_bytes: int
    load_percent: int


def channels_of(manifest: Manifest | None) -> tuple[str, ...]:
    """The names of the channels that a site's manifest describes, in its order."""
    sessions = manifest.sessions if manifest else ()
    kinds = (session.prefix.partition("/") for session in sessions)
    return tuple(name for kind, _, name in kinds if kind == CHANNELS)


def is_asked(request: Request) -> bool:
    """Whether a request is for what the edge says of itself."""
    return request.path == WELL_KNOWN and request.method in ("GET", "HEAD")


def tell(about: About, request: Request) -> Plan:
    """The answer; nobody may store it, as it is about this moment."""
    body = json.dumps(asdict(about)).encode() + b"\n"
    fields = (
        ("Nearcast-Edge", about.edge),
        ("Cache-Control", "no-store"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
    )
    return Plan(200, fields, () if request.method == "HEAD" else (body,))

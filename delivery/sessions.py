"""Sessions: the streams an edge may receive, described in the manner of ETSI TS 103 769.

A session carries one site. The site of all edges has no description: they are started with it. Its manifest
describes the others: channels, the local content of each edge, and the streams of regions.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

MAX_SESSIONS = 4096
CHANNELS, LOCAL = "live", "local"
"""The first part of the paths of channels, and of local content: `live/NAME/…`, `local/EDGE/…`."""
URL_PREFIXES = (f"/{CHANNELS}/", f"/{LOCAL}/")
"""How the paths of URLs begin that lie in another session than the site's."""

_HEX = frozenset(string.hexdigits.lower())


class SessionError(ValueError):
    """A description that makes no sense; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Session:
    """One stream: `source` sends to `group` (UDP `port`, LCT session `tsi`).

    `prefix` is where its site's paths lie (`live/news`); below `url` are its `manifest`, its `blobs/SHA256`
    and `reports` to be had over unicast. `public_key` (hex) signs its manifests; "" stands for the keys of
    the manifest that describes it. With a `region` it carries that region's bundles of the describing site
    and has no prefix.
    """

    prefix: str
    source: str
    group: str
    port: int
    tsi: int
    url: str
    public_key: str = ""
    region: str = ""

    @property
    def name(self) -> str:
        """What the session is called in logs and metrics."""
        return f"region/{self.region}" if self.region else self.prefix or "site"


def find_session(sessions: Iterable[Session], path: str) -> Session | None:
    """The session whose site a path (of a URL, no first slash) lies in; None: the describing one."""
    for session in sessions:
        if session.prefix and path.startswith(session.prefix + "/"):
            return session
    return None


def check_sessions(sessions: tuple[Session, ...]) -> None:
    """Raises SessionError unless every session can be joined and none stands in another's place."""
    if len(sessions) > MAX_SESSIONS:
        raise SessionError(f"{len(sessions)} sessions, allowed are {MAX_SESSIONS}")
    names: set[str] = set()
    for session in sessions:
        _check(session)
        if session.name in names:
            raise SessionError(f"session {session.name!r} is described twice")
        names.add(session.name)


def _check(session: Session) -> None:
    name = session.name[:80]
    parts = session.prefix.split("/")
    if bool(session.prefix) == bool(session.region):
        raise SessionError(f"session {name!r} has either a prefix or a region")
    if session.prefix and (len(parts) != 2 or not all(part.isprintable() and part for part in parts)):
        raise SessionError(f"session {name!r} has a prefix that is not KIND/NAME")
    if any(part in (".", "..") for part in parts):
        raise SessionError(f"session {name!r} has a prefix that leads elsewhere")
    try:
        source, group = IPv6Address(session.source), IPv6Address(session.group)
    except ValueError:
        raise SessionError(f"session {name!r} has a source or group that is no IPv6 address") from None
    if source.is_multicast or not group.is_multicast:
        raise SessionError(f"session {name!r} needs a unicast source and a multicast group")
    if not 0 < session.port < 1 << 16 or not 0 < session.tsi < 1 << 16:
        raise SessionError(f"session {name!r} has a port or TSI outside 1 to 65535")
    if not session.url.startswith("http://["):
        raise SessionError(f"session {name!r} has a URL that is not http://[ADDRESS]:PORT")
    key = session.public_key
    if key and (len(key) != 64 or not _HEX.issuperset(key)):
        raise SessionError(f"session {name!r} has a public key that is not 64 hex digits")

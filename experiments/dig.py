"""What `dig` says, as people read it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STATUS = re.compile(r"^;; ->>HEADER<<- .*status: (\w+)", re.MULTILINE)
_TIME = re.compile(r"^;; Query time: (\d+) msec", re.MULTILINE)
_SERVER = re.compile(r"^;; SERVER: ([0-9a-fA-F.:]+)#", re.MULTILINE)
_AAAA = re.compile(r"^\S+\s+(\d+)\s+IN\s+AAAA\s+(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lookup:
    """An answer: its status (NOERROR, …), the AAAA records' addresses and shortest TTL, who gave it."""

    status: str
    addresses: tuple[str, ...]
    ttl_s: int
    query_ms: int
    server: str


def parse_dig(text: str) -> Lookup:
    """From `dig … +noall +comments +answer +stats`; empty where it says nothing."""
    records = _AAAA.findall(text)
    status, took, server = _STATUS.search(text), _TIME.search(text), _SERVER.search(text)
    return Lookup(
        status.group(1) if status else "",
        tuple(address for _, address in records),
        min((int(ttl) for ttl, _ in records), default=0),
        int(took.group(1)) if took else 0,
        server.group(1) if server else "",
    )

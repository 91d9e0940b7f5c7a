"""Files of the lab over the system's own: its mount namespace is private, so nobody else sees them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

RESOLVER = "/etc/resolv.conf"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""What Debian's programs trust (package ca-certificates)."""
_MS_BIND = 4096
_libc = ctypes.CDLL(None, use_errno=True)


class MountError(RuntimeError):
    """A file could not be put over another; the message is one line."""


def put_over(file: Path, path: str) -> None:
    """Let every process of the lab find `file` at `path`. Raises MountError."""
    target = os.path.realpath(path)
    if not os.path.exists(target):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    if _libc.mount(str(file).encode(), target.encode(), b"none", _MS_BIND, None) != 0:
        raise MountError(f"cannot put {file.name} over {target}: {os.strerror(ctypes.get_errno())}")


def resolve_at(server: str, work: Path) -> None:
    """Let every process of the lab resolve names at `server`. Raises MountError."""
    resolver = work / "resolv.conf"
    resolver.write_text(f"nameserver {server}\noptions timeout:2 attempts:3\n")
    put_over(resolver, RESOLVER)


def trust(certificate: Path) -> None:
    """Let every program of the lab trust this CA instead of the world's, where the system has a list of
    them. Raises MountError."""
    if os.path.exists(CA_BUNDLE):
        put_over(certificate, CA_BUNDLE)

"""Encryption of what goes to the group: its members, and a key for each epoch that only they are given.

A new epoch begins whenever the members change, so that who leaves cannot read what comes after. Epochs are
kept in the state folder, readable for their owner only.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from delivery.coding import KEY_BYTES, EpochKey, wrap_keys
from origin.errors import OriginError
from origin.state import read_given, read_json, write_json

_FILE = "epoch.json"
_HEX = frozenset(string.hexdigits)


class NotAMemberError(Exception):
    """The edge is not among the members."""


@dataclass(frozen=True)
class _Epoch:
    epoch: int
    key: str
    members: Mapping[str, str] = field(default_factory=dict)


class Members:
    """Hands out the keys of the epochs of this run; `refresh` reads the members from `file` again."""

    def __init__(self, state: Path, file: Path, *, new_epoch: bool = False) -> None:
        """Raises OriginError."""
        self._path, self._file = state / _FILE, file
        self._keys: dict[int, bytes] = {}
        self._epoch = _load(self._path)
        self._begin(load_members(file), is_forced=new_epoch)

    @property
    def current(self) -> EpochKey:
        """What is sealed from now on is sealed with this."""
        return EpochKey(self._epoch.epoch, bytes.fromhex(self._epoch.key))

    @property
    def names(self) -> tuple[str, ...]:
        """The members."""
        return tuple(self._epoch.members)

    def refresh(self) -> bool:
        """Read the members again; whether a new epoch began. Raises OriginError."""
        before = self._epoch.epoch
        self._begin(load_members(self._file), is_forced=False)
        return self._epoch.epoch != before

    def wrapped(self, edge: str) -> bytes:
        """The keys for one member's eyes only. Raises NotAMemberError."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        public = self._epoch.members.get(edge)
        if public is None:
            raise NotAMemberError(edge)
        return wrap_keys(self._keys, X25519PublicKey.from_public_bytes(bytes.fromhex(public)))

    def _begin(self, members: Mapping[str, str], *, is_forced: bool) -> None:
        if is_forced or not self._epoch.epoch or members != self._epoch.members:
            epoch = _Epoch(self._epoch.epoch + 1, secrets.token_bytes(KEY_BYTES).hex(), dict(members))
            # Written before anything is sealed with it: a lost key would lock the members out.
            write_json(self._path, asdict(epoch), mode=0o600)
            self._epoch = epoch
        self._keys[self._epoch.epoch] = bytes.fromhex(self._epoch.key)


def load_members(path: Path) -> dict[str, str]:
    """Edge names with their X25519 public keys in hex, from a JSON file. Raises OriginError."""
    document = read_given(path, "the members", "--members")
    if not isinstance(document, dict):
        raise OriginError(f'{path}: expected an object like {{"edge1": "64 hex digits"}}')
    for name, key in document.items():
        if not isinstance(key, str) or len(key) != 64 or not _HEX.issuperset(key):
            raise OriginError(f"{path}: {name[:80]!r} has no X25519 public key of 64 hex digits")
    return {name: key.lower() for name, key in document.items()}


def _load(path: Path) -> _Epoch:
    try:
        data = read_json(path)
        if data is None:
            return _Epoch(0, "")
        epoch = _Epoch(int(data["epoch"]), str(data["key"]), dict(data["members"]))
        if len(bytes.fromhex(epoch.key)) != KEY_BYTES:
            raise ValueError("a key of another length")
        return epoch
    except (ValueError, KeyError, TypeError) as error:
        raise OriginError(f"{path} is damaged ({type(error).__name__}); restore it") from None

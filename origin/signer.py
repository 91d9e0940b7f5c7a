"""Which key signs the next version, and which keys it names: rotation in two versions (`rotate-key`).

The first version after `rotate-key` is signed by the old key and names both, so that edges learn the new one;
the next is signed by the new key and names it alone, which ends the old one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from delivery.keys import load_private_key, to_hex
from delivery.manifest import Manifest
from delivery.signing import sign_manifest
from origin.errors import OriginError
from origin.state import SITE, read_json, write_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_FILE = "keys.json"


class Stage(StrEnum):
    """How far a rotation has come: asked for; both keys named by a version; the new key alone."""

    ASKED = "asked"
    NAMED = "named"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Rotation:
    """From one key to another: both public halves in hex, and the files of the private ones."""

    old: str
    new: str
    old_file: str
    new_file: str
    stage: Stage = Stage.ASKED


@dataclass(frozen=True, slots=True)
class Keys:
    """What the state folder remembers: who signed the last version (hex), and the last rotation."""

    signed_by: str = ""
    rotation: Rotation | None = None


class Signer:
    """Signs with the key in `key_file`, or as a rotation in the state folder says, which may also be asked
    for while the origin runs."""

    def __init__(self, state: Path, key_file: Path) -> None:
        """Raises KeyFileError, and OriginError for a key that a rotation has ended or does not know."""
        self._state, self._key_file = state, key_file
        self._key = load_private_key(key_file)
        self._keys = _load(state)
        rotation = self._keys.rotation
        given = to_hex(self._key.public_key())
        if rotation is not None and rotation.stage is Stage.DONE and given == rotation.old:
            raise OriginError(f"{key_file} was ended by rotate-key; give --key {rotation.new_file}")
        if rotation is not None and given not in (rotation.old, rotation.new):
            raise OriginError(
                f"{key_file} is neither key of the last rotation; give --key {rotation.new_file}"
            )

    def next_keys(self) -> tuple[str, ...]:
        """What the site's next version is to name (hex); none before any rotation. Raises OriginError."""
        rotation = self.refresh().rotation
        if rotation is None:
            return ()
        return (rotation.old, rotation.new) if rotation.stage is Stage.ASKED else (rotation.new,)

    def refresh(self) -> Keys:
        """Look whether a rotation was asked for meanwhile. Raises OriginError."""
        self._keys = _load(self._state)
        return self._keys

    def sign(self, manifest: Manifest) -> bytes:
        """The site's next version, signed. Raises ManifestError, OriginError, KeyFileError."""
        rotation = self._keys.rotation
        return sign_manifest(
            manifest, self._private(rotation is not None and rotation.stage is not Stage.ASKED)
        )

    def sign_other(self, manifest: Manifest) -> bytes:
        """Another session's version, signed by a key that the site's last version named. Raises as `sign`."""
        rotation = self._keys.rotation
        return sign_manifest(manifest, self._private(rotation is not None and rotation.stage is Stage.DONE))

    def published(self) -> None:
        """The site's next version has gone out: a rotation goes on. Raises OriginError."""
        keys, rotation = self._keys, self._keys.rotation
        is_new = rotation is not None and rotation.stage is not Stage.ASKED
        keys = replace(keys, signed_by=to_hex(self._private(is_new).public_key()))
        if rotation is not None:
            stage = Stage.NAMED if rotation.stage is Stage.ASKED else Stage.DONE
            keys = replace(keys, rotation=replace(rotation, stage=stage))
        if keys != self._keys:
            _save(self._state, keys)
            self._keys = keys

    def _private(self, is_new: bool) -> Ed25519PrivateKey:
        """The key of a rotation, the one given when there is none. Raises KeyFileError, OriginError."""
        rotation = self._keys.rotation
        if rotation is None:
            return self._key
        public, file = (rotation.new, rotation.new_file) if is_new else (rotation.old, rotation.old_file)
        key = self._key
        if to_hex(key.public_key()) != public:
            key = load_private_key(file)
            if to_hex(key.public_key()) != public:
                raise OriginError(f"{file} is not the key any more that rotate-key was given; put it back")
            self._key = key
        return key

    @property
    def stage(self) -> Stage:
        """How far the last rotation has come, as last seen."""
        return self._keys.rotation.stage if self._keys.rotation else Stage.DONE


def rotate_key(state: Path, old_file: Path, new_file: Path) -> None:
    """Have the next two versions go over from one key to another. Raises OriginError, KeyFileError."""
    old = to_hex(load_private_key(old_file).public_key())
    new = to_hex(load_private_key(new_file).public_key())
    if not (state / f"{SITE}.json").exists():
        raise OriginError(f"nothing has been published with --state {state} yet; check it")
    if old == new:
        raise OriginError(f"{old_file} and {new_file} hold the same key; make another one with keygen")
    keys = _load(state)
    rotation = keys.rotation
    if rotation is not None and rotation.stage is not Stage.DONE:
        raise OriginError(
            f"the rotation to {rotation.new_file} is under way; publish until the new key signs alone"
        )
    if rotation is not None and new == rotation.old:
        raise OriginError(f"{new_file} was ended by the last rotation; make another one with keygen")
    if keys.signed_by and old != keys.signed_by:
        raise OriginError(f"{old_file} did not sign the last version; give --key the key that did")
    files = str(old_file.resolve()), str(new_file.resolve())
    _save(state, replace(keys, rotation=Rotation(old, new, *files)))


def _load(state: Path) -> Keys:
    path = state / _FILE
    try:
        data = read_json(path)
        if data is None:
            return Keys()
        rotation = data["rotation"]
        if rotation is not None:
            rotation = Rotation(**{**rotation, "stage": Stage(rotation["stage"])})
        return Keys(str(data["signed_by"]), rotation)
    except (ValueError, KeyError, TypeError) as error:
        raise OriginError(f"{path} is damaged ({error!r}); restore it") from None


def _save(state: Path, keys: Keys) -> None:
    write_json(state / _FILE, asdict(keys))

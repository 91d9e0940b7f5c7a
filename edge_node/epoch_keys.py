"""The group keys of the epochs, which the origin hands out to its members over the ULA plane."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from delivery.coding import CodingError, unwrap_keys
from edge_node.origin_client import OriginConnection, OriginError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


MEMBER_KEY_FILE = "member.pem"


class EpochKeys(Mapping[int, bytes]):
    """Epoch to key, as far as they have been fetched. Kept in memory alone: a new start asks again."""

    def __init__(self, edge: str, origin_url: str, root: Path) -> None:
        """The store at `root` keeps the private half of the key that the origin lists for this edge."""
        self._edge, self._url, self._root = edge, origin_url, root
        self._keys: dict[int, bytes] = {}

    def __getitem__(self, epoch: int) -> bytes:
        return self._keys[epoch]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    async def fetch(self) -> None:
        """Ask for the keys this edge may have. Raises OriginError when there are none, KeyFileError."""
        key = member_key(self._root)
        body = json.dumps({"edge": self._edge}).encode()
        async with OriginConnection(self._url) as origin:
            answer = await origin.post("/keys", body, "application/json")
        if answer.status == 403:
            raise OriginError(f"{self._edge} is no member: the origin gives it no epoch keys")
        if answer.status != 200:
            raise OriginError(f"the origin answered {answer.status} to a request for epoch keys")
        try:
            self._keys |= unwrap_keys(answer.body, key)
        except CodingError as error:
            raise OriginError(str(error)) from None


def member_key(root: Path) -> X25519PrivateKey:
    """The store's X25519 private key, made at first use. Raises KeyFileError."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from delivery.keys import KeyFileError, write_private_key

    path = root / MEMBER_KEY_FILE
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        return write_private_key(path, X25519PrivateKey.generate())
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path}: cannot read the member key: {str(error).splitlines()[0]}") from None
    if not isinstance(key, X25519PrivateKey):
        raise KeyFileError(f"{path} is not an X25519 private key; remove it, and one is made")
    return key

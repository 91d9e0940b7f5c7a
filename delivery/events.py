"""What a `delivery.receiver.Receiver` tells the edge it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from delivery.manifest import Manifest


@dataclass(frozen=True, slots=True)
class ManifestReceived:
    """A newer manifest that verifies; `signed` are its bytes as they came."""

    manifest: Manifest
    signed: bytes


@dataclass(frozen=True, slots=True)
class BlobReceived:
    """A complete blob of the current manifest; `content` has the digest `sha256`."""

    sha256: str
    content: bytes


@dataclass(frozen=True, slots=True)
class PieceReceived:
    """Part of a blob that is cut across bundles: `content` begins at byte `offset` of its `size`.

    The bundle it came in had the digest that the manifest gives; the blob's own is checked once it is whole.
    """

    sha256: str
    size: int
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class RepairNeeded:
    """Symbols the edge still lacks, to be reported to the origin now (the back-off has passed).

    `missing` maps TOI to a number of symbols, `of` to the number of source symbols of the object. TOI 0 (the
    FDT) is among the missing when it is unknown which object carries the manifest. `version` is that of the
    newest manifest held, 0 for none.
    """

    version: int
    missing: Mapping[int, int]
    of: Mapping[int, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class KeyNeeded:
    """Something has come that is sealed with the key of an epoch that is not held."""

    epoch: int


@dataclass(frozen=True, slots=True)
class SiteComplete:
    """Every blob of manifest `version` is in the store or was handed out as `BlobReceived`."""

    version: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something from the network was thrown away: malformed, forged or damaged."""

    reason: str


Event = ManifestReceived | BlobReceived | PieceReceived | RepairNeeded | KeyNeeded | SiteComplete | Rejected

_MOST_EVENTS = 100_000
_MOST_REASON_CHARACTERS = 200


class EventQueue:
    """What has happened and was not fetched yet; what was thrown away is only told while there is room."""

    def __init__(self) -> None:
        self.rejected = 0
        """How often something was thrown away."""
        self._events: list[Event] = []

    def add(self, *events: Event) -> None:
        """Something has happened."""
        self._events += events

    def reject(self, reason: str) -> None:
        """Something was thrown away."""
        self.rejected += 1
        if len(self._events) < _MOST_EVENTS:
            self._events.append(Rejected(reason[:_MOST_REASON_CHARACTERS]))

    def take(self) -> list[Event]:
        """Everything since the last call, in order."""
        events, self._events = self._events, []
        return events

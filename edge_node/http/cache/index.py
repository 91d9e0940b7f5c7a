"""The stored responses, by URL and variant: metadata in memory, bounded, least recently used first to go."""

from __future__ import annotations

from collections import Counter, OrderedDict

from edge_node.http.cache.policy import Policy
from edge_node.http.cache.status import Forwarded
from edge_node.http.cache.stored import StoredResponse, combined_parts
from edge_node.http.cache.variants import Selecting, fits, selecting
from edge_node.http.messages import Request


class CacheIndex:
    """Bounded by `max_responses` and `max_bytes` of the policy.

    Whatever removes responses returns the blobs that none refers to any more.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._responses: OrderedDict[str, tuple[StoredResponse, ...]] = OrderedDict()
        self._uses: Counter[str] = Counter()
        self._sizes: dict[str, int] = {}
        self.responses = 0
        self.bytes = 0

    def select(self, key: str, request: Request) -> tuple[StoredResponse | None, Forwarded]:
        """The response stored for `request`, the latest of several (RFC 9111 section 4.1), and why there is
        none if so. It counts as used."""
        variants = self._responses.get(key, ())
        if not variants:
            return None, Forwarded.URI_MISS
        self._responses.move_to_end(key)
        for stored in variants:
            if fits(stored.selecting, request):
                return stored, Forwarded.MISS
        return None, Forwarded.VARY_MISS

    def expected_selection(self, key: str, request: Request) -> Selecting:
        """What of `request` will probably select its response, going by the latest one stored for the URL."""
        variants = self._responses.get(key, ())
        names = ",".join(name for name, _ in variants[0].selecting) if variants else ""
        return selecting(names, request) or ()

    def holds(self, stored: StoredResponse) -> bool:
        """Whether this very response is still here."""
        return any(other is stored for other in self._responses.get(stored.key, ()))

    def has_content_of(self, stored: StoredResponse) -> bool:
        """Whether the blobs of a response that was here are still kept, for it or for another."""
        return all(segment.sha256 in self._uses for segment in stored.segments)

    def put(self, new: StoredResponse) -> list[str]:
        """Store a response in place of the one for the same selecting fields; parts of one representation are
        combined. Others make room for it."""
        variants = self._responses.get(new.key, ())
        before = next((other for other in variants if other.selecting == new.selecting), None)
        if before is not None and not new.is_complete:
            new = combined_parts(new, before, self._policy.max_parts)
        others = tuple(other for other in variants if other is not before)
        return self._set(new.key, (new, *others[: self._policy.max_variants - 1])) + self._make_room()

    def replace(self, old: StoredResponse, new: StoredResponse) -> bool:
        """Put `new`, which has the same content, in the place of `old`; False when that is gone."""
        variants = self._responses.get(old.key, ())
        if not self.holds(old):
            return False
        self._responses[old.key] = (new, *(other for other in variants if other is not old))
        return True

    def remove(self, stored: StoredResponse) -> list[str]:
        """Forget one response."""
        variants = self._responses.get(stored.key, ())
        return self._set(stored.key, tuple(other for other in variants if other is not stored))

    def invalidate(self, key: str) -> list[str]:
        """Forget all responses stored for a URL (section 4.4)."""
        return self._set(key, ())

    def lose(self, sha256: str) -> list[str]:
        """Forget all responses with content in a blob that is not there any more."""
        released: list[str] = []
        if sha256 in self._uses:
            for key, variants in list(self._responses.items()):
                kept = tuple(other for other in variants if all(s.sha256 != sha256 for s in other.segments))
                if len(kept) < len(variants):
                    released += self._set(key, kept)
        return released

    def refers_to(self, sha256: str) -> bool:
        """Whether a stored response has content in this blob."""
        return sha256 in self._uses

    def _make_room(self) -> list[str]:
        released: list[str] = []
        while self.responses > self._policy.max_responses or self.bytes > self._policy.max_bytes:
            released += self._set(next(iter(self._responses)), ())
        return released

    def _set(self, key: str, variants: tuple[StoredResponse, ...]) -> list[str]:
        """Make `variants` all that is stored for `key`, and it the one used last."""
        before = self._responses.pop(key, ())
        if variants:
            self._responses[key] = variants
        self.responses += len(variants) - len(before)
        # New references count before old ones go: what both have is not released.
        for stored in variants:
            for segment in stored.segments:
                self._uses[segment.sha256] += 1
                if segment.sha256 not in self._sizes:
                    self._sizes[segment.sha256] = segment.stop - segment.start
                    self.bytes += segment.stop - segment.start
        released: list[str] = []
        for stored in before:
            for segment in stored.segments:
                self._uses[segment.sha256] -= 1
                if self._uses[segment.sha256] == 0:
                    del self._uses[segment.sha256]
                    self.bytes -= self._sizes.pop(segment.sha256)
                    released.append(segment.sha256)
        return released

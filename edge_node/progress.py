"""Notices what a batch of writes has changed: a new manifest, a complete site; tells journal and origin."""

from __future__ import annotations

from edge_node.journal import Journal
from edge_node.reports import Reporter
from edge_node.store import Store


class Progress:
    """Announces each version once when it is accepted and once when all of it is durable."""

    def __init__(self, store: Store, journal: Journal, reporter: Reporter | None) -> None:
        self._store, self._journal, self._reporter = store, journal, reporter
        self._accepted = store.version
        self._complete = 0

    def settled(self) -> None:
        """Look at the store; to be called whenever something in it has become durable."""
        manifest = self._store.manifest
        if manifest is None:
            return
        size = sum(manifest.blobs.values())
        if manifest.version != self._accepted:
            self._accepted = manifest.version
            self._journal.write("manifest", version=manifest.version, files=len(manifest.files), bytes=size)
        if manifest.version != self._complete and self._store.complete:
            self._complete = manifest.version
            rejected = self._journal.rejected.total()
            self._journal.write("complete", version=manifest.version, bytes=size, rejected=rejected)
            if self._reporter is not None:
                self._reporter.report(manifest.version, complete=True)

"""Local content: what users upload to their edge. Neighbours see it at once; other edges subscribe to it.

It is a site of its own, signed by the edge's key, which the origin's manifest names; nothing of it leaves the
edge before another one asks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from delivery.asgi import Receive
from delivery.errors import DeliveryError
from delivery.manifest import FileEntry
from delivery.publication import Numbers, Publication, StreamOptions
from delivery.sessions import Session
from delivery.signing import sign_manifest
from delivery.stream import open_group
from delivery.tree import content_type
from edge_node.blobs import Staging, StoreError
from edge_node.durable import write_durably
from edge_node.journal import Journal
from edge_node.upload_limits import UploadLimits, UploadMeter
from edge_node.writer import Job, NewBlob, NewManifest, Writer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LIFETIME_S = 24 * 3600
NUMBERS_FILE = "local.json"
_MOST_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an upload is answered: status, one line of text and further header fields."""

    status: int
    text: str
    fields: tuple[tuple[str, str], ...] = ()


class LocalContent:
    """The uploads of this edge's users, as a publication in `session`."""

    def __init__(
        self,
        session: Session,
        interface: str,
        writer: Writer,
        key: Ed25519PrivateKey,
        journal: Journal,
        *,
        rate_mbps: float,
        mtu_bytes: int,
        limits: UploadLimits | None = None,
    ) -> None:
        """Raises DeliveryError when nothing can be sent to the group, StoreError for damaged numbers."""
        self.session, self.limits = session, limits or UploadLimits()
        self._writer, self._journal = writer, journal
        self._meter = UploadMeter(self.limits)
        self._lock = asyncio.Lock()
        self._pending: NewBlob | None = None
        """A blob that is about to be stored: read it from where it was received."""
        self._numbers_file = writer.store.root / NUMBERS_FILE
        site = writer.store.site(session.prefix)
        files = site.manifest.files if site.manifest else ()
        self._files = {entry.path: entry for entry in files}
        numbers = _load_numbers(self._numbers_file)
        self.publication = Publication(
            session.prefix,
            session.tsi,
            open_group(session.source, interface, session.group, session.port),
            lambda manifest: sign_manifest(manifest, key),
            Numbers(max(numbers.version, site.version), numbers.next_toi, numbers.next_fdt_instance),
            self._remember,
            options=StreamOptions(rate_mbps, mtu_bytes, by_blob=True, spares=True, only_to_listeners=True),
            base=f"/{session.prefix}",
            on_event=self._note,
        )

    async def start(self) -> None:
        """Offer again what was here before."""
        if self._files:
            await self._publish(self._files)

    async def upload(self, url_name: str, receive: Receive, size: int | None, client: str) -> Outcome:
        """Take one item whose name is the rest of the URL; it can be read once this has answered 201."""
        name = unquote(url_name)
        if not _is_name(name):
            return Outcome(400, f"{url_name[:80]!r} is no name: letters, digits and the like, no slash")
        if size is None:
            return Outcome(411, "say how much it is: Content-Length")
        if size > self.limits.item_bytes:
            return Outcome(413, f"an item has at most {self.limits.item_bytes} bytes")
        wait_s = self._meter.wait_s(client, size, time.monotonic())
        if wait_s:
            return Outcome(429, "too much at once; try again later", (("Retry-After", str(wait_s)),))
        try:
            staging, sha256 = await self._stage(receive, size)
        except StoreError as error:
            return Outcome(507, str(error))
        if staging is None:
            return Outcome(400, "the content is shorter or longer than Content-Length says")
        async with self._lock:
            return await self._take(name, staging, sha256)

    async def close(self) -> None:
        """Say good-bye to those who listen."""
        await self.publication.close()

    @property
    def used_bytes(self) -> int:
        """The bytes of all items."""
        return sum(entry.size for entry in self._files.values())

    async def _stage(self, receive: Receive, size: int) -> tuple[Staging | None, str]:
        staging = self._writer.store.blobs.stage()
        more = True
        while more:
            message = await receive()
            body = message.get("body", b"")
            if message["type"] == "http.disconnect" or staging.size + len(body) > size:
                staging.abandon()
                return None, ""
            staging.write(body)
            more = message.get("more_body", False)
        if staging.size != size:
            staging.abandon()
            return None, ""
        return staging, staging.sha256

    async def _take(self, name: str, staging: Staging, sha256: str) -> Outcome:
        """Keep an item whose content has come. Names are given once: nobody can change what another wrote."""
        now_s = int(time.time())
        files = {path: entry for path, entry in self._files.items() if entry.expires_unix_s > now_s}
        location = ("Location", f"/{self.session.prefix}/{quote(name)}")
        held = files.get(name)
        used = sum(entry.size for entry in files.values()) + staging.size
        if held is not None:
            staging.abandon()
            if held.sha256 == sha256:
                return Outcome(200, "it is here already", (location,))
            return Outcome(409, f"{name} is taken; choose another name")
        if used > self.limits.total_bytes or len(files) >= self.limits.items:
            staging.abandon()
            return Outcome(507, "there is no more room for local content here")
        entry = FileEntry(name, staging.size, sha256, content_type(name), expires_unix_s=now_s + LIFETIME_S)
        try:
            await self._publish({**files, name: entry}, NewBlob(sha256, staging))
        except (StoreError, DeliveryError) as error:
            return Outcome(507, str(error))
        self._journal.write("upload", name=name, bytes=entry.size)
        return Outcome(201, f"{name} can be read now", (location,))

    async def _publish(self, files: Mapping[str, FileEntry], blob: NewBlob | None = None) -> None:
        """Make a new version durable here, with the blob that is new in it, then tell the others.

        Raises StoreError, DeliveryError; then all is as before.
        """
        entries = tuple(files[path] for path in sorted(files))
        sizes = {entry.sha256: entry.size for entry in entries}
        self._pending = blob
        try:
            draft = self.publication.draft(entries, self._read, sizes)
        finally:
            self._pending = None
        # Submitted together they are one batch: a blob that nothing lists would be removed after its own.
        jobs: list[Job] = [blob] if blob else []
        jobs.append(NewManifest(draft.edition.manifest, draft.signed, self.session.prefix))
        outcomes = await asyncio.gather(*[self._writer.submit(job) for job in jobs], return_exceptions=True)
        if isinstance(outcomes[-1], BaseException):
            raise outcomes[-1]
        self.publication.send(draft)
        if isinstance(outcomes[0], BaseException):
            await self._publish(self._files)
            raise outcomes[0]
        self._files = dict(files)

    def _read(self, sha256: str, offset: int, length: int) -> bytes:
        if (
            self._pending is not None
            and self._pending.sha256 == sha256
            and not self._writer.store.has(sha256)
        ):
            assert isinstance(self._pending.content, Staging)
            with open(self._pending.content.path, "rb") as file:
                file.seek(offset)
                return file.read(length)
        return self._writer.store.read(sha256, offset, length)

    def _remember(self, numbers: Numbers) -> None:
        try:
            write_durably(
                self._numbers_file.with_suffix(".new"),
                self._numbers_file,
                json.dumps(asdict(numbers) | {"blobs": {}}).encode(),
            )
        except OSError as error:
            raise DeliveryError(f"{self._numbers_file}: cannot write it: {error.strerror}") from None

    def _note(self, event: str, facts: Mapping[str, object]) -> None:
        if event == "problem":
            self._journal.problem(str(facts["problem"]))


def _is_name(name: str) -> bool:
    return (
        0 < len(name.encode(errors="replace")) <= _MOST_NAME_BYTES
        and name.isprintable()
        and "/" not in name
        and not name.startswith(".")
    )


def _load_numbers(path: Path) -> Numbers:
    try:
        return Numbers.from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return Numbers()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r}); remove it together with the store") from None

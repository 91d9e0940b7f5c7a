"""Live channels: each a session of its own, whose version goes up whenever its playlist changes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from pathlib import Path

from delivery.errors import DeliveryError
from delivery.publication import OnEvent, Publication, StreamOptions
from delivery.sessions import CHANNELS, Session
from delivery.stream import open_group
from origin.channel_source import ChannelSource
from origin.errors import OriginError
from origin.options import PublishOptions
from origin.signer import Signer
from origin.state import load_state, read_json, save_state, write_json

FIRST_TSI = 2
POLL_S = 0.1
"""How often folders of channels are looked at."""
_FILE = "channels.json"


class Channel:
    """One channel: its folder, its session, and how the site's manifest describes it."""

    def __init__(self, session: Session, source: ChannelSource, publication: Publication) -> None:
        self.session, self.publication = session, publication
        self._source = source

    def poll(self, on_event: OnEvent) -> None:
        """Publish the channel's next version when there is one; a problem is an event, and it goes on."""
        try:
            version = self._source.poll()
            if version is not None:
                self.publication.publish(version.files, version.read, version.sizes)
        except DeliveryError as error:
            on_event("problem", {"problem": str(error)})


def number_channels(state: Path, names: Iterable[str]) -> dict[str, int]:
    """The number of each channel, from 0, the same one for ever: TSI and group follow from it.

    Were it another channel's later, object numbers would be used twice in one session. Raises OriginError.
    """
    path = state / _FILE
    try:
        document = read_json(path)
        known = {} if document is None else {str(name): int(number) for name, number in document.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise OriginError(f"{path} is damaged ({error!r}); restore it") from None
    numbers = dict(known)
    for name in names:
        numbers.setdefault(name, max(numbers.values(), default=-1) + 1)
    if numbers != known:
        write_json(path, numbers)
    return {name: numbers[name] for name in names}


def open_channel(
    options: PublishOptions,
    name: str,
    folder: Path,
    number: int,
    http_port: int,
    signer: Signer,
    on_event: OnEvent,
    opened: Callable[[socket.socket], None],
) -> Channel:
    """Open the session of the channel `number`; `opened` is told its socket. Raises DeliveryError."""
    source = ChannelSource(folder)
    tsi = FIRST_TSI + number
    group = str(IPv6Address(int(IPv6Address(options.channel_group_base)) + number))
    base = f"/{CHANNELS}/{name}"
    sock = open_group(options.source, options.interface, group, options.port)
    opened(sock)
    publication = Publication(
        options.site,
        tsi,
        sock,
        signer.sign_other,
        load_state(options.state, f"{CHANNELS}-{name}"),
        lambda numbers: save_state(options.state, numbers, f"{CHANNELS}-{name}"),
        options=StreamOptions(
            options.channel_rate_mbps,
            options.mtu_bytes,
            options.overhead_percent,
            by_blob=True,
            spares=True,
            only_to_listeners=True,
        ),
        base=base,
        on_event=on_event,
    )
    url = f"http://[{options.source}]:{http_port}{base}"
    session = Session(base.removeprefix("/"), options.source, group, options.port, tsi, url)
    return Channel(session, source, publication)

"""flute-alc, an independent implementation of RFC 6726, reads what we send, and we read what it sends."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from flute import receiver as flute_receiver
from flute import sender as flute_sender

from delivery.alc import NO_CODE, Oti, encode_fti
from delivery.announcement import Announcer
from delivery.events import BlobReceived, ManifestReceived, RepairNeeded, SiteComplete
from delivery.fdt import FdtFile
from delivery.fec import no_code_symbols
from delivery.lct import LctHeader, encode_lct
from delivery.receiver import Receiver
from delivery.sender import Sender
from tests.unit.delivery.simulation import KEY, TSI, all_datagrams, make_site


def their_receiver(folder: Path) -> flute_receiver.Receiver:
    endpoint = flute_receiver.UDPEndpoint("ff35::8000:1", 4001)
    return flute_receiver.Receiver(
        endpoint, TSI, flute_receiver.ObjectWriterBuilder(str(folder)), flute_receiver.Config()
    )


@pytest.mark.parametrize("loss", [0.0, 0.08])
@pytest.mark.parametrize("shuffled", [False, True])
def test_flute_alc_decodes_our_raptorq(tmp_path: Path, loss: float, shuffled: bool) -> None:
    rnd = random.Random(1)
    site = make_site([rnd.randbytes(300_000), b"small", rnd.randbytes(5_000)], bundle_bytes=200_000)
    sender = Sender(TSI, overhead_percent=25, unix_offset_s=time.time())
    sender.publish(site.objects, 0.0)
    datagrams = [datagram for datagram in all_datagrams(sender) if rnd.random() >= loss]
    if shuffled:
        rnd.shuffle(datagrams)
    receiver = their_receiver(tmp_path)
    for datagram in datagrams:
        receiver.push(datagram)
    for outgoing in site.objects:
        assert (tmp_path / outgoing.location).read_bytes() == outgoing.load()


@pytest.mark.parametrize("in_band", [False, True])
def test_flute_alc_decodes_our_no_code(tmp_path: Path, in_band: bool) -> None:
    content = random.Random(2).randbytes(100_001)
    oti = Oti(NO_CODE, len(content), 1400, max_block_symbols=20)
    announcer = Announcer(TSI, 5, 3600, 1400)
    (fdt,) = announcer.announce([FdtFile(9, "film", oti, len(content), "video/mp4")], time.time())
    header = encode_lct(LctHeader(TSI, 9, NO_CODE, extensions=(encode_fti(oti),) if in_band else ()))
    receiver = their_receiver(tmp_path)
    receiver.push(fdt.datagram)
    for symbol in no_code_symbols(content, oti):
        receiver.push(header + symbol)
    assert (tmp_path / "film").read_bytes() == content


def their_datagrams(site_objects: list[tuple[str, bytes]], in_band: bool, interleaved: bool) -> list[bytes]:
    config = flute_sender.Config()
    if not interleaved:
        config.multiplex_files = 1
        config.interleave_blocks = 1
    oti = flute_sender.Oti.new_no_code(1400, 64)
    oti.inband_fti = in_band
    sender = flute_sender.Sender(TSI, oti, config)
    for location, content in site_objects:
        sender.add_object_from_buffer(content, "application/octet-stream", f"file:///{location}", None)
    sender.publish()
    datagrams = []
    while (datagram := sender.read()) is not None:
        datagrams.append(bytes(datagram))
    return datagrams


@pytest.mark.parametrize("in_band", [False, True])
@pytest.mark.parametrize("interleaved", [False, True])
def test_we_decode_a_site_sent_by_flute_alc(in_band: bool, interleaved: bool) -> None:
    # flute-alc numbers its objects from 1 in the order they are added, as our sites do.
    site = make_site([random.Random(3).randbytes(300_000), b"x" * 5000], bundle_bytes=400_000)
    datagrams = their_datagrams([(o.location, o.load()) for o in site.objects], in_band, interleaved)
    receiver = Receiver(
        TSI, KEY.public_key(), {}.__contains__, seed=1, fixed_back_off_s=0.1, random_back_off_s=0.1,
        reception_timeout_s=1.0, unix_offset_s=time.time(),
    )  # fmt: skip
    lost = [datagram for number, datagram in enumerate(datagrams) if number % 7 == 3]
    for datagram in datagrams:
        if datagram not in lost:
            receiver.datagram_received(datagram, 0.0)
    assert [type(event) for event in receiver.events()] == [ManifestReceived]
    for now in (1.0, 1.3):
        receiver.handle_timeout(now)
    assert any(isinstance(event, RepairNeeded) for event in receiver.events())
    for datagram in lost:
        receiver.datagram_received(datagram, 2.0)
    events = receiver.events()
    blobs = {event.sha256: event.content for event in events if isinstance(event, BlobReceived)}
    assert blobs == site.blobs
    assert events[-1] == SiteComplete(1)

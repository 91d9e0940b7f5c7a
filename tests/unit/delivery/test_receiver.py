"""The receiver alone: triggers, back-off, bounds."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from delivery.alc import RAPTORQ
from delivery.events import (
    BlobReceived,
    ManifestReceived,
    PieceReceived,
    Rejected,
    RepairNeeded,
    SiteComplete,
)
from delivery.lct import LctHeader, encode_lct
from delivery.manifest import EMPTY_SHA256
from delivery.receiver import Receiver
from delivery.sender import DEFAULT_MTU_BYTES, Sender, symbol_bytes
from delivery.slots import LOOK_INTERVAL, MAX_UNANNOUNCED, UNKNOWN_STEP
from tests.unit.delivery.simulation import KEY, TSI, Site, all_datagrams, make_site, sha256

SITE = make_site([random.Random(1).randbytes(30_000), b"other" * 2000], bundle_bytes=20_000)
TOIS = [bundle.toi for bundle in SITE.manifest.bundles]
SYMBOLS = {bundle.toi: -(-bundle.size // symbol_bytes(DEFAULT_MTU_BYTES)) for bundle in SITE.manifest.bundles}
FIXED_S, RANDOM_S, TIMEOUT_S = 0.1, 0.2, 1.0


def make_receiver(have: dict[str, bytes] | None = None, **options: float) -> Receiver:
    return Receiver(
        TSI, KEY.public_key(), (have or {}).__contains__, seed=int(options.pop("seed", 1)),
        fixed_back_off_s=FIXED_S, random_back_off_s=RANDOM_S, reception_timeout_s=TIMEOUT_S, **options,  # type: ignore[arg-type]
    )  # fmt: skip


def datagrams(site: Site = SITE, **options: float) -> list[bytes]:
    sender = Sender(TSI, **options)  # type: ignore[arg-type]
    sender.publish(site.objects, 0.0)
    return all_datagrams(sender)


def toi_of(datagram: bytes) -> int:
    return int.from_bytes(datagram[10:12], "big")


def repairs(receiver: Receiver) -> list[RepairNeeded]:
    return [event for event in receiver.events() if isinstance(event, RepairNeeded)]


def run_until_report(receiver: Receiver, until: float = 1000.0) -> tuple[float, RepairNeeded]:
    now = 0.0
    while now < until:
        deadline = receiver.next_deadline()
        assert deadline is not None, "nothing is waited for"
        now = max(now, deadline)
        receiver.handle_timeout(now)
        if reports := repairs(receiver):
            return now, reports[0]
    raise AssertionError("no report")


def test_clean_reception_in_order_of_events() -> None:
    receiver = make_receiver()
    for datagram in datagrams():
        receiver.datagram_received(datagram, 0.0)
    kinds = [type(event) for event in receiver.events()]
    assert kinds == [ManifestReceived, PieceReceived, PieceReceived, BlobReceived, SiteComplete]
    assert receiver.next_deadline() is None
    assert receiver.events() == []


def test_object_that_has_passed_is_reported_after_the_back_off() -> None:
    times = []
    for seed in range(40):
        receiver = make_receiver(seed=seed)
        for datagram in datagrams():
            if not (toi_of(datagram) == TOIS[0] and datagram[15] in (2, 5, 6)):
                receiver.datagram_received(datagram, 0.0)
        receiver.events()
        at, report = run_until_report(receiver)
        assert report == RepairNeeded(1, {TOIS[0]: 3})
        times.append(at)
    assert min(times) >= FIXED_S
    assert max(times) <= FIXED_S + RANDOM_S
    assert max(times) - min(times) > RANDOM_S / 2


def test_wholly_lost_object_is_reported_once_later_ones_come() -> None:
    receiver = make_receiver()
    for datagram in datagrams():
        if toi_of(datagram) != TOIS[0]:
            receiver.datagram_received(datagram, 0.0)
    _, report = run_until_report(receiver)
    assert report.missing == {TOIS[0]: SYMBOLS[TOIS[0]]}


def test_object_in_reception_is_not_reported() -> None:
    receiver = make_receiver()
    stream = datagrams()
    first = stream.index(next(d for d in stream if toi_of(d) == TOIS[1]))
    for datagram in stream[: first + 2]:
        if not (toi_of(datagram) == TOIS[0] and datagram[15] == 2):
            receiver.datagram_received(datagram, 0.0)
    receiver.events()
    now = FIXED_S + RANDOM_S + 0.01
    receiver.datagram_received(stream[first + 2], now)
    receiver.handle_timeout(now)
    assert repairs(receiver) == [RepairNeeded(1, {TOIS[0]: 1})]


@pytest.mark.parametrize("flag", ["close_object", "close_session"])
def test_close_flags_tell_that_an_object_has_passed(flag: str) -> None:
    receiver = make_receiver()
    stream = [datagram for datagram in datagrams() if toi_of(datagram) <= TOIS[0]]
    last = max(number for number, datagram in enumerate(stream) if toi_of(datagram) == TOIS[0])
    for datagram in stream[:last]:
        receiver.datagram_received(datagram, 0.0)
    receiver.events()
    assert receiver.next_deadline() == TIMEOUT_S
    header = LctHeader(TSI, TOIS[0], RAPTORQ, **{flag: True})  # type: ignore[arg-type]
    receiver.datagram_received(encode_lct(header), 0.0)
    at, report = run_until_report(receiver)
    assert at <= FIXED_S + RANDOM_S
    left = {TOIS[0]: 1}
    if flag == "close_session":  # nothing follows: the other bundle will not come by itself either
        left[TOIS[1]] = SYMBOLS[TOIS[1]]
    assert report.missing == left


def test_silence_is_reported_after_the_timeout_and_ever_more_rarely() -> None:
    receiver = make_receiver()
    stream = datagrams()
    cut = next(number for number, datagram in enumerate(stream) if toi_of(datagram) == TOIS[0]) + 5
    for datagram in stream[:cut]:
        receiver.datagram_received(datagram, 0.0)
    receiver.events()
    times = [run_until_report(receiver)[0]]
    assert TIMEOUT_S + FIXED_S <= times[0] <= TIMEOUT_S + FIXED_S + RANDOM_S
    for _ in range(8):
        at, report = run_until_report(receiver)
        times.append(at)
        assert report.missing == {TOIS[0]: SYMBOLS[TOIS[0]] - 5, TOIS[1]: SYMBOLS[TOIS[1]]}
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] >= TIMEOUT_S
    assert gaps[-1] > 30 * TIMEOUT_S


def test_expired_description_is_a_trigger() -> None:
    receiver = make_receiver()
    stream = datagrams(fdt_lifetime_s=0.5)
    for datagram in stream[: len(stream) // 2]:
        receiver.datagram_received(datagram, 0.0)
    receiver.events()
    at, _ = run_until_report(receiver)
    assert at <= 0.5 + FIXED_S + RANDOM_S < TIMEOUT_S


def test_expired_description_is_not_used() -> None:
    receiver = make_receiver(unix_offset_s=1000.0)
    for datagram in datagrams(unix_offset_s=0.0, fdt_lifetime_s=999.0):
        receiver.datagram_received(datagram, 1.0)
    assert {type(event) for event in receiver.events()} == {Rejected}


def test_lost_description_is_asked_for() -> None:
    receiver = make_receiver()
    stream = datagrams()
    for datagram in stream:
        if toi_of(datagram) != 0:
            receiver.datagram_received(datagram, 0.0)
    _, report = run_until_report(receiver)
    assert report == RepairNeeded(0, {0: 1})
    receiver.datagram_received(next(d for d in stream if toi_of(d) == 0), 2.0)
    assert isinstance(receiver.events()[-1], SiteComplete)


def test_lost_manifest_is_asked_for_and_the_bundles_are_not_lost() -> None:
    receiver = make_receiver()
    stream = datagrams()
    for datagram in stream:
        if toi_of(datagram) != 1:
            receiver.datagram_received(datagram, 0.0)
    assert receiver.events() == []
    _, report = run_until_report(receiver)
    assert report == RepairNeeded(0, {1: 1})
    for datagram in stream:
        if toi_of(datagram) == 1:
            receiver.datagram_received(datagram, 2.0)
    assert isinstance(receiver.events()[-1], SiteComplete)


def test_manifest_by_unicast_completes_what_was_received() -> None:
    receiver = make_receiver()
    for datagram in datagrams():
        if toi_of(datagram) != 1:
            receiver.datagram_received(datagram, 0.0)
    receiver.manifest_available(SITE.signed, 1.0)
    assert isinstance(receiver.events()[-1], SiteComplete)
    assert receiver.next_deadline() is None


def test_blobs_that_are_there_are_not_asked_for() -> None:
    receiver = make_receiver(dict(SITE.blobs))
    receiver.manifest_available(SITE.signed, 0.0)
    assert [type(event) for event in receiver.events()] == [ManifestReceived, SiteComplete]
    for datagram in datagrams():
        receiver.datagram_received(datagram, 0.0)
    assert receiver.events() == []
    assert receiver.next_deadline() is None


def test_blobs_that_come_by_unicast_complete_the_site() -> None:
    receiver = make_receiver()
    receiver.manifest_available(SITE.signed, 0.0)
    receiver.events()
    for name in SITE.blobs:
        receiver.blob_available(name, 0.0)
    assert receiver.events() == [SiteComplete(1)]
    assert receiver.next_deadline() is None


def test_restarted_edge_learns_the_symbol_size_before_it_asks() -> None:
    receiver = make_receiver(current_version=1)
    receiver.manifest_available(SITE.signed, 0.0)
    receiver.events()
    at, report = run_until_report(receiver)
    assert report == RepairNeeded(1, {0: 1})
    receiver.datagram_received(datagrams()[0], at)
    _, report = run_until_report(receiver)
    assert report.missing == SYMBOLS


def test_older_manifest_is_refused() -> None:
    newer = make_site([b"new"], version=2, first_toi=30)
    receiver = make_receiver()
    receiver.manifest_available(newer.signed, 0.0)
    receiver.events()
    receiver.manifest_available(SITE.signed, 0.0)
    (event,) = receiver.events()
    assert isinstance(event, Rejected)
    assert "older" in event.reason
    refusing = make_receiver(current_version=2)
    refusing.manifest_available(SITE.signed, 0.0)
    assert [type(event) for event in refusing.events()] == [Rejected]


def test_empty_files_need_no_bundle() -> None:
    site = make_site([b""])
    receiver = make_receiver()
    receiver.manifest_available(site.signed, 0.0)
    assert BlobReceived(EMPTY_SHA256, b"") in receiver.events()


def test_memory_is_bounded_whatever_arrives() -> None:
    limit = 500_000
    receiver = make_receiver(max_held_bytes=limit)
    rnd = random.Random(2)
    for number in range(20_000):
        header = encode_lct(LctHeader(TSI, rnd.randrange(1, 2000), RAPTORQ))
        receiver.datagram_received(header + rnd.randbytes(4) + bytes(1400), number / 1000)
    held = [slot.held_bytes for slot in receiver._slots.unfinished()]
    assert len(held) <= MAX_UNANNOUNCED + LOOK_INTERVAL + 1
    assert sum(held) <= limit + LOOK_INTERVAL * UNKNOWN_STEP * 1416
    receiver.events()
    for datagram in datagrams():
        receiver.datagram_received(datagram, 30.0)
    assert isinstance(receiver.events()[-1], SiteComplete)


def test_other_sessions_are_ignored() -> None:
    receiver = make_receiver()
    sender = Sender(TSI + 1)
    sender.publish(SITE.objects, 0.0)
    for datagram in all_datagrams(sender):
        receiver.datagram_received(datagram, 0.0)
    assert receiver.events() == []
    assert receiver.next_deadline() is None


def test_content_cut_across_bundles_arrives_in_any_order() -> None:
    content = random.Random(4).randbytes(95_000)
    site = make_site([b"before", content, b"after"], bundle_bytes=20_000)
    receiver = make_receiver()
    stream = datagrams(site)
    groups: dict[int, list[bytes]] = {}
    for datagram in stream:
        groups.setdefault(toi_of(datagram), []).append(datagram)
    for toi in (0, *sorted(groups, reverse=True)):
        for datagram in groups[toi]:
            receiver.datagram_received(datagram, 0.0)
    pieces: dict[int, bytes] = {}
    blobs = {}
    for event in receiver.events():
        if isinstance(event, BlobReceived):
            blobs[event.sha256] = event.content
        elif isinstance(event, PieceReceived):
            assert (event.sha256, event.size) == (sha256(content), len(content))
            pieces[event.offset] = event.content
    assert blobs == {sha256(small): small for small in (b"before", b"after")}
    assert b"".join(pieces[offset] for offset in sorted(pieces)) == content

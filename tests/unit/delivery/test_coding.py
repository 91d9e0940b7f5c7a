"""Compression and encryption of bundles, and how epoch keys reach the edges."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from delivery.coding import (
    SEAL_BYTES,
    CodingError,
    EpochKey,
    KeyNeededError,
    code_bundle,
    decode_bundle,
    seal_manifest,
    unwrap_keys,
    wrap_keys,
)
from delivery.events import BlobReceived, KeyNeeded, ManifestReceived, Rejected, SiteComplete
from delivery.manifest import Bundle, FileEntry, Manifest, Piece
from delivery.receiver import Receiver
from delivery.sender import Outgoing, Sender
from delivery.signing import sign_manifest
from tests.unit.delivery.simulation import KEY, TSI, all_datagrams, sha256

TEXT = b"what is said again and again is soon said shorter\n" * 400
NOISE = random.Random(1).randbytes(20_000)
EPOCH = EpochKey(3, bytes(range(32)))


def bundle(content: bytes, key: EpochKey | None) -> tuple[Bundle, bytes]:
    encoding, data = code_bundle(content, TSI, 5, key)
    piece = Piece(sha256(content), 0, len(content))
    epoch = key.epoch if key else 0
    return Bundle(5, len(content), sha256(content), (piece,), len(data), encoding, epoch), data


@pytest.mark.parametrize("key", [None, EPOCH], ids=["open", "sealed"])
@pytest.mark.parametrize("content", [TEXT, NOISE, b"x"], ids=["text", "noise", "byte"])
def test_what_is_coded_is_decoded(content: bytes, key: EpochKey | None) -> None:
    described, data = bundle(content, key)
    assert described.transfer_length == len(data)
    assert decode_bundle(described, TSI, data, {3: EPOCH.key}) == content
    assert code_bundle(content, TSI, 5, key)[1] == data, "the same bytes whenever a repair needs them"
    assert len(data) <= len(content) + (SEAL_BYTES if key else 0)


def test_text_shrinks_and_noise_is_left_alone() -> None:
    assert bundle(TEXT, None)[0].encoding == "zstd"
    assert bundle(TEXT, None)[0].transfer_length < len(TEXT) / 10
    assert bundle(NOISE, None)[0].encoding == ""


def test_a_seal_holds_for_one_object_of_one_session() -> None:
    described, data = bundle(NOISE, EPOCH)
    with pytest.raises(CodingError, match="does not open"):
        decode_bundle(described, TSI + 1, data, {3: EPOCH.key})
    with pytest.raises(CodingError, match="does not open"):
        decode_bundle(described, TSI, data[:-1] + bytes((data[-1] ^ 1,)), {3: EPOCH.key})
    with pytest.raises(KeyNeededError) as needed:
        decode_bundle(described, TSI, data, {})
    assert needed.value.epoch == 3


def test_content_that_lies_about_its_size_is_not_unpacked() -> None:
    described, data = bundle(TEXT, None)
    too_small = Bundle(5, 10, described.sha256, (), len(data), described.encoding)
    with pytest.raises(CodingError):
        decode_bundle(too_small, TSI, data, {})
    with pytest.raises(CodingError):
        decode_bundle(described, TSI, b"\x28\xb5\x2f\xfd" + bytes(40), {})


def test_keys_open_for_their_member_only() -> None:
    member, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    wrapped = wrap_keys({3: EPOCH.key, 4: bytes(32)}, member.public_key())
    assert unwrap_keys(wrapped, member) == {3: EPOCH.key, 4: bytes(32)}
    with pytest.raises(CodingError):
        unwrap_keys(wrapped, other)
    with pytest.raises(CodingError):
        unwrap_keys(wrapped[:-1], member)


def sealed_site() -> tuple[Manifest, list[Outgoing], dict[int, bytes]]:
    described, data = bundle(TEXT, EPOCH)
    entry = FileEntry("secret.txt", len(TEXT), sha256(TEXT), "text/plain")
    manifest = Manifest("test", 1, (entry,), (described,))
    sealed = seal_manifest(sign_manifest(manifest, KEY), EPOCH, TSI, 4)
    objects = [
        Outgoing(4, "manifest/1", "", len(sealed), lambda: sealed),
        Outgoing(5, "bundle/5", "", len(data), lambda: data),
    ]
    return manifest, objects, {}


def test_nothing_of_a_sealed_site_is_readable_on_the_wire_and_the_key_may_come_late() -> None:
    manifest, objects, keys = sealed_site()
    sender = Sender(TSI)
    sender.publish(objects, 0.0)
    datagrams = all_datagrams(sender)
    assert not any(b"secret.txt" in datagram or TEXT[:20] in datagram for datagram in datagrams)
    receiver = Receiver(
        TSI, KEY.public_key(), {}.__contains__, seed=1, fixed_back_off_s=0.1, random_back_off_s=0.1,
        reception_timeout_s=1.0, epoch_keys=keys,
    )  # fmt: skip
    for datagram in datagrams:
        receiver.datagram_received(datagram, 0.0)
    assert receiver.events() == [KeyNeeded(3)]
    keys[3] = EPOCH.key
    receiver.keys_available(1.0)
    first, *more = receiver.events()
    assert isinstance(first, ManifestReceived)
    assert first.manifest == manifest
    assert more == [BlobReceived(sha256(TEXT), TEXT), SiteComplete(1)]


def test_a_wrong_key_is_found_out_and_the_object_asked_for_again() -> None:
    _, objects, keys = sealed_site()
    keys[3] = bytes(32)
    sender = Sender(TSI)
    sender.publish(objects, 0.0)
    receiver = Receiver(
        TSI, KEY.public_key(), {}.__contains__, seed=1, fixed_back_off_s=0.1, random_back_off_s=0.1,
        reception_timeout_s=1.0, epoch_keys=keys,
    )  # fmt: skip
    for datagram in all_datagrams(sender):
        receiver.datagram_received(datagram, 0.0)
    assert {type(event) for event in receiver.events()} == {Rejected}

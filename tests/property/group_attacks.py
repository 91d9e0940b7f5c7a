"""What an attacker may send to a group: every kind of damage, forgery and replay, one function each."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from delivery.alc import NO_CODE, RAPTORQ, Oti, encode_ext_cenc, encode_ext_fdt, encode_fti
from delivery.announcement import MANIFEST_TYPE, Announcer, fdt_datagram
from delivery.fdt import GZIP, NAMESPACE, NTP_TO_UNIX_S, NULL, ZLIB, FdtFile
from delivery.fec import RaptorQEncoder
from delivery.lct import EXT_FTI, LctHeader, decode_lct, encode_lct
from delivery.signing import sign_manifest
from tests.unit.delivery.simulation import TSI, Site, make_site


def make_version(version: int, first_toi: int) -> Site:
    rnd = random.Random(version)
    contents = [rnd.randbytes(20_000), rnd.randbytes(9000), bytes(3000), b"", b"small"]
    return make_site(contents, version=version, first_toi=first_toi, bundle_bytes=8000)


OLD = make_version(1, 1)


Attack = Callable[["Target", random.Random], Iterable[bytes]]
ATTACKS: dict[str, Attack] = {}


def attack(function: Attack) -> Attack:
    ATTACKS[function.__name__] = function
    return function


class Target:
    """What an attacker on the group knows: the stream so far, the site, the stream of the version before."""

    def __init__(self, site: Site, stream: list[bytes], old: list[bytes]) -> None:
        self.site = site
        self.stream = stream
        self.old = old
        self.tois = [bundle.toi for bundle in site.manifest.bundles]
        self.manifest_toi = site.objects[0].toi

    def packet(self, rnd: random.Random) -> bytes:
        return rnd.choice(self.stream)

    def symbol(self, rnd: random.Random) -> bytes:
        """A packet that is none of an FDT's."""
        return rnd.choice(symbols_of(self.stream[-40:]) or symbols_of(self.old))

    def symbol_size(self) -> int:
        """What the sender puts into a packet."""
        return max(len(data) - 16 for data in symbols_of(self.old))


def symbols_of(stream: Iterable[bytes]) -> list[bytes]:
    """Only descriptions have header extensions, and so longer headers."""
    return [data for data in stream if data[2] == 3]


# Damage


@attack
def flip_in_header_field(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """Version, flags, header length, codepoint, CCI, TSI, TOI, payload ID: every octet is as likely."""
    data = bytearray(target.packet(rnd))
    data[rnd.randrange(min(16, len(data)))] ^= 1 << rnd.randrange(8)
    yield bytes(data)


@attack
def flip_in_extension_or_symbol(target: Target, rnd: random.Random) -> Iterator[bytes]:
    data = bytearray(target.packet(rnd))
    for _ in range(rnd.randint(1, 3)):
        data[rnd.randrange(12, min(len(data), rnd.choice((44, 2000))))] ^= 1 << rnd.randrange(8)
    yield bytes(data)


@attack
def truncate(target: Target, rnd: random.Random) -> Iterator[bytes]:
    data = target.packet(rnd)
    yield data[: rnd.choice((rnd.randrange(len(data)), rnd.randrange(20), len(data) - 1))]


@attack
def extend(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield target.packet(rnd) + rnd.randbytes(rnd.choice((1, 4, 8, 500)))


@attack
def noise(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield rnd.randbytes(rnd.choice((0, 1, 4, 12, 16, 40, 1448)))
    yield bytes((0x10, rnd.randrange(256), rnd.randrange(12), rnd.choice((0, 6, 5)))) + rnd.randbytes(60)


@attack
def duplicate_and_reorder(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield from rnd.choices(target.stream, k=4)


# Headers


def with_header(data: bytes, **changes: Any) -> bytes:
    header, end = decode_lct(data)
    return encode_lct(replace(header, **changes)) + data[end:]


@attack
def wrong_tsi(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield with_header(target.packet(rnd), tsi=rnd.choice((0, 2, 1 << 16, (1 << 48) - 1)))


@attack
def wrong_toi(target: Target, rnd: random.Random) -> Iterator[bytes]:
    toi = rnd.choice((*target.tois, rnd.randrange(1, 1000), rnd.randrange(1 << 32), rnd.getrandbits(112)))
    yield with_header(target.symbol(rnd), toi=toi)


@attack
def fdt_under_the_number_of_an_object(target: Target, rnd: random.Random) -> Iterator[bytes]:
    fdts = [data for data in target.stream if data[2] > 3]
    if fdts:  # none may have come yet
        yield with_header(rnd.choice(fdts), toi=rnd.choice((target.manifest_toi, *target.tois)))
    else:
        yield rnd.randbytes(40)


@attack
def close_flags(target: Target, rnd: random.Random) -> Iterator[bytes]:
    flags = {"close_object": rnd.random() < 0.7, "close_session": rnd.random() < 0.5}
    toi = rnd.choice((0, *target.tois, rnd.getrandbits(40)))
    yield encode_lct(LctHeader(TSI, toi, rnd.choice((NO_CODE, RAPTORQ)), **flags))
    yield with_header(target.packet(rnd), **flags)


@attack
def wide_congestion_control(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield with_header(target.packet(rnd), cci=rnd.getrandbits(128))


@attack
def strange_extensions(target: Target, rnd: random.Random) -> Iterator[bytes]:
    chosen = [
        (rnd.randrange(128), rnd.randbytes(4 * rnd.randrange(8) + 2)),
        (rnd.randrange(128, 256), rnd.randbytes(3)),
    ]
    yield with_header(target.packet(rnd), extensions=tuple(chosen))


# Transmission information


def random_oti(rnd: random.Random) -> Oti:
    """Small, plausible, at the limits and beyond them."""
    return Oti(
        rnd.choice((NO_CODE, RAPTORQ)),
        rnd.choice((0, 1, 1400, 16_000, 1 << 20, 8 << 20, (8 << 20) + 1, (1 << 40) - 1)),
        rnd.choice((0, 1, 8, 800, 1400, 1432, 65_528, 65_535)),
        max_block_symbols=rnd.choice((0, 1, 64, 1 << 16, (1 << 32) - 1)),
        source_blocks=rnd.choice((0, 1, 1, 1, 255)),
        sub_blocks=rnd.choice((0, 1, 1, 1, 65_535)),
        alignment=rnd.choice((0, 1, 8, 8, 8, 255)),
    )


@attack
def huge_fti_on_the_fdt(target: Target, rnd: random.Random) -> Iterator[bytes]:
    oti = random_oti(rnd)
    extensions = (encode_ext_fdt(rnd.randrange(1 << 20)), encode_fti(oti), encode_ext_cenc(rnd.randrange(5)))
    header = LctHeader(TSI, 0, oti.fec_id, extensions=extensions)
    for _ in range(rnd.randint(1, 4)):
        number = rnd.choice((0, 1, rnd.getrandbits(32)))
        yield encode_lct(header) + struct.pack("!I", number) + rnd.randbytes(min(oti.symbol_size, 1400))


@attack
def fti_of_a_wrong_length(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield with_header(target.packet(rnd), extensions=((EXT_FTI, rnd.randbytes(rnd.choice((2, 6, 10, 18)))),))


@attack
def fti_on_strangers(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """Objects that nobody announced, each said to be of some size."""
    oti = random_oti(rnd)
    header = LctHeader(
        TSI, rnd.getrandbits(rnd.choice((16, 60))) + 1, oti.fec_id, extensions=(encode_fti(oti),)
    )
    for number in range(rnd.randint(1, 5)):
        yield encode_lct(header) + struct.pack("!I", number) + rnd.randbytes(oti.symbol_size % 1500)


@attack
def fti_on_wanted_objects(target: Target, rnd: random.Random) -> Iterator[bytes]:
    oti = random_oti(rnd)
    header = LctHeader(TSI, rnd.choice(target.tois), oti.fec_id, extensions=(encode_fti(oti),))
    yield encode_lct(header) + struct.pack("!I", 0) + rnd.randbytes(oti.symbol_size % 1500)


# Descriptions


def fdt(text: bytes, rnd: random.Random, encoding: int = ZLIB) -> Iterator[bytes]:
    """The packets of an instance of any size."""
    body = {ZLIB: zlib.compress, GZIP: lambda data: zlib.compress(data, wbits=31), NULL: bytes}[encoding](
        text
    )
    instance = rnd.randrange(1 << 20)
    if encoding == ZLIB and len(body) <= 1400:
        yield fdt_datagram(TSI, instance, body, 1400)
        return
    oti = Oti(NO_CODE, len(body), 1400, max_block_symbols=1 << 16)
    extensions = (encode_ext_fdt(instance), encode_fti(oti), encode_ext_cenc(encoding))
    header = encode_lct(LctHeader(TSI, 0, NO_CODE, extensions=extensions))
    for number in range(oti.source_symbols):
        yield header + struct.pack("!I", number) + body[1400 * number : 1400 * (number + 1)]


def fdt_text(files: str, expires: object = NTP_TO_UNIX_S + 10_000_000) -> bytes:
    head = f'<?xml version="1.0"?><FDT-Instance xmlns="{NAMESPACE}" Expires="{expires}">'
    return f"{head}{files}</FDT-Instance>".encode()


def file_text(**attributes: object) -> str:
    usual: dict[str, object] = {
        "TOI": 7,
        "Content-Location": "bundle/7",
        "Transfer-Length": 1000,
        "FEC-OTI-FEC-Encoding-ID": 6,
        "FEC-OTI-Encoding-Symbol-Length": 1400,
        "FEC-OTI-Scheme-Specific-Info": "AQABCA==",
        "FEC-OTI-Maximum-Source-Block-Length": 64,
    }
    merged = usual | {name.replace("_", "-"): value for name, value in attributes.items()}
    return "<File" + "".join(f' {name}="{value}"' for name, value in merged.items() if value != "") + "/>"


STRANGE_NUMBERS = (-1, 0, 1 << 40, 1 << 112, 1 << 200, "", "x", "1e9", "٣", " 5 ", "1_000", "9" * 5000)


@attack
def forged_fdt_attributes(target: Target, rnd: random.Random) -> Iterator[bytes]:
    names = ("TOI", "Transfer_Length", "FEC_OTI_FEC_Encoding_ID", "FEC_OTI_Encoding_Symbol_Length",
             "FEC_OTI_Maximum_Source_Block_Length", "Content_Length")  # fmt: skip
    changes: dict[str, object] = {name: rnd.choice(STRANGE_NUMBERS) for name in rnd.sample(names, 2)}
    changes["FEC_OTI_Scheme_Specific_Info"] = rnd.choice(("AQABCA==", "AQ==", "!!!", "", "/////w=="))
    changes["Content_Location"] = rnd.choice(("", "bundle/7", "manifest/x", "../../etc/passwd", "m" * 9000))
    yield from fdt(fdt_text(file_text(**changes)), rnd, rnd.choice((NULL, ZLIB, GZIP)))


@attack
def forged_fdt_expiry(target: Target, rnd: random.Random) -> Iterator[bytes]:
    expires = rnd.choice(
        (-1, 0, NTP_TO_UNIX_S, NTP_TO_UNIX_S + 1, "", "x", "9" * 5000, 1 << 64, "1" + "0" * 400)
    )
    yield from fdt(fdt_text(file_text(), expires), rnd)


@attack
def fdt_that_expires_at_once(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield from fdt(fdt_text(file_text(), NTP_TO_UNIX_S + rnd.randrange(1, 200)), rnd)


@attack
def forged_fdt_of_true_objects(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """Another symbol size, another length, another code for what is wanted."""
    bundle = rnd.choice(target.site.manifest.bundles)
    oti = rnd.choice(
        (
            Oti(RAPTORQ, bundle.size, rnd.choice((8, 16, 800, 1400, 1408, 2000, 65_528))),
            Oti(RAPTORQ, bundle.size + 1, target.symbol_size()),
            Oti(NO_CODE, bundle.size, rnd.choice((1, 800, 1400)), max_block_symbols=64),
        )
    )
    announcer = Announcer(TSI, rnd.randrange(1 << 20), 3600, 1400)
    forged = FdtFile(bundle.toi, rnd.choice(("x", f"bundle/{bundle.toi}")), oti, oti.transfer_length)
    yield from (announcement.datagram for announcement in announcer.announce([forged], 0.0))


@cache
def bombs() -> tuple[tuple[bytes, int], ...]:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    bomb = f"<?xml version='1.0'?><!DOCTYPE b [{entities}]><FDT-Instance>&e9;</FDT-Instance>".encode()
    deep = fdt_text("<a>" * 20_000 + "</a>" * 20_000)
    return (
        (bomb, ZLIB),
        (bomb, NULL),
        (bomb.decode().encode("utf-16"), ZLIB),
        (b'<?xml version="1.0" encoding="utf-16"?>' + bomb, ZLIB),
        (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><FDT-Instance/>", ZLIB),
        (deep, ZLIB),
        (fdt_text(" " * (2 << 20)), ZLIB),
        (fdt_text(" " * (2 << 20)), GZIP),
        (fdt_text("<File/>" * 20_000), ZLIB),
        (fdt_text('<File x="' + "A" * 900_000 + '"/>'), ZLIB),
        (b"<FDT-Instance", ZLIB),
        (b"\xff\xfe\x00", NULL),
        (b"", ZLIB),
    )


@attack
def xml_bombs(target: Target, rnd: random.Random) -> Iterator[bytes]:
    if rnd.random() < 0.1:  # Some take milliseconds each.
        text, encoding = rnd.choice(bombs())
        yield from fdt(text, rnd, encoding)


@cache
def many_files(first: int) -> bytes:
    return fdt_text("".join(file_text(TOI=first + number) for number in range(1500)))


@attack
def fdt_of_thousands_of_objects(target: Target, rnd: random.Random) -> Iterator[bytes]:
    if rnd.random() < 0.01:
        yield from fdt(many_files(rnd.choice((1, 100_000, 1 << 60))), rnd)


@attack
def fdt_that_never_ends(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """Always another packet of always another instance."""
    extensions = (
        encode_ext_fdt(rnd.randrange(1 << 20)),
        encode_fti(Oti(NO_CODE, 1 << 20, 1400, max_block_symbols=1 << 16)),
    )
    header = encode_lct(LctHeader(TSI, 0, NO_CODE, extensions=extensions))
    yield header + struct.pack("!I", rnd.randrange(700)) + rnd.randbytes(1400)


# Symbols


@attack
def wrong_symbol_lengths(target: Target, rnd: random.Random) -> Iterator[bytes]:
    header = encode_lct(LctHeader(TSI, rnd.choice((target.manifest_toi, *target.tois)), RAPTORQ))
    yield (
        header + struct.pack("!I", rnd.randrange(40)) + rnd.randbytes(rnd.choice((0, 1, 7, 1399, 1440, 9000)))
    )


@attack
def foreign_symbols(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """Of the right length, under a wanted TOI: the object will not have its digest."""
    header = encode_lct(LctHeader(TSI, rnd.choice((target.manifest_toi, *target.tois)), RAPTORQ))
    esi = rnd.choice((rnd.randrange(20), rnd.randrange(1 << 24), rnd.getrandbits(32)))
    yield header + struct.pack("!I", esi) + rnd.randbytes(target.symbol_size())


@attack
def strangers_without_end(target: Target, rnd: random.Random) -> Iterator[bytes]:
    header = encode_lct(LctHeader(TSI, rnd.getrandbits(32) + 1, RAPTORQ))
    for esi in range(rnd.choice((1, 1, 1, 30))):
        yield header + struct.pack("!I", esi) + bytes(target.symbol_size())


@attack
def short_then_long_symbols(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """The first packet of an object is no measure of the others."""
    header = encode_lct(LctHeader(TSI, rnd.getrandbits(20) + 1, RAPTORQ))
    yield header + struct.pack("!I", 0) + b"x"
    for esi in range(1, 200):
        yield header + struct.pack("!I", esi) + bytes(1400)


# Manifests


def object_datagrams(toi: int, location: str, content: bytes, rnd: random.Random) -> Iterator[bytes]:
    oti = Oti(RAPTORQ, len(content), 1400)
    announcer = Announcer(TSI, rnd.randrange(1 << 20), 3600, 1400)
    (announced,) = announcer.announce([FdtFile(toi, location, oti, len(content), MANIFEST_TYPE)], 0.0)
    yield announced.datagram
    header = encode_lct(LctHeader(TSI, toi, RAPTORQ))
    for symbol in RaptorQEncoder(content, 1400).source():
        yield header + symbol


ATTACKER = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)


@attack
def forged_manifest(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """Signed by somebody else, altered, cut short, or no manifest at all; announced as the next version."""
    version = target.site.manifest.version + 1
    signed = target.site.signed
    at = rnd.randrange(len(signed))
    altered = signed[:at] + bytes((signed[at] ^ 1,)) + signed[at + 1 :]
    foreign = sign_manifest(replace(target.site.manifest, version=version), ATTACKER)
    content = rnd.choice((foreign, altered, signed[:at] or b"x", rnd.randbytes(3000), signed + b"\0"))
    yield from object_datagrams(
        target.manifest_toi + 500 + rnd.randrange(2), f"manifest/{version}", content, rnd
    )


@attack
def replayed_stream(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield from rnd.choices(target.old, k=5)


@attack
def replayed_manifest_under_its_own_number(target: Target, rnd: random.Random) -> Iterator[bytes]:
    yield from object_datagrams(
        target.manifest_toi, f"manifest/{target.site.manifest.version}", OLD.signed, rnd
    )


@attack
def replayed_manifest_as_the_next(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """A true signature, but of a version that is held or was, under a number that is not in use yet."""
    signed = rnd.choice((OLD.signed, target.site.signed))
    toi = target.manifest_toi + rnd.choice((100, 1 << 15, 1 << 60))
    yield from object_datagrams(toi, f"manifest/{target.site.manifest.version + 9}", signed, rnd)


@attack
def announced_manifests_that_never_come(target: Target, rnd: random.Random) -> Iterator[bytes]:
    """More than a receiver keeps track of, each newer and with a higher number than the true one."""
    toi, version = (1 << 40) + rnd.randrange(1 << 20), target.site.manifest.version + 1 + rnd.randrange(9)
    files = [
        FdtFile(toi + number, f"manifest/{version}", Oti(RAPTORQ, 1000, 1400), 1000) for number in range(9)
    ]
    announcer = Announcer(TSI, rnd.randrange(1 << 20), 3600, 1400)
    yield from (announcement.datagram for announcement in announcer.announce(files, 0.0))

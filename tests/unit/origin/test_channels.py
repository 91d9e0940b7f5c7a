"""Live channels: what a playlist lists, when a version is due, numbers that stay with their channel."""

from __future__ import annotations

from pathlib import Path

import pytest

from origin import channel_source
from origin.channel_source import ChannelSource, ChannelVersion
from origin.channels import number_channels
from origin.errors import OriginError
from origin.playlists import PlaylistError, listed

PLAYLIST = """\
#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:2
#EXT-X-MAP:URI="init.mp4",BYTERANGE="10@0"
#EXTINF:2.0,
seg1.m4s
#EXTINF:2.0,
sub/seg2.m4s?x=1
#EXTINF:2.0,
https://elsewhere/seg.ts
/absolute.ts
seg1.m4s
"""


def test_what_a_playlist_lists() -> None:
    assert listed(PLAYLIST) == ("init.mp4", "seg1.m4s", "sub/seg2.m4s")
    assert listed(PLAYLIST, "hd/")[0] == "hd/init.mp4"
    assert listed("\ufeff#EXTM3U\r\n\r\na.ts\r\n") == ("a.ts",)


@pytest.mark.parametrize("text", ["", "seg.ts", "#EXTM3U\n../secret", "#EXTM3U\na//b", "#EXTM3U\n./a"])
def test_what_is_no_playlist_or_leads_out(text: str) -> None:
    with pytest.raises(PlaylistError):
        listed(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.ts").write_bytes(b"segment %d" % number)
    return tmp_path


def write(folder: Path, *names: str) -> None:
    text = "#EXTM3U\n" + "".join(f"#EXTINF:2,\n{name}\n" for name in names)
    (folder / "aside").write_text(text)
    (folder / "aside").replace(folder / "index.m3u8")


def paths(version: ChannelVersion | None) -> list[str]:
    return [entry.path for entry in version.files] if version else []


def test_a_version_is_due_whenever_the_playlist_changes(folder: Path) -> None:
    source = ChannelSource(folder)
    assert source.poll() is None
    write(folder, "1.ts", "2.ts")
    first = source.poll()
    assert first is not None
    assert paths(first) == ["1.ts", "2.ts", "index.m3u8"]
    assert [entry.content_type for entry in first.files][1:] == [
        "video/mp2t",
        "application/vnd.apple.mpegurl",
    ]
    assert {entry.path: first.read(entry.sha256, 0, 99) for entry in first.files}["1.ts"] == b"segment 1"
    assert first.sizes == {entry.sha256: entry.size for entry in first.files}
    assert source.poll() is None
    write(folder, "2.ts", "3.ts")
    assert paths(source.poll()) == ["2.ts", "3.ts", "index.m3u8"]


def test_content_outlives_its_file(folder: Path) -> None:
    source = ChannelSource(folder)
    write(folder, "1.ts")
    version = source.poll()
    assert version is not None
    (folder / "1.ts").unlink()
    (folder / "index.m3u8").unlink()
    assert version.read(version.files[0].sha256, 2, 3) == b"gme"
    assert source.poll() is None


def test_a_version_waits_for_all_it_lists(folder: Path) -> None:
    source = ChannelSource(folder)
    write(folder, "1.ts", "4.ts")
    assert source.poll() is None
    (folder / "4.ts").write_bytes(b"late")
    assert paths(source.poll()) == ["1.ts", "4.ts", "index.m3u8"]


def test_a_playlist_that_changes_while_it_is_read_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ChannelSource(folder)
    write(folder, "1.ts")

    def changing(text: str, below: str) -> tuple[str, ...]:
        monkeypatch.undo()
        write(folder, "2.ts")
        return listed(text, below)

    monkeypatch.setattr(channel_source, "listed", changing)
    assert source.poll() is None
    assert paths(source.poll()) == ["2.ts", "index.m3u8"]


def test_playlists_of_playlists_are_followed(folder: Path) -> None:
    (folder / "hd").mkdir()
    (folder / "hd" / "1.ts").write_bytes(b"hd")
    write(folder / "hd", "1.ts")
    write(folder, "hd/index.m3u8")
    assert paths(ChannelSource(folder).poll()) == ["hd/1.ts", "hd/index.m3u8", "index.m3u8"]


def test_a_broken_playlist_is_told_once_and_the_next_is_taken(folder: Path) -> None:
    source = ChannelSource(folder)
    (folder / "index.m3u8").write_text("oops")
    with pytest.raises(OriginError, match="does not begin with #EXTM3U"):
        source.poll()
    assert source.poll() is None
    write(folder, "1.ts")
    assert paths(source.poll()) == ["1.ts", "index.m3u8"]


def test_what_a_playlist_lists_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_source, "MAX_CHANNEL_BYTES", 60)
    write(folder, "1.ts", "2.ts", "3.ts")
    with pytest.raises(OriginError, match="let it list fewer segments"):
        ChannelSource(folder).poll()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OriginError, match=r"no such folder; check --channel"):
        ChannelSource(tmp_path / "missing")


def test_a_channel_keeps_its_number_whatever_the_others_do(tmp_path: Path) -> None:
    assert number_channels(tmp_path, ["b", "a"]) == {"b": 0, "a": 1}
    assert number_channels(tmp_path, ["a", "c"]) == {"a": 1, "c": 2}
    assert number_channels(tmp_path, ["d", "b"]) == {"d": 3, "b": 0}
    (tmp_path / "channels.json").write_text("[]")
    with pytest.raises(OriginError, match="damaged"):
        number_channels(tmp_path, ["a"])

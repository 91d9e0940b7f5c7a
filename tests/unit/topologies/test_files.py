import os
from pathlib import Path

import pytest

from topologies import catalogue
from topologies.files import MAX_FILE_BYTES, TopologyError, load, load_document, read_document
from topologies.spec import Link, Role

FIGURE2 = Path(catalogue.__file__).parent / "figure2.yaml"


def message(target: str | os.PathLike[str]) -> str:
    with pytest.raises(TopologyError) as raised:
        load(target)
    return str(raised.value)


def test_a_file_and_its_catalogue_name_give_the_same_topology() -> None:
    assert load(FIGURE2) == load("figure2") == load(str(FIGURE2))


def test_link_values_come_from_the_link_then_the_layer_then_the_defaults() -> None:
    links = {link.name: link for link in load("figure2").links}
    assert links["core1-dist1"] == Link("core1", "dist1", 1.0, 40000.0)
    assert links["core1-dist2"] == Link("core1", "dist2", 1.3, 40000.0)
    assert links["access2-user4"] == Link("access2", "user4", 15.0, 20.0, 0.1, 1500, 256)
    assert links["access3-user6"].mtu_bytes == 1492


def test_nodes_are_in_the_order_of_roles_then_of_the_file() -> None:
    topology = load("figure2")
    assert [node.role for node in topology] == sorted((node.role for node in topology), key=list(Role).index)
    assert topology.of_role(Role.ACCESS) == ("access1", "access2", "access3")


def test_a_service_address_is_stored_in_its_canonical_form() -> None:
    text = FIGURE2.read_text().replace("2001:db8:ffff::1", "2001:0DB8:FFFF:0::00a1")
    assert read_document(text, "f").topology.service.address == "2001:db8:ffff::a1"


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    file = tmp_path / "windows.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + FIGURE2.read_bytes().replace(b"\n", b"\r\n"))
    assert load(file) == load("figure2")


def test_an_unknown_name_says_what_there_is() -> None:
    assert message("metroo") == "metroo: does not exist; did you mean `metro`?"
    assert message("nothing.yaml") == (
        "nothing.yaml: does not exist; expected a topology file or one of: figure2, metro"
    )


def test_a_catalogue_name_wins_over_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metro").write_text("")
    monkeypatch.chdir(tmp_path)
    assert load("metro").name == "metro"
    assert message("./metro") == "./metro:1: the file is empty; expected a topology"


def test_what_is_no_readable_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert ": is a directory; expected a topology file" in message(tmp_path)
    assert ": is no regular file; " in message(tmp_path / "pipe")
    assert ": cannot be read: Too many levels of symbolic links; " in message(tmp_path / "loop")
    assert f": has {MAX_FILE_BYTES + 1} bytes, more than {MAX_FILE_BYTES}; " in message(tmp_path / "huge")
    assert ": cannot be read: embedded null byte; " in message("a\0b")
    assert message(FIGURE2 / "x").startswith(f"{FIGURE2}/x: cannot be read: Not a directory; ")


def test_binary_files_are_named_as_such(tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"name: x\n\x7fELF\xff")
    assert message(file) == f"{file}:2: byte 0xff is not UTF-8; expected a text file"
    file.write_bytes(b"name: x\nnodes: \x00")
    assert message(file) == f"{file}:2: U+0000 is not allowed in YAML; expected a text file"


def test_the_error_carries_its_findings_in_the_order_of_lines() -> None:
    with pytest.raises(TopologyError) as raised:
        read_document("name: 5\nlinks: {}\nnodes: []\n", "x.yaml")
    error = raised.value
    assert error.file == "x.yaml"
    assert [(finding.line, finding.field) for finding in error.findings] == [
        (1, "name"),
        (2, "links"),
        (3, "nodes"),
    ]
    assert len(str(error).splitlines()) == 3


def test_mistakes_in_values_do_not_hide_those_between_nodes_and_links() -> None:
    text = FIGURE2.read_text().replace("delay_ms: 15,", "delay_ms: -15,")
    text = text.replace("- [access1, user1]", "- [dist1, user1]").replace("- [dist2, access3]", "- [dist2]")
    with pytest.raises(TopologyError) as raised:
        read_document(text, "x.yaml")
    fields = [finding.field for finding in raised.value.findings]
    # The link that cannot be read is why access3 looks cut off; that is not reported.
    assert fields == ["links[6]", "links[dist1-user1]", "links[access2-user4].delay_ms"]


def test_a_link_that_cannot_be_read_does_not_make_its_switch_look_cut_off() -> None:
    text = FIGURE2.read_text().replace("- [dist2, access3]", "- [dist2]")
    with pytest.raises(TopologyError) as raised:
        read_document(text, "x.yaml")
    assert [finding.field for finding in raised.value.findings] == ["links[6]"]


def test_the_description_comes_with_the_document() -> None:
    assert load_document("figure2").description.startswith("An enterprise cloud behind the core")

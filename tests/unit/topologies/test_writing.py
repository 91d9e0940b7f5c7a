from dataclasses import replace

import pytest
import yaml

from topologies.files import load, load_document, read_document
from topologies.spec import ControlPlane, Link, Node, OriginMode, Role, RouterAddressing, Topology
from topologies.writing import to_yaml

FIGURE2 = load("figure2")


def test_a_handwritten_file_survives_the_round_trip() -> None:
    description = load_document("figure2").description
    document = read_document(to_yaml(FIGURE2, description), "f")
    assert (document.topology, document.description) == (FIGURE2, description)


def test_what_most_links_share_is_written_once() -> None:
    data = yaml.safe_load(to_yaml(FIGURE2))
    assert data["layers"]["user"] == {"delay_ms": 2, "rate_mbps": 100, "queue_packets": 256}
    assert data["layers"]["core-distribution"] == {"rate_mbps": 40000}
    assert ["access1", "user1"] in data["links"]
    assert {"ends": ["core1", "dist2"], "delay_ms": 1.3} in data["links"]
    assert {"ends": ["access3", "user6"], "mtu_bytes": 1492} in data["links"]


@pytest.mark.parametrize("value", [1e-7, 1e22, 0.1 + 0.2, 1e15, 123456789.5])
def test_numbers_keep_their_value(value: float) -> None:
    topology = replace(FIGURE2, links=(replace(FIGURE2.links[0], rate_mbps=value), *FIGURE2.links[1:]))
    assert read_document(to_yaml(topology), "f").topology == topology


@pytest.mark.parametrize("name", ["on", "no", "y", "null", "true"])
def test_names_that_yaml_takes_for_something_else_are_quoted(name: str) -> None:
    topology = Topology(
        "test",
        tuple(Node(node.name if node.name != "core1" else name, node.role) for node in FIGURE2),
        tuple(replace(link, a=name if link.a == "core1" else link.a) for link in FIGURE2.links),
    )
    assert read_document(to_yaml(topology), "f").topology == topology


@pytest.mark.parametrize(
    "description",
    [
        "a: b # c",
        "'quoted' \"twice\"",
        "Zürich - 北京 😀",
        "line\nbreak\ttab",
        "next\x85line\u2028x",
        "- x",
        "{",
        "*a",
    ],
)
def test_descriptions_of_any_text(description: str) -> None:
    assert read_document(to_yaml(FIGURE2, description), "f").description == description


def test_the_comment_stands_at_the_top() -> None:
    assert to_yaml(FIGURE2, comment="one\n\ntwo").startswith("# one\n#\n# two\nname: figure2\n")


def test_long_lists_are_folded() -> None:
    users = tuple(Node(f"more{number}", Role.USER) for number in range(100))
    links = tuple(Link("access1", user.name, 2, 100) for user in users)
    nodes = (*(node for node in FIGURE2 if node.role is not Role.DNS), *users, Node("dns", Role.DNS))
    topology = Topology("test", nodes, FIGURE2.links + links)
    text = to_yaml(topology)
    assert max(map(len, text.splitlines())) <= 110
    assert read_document(text, "f").topology.of_role(Role.USER) == topology.of_role(Role.USER)


@pytest.mark.parametrize("control", [ControlPlane(2.5), ControlPlane(0, "core1"), ControlPlane(3, "access2")])
def test_options_that_differ_from_the_default_are_written(control: ControlPlane) -> None:
    topology = replace(
        FIGURE2, origin=OriginMode.LAST_RESORT, routers=RouterAddressing.GLOBAL, control=control
    )
    assert read_document(to_yaml(topology), "f").topology == topology


def test_options_with_their_default_are_not_written() -> None:
    assert not {"origin", "routers", "control"} & set(yaml.safe_load(to_yaml(FIGURE2)))

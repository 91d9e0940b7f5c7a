"""The tables and the example of docs/topologies.md are those of the code."""

import re
from pathlib import Path

from topologies.addressing import DNS_PREFIX, INFRASTRUCTURE, STATIC_GROUP
from topologies.files import load, read_document
from topologies.graph import shortest_path_tree
from topologies.layers import DEFAULT_LAYERS, FIBRE_MS_PER_KM
from topologies.spec import Role

PAGE = (Path(__file__).parents[3] / "docs" / "topologies.md").read_text()


def test_the_example_is_a_valid_file() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert read_document(example, "example").topology.name == "example"


def test_the_layers_table_has_the_delays_and_rates_of_the_generator() -> None:
    rows = re.findall(r"^\| (\S+) \| ([\d.]+) \| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {row[0]: (float(row[1]), float(row[2])) for row in rows} == {
        key: (layer.delay_ms, layer.rate_mbps) for key, layer in DEFAULT_LAYERS.items()
    }
    for key, _, _, why in rows:
        distance_km = DEFAULT_LAYERS[key].distance_km
        if distance_km is not None:
            assert f"{distance_km:g} km" in why
            assert DEFAULT_LAYERS[key].delay_ms == distance_km * FIBRE_MS_PER_KM


def test_the_round_trip_to_the_origin_is_the_one_of_metro() -> None:
    metro = load("metro")
    tree = shortest_path_tree(metro, "origin")
    round_trips = [2 * tree.distance_ms[user] for user in metro.of_role(Role.USER)]
    assert f"round trip of {min(round_trips):.0f} to {max(round_trips):.0f} ms" in PAGE


def test_the_address_table_has_the_prefixes_of_the_plan() -> None:
    for prefix in (DNS_PREFIX, INFRASTRUCTURE, STATIC_GROUP):
        assert str(prefix) in PAGE

"""The files that come with the package: complete, current, and what they promise."""

import json
from pathlib import Path

from topologies import catalogue
from topologies.addressing import plan_addresses
from topologies.files import load, load_document
from topologies.format import json_schema
from topologies.graph import nearest_edges
from topologies.spec import Role
from topologies.three_tier import three_tier
from topologies.writing import to_yaml

FOLDER = Path(catalogue.__file__).parent


def test_names() -> None:
    assert catalogue.names() == ("figure2", "metro")
    assert catalogue.path_of("metro") == FOLDER / "metro.yaml"
    assert catalogue.path_of("../topologies/metro") is None


def test_every_topology_has_a_description_and_its_own_name() -> None:
    for name in catalogue.names():
        document = load_document(name)
        assert document.topology.name == name
        assert document.description


def test_metro_is_what_the_generator_writes() -> None:
    text = (FOLDER / "metro.yaml").read_text()
    comment = text.splitlines()[0].removeprefix("# ")
    expected = to_yaml(three_tier(2, 4, 8, name="metro"), load_document("metro").description, comment)
    assert text == expected
    assert load("metro") == three_tier(2, 4, 8, name="metro")
    assert len(load("metro").links) == 51


def test_every_user_has_one_nearest_edge_on_its_own_access_switch() -> None:
    for name in catalogue.names():
        topology = load(name)
        nearest = nearest_edges(topology)
        for user in topology.of_role(Role.USER):
            (edge,) = nearest[user].equally_near
            assert topology.access_port(edge).node == topology.access_port(user).node


def test_the_schema_file_is_current() -> None:
    assert json.loads((FOLDER / "schema.json").read_text()) == json_schema(), (
        "run `nearcast topology schema > topologies/schema.json`"
    )


def test_the_schema_knows_every_field_and_no_null() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == {
        "name", "description", "service", "origin", "routers", "control", "layers", "nodes", "links",
    }  # fmt: skip
    assert schema["required"] == ["name", "nodes", "links"]
    assert set(schema["$defs"]["Nodes"]["properties"]) == {str(role) for role in Role}
    assert '"null"' not in json.dumps(schema)
    pair, mapping = schema["$defs"]["LinkEntry"]["anyOf"]
    assert pair["type"] == "array"
    assert mapping["required"] == ["ends"]
    assert pair["items"] == {"type": "string", "pattern": "^[a-z][a-z0-9]*$", "maxLength": 10}


def test_the_address_plan_of_metro() -> None:
    plan = plan_addresses(load("metro"))
    assert str(plan.user_prefixes["access8"]) == "2001:db8:8::/64"
    assert str(plan.hosts["edge8"].unicast) == "fd6e:6361:7374:8::1"
    assert plan.hosts["origin"].unicast in plan.infrastructure
    assert plan.hosts["user1"].addresses == ()
    assert plan.datapath_ids["core1"] == 1

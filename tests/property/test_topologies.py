"""Topologies of any size, and files with any mistake."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.addressing import plan_addresses
from topologies.check import check
from topologies.files import FileFinding, TopologyError, read_document
from topologies.graph import nearest_edges
from topologies.spec import Role, Topology, from_json, to_json
from topologies.three_tier import three_tier
from topologies.writing import to_yaml


@st.composite
def networks(draw: st.DrawFn) -> Topology:
    access = draw(st.integers(1, 30))
    return three_tier(
        draw(st.integers(1, 6)),
        draw(st.integers(1, 9)),
        access,
        users_per_access=draw(st.integers(1, 5)),
        edges=draw(st.none() | st.integers(1, access)),
        mesh=draw(st.booleans()),
        spread=draw(st.sampled_from([0, 0.05, 0.2, 0.9])),
    )


@settings(max_examples=40, deadline=None)
@given(networks())
def test_generated_networks_are_valid_and_every_user_reaches_an_edge(topology: Topology) -> None:
    assert check(topology) == ()
    assert set(topology.of_role(Role.USER)) <= set(nearest_edges(topology))


@settings(max_examples=25, deadline=None)
@given(networks(), st.text(max_size=60))
def test_yaml_and_json_round_trips(topology: Topology, description: str) -> None:
    document = read_document(to_yaml(topology, description), "f")
    assert (document.topology, document.description) == (topology, description)
    assert from_json(to_json(topology)) == topology


@settings(max_examples=25, deadline=None)
@given(networks())
def test_the_address_plan_gives_nothing_twice(topology: Topology) -> None:
    plan = plan_addresses(topology)
    macs = [*plan.router_macs.values(), *(host.mac for host in plan.hosts.values())]
    assert len(set(macs)) == len(macs)
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs), "locally administered unicast"
    assert len(set(plan.datapath_ids.values())) == len(topology.switches)
    networks = [
        *plan.user_prefixes.values(),
        *(address.network for host in plan.hosts.values() for address in host.addresses),
    ]
    assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[:i])
    assert not any(plan.service in network for network in networks)
    assert not any(prefix.overlaps(plan.infrastructure) for prefix in plan.user_prefixes.values())


SMALL = three_tier(1, 1, 2, users_per_access=1, edges=1, name="small")
TEXT = to_yaml(SMALL, "to be damaged")
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["core1", "user1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


INSERTS = st.text(max_size=10) | st.sampled_from(["&a ", "*a", "- ", "\n", ": ", "{", "[", "!!x ", "? "])


def read_or_explain(text: str) -> None:
    """Reading gives a valid topology or errors with lines that exist; nothing else."""
    findings: tuple[FileFinding, ...] = ()
    try:
        assert check(read_document(text, "f").topology) == ()
    except TopologyError as error:
        findings = error.findings
        if not findings:
            raise
    lines = len(text.splitlines()) + 1
    for finding in findings:
        assert 1 <= finding.line <= lines
        assert "\n" not in finding.message


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_damaged_values_are_explained(data: st.DataObject) -> None:
    tree = yaml.safe_load(TEXT)
    for _ in range(data.draw(st.integers(1, 3))):
        place = tree
        while place:
            key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                place[key] = data.draw(JUNK)
                break
            place = place[key]
    read_or_explain(yaml.safe_dump(tree))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, 30), INSERTS)
def test_damaged_text_is_explained(start: int, length: int, text: str) -> None:
    read_or_explain(TEXT[:start] + text + TEXT[start + length :])


@settings(max_examples=40, deadline=None)
@given(st.text())
def test_any_text_is_explained(text: str) -> None:
    read_or_explain(text)


def test_the_undamaged_text_is_valid() -> None:
    assert read_document(TEXT, "f").topology == SMALL

from dataclasses import replace
from typing import Any

import pytest

from topologies.check import Part, check
from topologies.files import load
from topologies.spec import ControlPlane, Link, Node, Role, Service, Topology

FIGURE2 = load("figure2")


def with_link(**changes: Any) -> Topology:
    return replace(FIGURE2, links=(replace(FIGURE2.links[0], **changes), *FIGURE2.links[1:]))


def test_valid_topologies_have_no_findings() -> None:
    assert check(FIGURE2) == ()
    assert check(load("metro")) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delay_ms", -0.001),
        ("delay_ms", float("inf")),
        ("delay_ms", float("nan")),
        ("rate_mbps", 0),
        ("rate_mbps", float("nan")),
        ("loss_percent", 100.1),
        ("loss_percent", -1),
        ("mtu_bytes", 1279),
        ("mtu_bytes", 65536),
        ("queue_packets", 0),
    ],
)
def test_values_of_a_topology_that_came_from_no_file_are_checked(field: str, value: float) -> None:
    (finding,) = check(with_link(**{field: value}))
    assert (finding.part, finding.index, finding.field) == (Part.LINK, 0, field)
    assert "is out of range" in finding.message


@pytest.mark.parametrize(
    ("field", "value"), [("delay_ms", 0), ("loss_percent", 100), ("mtu_bytes", 1280), ("mtu_bytes", 65535)]
)
def test_limits_are_inclusive(field: str, value: float) -> None:
    assert check(with_link(**{field: value})) == ()


def test_findings_name_the_place_of_the_element() -> None:
    topology = replace(FIGURE2, links=(*FIGURE2.links, Link("core1", "core9", 1, 1)))
    (finding,) = check(topology)
    assert (finding.part, finding.index) == (Part.LINK, len(FIGURE2.links))
    assert finding.message == "there is no node 'core9'; did you mean 'core1'?"
    assert finding.needs == {Part.NODES}


def test_too_many_access_switches_for_the_prefixes() -> None:
    extra = tuple(Node(f"x{number}", Role.ACCESS) for number in range(0xFFFC))
    found = [finding.message for finding in check(replace(FIGURE2, nodes=FIGURE2.nodes + extra))]
    assert "65535 access switches; expected at most 65532 (2001:db8:i::/48 has no more prefixes)" in found
    assert "65538 switches; expected at most 65535 (their MAC addresses count 16 bits)" in found


def test_an_empty_topology_lacks_everything_it_must_have() -> None:
    messages = [finding.message for finding in check(Topology("empty", (), ()))]
    assert messages == [
        "no access node; expected at least one under `access`",
        "no edge node; expected at least one under `edge`",
        "no origin node; expected one under `origin`",
        "no user node; expected at least one under `user`",
        "no dns node; expected one under `dns`",
    ]


@pytest.mark.parametrize("address", ["2001:db8:ffff::1", "2001:db8:ffff:1234::80", "2001:db8:fffe:1::1"])
def test_service_addresses(address: str) -> None:
    found = check(replace(FIGURE2, service=Service(address=address)))
    assert bool(found) == (not address.startswith("2001:db8:ffff:"))


@pytest.mark.parametrize(
    "name", ["localhost", "www..test", "-a.test", "a_b.test", "a" * 64 + ".test", "a." * 130]
)
def test_service_names_must_be_host_names(name: str) -> None:
    (finding,) = check(replace(FIGURE2, service=Service(name=name)))
    assert (finding.part, finding.field) == (Part.SERVICE, "name")


@pytest.mark.parametrize("delay_ms", [-0.1, float("inf"), float("nan")])
def test_the_delay_of_the_control_links_is_checked(delay_ms: float) -> None:
    (finding,) = check(replace(FIGURE2, control=ControlPlane(delay_ms)))
    assert (finding.part, finding.field) == (Part.CONTROL, "delay_ms")


def test_the_controller_stands_at_a_switch() -> None:
    assert check(replace(FIGURE2, control=ControlPlane(1.5, "access2"))) == ()
    for place, hint in (("user1", "is a host"), ("core9", "did you mean 'core1'?")):
        (finding,) = check(replace(FIGURE2, control=ControlPlane(0, place)))
        assert (finding.part, finding.field) == (Part.CONTROL, "at")
        assert hint in finding.message

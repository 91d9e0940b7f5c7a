"""The whole idea in one network: what the raw data must say, worked out without the code under test."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6
from scapy.packet import Packet
from scapy.utils import PcapReader

from lab.kernel import KernelImage
from tests.lab.lab_catalogue import OFF, topology
from tests.lab.labs import Finished
from tests.lab.paths import by_distance, distances_ms, shortest_path
from tests.lab.site import BINARY_BYTES, FILES, STYLE
from topologies.spec import Role

NETWORK = topology()
USERS = NETWORK.of_role(Role.USER)
EDGES = NETWORK.of_role(Role.EDGE)
USER_SPACE = IPv6Network("2001:db8::/36")
SYN_BITS = 94 * 8
RTT_TOLERANCE = 0.005
ADMIN_LOCAL, ORGANISATION_LOCAL = 4, 8


def packets(finished: Finished, host: str) -> list[Packet]:
    """A host's capture, read by scapy."""
    with PcapReader(str(finished.out / "captures" / f"{host}.pcap")) as reader:
        return list(reader)


def from_users(finished: Finished, host: str) -> list[Packet]:
    """Captured packets whose source is a user's."""
    return [p for p in packets(finished, host) if IPv6 in p and IPv6Address(p[IPv6].src) in USER_SPACE]


def site_bytes(site: Path) -> int:
    """The bytes of all files of a site."""
    return sum(path.stat().st_size for path in site.rglob("*") if path.is_file())


def check_synced(finished: Finished, site: Path, edges: tuple[str, ...] = EDGES) -> None:
    """Every edge has every file, bit by bit."""
    rows = {row["edge"]: row for row in finished.rows("sync.csv")}
    assert tuple(rows) == edges
    for row in rows.values():
        assert (row["identical"], row["files"]) == ("1", str(FILES)), row
        assert int(row["bytes"]) == site_bytes(site)


def check_transfers(finished: Finished, nearest: dict[str, str], site: Path) -> None:
    """Every user fetched, every transfer is whole and from the given server."""
    rows = finished.rows("transfers.csv")
    assert {row["user"] for row in rows} == set(USERS)
    for row in rows:
        assert (row["status"], row["exitcode"]) == ("200", "0"), row
        assert row["edge"] == nearest[row["user"]], row
    kinds = {row["kind"] for row in rows}
    assert {"page", "image", "video"} <= kinds
    sizes = {int(row["bytes"]) for row in rows if row["kind"] == "video"}
    assert sizes == {BINARY_BYTES}
    names = {path.name for path in site.rglob("*") if not path.name.isascii() or " " in path.name}
    assert names, "the site has awkward names"
    assert any("%" in row["url"] for row in rows)


def test_every_round_trip_is_as_configured(edge_lab: Finished) -> None:
    rows = edge_lab.rows("rtt.csv")
    assert {(row["user"], row["edge"]) for row in rows} == {(user, edge) for user in USERS for edge in EDGES}
    for row in rows:
        links = shortest_path(NETWORK, row["user"], row["edge"])
        propagation_ms = 2 * distances_ms(NETWORK, row["edge"])[row["user"]]
        serialisation_ms = sum(2 * SYN_BITS / (link.rate_mbps * 1000) for link in links)
        expected_ms = propagation_ms + serialisation_ms
        assert float(row["configured_ms"]) == pytest.approx(expected_ms, abs=1e-5), row
        assert float(row["measured_ms"]) == pytest.approx(expected_ms, rel=RTT_TOLERANCE), row


def test_every_edge_is_identical(edge_lab: Finished, site: Path) -> None:
    check_synced(edge_lab, site)


def test_unicast_push_reaches_every_edge_too(push_lab: Finished, site: Path) -> None:
    check_synced(push_lab, site)


def test_every_user_is_served_by_the_nearest_edge(edge_lab: Finished, site: Path) -> None:
    nearest = {user: by_distance(NETWORK, user)[0] for user in USERS}
    assert set(nearest.values()) == set(EDGES)
    check_transfers(edge_lab, nearest, site)


def test_text_comes_compressed_to_who_asks_for_it(edge_lab: Finished, site: Path) -> None:
    rows = [row for row in edge_lab.rows("transfers.csv") if row["page"] == STYLE]
    assert {row["user"] for row in rows} == set(USERS)
    (coded,) = {int(row["bytes"]) for row in rows}  # the same from every edge
    assert 0 < coded < (site / STYLE).stat().st_size / 2


def test_users_of_an_edge_that_is_off_go_to_the_next(switched_off_lab: Finished, site: Path) -> None:
    order = {user: by_distance(NETWORK, user) for user in USERS}
    nearest = {user: next(edge for edge in edges if edge != OFF) for user, edges in order.items()}
    assert any(edges[0] == OFF for edges in order.values())
    check_transfers(switched_off_lab, nearest, site)
    check_synced(switched_off_lab, site, tuple(edge for edge in EDGES if edge != OFF))


def test_no_frame_of_a_user_reaches_the_origin(edge_lab: Finished) -> None:
    seen = packets(edge_lab, "origin")
    assert len(seen) > 2 * len(EDGES), "the capture saw the edges' own requests"
    assert from_users(edge_lab, "origin") == []
    macs = {packet.src for packet in seen}
    assert len(macs) == 1, "everything at the origin comes from its router"


def test_the_central_origin_does_see_users(central_lab: Finished, site: Path) -> None:
    sources = {packet[IPv6].src for packet in from_users(central_lab, "origin")}
    assert len(sources) == len(USERS)
    check_transfers(central_lab, dict.fromkeys(USERS, "origin"), site)


def test_no_scoped_multicast_reaches_a_user(edge_lab: Finished) -> None:
    for user in USERS:
        seen = [packet for packet in packets(edge_lab, user) if IPv6 in packet]
        assert any(ICMPv6ND_RA in packet for packet in seen), f"{user}'s capture saw the advertisements"
        scopes = {IPv6Address(packet[IPv6].dst).packed[1] & 15 for packet in seen}
        assert scopes <= {2}, f"{user} saw scopes {scopes}"


def test_the_captures_lost_nothing(edge_lab: Finished) -> None:
    rows = edge_lab.rows("captures.csv")
    assert {row["node"] for row in rows} == {*USERS, "origin"}
    for row in rows:
        assert row["dropped"] == "0"
        assert row["seen"] == row["written"] == str(len(packets(edge_lab, row["node"])))


def test_content_crosses_each_backbone_link_once(edge_lab: Finished, push_lab: Finished, site: Path) -> None:
    loads = {name: most_loaded(lab) / site_bytes(site) for name, lab in (("m", edge_lab), ("u", push_lab))}
    assert 1.0 <= loads["m"] <= 1.15
    assert loads["u"] > len(EDGES) - 1


def most_loaded(finished: Finished) -> int:
    """Bytes on the busiest direction of a link between switches during the publication."""
    counts: dict[tuple[str, str], list[int]] = {}
    for row in finished.rows("links.csv"):
        if row["phase"] == "publish" and row["layer"] in ("core", "distribution"):
            counts.setdefault((row["from"], row["to"]), []).append(int(row["bytes"]))
    return max(values[-1] - values[0] for values in counts.values())


def test_facts_of_the_run(edge_lab: Finished, image: KernelImage) -> None:
    assert edge_lab.result.facts["kernel"] == image.version
    assert edge_lab.result.facts["clock"] == "virtual"
    for name in ("scenario.json", "controller.jsonl", "publish.json", "links.csv"):
        assert (edge_lab.out / name).stat().st_size > 0

"""What the controller's OpenFlow does with a real Open vSwitch."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

from controller.plan.compile import plan
from controller.plan.pipeline import Origin
from controller.plan.rules import COOKIE_MARK
from controller.wire.frames import UDP, Frame, encode_frame
from tests.openvswitch.conftest import Bridge, Controller, Process
from tests.openvswitch.sample_rules import HOST, ROUTER, changed, everything
from tests.unit.controller.networks import facts_of, small

Connect = Callable[[str], Controller]
COUNT = sum(map(len, (everything().rules, everything().groups, everything().meters)))
SERVICE, USERS = IPv6Address("2001:db8::53"), IPv6Address("2001:db8:1::100")


def frame(source: IPv6Address, destination: IPv6Address, payload_bytes: int = 8) -> bytes:
    payload = bytes.fromhex("1389138a") + payload_bytes.to_bytes(2) + bytes(payload_bytes - 6)
    return encode_frame(Frame(HOST, ROUTER, source, destination, 64, UDP, payload))


def test_every_match_and_action_is_accepted_and_comes_back_equal(connect: Connect) -> None:
    process = connect("everything")
    assert process.expect("dumped")["rules"] == 0
    assert process.expect("synced")["counts"] == [COUNT, 0, 0, 0]
    process.ask({"dump": None})
    assert process.expect("dump")["equal"] is True


def test_the_tables_of_a_whole_network_come_back_equal(connect: Connect, tmp_path: Path) -> None:
    process = connect("nothing")
    process.expect("synced")
    for switch, tables in plan(facts_of(small())).items():
        path = tmp_path / switch
        path.write_bytes(pickle.dumps(tables))
        process.ask({"install": str(path)})
        process.expect("synced")
        process.ask({"dump": None})
        assert process.expect("dump")["equal"] is True, switch


def test_a_controller_that_starts_again_changes_nothing(connect_new: Connect) -> None:
    first = connect_new("everything")
    first.expect("synced")
    first.end()
    second = connect_new("everything")
    assert second.expect("dumped")["equal"] is True
    assert second.expect("synced")["modifications"] == 0


def test_open_vswitch_reads_the_rules_as_they_are_meant(connect: Connect, bridge: Bridge) -> None:
    connect("everything").expect("synced")
    flows = bridge.ofctl("dump-flows", "--no-stats", "--names")
    for meant in (
        "meter:1,CONTROLLER:65535",
        "priority=800,ipv6,in_port=br{n}p1,vlan_tci=0x1000/0x1000 actions=drop",
        "write_metadata:0x1/0xff,goto_table:1",
        "actions=ct(table=3,zone=7)",
        "ct_state=+new-est-rel-inv+trk,ipv6,ipv6_dst=2001:db8::53 "
        "actions=ct(commit,zone=7,exec(set_field:0x3->ct_mark)),goto_table:4",
        "ct_state=+est-rel-inv+trk,ct_mark=0x2,ipv6,ipv6_dst=2001:db8::53 "
        "actions=push_vlan:0x8100,set_field:4098->vlan_vid,goto_table:4",
        "ct_state=+inv+trk,ipv6 actions=drop",
        "ipv6,nw_ttl=1 actions=meter:2,CONTROLLER:65535",
        "actions=check_pkt_larger(1414)->NXM_NX_REG0[3],goto_table:5",
        "ipv6,reg0=0x8/0x8,ipv6_dst=2001:db8:1::/48 actions=CONTROLLER:65535",
        "ipv6,dl_vlan=2,ipv6_dst=2001:db8::53 actions=pop_vlan,dec_ttl,"
        f"set_field:{ROUTER}->eth_src,set_field:{HOST}->eth_dst,output:br{{n}}p2",
        "ipv6,in_port=br{n}p1,ipv6_dst=ff05::/ff0f:: actions=drop",
        "udp6,in_port=br{n}p1,tp_dst=5351",
    ):
        assert meant.replace("br{n}", bridge.name) in flows, f"{meant}\n{flows}"


def test_one_bundle_adds_changes_and_deletes(connect: Connect) -> None:
    process = connect("everything")
    process.expect("synced")
    process.ask({"install": "changed"})
    counts = process.expect("synced")["counts"]
    old, new = everything(), changed()
    deleted = len(old.rules.keys() - new.rules.keys()) + len(old.meters.keys() - new.meters.keys())
    assert counts == [2, 3, deleted, 0]
    process.ask({"dump": None})
    assert process.expect("dump")["equal"] is True


def test_what_is_somebody_elses_is_reported_and_removed(connect_new: Connect, bridge: Bridge) -> None:
    # Open vSwitch forgets everything when it gets its first controller, so one has to be there before.
    first = connect_new("nothing")
    first.expect("synced")
    bridge.ofctl("add-flow", "table=4,priority=1,ipv6,actions=output:1")
    bridge.ofctl("add-flow", "table=9,priority=7,tcp,nw_src=10.0.0.0/8,actions=learn(table=10)")
    bridge.ofctl("add-group", "group_id=77,type=select,bucket=weight:5,actions=output:1")
    bridge.ofctl("add-meter", "meter=1,kbps,band=type=drop,rate=5")
    bridge.ofctl("add-meter", "meter=9,kbps,band=type=drop,rate=5")
    first.end()
    process = connect_new("everything")
    reported = process.expect("foreign-rule")["what"]
    assert "table 4 priority 1 cookie 0x0" in reported
    assert process.expect("dumped")["foreign"] == 5
    # Meter 1 is wanted, so that one is modified.
    assert process.expect("synced")["counts"] == [COUNT - 1, 1, 0, 4]
    process.ask({"dump": None})
    assert process.expect("dump")["equal"] is True


def test_what_was_changed_behind_our_back_is_put_right_after_a_reconnect(
    connect_new: Connect, bridge: Bridge
) -> None:
    process = connect_new("everything")
    process.expect("synced")
    process.end()
    bridge.ofctl("del-flows", "table=5")
    bridge.ofctl("mod-flows", "table=2,actions=drop")
    bridge.ofctl("del-groups", "group_id=0x10001")
    again = connect_new("everything")
    assert again.expect("dumped")["equal"] is False
    lost, modified = (sum(key.table == table for key in everything().rules) for table in (5, 2))
    # With the group went the rule that names it; the modified rules are replaced.
    assert again.expect("synced")["counts"] == [lost + 2, modified, 0, 0]
    again.ask({"dump": None})
    assert again.expect("dump")["equal"] is True


def test_a_refused_update_is_tried_once_more_and_given_up(connect: Connect, bridge: Bridge) -> None:
    process = connect("nothing")
    process.expect("synced")
    # A group that somebody adds behind our back makes ours a duplicate: the second attempt changes it.
    bridge.ofctl("add-group", "group_id=0x10001,type=all,bucket=actions=output:1")
    process.ask({"install": "everything"})
    process.expect("synced")
    process.ask({"dump": None})
    assert process.expect("dump")["equal"] is True


def test_packets_go_up_and_down(connect: Connect, bridge: Bridge) -> None:
    process = connect("everything")
    process.expect("synced")

    long = frame(SERVICE, USERS, 1400)
    bridge.receive(2, long)
    punted = process.expect("packet")
    assert (punted["port"], bytes.fromhex(punted["data"])) == (2, long)
    assert punted["cookie"] == COOKIE_MARK | 1400 << 16 | Origin.TOO_BIG

    process.ask({"inject": frame(SERVICE, IPv6Address("2001:db8:ffff::1")).hex()})
    assert process.expect("packet")["cookie"] == COOKIE_MARK | Origin.NO_ROUTE

    def sent() -> str:
        return bridge.ofctl("dump-ports", bridge.ports[3])

    assert "tx pkts=0," in sent()
    process.ask({"send": [4, frame(USERS, SERVICE).hex()]})
    end_s = time.monotonic() + 5
    while "tx pkts=1," not in sent():
        assert time.monotonic() < end_s, sent()

    process.ask({"dump": None})
    packets = process.expect("dump")["packets"]
    assert sum(packets.values()) >= 5


def test_ports_that_change_are_noticed(connect: Connect, bridge: Bridge) -> None:
    bridge.link(3, "down")
    process = connect("nothing")
    assert process.expect("connected")["down"] == [3, 5]
    process.expect("synced")
    bridge.link(2, "down")
    process.expect("port", number=2, up=False)
    bridge.link(3, "up")
    process.expect("port", number=3, up=True)


def test_twenty_thousand_rules_go_in_at_five_thousand_a_second(
    start: Callable[..., Process], bridge: Bridge
) -> None:
    bench = start("-m", "controller.openflow.bench")
    bridge.connect(bench.expect("listening")["port"])
    installed = bench.expect("installed")
    assert installed["modifications"] == 20_000
    assert installed["modifications_per_s"] >= 5000, installed
    assert bench.expect("deleted")["modifications"] == 20_000

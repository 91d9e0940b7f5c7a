"""What the worker of a switch does with it, and when it gives up."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from controller.openflow import encode
from controller.openflow.worker import FIRST_XID, SwitchWorker
from controller.plan.rules import Tables, Target
from tests.openvswitch.sample_rules import changed, everything
from tests.unit.controller.byte_switch import ByteSwitch

TIMEOUT_S = 10.0
COUNT = sum(map(len, (everything().rules, everything().groups, everything().meters)))
IPV4 = bytes.fromhex("80000a020800")


class Lab:
    """A worker, its switch, and what the worker has reported."""

    def __init__(self, answer_timeout_s: float = TIMEOUT_S) -> None:
        self.switch = ByteSwitch()
        self.events: queue.Queue[tuple[object, ...]] = queue.Queue()
        self.worker = SwitchWorker(
            "s1",
            self.switch,
            lambda _, tables, foreign: self.events.put(("dumped", len(tables.rules), foreign)),
            lambda _, plan, modifications: self.events.put(("synced", plan, modifications)),
            lambda _, reason: self.events.put(("failed", reason)),
            answer_timeout_s,
        )
        self.switch.worker = self.worker

    def next(self) -> tuple[object, ...]:
        return self.events.get(timeout=TIMEOUT_S)

    def begin(self, tables: Tables | None = None) -> None:
        """Start, and install the first tables."""
        self.worker.start()
        assert self.next()[0] == "dumped"
        self.worker.install(Target(1, everything() if tables is None else tables))
        assert self.next()[0] == "synced"


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.worker.stop()


def test_a_switch_says_what_it_holds_before_it_is_told_anything(lab: Lab) -> None:
    lab.switch.add_foreign(0, 1, IPV4)
    lab.worker.start()
    assert lab.next() == ("dumped", 0, 1)
    assert lab.worker.foreign_texts[0].startswith("table 0 priority 1 cookie 0x0")
    assert lab.switch.changed == 0
    lab.worker.install(Target(1, everything()))
    assert lab.next() == ("synced", 1, COUNT + 1)
    assert lab.worker.dump().tables == everything()
    assert lab.worker.counts.foreign == 1
    assert lab.worker.install_s > 0


def test_a_target_that_is_there_already_is_confirmed_without_a_message(lab: Lab) -> None:
    lab.begin()
    before = lab.switch.changed
    lab.worker.install(Target(2, everything()))
    assert lab.next() == ("synced", 2, 0)
    assert lab.switch.changed == before
    assert lab.worker.changes == ()


def test_the_newest_of_several_targets_wins(lab: Lab) -> None:
    lab.begin()

    def overtake() -> None:
        lab.switch.on_barrier = lambda: None
        lab.worker.install(Target(3, Tables()))
        lab.worker.install(Target(4, everything()))

    lab.switch.on_barrier = overtake
    lab.worker.install(Target(2, changed()))
    assert lab.next()[:2] == ("synced", 2)
    assert lab.next()[:2] == ("synced", 4)
    assert lab.worker.dump().tables == everything()
    assert lab.events.empty()


@pytest.mark.parametrize("kind", [encode.METER_MOD, encode.BUNDLE_CONTROL, encode.BUNDLE_ADD])
def test_a_refusal_is_answered_by_one_more_attempt(lab: Lab, kind: int) -> None:
    lab.begin()
    lab.switch.refusals = [kind]
    lab.worker.install(Target(2, changed()))
    assert lab.next()[:2] == ("synced", 2)
    assert lab.worker.dump().tables == changed()


def test_a_second_refusal_ends_the_connection(lab: Lab) -> None:
    lab.begin()
    lab.switch.refusals = 4 * [encode.BUNDLE_CONTROL]
    lab.worker.install(Target(2, changed()))
    assert lab.next() == ("failed", f"refused {encode.BUNDLE_CONTROL}")
    assert lab.switch.hung_up.wait(TIMEOUT_S)
    assert lab.worker.synced_plan == 1


def test_a_switch_that_answers_no_barrier_is_given_up() -> None:
    lab = Lab(answer_timeout_s=0.01)
    lab.begin()
    lab.switch.silent = True
    lab.worker.install(Target(2, changed()))
    event, reason = lab.next()
    assert event == "failed"
    assert "no answer to a barrier" in str(reason)


def test_a_switch_that_does_not_say_what_it_holds_is_given_up() -> None:
    lab = Lab(answer_timeout_s=0.01)
    lab.switch.silent = True
    lab.worker.start()
    assert lab.next()[0] == "failed"


def test_packets_wait_for_the_first_tables_and_only_the_newest_are_kept(lab: Lab) -> None:
    for number in range(300):
        lab.worker.send(2, number.to_bytes(4))
    assert lab.switch.packets == []
    lab.begin()
    lab.worker.inject(b"last")
    lab.worker.dump()  # Behind the packets in the worker's order of work.
    sent = lab.switch.packets
    assert sent[-1] == encode.packet_through_tables(b"last")
    assert sent[-2] == encode.packet_out(2, (299).to_bytes(4))
    assert len(sent) in (256, 257)


def test_a_dump_says_what_rules_have_seen_and_what_is_lost_comes_back_with_the_next_target(lab: Lab) -> None:
    lab.begin()
    dump = lab.worker.dump()
    assert set(dump.counters) == set(everything().rules)
    assert set(dump.counters.values()) == {(7, 700)}
    lab.switch.content.flows.clear()
    assert lab.worker.dump().tables.rules == {}
    lab.worker.install(Target(2, everything()))
    assert lab.next() == ("synced", 2, len(everything().rules))


def test_whoever_waits_for_a_dump_hears_that_the_switch_has_gone(lab: Lab) -> None:
    lab.begin()
    lab.switch.on_barrier = lab.worker.stop
    with pytest.raises(TimeoutError):
        lab.worker.dump()
    with pytest.raises(TimeoutError, match="not connected"):
        lab.worker.dump()
    assert lab.events.empty()


def test_an_error_is_the_workers_when_it_answers_something_the_worker_has_sent(lab: Lab) -> None:
    lab.begin()
    assert lab.worker.error(FIRST_XID, "late") is True
    assert lab.worker.error(0, "a packet-out's") is False
    lab.worker.install(Target(2, everything()))
    assert lab.next() == ("synced", 2, 0)

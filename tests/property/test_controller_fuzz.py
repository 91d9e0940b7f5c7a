"""A few thousand of the packets of `python -m tests.fuzz_controller` (which throws a million)."""

from __future__ import annotations

import pytest

from tests.fuzz_controller import Fuzzer, OutOfBoundsError


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_and_mutated_packets_break_nothing_and_fill_nothing(seed: int) -> None:
    fuzzer = Fuzzer(seed)
    for _ in range(1500):
        fuzzer.step()
    fuzzer.check()
    # The packets get as far as they should, else the test would show nothing.
    assert all(fuzzer.accepted[kind] > 20 for kind in ("frame", "packet", "nd", "mld", "error"))
    assert all(fuzzer.peaks[what] > 0 for what in ("bindings of a port", "groups of a port", "buckets"))


def test_the_same_seed_throws_the_same_packets() -> None:
    def thrown(seed: int) -> list[bytes]:
        fuzzer = Fuzzer(seed)
        return [fuzzer.packet() for _ in range(50)]

    assert thrown(1) == thrown(1)
    assert thrown(1) != thrown(2)


def test_a_machine_that_remembers_too_much_is_seen() -> None:
    fuzzer = Fuzzer(1)
    for index in range(2000):
        fuzzer.errors._sources[(False, index)] = None  # type: ignore[assignment]
    with pytest.raises(OutOfBoundsError, match="buckets: 2000"):
        fuzzer.check()

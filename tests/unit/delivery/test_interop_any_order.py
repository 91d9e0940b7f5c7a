"""What flute-alc sends, in any order: descriptions late, several of them mixed, information in band."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.unit.delivery.test_interop import (
    CASES,
    MANY,
    Network,
    as_objects,
    lossy_shuffled,
    our_receiver,
    receive_their_objects,
    shuffled,
    take,
    their_no_code,
)


@CASES
@pytest.mark.parametrize("network", [shuffled, lossy_shuffled], ids=lambda network: network.__name__)
def test_objects_that_describe_themselves_and_come_before_the_fdt(
    sizes: Sequence[int], network: Network
) -> None:
    receive_their_objects(sizes, network, in_band=True)


def test_growing_descriptions_of_several_packets_that_come_mixed() -> None:
    edge = our_receiver()
    take(edge, shuffled(their_no_code(as_objects(MANY), in_band=False, batch=20), random.Random(7)), 0.0)
    assert edge.store == MANY.blobs

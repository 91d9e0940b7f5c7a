"""Heartbeats: what an edge says about itself, and when it asks for no new users."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node import health
from edge_node.health import Heart, Load
from topologies.heartbeat import EdgeState, Heartbeat, decode_heartbeat, encode_heartbeat


@given(st.sampled_from(EdgeState), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF))
def test_a_heartbeat_is_read_as_it_was_written(state: EdgeState, load: int, sequence: int) -> None:
    heartbeat = Heartbeat(state, load, sequence)
    assert decode_heartbeat(encode_heartbeat(heartbeat)) == heartbeat


@given(st.binary(max_size=20))
def test_what_is_no_heartbeat_is_refused(data: bytes) -> None:
    if data[:5] != b"ncHB\x01" or len(data) != 12:
        with pytest.raises(ValueError, match="heartbeat"):
            decode_heartbeat(data)


def test_a_state_that_does_not_exist_is_refused() -> None:
    data = bytearray(encode_heartbeat(Heartbeat(EdgeState.SERVING, 0, 1)))
    data[5] = 9
    with pytest.raises(ValueError, match="9"):
        decode_heartbeat(bytes(data))


def test_the_load_is_the_peak_since_it_was_last_asked() -> None:
    load = Load(capacity=10)
    for _ in range(4):
        load.begin()
    load.end()
    load.end()
    assert load.take_percent() == 40
    assert load.take_percent() == 20, "two requests are still being answered"


def test_the_heart_beats_says_overloaded_and_says_when_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    heard.settimeout(5)
    with heard:
        heard.bind(("::1", 0))
        monkeypatch.setattr(health, "GATEWAY", "::1")
        monkeypatch.setattr(health, "HEARTBEAT_PORT", heard.getsockname()[1])
        monkeypatch.setattr(health, "HEARTBEAT_INTERVAL_S", 0.01)
        load = Load(capacity=1)

        async def beat() -> None:
            heart = Heart("::1", "lo", load)
            heart.start()
            load.begin()
            await asyncio.sleep(0.05)
            heart.stop()

        asyncio.run(beat())
        beats = []
        while not beats or beats[-1].state is not EdgeState.STOPPING:
            beats.append(decode_heartbeat(heard.recv(100)))
    assert beats[0].state is EdgeState.SERVING
    assert EdgeState.OVERLOADED in {heartbeat.state for heartbeat in beats}
    assert [heartbeat.sequence for heartbeat in beats] == list(range(1, len(beats) + 1))

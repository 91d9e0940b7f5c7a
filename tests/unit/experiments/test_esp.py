"""What is configured for a tunnel: both ends agree, and no two directions share a key or a number."""

from __future__ import annotations

from experiments.ways.esp import Gateway, tunnel_words

ORIGIN = Gateway(0, "fd00::1")
EDGES = [Gateway(number, f"fd00:0:0:{number}::1") for number in (1, 2, 3)]


def _states(lines: list[str]) -> list[str]:
    return [line for line in lines if " state " in line]


def test_both_ends_have_the_same_associations() -> None:
    for edge in EDGES:
        ours, theirs = list(tunnel_words(ORIGIN, edge, 1)), list(tunnel_words(edge, ORIGIN, 1))
        assert sorted(_states(ours)) == sorted(_states(theirs))
        assert len(_states(ours)) == 2
        assert len(ours) == len(theirs) == 5


def test_policies_of_the_ends_mirror_each_other() -> None:
    ours, theirs = list(tunnel_words(ORIGIN, EDGES[0], 1)), list(tunnel_words(EDGES[0], ORIGIN, 1))
    out = [line.replace("dir out", "dir in") for line in ours if "dir out" in line]
    assert out == [line for line in theirs if "dir in" in line]
    assert f"src {ORIGIN.site} dst {EDGES[0].site}" in out[0]


def test_no_number_and_no_key_is_used_twice() -> None:
    states = [line.split() for edge in EDGES for line in _states(list(tunnel_words(ORIGIN, edge, 1)))]
    for word in ("spi", "aead"):
        values = [line[line.index(word) + (2 if word == "aead" else 1)] for line in states]
        assert len(set(values)) == len(values) == 2 * len(EDGES)


def test_keys_follow_the_seed() -> None:
    assert list(tunnel_words(ORIGIN, EDGES[0], 1)) != list(tunnel_words(ORIGIN, EDGES[0], 2))

"""The head of a region and the keys of epochs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from delivery.manifest import Manifest
from delivery.sessions import Session
from edge_node.epoch_keys import EpochKeys
from edge_node.node import Group, Options, _Node

HEAD = "fd00::1"
SESSION = Session("", HEAD, "ff34::8003:1", 4001, 1, f"http://[{HEAD}]:8081/region/west", region="west")


def test_a_head_sees_the_keys_that_come_after_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr("edge_node.regions.RegionHead", lambda *arguments, **_named: given.extend(arguments))
    keys = EpochKeys("edge1", "http://[fd00::9]:8080", tmp_path)
    group = Group("ff35::8000:1", "fd00::9", "eth0", 4001)
    node = object.__new__(_Node)
    node._options = Options(
        "edge1", "::", 80, HEAD, 8081, group, "http://[fd00::9]:8080", 0, keys=keys, region="west"
    )
    node._fetcher = SimpleNamespace(fetch=None)  # type: ignore[assignment]
    node._store = node._journal = SimpleNamespace()  # type: ignore[assignment]
    node._join_region(Manifest("site", 1, (), (), (SESSION,)))
    assert any(argument is keys for argument in given), "not a copy of what there is now, which is none"

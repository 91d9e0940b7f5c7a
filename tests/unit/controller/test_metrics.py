"""Metrics: what is counted, how Prometheus reads it, and what happens without its package."""

from __future__ import annotations

import builtins
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.measures import SECONDS_BOUNDS, Durations, Measures, Snapshot
from controller.metrics import PREFIX, MetricsError, exposition, families
from controller.metrics_server import serve_metrics
from controller.plan.compile import plan
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import Change, Group, GroupKind, Match, Rule, Step
from tests.unit.controller.networks import facts_of, small

FACTS = facts_of(small())
TABLES = plan(FACTS)


def snapshot_of(measures: Measures, **fields: Any) -> Snapshot:
    return measures.snapshot(FACTS, TABLES, frozenset({"a1", "c1"}), synced=True, **fields)


def samples(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """Every sample by its name, without the prefix, and its label values."""
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition(snapshot))
        for sample in family.samples
    }


def test_what_is_known_becomes_gauges() -> None:
    found = samples(snapshot_of(Measures(), drained=frozenset({"edge2"}), load_percent={"edge1": 45}))
    assert (found["switch_connected", "a1"], found["switch_connected", "a2"]) == (1, 0)
    assert found["rules", "a1"] == len(TABLES["a1"].rules)
    assert found["groups", "a1"] == len(TABLES["a1"].groups)
    assert found["meters", "a1"] == len(TABLES["a1"].meters)
    assert (found["bindings", "a1"], found["memberships", "a1"], found["memberships", "c1"]) == (2, 1, 0)
    assert (found["edge_state", "edge1", "accepting"], found["edge_state", "edge1", "dead"]) == (1, 0)
    assert (found["edge_drained", "edge2"], found["edge_load_ratio", "edge1"]) == (1, 0.45)
    assert (found["synced",], found["ports_down",]) == (1, 0)


def test_what_passes_by_is_counted() -> None:
    measures = Measures()
    rule = Rule(TableId.INGRESS, 1, Match(), Origin.CONTROL)
    group = Group(1, GroupKind.ALL, ())
    changes = (Change(Step.RULE_SET, rule), Change(Step.RULE_SET, rule), Change(Step.GROUP_ADD, group))
    measures.installed(0.004, changes)
    measures.packet_in("claim")
    measures.packet_in("claim")
    measures.punt_dropped("invalid")
    measures.foreign(3)
    measures.failover()
    found = samples(snapshot_of(measures, guards={"mld": {"checksum": 2}, "nd": {"rogue-ra": 1}}))
    assert (found["modifications_total", "rule-set"], found["modifications_total", "group-add"]) == (2, 1)
    assert (found["packet_ins_total", "claim"], found["punts_dropped_total", "invalid"]) == (2, 1)
    assert (found["foreign_rules_total",], found["failovers_total",]) == (3, 1)
    assert found["guard_refusals_total", "mld", "checksum"] == 2
    assert found["guard_refusals_total", "nd", "rogue-ra"] == 1


def test_durations_are_a_histogram() -> None:
    measures = Measures()
    for seconds in (0.001, 0.0011, 0.3, 99.0):
        measures.planned(seconds)
    found = samples(snapshot_of(measures))
    assert found["plan_seconds_bucket", "0.001"] == 1, "a bound belongs to the class below it"
    assert found["plan_seconds_bucket", "0.0025"] == 2
    assert found["plan_seconds_bucket", "0.5"] == 3
    assert found["plan_seconds_bucket", "10.0"] == 3
    assert (found["plan_seconds_bucket", "+Inf"], found["plan_seconds_count",]) == (4, 4)
    assert found["plan_seconds_sum",] == pytest.approx(99.3021)
    assert found["install_seconds_count",] == 0


def test_no_durations_have_every_class() -> None:
    assert Durations().distribution().up_to == tuple((bound_s, 0) for bound_s in SECONDS_BOUNDS)


def test_names_and_order_follow_the_conventions_and_nothing_else() -> None:
    snapshot = snapshot_of(Measures())
    names = [family.name for family in families(snapshot)]
    assert all(name.startswith(PREFIX) for name in names)
    assert len(set(names)) == len(names)
    assert exposition(snapshot) == exposition(snapshot)
    assert "process_" not in exposition(snapshot), "nothing about this process, which no seed fixes"


def test_prometheus_may_ask_over_http() -> None:
    measures = Measures()
    port = serve_metrics("::1", 0, lambda: snapshot_of(measures))
    for _ in range(2):
        measures.failover()
        with urllib.request.urlopen(f"http://[::1]:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert f"{PREFIX}failovers_total 2.0\n" in text


def test_without_the_package_only_metrics_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MetricsError, match="prometheus-client"):
        exposition(snapshot_of(Measures()))
    with pytest.raises(MetricsError, match="prometheus-client"):
        serve_metrics("::1", 0, Snapshot)


def test_the_package_is_imported_only_when_somebody_asks() -> None:
    dear = {"prometheus_client", "wsgiref"}
    code = f"import sys, controller.inquiries; sys.exit(bool({dear} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_documentation_names_every_metric() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for family in families(snapshot_of(Measures())):
        name = family.name.removeprefix(PREFIX) + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in page

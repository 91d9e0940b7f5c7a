"""What an edge says of itself: `GET /status` as plain data, `GET /metrics` for Prometheus.

The words for how content came are those of DVB-MABR's reports (ETSI TS 103 769, annex N): `multicast`, by
repair over unicast or on demand `unicast`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from edge_node.coded_forms import CodedForms
from edge_node.fetcher import Fetcher
from edge_node.gate import Gate
from edge_node.health import Load
from edge_node.journal import Journal
from edge_node.local import LocalContent
from edge_node.receiver import Reception
from edge_node.store import Store
from edge_node.subscriptions import Subscriptions


@dataclass
class Status:
    """Looks at the parts of a running edge; `receptions` gives those of the sessions that are kept."""

    edge: str
    store: Store
    load: Load
    journal: Journal
    receptions: Callable[[], Iterable[Reception]]
    subscriptions: Subscriptions | None = None
    fetcher: Fetcher | None = None
    local: LocalContent | None = None
    gate: Gate | None = None
    forms: CodedForms | None = None
    certificate: Callable[[], dict[str, str]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data. `version` is the newest manifest held, `served_version` what users see of it."""
        store = self.store
        site = store.site()
        quick = self.gate.quick if self.gate is not None else None
        status: dict[str, Any] = {
            "edge": self.edge,
            "version": site.version,
            "served_version": site.served_version,
            "complete": site.complete,
            "files": len(site.manifest.files) if site.manifest else 0,
            "bytes": store.blobs.used_bytes,
            "missing_blobs": len(site.missing()),
            "sessions": {
                reception.session.name: {
                    "version": store.site(reception.session.prefix).version,
                    "group": reception.session.group,
                    **asdict(reception.tally),
                }
                for reception in self._receptions()
            },
            "rejected": dict(sorted(self.journal.rejected.items())),
            "requests": self.load.requests,
            "requests_total": self.load.total + (quick.given if quick else 0),
            "requests_refused": self.load.refused,
        }
        if self.gate is not None:
            status["connections"] = self.gate.to_json()
        if self.certificate is not None:
            status["certificate"] = self.certificate()
        if self.forms is not None:
            status["forms"] = self.forms.to_json()
        if self.subscriptions is not None:
            status["joined"], status["left"] = self.subscriptions.joined, self.subscriptions.left
        if self.fetcher is not None:
            status["fetched_blobs"] = self.fetcher.fetched_blobs
            status["fetched_bytes"] = self.fetcher.fetched_bytes
        if self.local is not None:
            status["local"] = {
                "bytes": self.local.used_bytes,
                "listeners": list(self.local.publication.listeners),
                "wire_bytes": self.local.publication.status()["wire_bytes"],
            }
        return status

    def metrics(self) -> bytes:
        """The same in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

        registry = CollectorRegistry()
        status = self.to_json()

        def gauge(name: str, text: str, value: float) -> None:
            Gauge(f"nearcast_edge_{name}", text, registry=registry).set(value)

        def counter(name: str, text: str, label: str, values: dict[str, float]) -> None:
            metric = Counter(f"nearcast_edge_{name}", text, [label], registry=registry)
            for key, value in values.items():
                metric.labels(key).inc(value)

        gauge("version", "Newest version of the site held", status["version"])
        gauge("served_version", "Version of the site that users see", status["served_version"])
        gauge("complete", "1 when everything of the newest version is here", status["complete"])
        gauge("store_bytes", "Bytes of all content", status["bytes"])
        gauge("missing_blobs", "Blobs of the newest version that are not here", status["missing_blobs"])
        gauge("requests", "Requests being answered", status["requests"])
        counter(
            "requests_by_outcome",
            "Requests by what became of them",
            "outcome",
            {"taken": status["requests_total"], "refused": status["requests_refused"]},
        )
        if self.gate is not None:
            counts = self.gate.to_json()
            gauge("connections", "Connections of users", counts["open"])
            ended = {name: counts[name] for name in ("gave_way", "turned_away", "failed_handshakes")}
            counter(
                "connections_ended", "Connections that the edge ended", "reason", ended | counts["too_slow"]
            )
            counter("requests_malformed", "Requests refused unread", "status", counts["refused"])
            gauge("quick_bytes", "Memory of whole answers", counts["quick_bytes"])
        if self.certificate is not None:
            expires = datetime.fromisoformat(self.certificate()["expires"]).timestamp()
            gauge("certificate_expires_seconds", "End of the certificate in use, since 1970", expires)
        if self.forms is not None:
            forms = self.forms.to_json()
            gauge("forms_bytes", "Bytes of coded forms in memory", forms["bytes"])
            gauge(
                "forms_saved_bytes", "Bytes by which forms made are smaller than files", forms["saved_bytes"]
            )
            counter("forms_made", "Coded forms made", "coding", forms["made"])
            unmade = {"evicted": forms["evicted"], "not_worth_it": forms["not_worth_it"]}
            counter("forms_dropped", "Coded forms not kept", "reason", unmade)
        tallies = {reception.session.name: reception.tally for reception in self._receptions()}
        counter(
            "object_delivery",
            "Blobs by the way they came",
            "status",
            {
                "multicast": sum(tally.blobs_by_multicast for tally in tallies.values()),
                "unicast": sum(tally.blobs_by_unicast for tally in tallies.values())
                + status.get("fetched_blobs", 0),
            },
        )
        for name, text, field in (
            ("datagrams", "Datagrams received", "datagrams"),
            ("received_bytes", "Payload bytes received", "bytes"),
            ("repair_requests", "Repair requests made", "repair_requests"),
            ("symbols_asked_for", "Symbols asked for in repair requests", "symbols_asked_for"),
        ):
            values = {session: getattr(tally, field) for session, tally in tallies.items()}
            counter(name, text, "session", values)
        counter("rejected", "Packets and objects thrown away", "reason", status["rejected"])
        return generate_latest(registry)

    def _receptions(self) -> list[Reception]:
        joined = self.subscriptions.receptions() if self.subscriptions else ()
        return [*self.receptions(), *joined]

"""The Ryu application: a shim that turns OpenFlow events into calls of its owner, the coordinator.

No handler waits for anything: Ryu dispatches all events of an application on one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from controller.openflow.messages import OFP_VERSION, is_deletion, keep_statistics_raw, port_is_up
from controller.openflow.ryu_api import App, handler, ofp_event
from controller.openflow.worker import SwitchWorker
from controller.plan.facts import PortId
from controller.plan.rules import Tables

_MAX_REPORTED = 20
"""How many foreign flows of a switch the event log shows."""
_NEGOTIATING = [handler.HANDSHAKE_DISPATCHER, handler.CONFIG_DISPATCHER]
_READY = handler.MAIN_DISPATCHER


class Owner(Protocol):
    """Who the application works for; none of this may block. `Coordinator` says what each call means."""

    def switch_name(self, datapath_id: int) -> str | None: ...
    def port_numbers(self, switch: str) -> Iterable[int]: ...
    def connected(self, worker: SwitchWorker, down_ports: Iterable[int]) -> None: ...
    def dumped(self, worker: SwitchWorker, tables: Tables, foreign: int) -> None: ...
    def synced(self, worker: SwitchWorker, plan_number: int, modifications: int) -> None: ...
    def disconnected(self, worker: SwitchWorker) -> None: ...
    def port_changed(self, port: PortId, is_up: bool) -> None: ...
    def packet(self, port: PortId, data: bytes, cookie: int) -> None: ...
    def log(self, event: str, **fields: Any) -> None: ...


class Nearcast(App):
    """The application; `coordinator` is the controller it serves."""

    OFP_VERSIONS = (OFP_VERSION,)

    def __init__(self, *args: Any, coordinator: Owner, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keep_statistics_raw()
        self._coordinator = coordinator
        self._workers: dict[Any, SwitchWorker] = {}
        self._ports: dict[Any, dict[int, bool]] = {}

    @handler.set_ev_cls(ofp_event.EventOFPPortDescStatsReply, handler.CONFIG_DISPATCHER)
    def on_port_descriptions(self, event: Any) -> None:
        """The switch lists its ports, before it is ready."""
        ports = self._ports.setdefault(event.msg.datapath, {})
        ports.update({port.port_no: port_is_up(port) for port in event.msg.body})

    @handler.set_ev_cls(ofp_event.EventOFPStateChange, [_READY, handler.DEAD_DISPATCHER])
    def on_state_change(self, event: Any) -> None:
        """A switch is ready, or its connection is gone."""
        datapath = event.datapath
        if event.state == handler.DEAD_DISPATCHER:
            self._ports.pop(datapath, None)
            worker = self._workers.pop(datapath, None)
            if worker is not None:
                self._coordinator.disconnected(worker)
            return
        switch = self._coordinator.switch_name(datapath.id)
        if switch is None:
            self._coordinator.log("unknown-switch", datapath_id=datapath.id)
            datapath.disconnect()
            return
        coordinator = self._coordinator
        worker = SwitchWorker(switch, datapath, self._on_dumped, coordinator.synced, self._on_failed)
        self._workers[datapath] = worker
        ports = self._ports.get(datapath, {})
        down = [number for number in coordinator.port_numbers(switch) if not ports.get(number)]
        coordinator.connected(worker, down)
        worker.start()

    @handler.set_ev_cls(ofp_event.EventOFPPortStatus, _READY)
    def on_port_status(self, event: Any) -> None:
        """A port has changed."""
        worker = self._workers.get(event.msg.datapath)
        if worker is not None:
            is_up = not is_deletion(event.msg.reason) and port_is_up(event.msg.desc)
            self._coordinator.port_changed(PortId(worker.switch, event.msg.desc.port_no), is_up)

    @handler.set_ev_cls(ofp_event.EventOFPPacketIn, _READY)
    def on_packet_in(self, event: Any) -> None:
        """A packet for the controller."""
        worker = self._workers.get(event.msg.datapath)
        if worker is not None:
            port = PortId(worker.switch, event.msg.match["in_port"])
            self._coordinator.packet(port, bytes(event.msg.data), event.msg.cookie)

    @handler.set_ev_cls(
        [
            ofp_event.EventOFPFlowStatsReply,
            ofp_event.EventOFPGroupDescStatsReply,
            ofp_event.EventOFPMeterConfigStatsReply,
        ],
        _READY,
    )
    def on_statistics(self, event: Any) -> None:
        """A switch says what it holds."""
        worker = self._workers.get(event.msg.datapath)
        if worker is not None:
            worker.statistics(bytes(event.msg.buf))

    @handler.set_ev_cls(ofp_event.EventOFPBarrierReply, _READY)
    def on_barrier_reply(self, event: Any) -> None:
        """A switch has done everything before a barrier."""
        worker = self._workers.get(event.msg.datapath)
        if worker is not None:
            worker.barrier_reply(event.msg.xid)

    @handler.set_ev_cls(ofp_event.EventOFPErrorMsg, [*_NEGOTIATING, _READY])
    def on_error(self, event: Any) -> None:
        """A switch refuses something."""
        message = event.msg
        worker = self._workers.get(message.datapath)
        text = f"OpenFlow error type {message.type} code {message.code}"
        if worker is None or not worker.error(message.xid, text):
            switch = None if worker is None else worker.switch
            self._coordinator.log("switch-error", switch=switch, error=text)

    def _on_dumped(self, worker: SwitchWorker, tables: Tables, foreign: int) -> None:
        for text in worker.foreign_texts[:_MAX_REPORTED]:
            self._coordinator.log("foreign-rule", switch=worker.switch, what=text)
        self._coordinator.dumped(worker, tables, foreign)

    def _on_failed(self, worker: SwitchWorker, reason: str) -> None:
        self._coordinator.log("update-failed", switch=worker.switch, error=reason)

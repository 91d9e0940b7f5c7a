"""The os-ken application: a shim that turns OpenFlow events into calls of the coordinator.

No handler waits for anything: os-ken dispatches all events of an application on one thread.
"""

from __future__ import annotations

from typing import Any

from os_ken.base.app_manager import OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    HANDSHAKE_DISPATCHER,
    MAIN_DISPATCHER,
    set_ev_cls,
)

from controller.coordinator import Coordinator
from controller.openflow.messages import OFP_VERSION, is_deletion, port_is_up
from controller.openflow.worker import SwitchWorker
from controller.plan.facts import PortId


class Nearcast(OSKenApp):
    """The application; `coordinator` is the controller it serves."""

    OFP_VERSIONS = (OFP_VERSION,)

    def __init__(self, *args: Any, coordinator: Coordinator, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._coordinator = coordinator
        self._workers: dict[Any, SwitchWorker] = {}
        self._ports: dict[Any, dict[int, bool]] = {}

    @set_ev_cls(ofp_event.EventOFPPortDescStatsReply, CONFIG_DISPATCHER)
    def on_port_descriptions(self, event: Any) -> None:
        """The switch lists its ports, before it is ready."""
        ports = self._ports.setdefault(event.msg.datapath, {})
        ports.update({port.port_no: port_is_up(port) for port in event.msg.body})

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def on_state_change(self, event: Any) -> None:
        """A switch is ready, or its connection is gone."""
        datapath = event.datapath
        if event.state == DEAD_DISPATCHER:
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
        worker = SwitchWorker(switch, datapath, self._coordinator.synced, self._on_failed)
        self._workers[datapath] = worker
        ports = self._ports.get(datapath, {})
        down = [number for number in self._coordinator.port_numbers(switch) if not ports.get(number)]
        self._coordinator.connected(worker, down)

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)
    def on_port_status(self, event: Any) -> None:
        """A port has changed."""
        worker = self._workers.get(event.msg.datapath)
        if worker is not None:
            is_up = not is_deletion(event.msg.reason) and port_is_up(event.msg.desc)
            self._coordinator.port_changed(PortId(worker.switch, event.msg.desc.port_no), is_up)

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def on_packet_in(self, event: Any) -> None:
        """A packet for the controller."""
        worker = self._workers.get(event.msg.datapath)
        if worker is not None:
            port = PortId(worker.switch, event.msg.match["in_port"])
            self._coordinator.packet(port, bytes(event.msg.data))

    @set_ev_cls(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def on_barrier_reply(self, event: Any) -> None:
        """A switch has done everything before a barrier."""
        worker = self._workers.get(event.msg.datapath)
        if worker is not None:
            worker.barrier_reply(event.msg.xid)

    @set_ev_cls(ofp_event.EventOFPErrorMsg, [HANDSHAKE_DISPATCHER, CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def on_error(self, event: Any) -> None:
        """A switch refuses something."""
        message = event.msg
        worker = self._workers.get(message.datapath)
        text = f"OpenFlow error type {message.type} code {message.code}"
        if worker is None or not worker.error(message.xid, text):
            switch = None if worker is None else worker.switch
            self._coordinator.log("switch-error", switch=switch, error=text)

    def _on_failed(self, worker: SwitchWorker, reason: str) -> None:
        self._coordinator.log("update-failed", switch=worker.switch, error=reason)

"""Everything the controller knows, as one machine: events in, packets to send and things to log out.

The machine never plans; `facts` is what the planner takes, and `revision` counts its changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from controller.plan.facts import Facts, Membership, PortId, ServiceAt, port_id
from controller.state.agenda import Agenda, Duty, advertisement_interval_s
from controller.state.gateway import listener_query, neighbor_advertisement, router_advertisement
from controller.state.membership import (
    QUERY_INTERVAL_S,
    QUERY_RESPONSE_INTERVAL_S,
    QUICK_RESPONSE_S,
    STARTUP_QUERY_COUNT,
    STARTUP_QUERY_INTERVAL_S,
    Listeners,
    Outcome,
)
from controller.state.neighbours import Claim, Neighbours
from controller.wire.frames import Frame, WireError, parse_frame
from controller.wire.mld import Query, Report, decode_mld
from controller.wire.nd import (
    UNSPECIFIED,
    NeighborAdvertisement,
    NeighborSolicitation,
    RouterSolicitation,
    decode_nd,
    is_nd,
)
from topologies.addressing import GATEWAY, plan_addresses
from topologies.spec import Port, Role, Topology

_ADVERTISE, _QUERY = "advertise", "query"


class Send(NamedTuple):
    """A frame to send out of a port."""

    port: PortId
    frame: bytes


class Note(NamedTuple):
    """Something for the event log."""

    event: str
    fields: dict[str, Any]


@dataclass(slots=True)
class Effects:
    """What an event leads to."""

    sends: list[Send] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


class NetworkState:
    """The state of one network; `seed` fixes the times of router advertisements.

    `greeted` names the connected switches that hold their tables, so that their hosts may be spoken to.
    """

    def __init__(
        self,
        topology: Topology,
        service_at: ServiceAt = ServiceAt.EDGES,
        allowed_edges: Collection[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.topology = topology
        self.addresses = plan_addresses(topology)
        self.greeted: set[str] = set()
        self.revision = 0
        self._service_at = service_at
        self._allowed = None if allowed_edges is None else frozenset(allowed_edges)
        self._seed = seed
        self._host_ports = {
            switch: tuple(port for port in topology.ports[switch] if not topology.role(port.peer).is_switch)
            for switch in topology.switches
        }
        self._port_by_id = {
            port_id(port): port for switch in topology.switches for port in topology.ports[switch]
        }
        self._down: frozenset[PortId] = frozenset()
        self._neighbours = Neighbours(
            {
                port_id(port): self.addresses.user_prefixes[switch]
                for switch, ports in self._host_ports.items()
                for port in ports
                if topology.role(port.peer) is Role.USER and switch in self.addresses.user_prefixes
            }
        )
        self._listeners = Listeners()
        self._agenda = Agenda()
        self._facts = self._gather()

    @property
    def facts(self) -> Facts:
        """What the planner needs to know now."""
        return self._facts

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        moments = (self._agenda.deadline_s, self._listeners.deadline_s)
        return min((moment for moment in moments if moment is not None), default=None)

    def switch_up(self, switch: str, down_ports: Iterable[int]) -> Effects:
        """A switch has connected, with these of its ports down."""
        effects = Effects(notes=[Note("switch-up", {"switch": switch})])
        down = {PortId(switch, number) for number in down_ports}
        for port in self.topology.ports[switch]:
            self._port(port_id(port), port_id(port) not in down, effects)
        return self._settle(effects)

    def switch_down(self, switch: str) -> Effects:
        """The connection to a switch is lost. What it forwards is not changed by that."""
        self.greeted.discard(switch)
        self._agenda.cancel(switch)
        return Effects(notes=[Note("switch-down", {"switch": switch})])

    def installed(self, now_s: float, switch: str) -> Effects:
        """A switch that has connected holds its tables: its hosts may be spoken to."""
        self.greeted.add(switch)
        for kind in (_ADVERTISE, _QUERY):
            self._agenda.add(now_s, Duty(kind, switch))
        return self.tick(now_s)

    def port_changed(self, now_s: float, port: PortId, is_up: bool) -> Effects:
        """A switch reports a port up or down. Ports that are not of the topology are ignored."""
        effects = Effects()
        if port in self._port_by_id:
            changed = self._port(port, is_up, effects)
            if changed and is_up and port.switch in self.greeted:
                self._greet(self._port_by_id[port], effects)
        return self._settle(effects)

    def packet(self, now_s: float, port: PortId, data: bytes) -> Effects:
        """A switch has handed over a packet that came in by a port. What is not valid is ignored."""
        effects = Effects()
        known = self._port_by_id.get(port)
        if known is None or self.topology.role(known.peer).is_switch:
            return effects
        try:
            frame = parse_frame(data)
            if frame.router_alert:
                message = decode_mld(frame)
                if isinstance(message, Report):
                    self._take(self._listeners.report(now_s, port, message), effects)
            elif is_nd(frame):
                self._neighbour_discovery(known, frame, effects)
            elif frame.eth_dst == self._router_mac(known):
                self._claim(known, frame, frame.src, effects)
        except WireError:
            return effects
        return self._settle(effects)

    def set_allowed_edges(self, edges: Collection[str] | None) -> Effects:
        """Only these edges may answer users from now on; None allows all."""
        self._allowed = None if edges is None else frozenset(edges)
        return self._settle(Effects())

    def tick(self, now_s: float) -> Effects:
        """Do what is due."""
        effects = Effects()
        self._take(self._listeners.tick(now_s), effects)
        for duty in self._agenda.pop_due(now_s):
            self._perform(now_s, duty, effects)
        return self._settle(effects)

    def _perform(self, now_s: float, duty: Duty, effects: Effects) -> None:
        again = duty._replace(done=duty.done + 1)
        for port in self._host_ports[duty.switch]:
            if port_id(port) not in self._down:
                self._send_duty(duty.kind, port, effects)
        if duty.kind == _ADVERTISE:
            wait_s = advertisement_interval_s(self._seed, duty.switch, again.done)
        else:
            is_startup = again.done < STARTUP_QUERY_COUNT
            wait_s = STARTUP_QUERY_INTERVAL_S if is_startup else QUERY_INTERVAL_S
        self._agenda.add(now_s + wait_s, again)

    def _greet(self, port: Port, effects: Effects) -> None:
        if not self.topology.role(port.peer).is_switch:
            self._send_duty(_ADVERTISE, port, effects)
            self._query(port, QUICK_RESPONSE_S, effects)

    def _send_duty(self, kind: str, port: Port, effects: Effects) -> None:
        if kind == _QUERY:
            self._query(port, QUERY_RESPONSE_INTERVAL_S, effects)
        elif self.topology.role(port.peer) is Role.USER:
            self._advertise(port, None, effects)

    def _query(self, port: Port, response_s: float, effects: Effects) -> None:
        query = Query(int(response_s * 1000))
        effects.sends.append(Send(port_id(port), listener_query(self._router_mac(port), query)))

    def _advertise(self, port: Port, request: Frame | None, effects: Effects) -> None:
        prefix = self.addresses.user_prefixes.get(port.node)
        if prefix is not None:
            frame = router_advertisement(self._router_mac(port), prefix, port.link.mtu_bytes, request)
            effects.sends.append(Send(port_id(port), frame))

    def _neighbour_discovery(self, port: Port, frame: Frame, effects: Effects) -> None:
        message = decode_nd(frame)
        match message:
            case NeighborSolicitation(target=target) if target == GATEWAY:
                reply = neighbor_advertisement(self._router_mac(port), frame, GATEWAY, self._router_mac(port))
                effects.sends.append(Send(port_id(port), reply))
                self._claim(port, frame, frame.src, effects)
            case NeighborSolicitation(target=target) if frame.src == UNSPECIFIED:
                if self._claim(port, frame, target, effects) is Claim.TAKEN:
                    mac = self._neighbours.mac_of(target) or self._router_mac(port)
                    reply = neighbor_advertisement(self._router_mac(port), frame, target, mac)
                    effects.sends.append(Send(port_id(port), reply))
            case NeighborSolicitation():
                self._claim(port, frame, frame.src, effects)
            case NeighborAdvertisement(target=target, router=False):
                self._claim(port, frame, target, effects)
            case RouterSolicitation() if self.topology.role(port.peer) is Role.USER:
                self._advertise(port, frame, effects)
            case _:
                pass

    def _claim(self, port: Port, frame: Frame, address: IPv6Address, effects: Effects) -> Claim:
        claim = self._neighbours.claim(port_id(port), address, frame.eth_src, self._down)
        if claim is Claim.NEW:
            fields = {"host": port.peer, "address": str(address), "mac": frame.eth_src}
            effects.notes.append(Note("host-learnt", fields | _place(port_id(port))))
        return claim

    def _port(self, port: PortId, is_up: bool, effects: Effects) -> bool:
        if is_up == (port not in self._down):
            return False
        self._down = self._down - {port} if is_up else self._down | {port}
        peer = self._port_by_id[port].peer
        effects.notes.append(Note("port-up" if is_up else "port-down", _place(port) | {"peer": peer}))
        if not is_up:
            self._take(self._listeners.port_down(port), effects)
        return True

    def _take(self, outcome: Outcome, effects: Effects) -> None:
        for event, memberships in (("member-join", outcome.joined), ("member-leave", outcome.left)):
            effects.notes.extend(Note(event, self._membership_fields(member)) for member in memberships)
        for port, query in outcome.queries:
            frame = listener_query(self._router_mac(self._port_by_id[port]), query)
            effects.sends.append(Send(port, frame))

    def _membership_fields(self, member: Membership) -> dict[str, Any]:
        return {
            "host": self._port_by_id[member.port].peer,
            "group": str(member.group),
            "source": None if member.source is None else str(member.source),
        } | _place(member.port)

    def _settle(self, effects: Effects) -> Effects:
        """Gather the facts anew and note which edges have become healthy or unhealthy."""
        facts = self._gather()
        if facts == self._facts:
            return effects
        before, after = set(self._facts.healthy_edges), set(facts.healthy_edges)
        effects.notes.extend(Note("edge-healthy", {"edge": edge}) for edge in sorted(after - before))
        effects.notes.extend(Note("edge-unhealthy", {"edge": edge}) for edge in sorted(before - after))
        self._facts = facts
        self.revision += 1
        return effects

    def _gather(self) -> Facts:
        return Facts(
            self.topology,
            self.addresses,
            self._service_at,
            self._allowed,
            self._down,
            self._neighbours.bindings,
            self._listeners.members,
        )

    def _router_mac(self, port: Port) -> str:
        return self.addresses.router_macs[port.node]


def _place(port: PortId) -> dict[str, Any]:
    return {"switch": port.switch, "port": port.number}

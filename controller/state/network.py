"""Everything the controller knows, as one machine: events in, packets to send and things to log out.

The machine never plans; `facts` is what the planner takes, and `revision` counts its changes. What hosts
say is for the machines of its parts: `Discovery` (ND), `Listeners` (MLD), `Edges` (health), `IcmpErrors`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from controller.plan.facts import (
    Bound,
    Facts,
    GatewayMode,
    Membership,
    Opening,
    PortId,
    Sender,
    ServiceAt,
    port_id,
)
from controller.plan.pipeline import Origin
from controller.plan.zones import Zones, is_source_specific
from controller.state.discovery import Discovered, Discovery
from controller.state.edges import Edges
from controller.state.effects import Effects, Injection, Note, Send
from controller.state.icmp_errors import REASONS, IcmpErrors, Reason
from controller.state.membership import Listeners, Outcome
from controller.state.openings import Answer, Openings
from controller.state.recovery import Remembered
from controller.state.router_frames import echo_reply, listener_query
from controller.wire.frames import UDP, Frame, parse_frame, readdressed
from topologies.addressing import GATEWAY, plan_addresses
from topologies.heartbeat import decode_heartbeat
from topologies.spec import Port, Role, Topology

_UDP_HEADER_BYTES = 8


class NetworkState:
    """The state of one network; `seed` fixes random times.

    `greeted` names the connected switches that hold their tables, so that their hosts may be spoken to.
    `punts` counts what switches have handed over, by why.
    """

    def __init__(
        self,
        topology: Topology,
        service_at: ServiceAt = ServiceAt.EDGES,
        gateway: GatewayMode = GatewayMode.STATEFUL,
        allowed_edges: frozenset[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.topology = topology
        self.addresses = plan_addresses(topology)
        self.greeted: set[str] = set()
        self.revision = 0
        self.punts: Counter[str] = Counter()
        homes = {user: topology.access_port(user).node for user in topology.of_role(Role.USER)}
        self.edges = Edges(topology.of_role(Role.EDGE), allowed_edges, homes=homes)
        self._service_at = service_at
        self._gateway = gateway
        self._host_ports = {
            switch: tuple(
                port_id(port) for port in topology.ports[switch] if not topology.role(port.peer).is_switch
            )
            for switch in topology.switches
        }
        self._port_by_id = {
            port_id(port): port for switch in topology.switches for port in topology.ports[switch]
        }
        self._down: frozenset[PortId] = frozenset()
        users = {port_id(topology.access_port(user)) for user in topology.of_role(Role.USER)}
        zones = Zones(topology)
        self.listeners = Listeners(
            GATEWAY, users, lambda port, group: zones.may_join(self._port_by_id[port].peer, group)
        )
        self.discovery = Discovery(topology, self.addresses, self.listeners.solicited_node_listeners, seed)
        self.errors = IcmpErrors(self.addresses)
        self.openings = Openings()
        self._senders: set[Sender] = set()
        self._facts = self._gather()

    @property
    def urgent(self) -> bool:
        """Whether packets are being lost until the next plan is in place; whoever plans clears it."""
        return self.edges.urgent

    @urgent.setter
    def urgent(self, value: bool) -> None:
        self.edges.urgent = value

    @property
    def guards(self) -> dict[str, Counter[str]]:
        """What was refused or ignored, by the machine that did and the reason."""
        return {
            "mld": self.listeners.counters,
            "nd": self.discovery.counters,
            "icmp": self.errors.counters,
            "pcp": self.openings.counters,
        }

    @property
    def facts(self) -> Facts:
        """What the planner needs to know now."""
        return self._facts

    @property
    def deadline_s(self) -> float | None:
        """When `tick` has something to do next, or None."""
        parts = (self.listeners, self.discovery, self.edges, self.openings)
        moments = (part.deadline_s for part in parts)
        return min((moment for moment in moments if moment is not None), default=None)

    def switch_up(self, now_s: float, switch: str, down_ports: Iterable[int]) -> Effects:
        """A switch has connected, with these of its ports down."""
        effects = Effects(notes=[Note("switch-up", {"switch": switch})])
        down = {PortId(switch, number) for number in down_ports}
        for port in self.topology.ports[switch]:
            self._port(now_s, port_id(port), port_id(port) not in down, effects)
        return self._settle(effects)

    def switch_down(self, switch: str) -> Effects:
        """The connection to a switch is lost. What it forwards is not changed by that."""
        self.greeted.discard(switch)
        self.discovery.switch_down(switch)
        for port in self._host_ports[switch]:
            self.listeners.pause(port)
        return Effects(notes=[Note("switch-down", {"switch": switch})])

    def installed(self, now_s: float, switch: str) -> Effects:
        """A switch that has connected holds its tables: its hosts may be spoken to."""
        self.greeted.add(switch)
        effects = Effects()
        self._discovered(now_s, self.discovery.switch_up(now_s, switch), effects)
        for port in self._host_ports[switch]:
            if port not in self._down:
                self._heard(self.listeners.port_up(now_s, port), effects)
        return self._settle(effects)

    def port_changed(self, now_s: float, port: PortId, is_up: bool) -> Effects:
        """A switch reports a port up or down. Ports that are not of the topology are ignored."""
        effects = Effects()
        if port in self._port_by_id and self._port(now_s, port, is_up, effects):
            is_host = port in self._host_ports[port.switch]
            if is_up and is_host and port.switch in self.greeted:
                self._heard(self.listeners.port_up(now_s, port), effects)
        return self._settle(effects)

    def restore(self, now_s: float, remembered: Remembered) -> Effects:
        """Take up what a controller before this one has left in the switches."""
        effects = Effects()
        self.discovery.restore(now_s, remembered.bindings)
        self._heard(self.listeners.restore(now_s, remembered.members), effects)
        self.openings.restore(now_s, remembered.openings)
        self._senders |= set(remembered.senders)
        self.edges.restore(now_s, remembered.pins, remembered.choices)
        return self._settle(effects)

    def chosen(self, now_s: float, choices: Mapping[str, str]) -> Effects:
        """A plan sends the new connections of each access switch to these edges."""
        self.edges.chosen(now_s, choices)
        return self._settle(Effects())

    def packet(self, now_s: float, port: PortId, data: bytes, cookie: int) -> Effects:
        """A switch has handed over a packet that came in by a port, because of the rule with this cookie.
        What is not valid is ignored and counted."""
        effects = Effects()
        known = self._port_by_id.get(port)
        is_host = known is not None and not self.topology.role(known.peer).is_switch
        try:
            origin = Origin(cookie & 0xFFFF)
            self.punts[origin.name.lower()] += 1
            if origin in REASONS and origin is not Origin.ADDRESS_UNREACHABLE:
                mtu_bytes = cookie >> 16 & 0xFFFF
                from_port = port if is_host else None
                self._refuse(now_s, port.switch, REASONS[origin], data, effects, mtu_bytes, from_port)
                return self._settle(effects)
            frame = parse_frame(data)
            if origin is Origin.ADDRESS_UNREACHABLE:
                found = self.discovery.resolve(now_s, port.switch, frame.dst, data)
                self._discovered(now_s, found, effects)
            elif origin is Origin.REQUEST:
                self._request(now_s, port, frame, effects)
            elif known is not None and is_host:
                self._from_host(now_s, known, origin, frame, effects)
        except ValueError:
            self.punts["invalid"] += 1
        return self._settle(effects)

    def set_allowed_edges(self, edges: Collection[str] | None) -> Effects:
        """Only these edges may answer users from now on; None allows all."""
        self.edges.allowed = None if edges is None else frozenset(edges)
        return self._settle(Effects())

    def drain(self, edge: str, *, drained: bool) -> Effects:
        """Give an edge no new connections, or give it some again."""
        self.edges.drained = self.edges.drained | {edge} if drained else self.edges.drained - {edge}
        return self._settle(Effects(notes=[Note("drain" if drained else "undrain", {"edge": edge})]))

    def bind(self, user: str, edge: str | None) -> Effects:
        """Send the new connections of a user to this edge; None: to its nearest."""
        others = {bound for bound in self.edges.bound if bound.user != user}
        self.edges.bound = frozenset(others if edge is None else others | {Bound(user, edge)})
        return self._settle(Effects(notes=[Note("bind", {"user": user, "edge": edge})]))

    def tick(self, now_s: float) -> Effects:
        """Do what is due."""
        effects = Effects()
        self._heard(self.listeners.tick(now_s), effects)
        self._discovered(now_s, self.discovery.tick(now_s), effects)
        self.edges.tick(now_s)
        closed = self.openings.tick(now_s)
        effects.notes.extend(_opening_note("closed", opening) for opening in closed)
        return self._settle(effects)

    def _from_host(self, now_s: float, port: Port, origin: Origin, frame: Frame, effects: Effects) -> None:
        where = port_id(port)
        if origin is Origin.CONTROL and frame.router_alert:
            self._heard(self.listeners.message(now_s, where, frame), effects)
        elif origin is Origin.CONTROL:
            self._discovered(now_s, self.discovery.packet(now_s, where, frame), effects)
        elif origin is Origin.CLAIM:
            found = self.discovery.claim(now_s, where, frame.src, frame.eth_src)
            self._discovered(now_s, found, effects)
        elif origin is Origin.HEALTH and frame.protocol == UDP:
            self.edges.heartbeat(now_s, port.peer, decode_heartbeat(frame.payload[_UDP_HEADER_BYTES:]))
        elif origin is Origin.SENDER and frame.dst.is_multicast and not is_source_specific(frame.dst):
            self._senders.add(Sender(frame.src, frame.dst))

    def _request(self, now_s: float, port: PortId, frame: Frame, effects: Effects) -> None:
        """What hosts ask their router: to open a port (PCP), or an echo of its link-local address or of a
        global one of its own."""
        router_mac = self.addresses.router_macs[port.switch]
        if frame.protocol == UDP:
            holder = self.discovery.neighbours.binding(frame.src)
            is_own = holder is not None and holder.port == port
            self._answered(port, self.openings.message(now_s, port, router_mac, frame, is_own), effects)
            return
        own = self.addresses.router_addresses.get(port.switch, GATEWAY)
        reply = echo_reply(router_mac, frame, (GATEWAY, own))
        if frame.dst == GATEWAY:
            effects.sends.append(Send(port, reply))
        else:
            effects.injections.append(Injection(port.switch, reply))

    def _answered(self, port: PortId, answer: Answer, effects: Effects) -> None:
        if answer.frame is not None:
            effects.sends.append(Send(port, answer.frame))
        for event, openings in (("opened", answer.opened), ("closed", answer.closed)):
            effects.notes.extend(_opening_note(event, opening) for opening in openings)

    def _refuse(
        self,
        now_s: float,
        switch: str,
        reason: Reason,
        data: bytes,
        effects: Effects,
        mtu_bytes: int = 0,
        from_port: PortId | None = None,
    ) -> None:
        """Answer a packet that goes no further, if it is to be answered; one that came in by a host port goes
        straight back."""
        error = self.errors.about(
            now_s, switch, reason, data, mtu_bytes=mtu_bytes, from_host=from_port is not None
        )
        if error is None:
            return
        if from_port is not None:
            effects.sends.append(Send(from_port, error.frame))
            return
        if not error.to_all_edges:
            effects.injections.append(Injection(switch, error.frame))
            return
        for edge in self.edges.alive:
            port = self.topology.access_port(edge)
            frame = readdressed(
                error.frame, self.addresses.router_macs[port.node], self.addresses.hosts[edge].mac
            )
            effects.sends.append(Send(port_id(port), frame))

    def _discovered(self, now_s: float, found: Discovered, effects: Effects) -> None:
        effects.sends += found.sends
        effects.releases += found.released
        for event, bindings in (("host-learnt", found.learnt), ("host-forgotten", found.forgotten)):
            for binding in bindings:
                host = self._port_by_id[binding.port].peer
                fields = {"host": host, "address": str(binding.address), "mac": binding.mac}
                effects.notes.append(Note(event, fields | _place(binding.port)))
        for binding in found.forgotten:
            closed = self.openings.end(binding.address)
            effects.notes.extend(_opening_note("closed", opening) for opening in closed)
        for switch, packet in found.unreachable:
            self._refuse(now_s, switch, Reason.ADDRESS_UNREACHABLE, packet, effects)

    def _port(self, now_s: float, port: PortId, is_up: bool, effects: Effects) -> bool:
        if is_up == (port not in self._down):
            return False
        self._down = self._down - {port} if is_up else self._down | {port}
        peer = self._port_by_id[port].peer
        effects.notes.append(Note("port-up" if is_up else "port-down", _place(port) | {"peer": peer}))
        if not is_up:
            self.edges.urgent = True
        if port in self._host_ports[port.switch]:
            self._discovered(now_s, self.discovery.port_changed(now_s, port, is_up), effects)
            if self.topology.role(peer) is Role.EDGE:
                self.edges.port_changed(peer, is_up)
            if not is_up:
                self._heard(self.listeners.port_down(port), effects)
        return True

    def _heard(self, outcome: Outcome, effects: Effects) -> None:
        for event, memberships in (("member-join", outcome.joined), ("member-leave", outcome.left)):
            effects.notes.extend(Note(event, self._membership_fields(member)) for member in memberships)
        for port, query in outcome.queries:
            effects.sends.append(Send(port, listener_query(self.addresses.router_macs[port.switch], query)))

    def _membership_fields(self, member: Membership) -> dict[str, Any]:
        return {
            "host": self._port_by_id[member.port].peer,
            "group": str(member.group),
            "source": None if member.source is None else str(member.source),
        } | _place(member.port)

    def _settle(self, effects: Effects) -> Effects:
        """Gather the facts anew and note what has become of the edges."""
        effects.notes.extend(Note(event, fields) for event, fields in self.edges.notes())
        facts = self._gather()
        if facts != self._facts:
            self._facts = facts
            self.revision += 1
        return effects

    def _gather(self) -> Facts:
        members = self.listeners.members
        groups = {member.group for member in members}
        self._senders = {sender for sender in self._senders if sender.group in groups}
        return Facts(
            topology=self.topology,
            addresses=self.addresses,
            service_at=self._service_at,
            gateway=self._gateway,
            down_ports=self._down,
            accepting=self.edges.accepting,
            alive=self.edges.alive,
            pins=self.edges.pins,
            bound=self.edges.bound,
            bindings=self.discovery.neighbours.bindings,
            openings=self.openings.openings,
            members=members,
            senders=frozenset(self._senders),
        )


def _opening_note(event: str, opening: Opening) -> Note:
    fields = {"address": str(opening.address), "protocol": opening.protocol, "port": opening.port}
    return Note(f"service-{event}", fields)


def _place(port: PortId) -> dict[str, Any]:
    return {"switch": port.switch, "port": port.number}

"""An oracle for proofs that knows nothing of regions: one packet at a time is walked through the tables, and
its walk is held against what the facts say must and must not happen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv6Address

from controller.plan.anycast import edge_tag, kept_edges
from controller.plan.facts import Facts, PortId, port_id
from controller.plan.pipeline import Origin, TableId
from controller.plan.rules import CtState, Group, GroupKind, Output, Rule, Tables
from controller.plan.unicast import zone_of
from controller.plan.zones import Zones, is_for_users, scope_of
from controller.verify.network import Network
from controller.verify.packet import Context, Packet, matches
from controller.verify.results import Committed, End, Fate, GroupMet, Hop, RuleMet, Tracked, Walk
from controller.verify.walk import Connection, walk
from controller.wire.frames import multicast_mac
from topologies.addressing import ROUTER_PREFIX
from topologies.graph import shortest_path_tree
from topologies.spec import Role, Topology

BELONGING = (CtState.ESTABLISHED, CtState.RELATED)
ENOUGH_HOPS = 64
ETHERNET_BYTES = 14
_SAME_MS = 1e-6


@dataclass(frozen=True, slots=True)
class Shot:
    """A packet that a host sends, and what connection tracking is taken to know of it: in the memory of the
    host's own port, and in all others."""

    sender: str
    packet: Packet
    own: CtState = CtState.NEW
    theirs: CtState = CtState.NEW
    mark: int = 0


@dataclass(frozen=True)
class Outage:
    """What is down, at both ends of each link; `text` is empty for nothing."""

    text: str = ""
    ports: frozenset[PortId] = frozenset()

    @cached_property
    def switches(self) -> frozenset[str]:
        """Where ports are down."""
        return frozenset(port.switch for port in self.ports)


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that a walk breaks, and how."""

    invariant: str
    sentence: str


class Shelves(Network):
    """A network that finds rules faster: by the port and the destination of a packet first."""

    def __init__(
        self, topology: Topology, tables: Mapping[str, Tables], down_ports: Iterable[PortId] = ()
    ) -> None:
        super().__init__(topology, tables, down_ports)
        self._by_table: dict[tuple[str, TableId], list[Rule]] = {}
        for switch, content in tables.items():
            for rule in content.rules.values():
                self._by_table.setdefault((switch, rule.table), []).append(rule)
        for rules in self._by_table.values():
            rules.sort(key=lambda rule: -rule.priority)
        self._shelves: dict[tuple[str, TableId, int, IPv6Address], list[Rule]] = {}

    def lookup(self, switch: str, table: TableId, packet: Packet, context: Context) -> RuleMet:
        """The same as that of a network."""
        key = switch, table, context.in_port, packet.dst
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = self._shelves[key] = [
                rule
                for rule in self._by_table.get(key[:2], ())
                if rule.match.in_port in (None, context.in_port)
                and (rule.match.ipv6_dst is None or rule.match.ipv6_dst.covers(int(packet.dst)))
            ]
        best: list[Rule] = []
        for rule in shelf:
            if best and rule.priority < best[0].priority:
                break
            if matches(rule.match, packet, context):
                best.append(rule)
        rivals = [rule for rule in best if _effect(rule) != _effect(best[0])]
        return RuleMet(table, best[0] if best else None, tuple(rivals))


def _effect(rule: Rule) -> tuple[object, ...]:
    return rule.actions, rule.goto, rule.source_class, rule.meter


class Judge:
    """Holds walks against the facts. `planned` shots must arrive; no shot may do what is forbidden."""

    def __init__(self, facts: Facts) -> None:
        topology = self.topology = facts.topology
        self.facts = facts
        self.zones = Zones(topology)
        self.users = topology.of_role(Role.USER)
        self.zone_of_user = {user: zone_of(topology, user) for user in self.users}
        self.ports = {host: port_id(topology.access_port(host)) for host in topology.hosts}
        self._at = {port: host for host, port in self.ports.items()}
        self.bound = {binding.address: self._at[binding.port] for binding in facts.bindings}
        fixed = {
            host: {interface.ip for interface in facts.addresses.hosts[host].addresses}
            for host in topology.hosts
        }
        for edge in topology.of_role(Role.EDGE):
            fixed[edge].add(facts.addresses.service)
        self.sources: Mapping[str, frozenset[IPv6Address]] = {
            host: frozenset(fixed[host] | {address for address, who in self.bound.items() if who == host})
            for host in topology.hosts
        }
        self.mtu_bytes = min(link.mtu_bytes for link in topology.links)

        self._connected: dict[tuple[str, frozenset[str]], frozenset[str]] = {}

    def walk(self, network: Network, shot: Shot) -> Walk:
        """The way of a shot."""
        own = self.zone_of_user.get(shot.sender)

        def connections(zone: int, _: Packet) -> Connection:
            return Connection(shot.own if zone == own else shot.theirs, shot.mark)

        return walk(network, shot.packet, self.ports[shot.sender], connections)

    def breaches(
        self, shot: Shot, way: Walk, tables: Mapping[str, Tables], outage: Outage
    ) -> Iterator[Breach]:
        """What a walk breaks."""
        if self.ports[shot.sender] in outage.ports:
            return
        yield from self._isolation(shot, way)
        yield from self._scope(shot, way)
        yield from self._private_routing(shot, way)
        yield from self._gateway(shot, way)
        yield from self._spoofing(shot, way)
        if any(end.fate is Fate.LOOPED for end in way.ends) and not self._is_cut_off(shot, outage):
            yield Breach("no loops", "it goes round in circles")
        if any(isinstance(event, RuleMet) and event.rivals for hop in way.hops for event in hop.events):
            yield Breach("no ambiguity", "two rules are for it")
        if self.is_planned(shot):
            yield from self._delivery(shot, way, tables, outage)
        elif self.is_planned(well_known := replace(shot, own=BELONGING[0], theirs=BELONGING[0])):
            yield from self._misdelivered(way, self.owners(well_known))

    def _is_user(self, host: str) -> bool:
        return host in self.zone_of_user

    def _is_sent(self, way: Walk) -> bool:
        return len(way.hops) > 1 or any(end.fate in (Fate.DELIVERED, Fate.LOST) for end in way.ends)

    def _isolation(self, shot: Shot, way: Walk) -> Iterator[Breach]:
        if self._is_user(shot.sender):
            for end in way.delivered:
                is_origin = self.topology.role(end.where) is Role.ORIGIN
                if is_origin or end.packet.dst in self.facts.addresses.infrastructure:
                    yield Breach("isolation", f"{end.where} gets it from a user")

    def _scope(self, shot: Shot, way: Walk) -> Iterator[Breach]:
        group = shot.packet.dst
        if not group.is_multicast:
            return
        if self._is_sent(way):
            if self._is_user(shot.sender):
                yield Breach("scope", f"{shot.sender} sends to a group")
            elif shot.packet.src not in self.sources[shot.sender]:
                yield Breach("scope", f"{shot.sender} sends to a group in another's name")
        for hop in way.hops:
            if hop.parent is not None:
                before, here = way.hops[hop.parent].at.switch, hop.at.switch
                if self.zones.zone(scope_of(group), before) != self.zones.zone(scope_of(group), here):
                    yield Breach("scope", f"it leaves its zone between {before} and {here}")
        for end in way.delivered:
            if self._is_user(end.where) and not is_for_users(group):
                yield Breach("scope", f"{end.where} hears it")

    def _private_routing(self, shot: Shot, way: Walk) -> Iterator[Breach]:
        dst = shot.packet.dst
        is_near = dst.is_link_local or dst in ROUTER_PREFIX or (dst.is_multicast and scope_of(dst) < 3)
        if is_near and self._is_sent(way):
            yield Breach("private routing", "a router forwards it")

    def _is_opening(self, packet: Packet) -> bool:
        return any(
            (opening.address, opening.protocol) == (packet.dst, packet.ip_proto)
            and opening.port in (0, packet.port_dst)
            for opening in self.facts.openings
        )

    def _gateway(self, shot: Shot, way: Walk) -> Iterator[Breach]:
        opened = self._is_opening(shot.packet) and shot.theirs in (CtState.NEW, *BELONGING)
        own = self.zone_of_user.get(shot.sender)
        for number, hop in enumerate(way.hops):
            for event in hop.events:
                if isinstance(event, Committed) and not (number == 0 and event.zone == own):
                    is_theirs = event.zone == self.zone_of_user.get(self.bound.get(shot.packet.dst, ""))
                    if not (opened and is_theirs):
                        yield Breach("gateway", f"it opens zone {event.zone}")
        for end in way.delivered:
            if self._is_user(end.where) and not end.packet.dst.is_multicast:
                states = {
                    event.state
                    for event in way.hops[end.hop].events
                    if isinstance(event, Tracked) and event.zone == self.zone_of_user[end.where]
                }
                if not (states & {*BELONGING} or (opened and states)):
                    yield Breach("gateway", f"{end.where} gets what it has not asked for")

    def _spoofing(self, shot: Shot, way: Walk) -> Iterator[Breach]:
        commits = bool(way.hops) and any(isinstance(event, Committed) for event in way.hops[0].events)
        if not (self._is_sent(way) or commits):
            return
        source, sender = shot.packet.src, shot.sender
        if self._is_user(sender):
            # An address of its prefix that is nobody else's may become its own.
            prefix = self.facts.addresses.user_prefixes[self.ports[sender].switch]
            is_own = source in prefix and self.bound.get(source, sender) == sender
        else:
            is_own = source in self.sources[sender]
        if not is_own:
            yield Breach("anti-spoofing", f"{sender} sends from {source}")

    def is_planned(self, shot: Shot) -> bool:
        """Whether it is what a well-behaved host sends to somebody whom it may send to."""
        packet, sender, facts = shot.packet, shot.sender, self.facts
        addresses = facts.addresses
        mac = next((each.mac for each in facts.bindings if each.port == self.ports[sender]), None)
        if packet.eth_src != (mac or addresses.hosts[sender].mac) or packet.tags:
            return False
        if packet.src not in self.sources[sender] or packet.hop_limit < ENOUGH_HOPS:
            return False
        if packet.icmpv6_type is not None and 130 <= packet.icmpv6_type < 160:
            return False
        if packet.dst.is_multicast:
            return packet.eth_dst == multicast_mac(packet.dst) and bool(self.listeners(sender, packet))
        if packet.eth_dst != addresses.router_macs[self.ports[sender].switch]:
            return False
        return bool(self.owners(shot)) and sender not in self.owners(shot)

    def owners(self, shot: Shot) -> frozenset[str]:
        """The hosts that a planned packet may arrive at; none when nothing is planned."""
        packet, addresses, topology = shot.packet, self.facts.addresses, self.topology
        role = topology.role(shot.sender)
        named = {
            interface.ip: host
            for host in topology.of_role(Role.EDGE, Role.ORIGIN, Role.DNS)
            for interface in addresses.hosts[host].addresses
        }
        if packet.dst in self.bound:
            is_answer = packet.src == addresses.service or role in (Role.USER, Role.DNS)
            is_opened = shot.theirs is CtState.NEW and self._is_opening(packet)
            belongs = shot.theirs in BELONGING or is_opened
            is_sent = role is not Role.USER or shot.own is not CtState.INVALID
            return frozenset({self.bound[packet.dst]} if is_answer and belongs and is_sent else ())
        if role is Role.USER and shot.own is CtState.INVALID:
            return frozenset()
        if packet.dst == addresses.service:
            return frozenset(self._serving(shot) if role is Role.USER else ())
        host = named.get(packet.dst)
        if host is None or packet.src == addresses.service:
            return frozenset()
        is_name_server = topology.role(host) is Role.DNS
        allowed = is_name_server if role is Role.USER else not is_name_server and role is not Role.DNS
        return frozenset({host} if allowed else ())

    def _serving(self, shot: Shot) -> tuple[str, ...]:
        """The edges that may get what a user sends to the service: those that accept, or the one where the
        connection has begun, if it is kept there."""
        facts = self.facts
        if not facts.accepting:
            return ()
        kept = self._kept(shot)
        return (*facts.accepting, kept) if kept else facts.accepting

    def _kept(self, shot: Shot) -> str | None:
        """The edge that a connection stays with."""
        facts, switch = self.facts, self.ports[shot.sender].switch
        if shot.own not in BELONGING:
            return None
        return next((e for e in kept_edges(facts, switch) if edge_tag(facts, e) == shot.mark), None)

    def listeners(self, sender: str, packet: Packet) -> frozenset[str]:
        """Who is to hear a packet that a host sends to a group from its own address."""
        group, facts = packet.dst, self.facts
        if not self.sources[sender] - {facts.addresses.service} >= {packet.src} or self._is_user(sender):
            return frozenset()
        named = {(member.port, member.group) for member in facts.members if member.source == packet.src}
        if any((each.source, each.group) == (packet.src, group) for each in facts.senders):
            named |= {(member.port, member.group) for member in facts.members if member.source is None}
        hosts = {self._at[port] for port, wanted in named if wanted == group and port not in facts.down_ports}
        links = facts.down_links | self.zones.boundary_links(scope_of(group))
        reached = shortest_path_tree(self.topology, sender, down_links=links).distance_ms
        return frozenset(
            host for host in hosts - {sender} if self.zones.reaches(group, sender, host) and host in reached
        )

    def _delivery(
        self, shot: Shot, way: Walk, tables: Mapping[str, Tables], outage: Outage
    ) -> Iterator[Breach]:
        is_group = shot.packet.dst.is_multicast
        due = self.listeners(shot.sender, shot.packet) if is_group else self.owners(shot)
        if not is_group and len(way.delivered) > 1:
            yield Breach("no black holes", "there are several copies of it")
        if not is_group:
            yield from self._misdelivered(way, due)
        if is_group:
            heard = [end.where for end in way.delivered]
            if len(heard) > len(set(heard)):
                yield Breach("no black holes", "somebody hears it twice")
            if not outage.text and due - {*heard}:
                yield Breach("membership", f"{sorted(due - {*heard})} do not hear it")
        elif self._is_cut_off(shot, outage):
            return
        for end in way.ends:
            if end.fate is not Fate.DELIVERED and not self._is_tolerated(shot, way, end, tables, outage):
                yield Breach("no black holes", f"it dies at {end.where}: {end.reason}")
        if not outage.text and shot.packet.dst == self.facts.addresses.service:
            yield from self._right_edge(shot, way)
        if shot.own is CtState.NEW and self._is_user(shot.sender) and way.delivered:
            own = self.zone_of_user[shot.sender]
            if not any(isinstance(event, Committed) and event.zone == own for event in way.hops[0].events):
                yield Breach("no black holes", "its answer will not be let in")

    def _misdelivered(self, way: Walk, due: frozenset[str]) -> Iterator[Breach]:
        macs = {self._at[binding.port]: binding.mac for binding in self.facts.bindings}
        for end in way.delivered:
            own = macs.get(end.where) or self.facts.addresses.hosts[end.where].mac
            if end.packet.dst.is_multicast:
                continue
            if end.packet.eth_dst != own:
                yield Breach("no black holes", f"{end.where} gets a frame that is for another")
            if end.where not in due:
                yield Breach("no black holes", f"{end.where} gets what belongs to {sorted(due)}")

    def _right_edge(self, shot: Shot, way: Walk) -> Iterator[Breach]:
        kept = self._kept(shot)
        if shot.own is CtState.NEW:
            right = self.nearest(shot.sender)
        elif kept and self._is_linked(shot, self.ports[kept], Outage()):
            right = frozenset({kept})
        else:
            return
        if any(end.where not in right for end in way.delivered):
            yield Breach("nearest", f"{sorted(right)} is right")

    def next_of(self, shot: Shot, way: Walk) -> Shot | None:
        """What follows on the first packet of a connection with the service, as far as it was remembered."""
        if shot.own is not CtState.NEW or shot.packet.dst != self.facts.addresses.service:
            return None
        commits = [event for event in way.hops[0].events if isinstance(event, Committed)]
        mark = commits[0].mark if commits else 0
        return replace(shot, own=CtState.ESTABLISHED, mark=mark or 0)

    def nearest(self, user: str) -> frozenset[str]:
        """The edges where a user's new connections may begin: that of its policy, or those with the least
        delay."""
        facts, policy = self.facts, dict(self.facts.bound).get(user)
        if policy in facts.accepting:
            return frozenset({policy})
        far_ms = {
            edge: tree.distance_ms[user]
            for edge in facts.accepting
            if user
            in (tree := shortest_path_tree(self.topology, edge, down_links=facts.down_links)).distance_ms
        }
        least_ms = min(far_ms.values(), default=0.0)
        return frozenset(edge for edge, ms in far_ms.items() if ms - least_ms < _SAME_MS)

    def _is_tolerated(
        self, shot: Shot, way: Walk, end: End, tables: Mapping[str, Tables], outage: Outage
    ) -> bool:
        """Whether a planned packet may end so: too big, or lost next to an outage where nothing protects."""
        if end.fate is Fate.PUNTED:
            is_refused = end.rule is not None and end.rule.origin is Origin.TOO_BIG
            return is_refused and shot.packet.frame_bytes > self.mtu_bytes + ETHERNET_BYTES
        if end.where not in outage.switches or end.fate is Fate.LOOPED:
            return False
        words = ["is alive", "where it came in"]
        words += [f"port {port.number} of {port.switch} is down" for port in outage.ports]
        hop = way.hops[end.hop]
        return any(word in end.reason for word in words) and not _has_way_out(tables, hop, outage)

    def _is_cut_off(self, shot: Shot, outage: Outage) -> bool:
        """Whether an outage leaves the destination without a host or a switch that it could end at."""
        if not outage.text:
            return False
        dead = frozenset(port.switch for port in outage.ports if self._is_dead(port.switch, outage))
        homes = self._homes(shot)
        return bool(homes) and not any(
            port not in outage.ports and port.switch not in dead and self._is_linked(shot, port, outage)
            for port in homes
        )

    def _is_dead(self, switch: str, outage: Outage) -> bool:
        return all(port_id(port) in outage.ports for port in self.topology.ports[switch])

    def _homes(self, shot: Shot) -> list[PortId]:
        """Where what is sent to a destination ends; for the rest of a user prefix, the switch (port 0)."""
        dst, addresses = shot.packet.dst, self.facts.addresses
        if dst == addresses.service:
            return [self.ports[edge] for edge in self.facts.accepting]
        if dst in self.bound:
            return [self.ports[self.bound[dst]]]
        for switch, block in addresses.access_blocks.items():
            if dst in block:
                return [PortId(switch, 0)]
        found = []
        for host in self.topology.of_role(Role.EDGE, Role.ORIGIN, Role.DNS):
            own, length = addresses.hosts[host].unicast, 64 if self.topology.role(host) is Role.EDGE else 128
            if int(own) >> (128 - length) == int(dst) >> (128 - length):
                found.append(self.ports[host])
        return found

    def _is_linked(self, shot: Shot, home: PortId, outage: Outage) -> bool:
        start = self.ports[shot.sender].switch
        waiting, known = [start], {start}
        while waiting:
            for port in self.topology.ports[waiting.pop()]:
                is_up = port_id(port) not in outage.ports | self.facts.down_ports
                if is_up and self.topology.role(port.peer).is_switch and port.peer not in known:
                    known.add(port.peer)
                    waiting.append(port.peer)
        return home.switch in known


def _has_way_out(tables: Mapping[str, Tables], hop: Hop, outage: Outage) -> bool:
    """Whether the last group that a packet met has a bucket that would have sent it on."""
    groups = [event.number for event in hop.events if isinstance(event, GroupMet)]
    group: Group | None = tables[hop.at.switch].groups.get(groups[-1]) if groups else None
    return (
        group is not None
        and group.kind is GroupKind.FAST_FAILOVER
        and any(
            isinstance(action, Output)
            and action.port != hop.at.number
            and PortId(hop.at.switch, action.port) not in outage.ports
            for bucket in group.buckets
            for action in bucket.actions
        )
    )

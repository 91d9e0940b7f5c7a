"""Ways in any network, with ties, cuts and failures: against a literal reading of the rules, and hop by hop
through the planned tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.alternates import PORT_BITS, PORT_MASK
from controller.plan.compile import Planner, plan
from controller.plan.facts import (
    Binding,
    Bound,
    Facts,
    GatewayMode,
    Membership,
    Opening,
    Pin,
    PortId,
    Sender,
    ServiceAt,
    port_id,
)
from controller.plan.routing import Routing
from controller.plan.rules import Tables
from tests.property.test_topologies_graph import bellman_ford
from tests.unit.controller.fake_pipeline import FakeNetwork, Trace
from topologies.addressing import plan_addresses
from topologies.graph import Cost, nearest_edges, shortest_path_tree
from topologies.spec import Link, Node, Role, Topology

Costs = Mapping[str, Mapping[str, Cost]]
GROUPS = [
    IPv6Address(f"{scope}::8000:1") for scope in ("ff33", "ff34", "ff35", "ff3e", "ff04", "ff05", "ff0e")
]
"""Of every scope, source-specific and for any source."""


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """A few switches with any links between them, and some hosts of each kind; many paths are equal."""
    switches = [Node(f"s{number}", Role.CORE) for number in range(draw(st.integers(0, 3)))]
    switches += [Node(f"a{number}", Role.ACCESS) for number in range(draw(st.integers(1, 4)))]
    hosts = [Node(f"e{number}", Role.EDGE) for number in range(draw(st.integers(1, 3)))]
    hosts += [Node(f"u{number}", Role.USER) for number in range(draw(st.integers(1, 3)))]
    hosts += [Node("origin", Role.ORIGIN), Node("dns", Role.DNS)]
    delays = st.sampled_from([0, 0.1, 0.2, 0.3, 1, 2])
    mtus = st.sampled_from([1280, 1500, 1500, 1500, 9000])
    names = [node.name for node in switches]
    pairs = draw(st.lists(st.sampled_from([*combinations(names, 2), None]), unique=True, min_size=1))
    links = [Link(*pair, draw(delays), 100, mtu_bytes=draw(mtus)) for pair in pairs if pair]
    for host in hosts:
        at = [node.name for node in switches if host.role is not Role.USER or node.role is Role.ACCESS]
        links.append(Link(draw(st.sampled_from(at)), host.name, draw(delays), 100, mtu_bytes=draw(mtus)))
    nodes = tuple(draw(st.permutations([*switches, *hosts])))
    return Topology("test", nodes, tuple(draw(st.permutations(links))))


def some_links(topology: Topology, most: int = 3) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from([link.name for link in topology.links]), max_size=most)


def ports_of(topology: Topology, links: frozenset[str]) -> frozenset[PortId]:
    return frozenset(
        port_id(port)
        for switch in topology.switches
        for port in topology.ports[switch]
        if port.link.name in links
    )


def address(topology: Topology, user: str) -> IPv6Address:
    port = topology.access_port(user)
    return plan_addresses(topology).user_prefixes[port.node][0x100 + port.number]


def facts_of(topology: Topology, down: frozenset[str] = frozenset()) -> Facts:
    """Facts with every user bound and every edge accepting."""
    addresses, edges = plan_addresses(topology), topology.of_role(Role.EDGE)
    bindings = tuple(
        Binding(port_id(topology.access_port(user)), address(topology, user), addresses.hosts[user].mac)
        for user in topology.of_role(Role.USER)
    )
    down_ports = ports_of(topology, down)
    return Facts(topology, addresses, accepting=edges, alive=edges, bindings=bindings, down_ports=down_ports)


def all_costs(topology: Topology, down: frozenset[str]) -> Costs:
    return {
        switch: bellman_ford(topology, switch, down, frozenset(topology.hosts))
        for switch in topology.switches
    }


def plus(*costs: Cost) -> Cost:
    return sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)


def expected_alternate(
    topology: Topology, costs: Costs, down: frozenset[str], switch: str, next_hop: str, end: str
) -> str | None:
    """RFC 5286, read literally: inequality 1, and 3 preferred; without 3, inequality 2 or the last hop; then
    the least cost, then the order."""
    order, candidates = topology.switches.index, []
    for port in topology.ports[switch]:
        near = port.peer
        is_switch = topology.role(near).is_switch
        if not is_switch or near == next_hop or port.link.name in down or end not in costs[near]:
            continue
        if not costs[near][end] < plus(costs[near][switch], costs[switch][end]):
            continue
        protects = costs[near][end] < plus(costs[near][next_hop], costs[next_hop][end])
        if not protects and next_hop != end and not costs[near][end] < costs[switch][end]:
            continue
        total = plus((round(port.link.delay_ms * 10**6), 1), costs[near][end])
        candidates.append((not protects, total, order(near), near))
    return min(candidates)[3] if candidates else None


@settings(max_examples=80, deadline=None)
@given(topologies(), st.data())
def test_next_hops_and_alternates_are_those_of_rfc_5286(topology: Topology, data: st.DataObject) -> None:
    down = data.draw(some_links(topology))
    routing, costs = Routing(topology, down), all_costs(topology, down)
    places, peers = routing.backbone.places, routing.backbone.peers
    for end in topology.switches:
        assert routing.towards(end) == shortest_path_tree(topology, end, down_links=down)
        parents = routing.towards(end).parent
        for switch in topology.switches:
            way = int(routing.ways[places[switch], places[end]])
            found = [peers[places[switch]].get(port) for port in (way >> PORT_BITS, way & PORT_MASK)]
            next_hop = parents.get(switch)
            if next_hop is None:
                assert way == 0
            else:
                assert found == [next_hop, expected_alternate(topology, costs, down, switch, next_hop, end)]


@settings(max_examples=80, deadline=None)
@given(topologies(), st.data())
def test_trees_towards_hosts_and_nearest_hosts_are_those_of_the_topology(
    topology: Topology, data: st.DataObject
) -> None:
    down = data.draw(some_links(topology))
    routing = Routing(topology, down)
    for host in topology.hosts:
        assert routing.towards(host) == shortest_path_tree(topology, host, down_links=down)
    hosts = data.draw(st.lists(st.sampled_from(topology.of_role(Role.EDGE)), unique=True))
    nearest, expected = routing.nearest(hosts), nearest_edges(topology, hosts, down_links=down)
    for switch, place in routing.backbone.places.items():
        if switch in expected:
            edge = expected[switch].edge
            assert hosts[nearest.host[place]] == edge
            next_hop = routing.backbone.peers[place][int(nearest.ways[place]) >> PORT_BITS]
            assert next_hop == routing.towards(edge).parent[switch]
        else:
            assert (nearest.host[place], nearest.ways[place]) == (-1, 0)


@settings(max_examples=60, deadline=None)
@given(topologies(), st.data())
def test_ways_that_were_taken_over_are_those_of_a_fresh_start(
    topology: Topology, data: st.DataObject
) -> None:
    routing = None
    for down in data.draw(st.lists(some_links(topology, 4), min_size=2, max_size=5)):
        before, fresh = routing, Routing(topology, down)
        routing = Routing(topology, down, before)
        assert (routing.ways == fresh.ways).all()
        if before is not None:
            assert routing.changed.tolist() == [
                place for place, row in enumerate(fresh.ways) if (row != before.ways[place]).any()
            ]


def to_service(fake: FakeNetwork, user: str) -> Trace:
    facts = fake.facts
    return fake.send(user, address(facts.topology, user), facts.addresses.service)


@settings(max_examples=60, deadline=None)
@given(topologies(), st.data())
def test_whatever_is_connected_is_reached_by_a_shortest_path(topology: Topology, data: st.DataObject) -> None:
    down = data.draw(some_links(topology))
    facts = replace(facts_of(topology, down), gateway=GatewayMode.OPEN)
    fake = FakeNetwork(facts, plan(facts))
    nearest = nearest_edges(topology, facts.accepting, down_links=down)
    users = topology.of_role(Role.USER)
    for user in users:
        trace = to_service(fake, user)
        assert trace.hosts == ([nearest[user].edge] if user in nearest else [])
    plane = topology.of_role(Role.EDGE, Role.ORIGIN)
    for end in (*users, *plane):
        parents = shortest_path_tree(topology, end, down_links=down)
        is_user = end in users
        target = address(topology, end) if is_user else facts.addresses.hosts[end].unicast
        for start in users if is_user else plane:
            source = address(topology, start) if is_user else facts.addresses.hosts[start].unicast
            trace = fake.send(start, source, target)
            if start == end:
                continue
            if start in parents.distance_ms:
                assert trace.hosts == [end]
                assert sum(trace.copies.values()) == len(parents.path(start)) - 2
            else:
                assert trace.hosts == []


@settings(max_examples=60, deadline=None)
@given(topologies(), st.data())
def test_a_failure_that_nobody_knows_of_is_survived_where_there_is_an_alternate_and_loops_nowhere(
    topology: Topology, data: st.DataObject
) -> None:
    down = data.draw(some_links(topology, 2))
    links = [
        link
        for link in topology.links
        if link.name not in down and (topology.role(link.a).is_switch or topology.role(link.a) is Role.EDGE)
    ]
    broken = data.draw(st.sampled_from([link.name for link in links]))
    facts = facts_of(topology, down)
    routing, dead = Routing(topology, down), ports_of(topology, frozenset({broken}))
    fake = FakeNetwork(facts, plan(facts), dead)
    for start in topology.of_role(Role.EDGE):
        trace = fake.send(
            start, facts.addresses.hosts[start].unicast, facts.addresses.hosts["origin"].unicast
        )
        path = routing.towards("origin").path(start) if start in routing.towards("origin").parent else ()
        assert trace.hosts == (["origin"] if survives(routing, path, dead) else [])
    nearest = routing.nearest(facts.service_hosts)
    for user in topology.of_role(Role.USER):
        at = topology.access_port(user)
        number = int(nearest.host[routing.backbone.places[at.node]])
        reached = to_service(fake, user).hosts
        assert len(reached) <= 1
        if number >= 0 and at.link.name not in {broken, *down}:
            edge = facts.service_hosts[number]
            path = routing.towards(edge).path(at.node)
            first_dead = [
                switch for switch, peer in pairwise(path) if port_id(topology.port(switch, peer)) in dead
            ]
            if not first_dead:
                assert reached == [edge]
            elif nearest.ways[routing.backbone.places[first_dead[0]]] & PORT_MASK:
                assert reached


def survives(routing: Routing, path: tuple[str, ...], dead: frozenset[PortId]) -> bool:
    """Whether a packet on a path to its last node gets there: the switch before the dead link has an
    alternate, and that is not to the host itself."""
    topology = routing.topology
    if not path:
        return False
    for here, there in pairwise(path):
        if topology.role(here).is_switch:
            if port_id(topology.port(here, there)) in dead:
                if not topology.role(there).is_switch:
                    return False
                places = routing.backbone.places
                return bool(routing.ways[places[here], places[path[-2]]] & PORT_MASK)
        elif port_id(topology.port(there, here)) in dead:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Facts]:
    """Facts that change a little from each to the next: links, policy, hosts and what they listen to."""
    topology = draw(topologies())
    edges, users = topology.of_role(Role.EDGE), topology.of_role(Role.USER)
    access = topology.of_role(Role.ACCESS)
    first = facts_of(topology)
    sources = [first.addresses.hosts[host].unicast for host in ("origin", *edges)]
    subsets = st.sets(st.sampled_from(edges)).map(lambda found: tuple(sorted(found, key=edges.index)))
    ports = st.sampled_from([port_id(topology.access_port(host)) for host in (*edges, *users)])
    listeners = st.builds(Membership, ports, st.sampled_from(GROUPS), st.sampled_from([None, *sources]))
    changes = {
        "down_ports": some_links(topology).map(lambda links: ports_of(topology, links)),
        "accepting": subsets,
        "alive": subsets,
        "service_at": st.sampled_from(ServiceAt),
        "gateway": st.sampled_from(GatewayMode),
        "pins": st.frozensets(st.builds(Pin, st.sampled_from(access), st.sampled_from(edges)), max_size=3),
        "bound": st.frozensets(st.builds(Bound, st.sampled_from(users), st.sampled_from(edges)), max_size=2),
        "bindings": st.sets(st.sampled_from(first.bindings)).map(lambda found: tuple(sorted(found))),
        "openings": st.frozensets(
            st.builds(Opening, st.just(first.bindings[0].address), st.just(6), st.integers(80, 81)),
            max_size=2,
        ),
        "members": st.frozensets(listeners, max_size=12),
        "senders": st.frozensets(
            st.builds(Sender, st.sampled_from(sources), st.sampled_from(GROUPS)), max_size=3
        ),
    }
    history = [first]
    for name in draw(st.lists(st.sampled_from(sorted(changes)), min_size=1, max_size=8)):
        history.append(replace(history[-1], **{name: draw(changes[name])}))
    return history


@settings(max_examples=60, deadline=None)
@given(histories())
def test_planning_again_and_again_gives_what_planning_once_gives(history: list[Facts]) -> None:
    planner = Planner()
    before: Mapping[str, Tables] = {}
    before_fresh: Mapping[str, Tables] = {}
    for facts in history:
        tables, fresh = planner.plan(facts), plan(facts)
        assert tables == fresh
        assert list(tables) == list(facts.topology.switches)
        assert before == before_fresh, "what was handed out does not change any more"
        assert all((tables[switch] is old) == (tables[switch] == old) for switch, old in before.items())
        before, before_fresh = tables, fresh

"""One user attacks while the others use the service: every attack of the catalogue, one after the other."""

from __future__ import annotations

import math
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import astuple, dataclass, fields, replace
from ipaddress import IPv6Address
from itertools import cycle, islice
from typing import Any

from controller.openflow.snapshot import Snapshot
from controller.plan.facts import port_id
from edge_node.multicast import join
from experiments.acts.context import Context
from experiments.acts.fetching import LEAD_S
from experiments.acts.window import play
from experiments.attack.census import Slot, count
from experiments.attack.judgement import Done, Known, attack_row, attack_states
from experiments.attack.model import Attacker, Node
from experiments.attack.proof import Proof, Prover, together
from experiments.attack.records import AttackRow, AttackState
from experiments.attack.turns import CURL_S, GAP_S, JOIN_S, Turn, timetable
from experiments.windows import Get, Window
from lab.bpf import INBOUND
from lab.captures import CaptureSet
from lab.inside import progress
from lab.pcap import PcapWriter, read_pcap
from topologies.addressing import ERROR_SOURCE, ROUTER_PREFIX
from topologies.spec import Role

WINDOW = "attacks"
BURST_S = 0.001
GETS_APART_S = 0.04
_UNUSED_PORT = 4999
_LARGEST_FRAME_BYTES = 1514
_LARGE_BYTES = 2000


def run(
    context: Context,
    *,
    user: str,
    attacks: Sequence[str] = (),
    measured: Sequence[str] = (),
    sends: bool = True,
    judges: bool = True,
) -> None:
    """`user` carries out these attacks, or all, while every other user makes requests. Without `sends` the
    time passes all the same. The links are counted during the attacks in `measured`, under their names.
    With `judges`, attacks.csv and attack-state.csv tell what became of them."""
    attacker = knowledge(context, user)
    turns = tuple(timetable(attacker, tuple(attacks)))
    before = _Moment.of(context) if judges else None
    done: dict[int, Done] = {}
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        large = stack.enter_context(_LargeDatagrams(context, user)) if judges else None
        if judges:
            stack.enter_context(_captures(context))
        requests = pool.submit(play, context, _requests(context, user, turns[-1].end_s))
        zero_s = time.monotonic() + 2 * LEAD_S
        if judges:
            _show_life(context)
        if sends:
            for turn, found in _carry_out(context, attacker, turns, zero_s, frozenset(measured)):
                done[turn.number] = found
                if large is not None:
                    large.send(turn.number)
        _sleep_until(zero_s + turns[-1].end_s + GAP_S)
        requests.result()
        if large is not None:
            done = large.added_to(done)
    if before is not None:
        _judge(context, attacker, turns, done, before)


def knowledge(context: Context, user: str) -> Attacker:
    """All that there is to know of the network for a user who attacks it."""
    testbed = context.testbed
    topology, plan = testbed.topology, testbed.plan

    def node(name: str) -> Node:
        is_user = topology.role(name) is Role.USER
        address = testbed.net.global_address(name) if is_user else plan.hosts[name].unicast
        return Node(name, plan.hosts[name].mac, IPv6Address(address))

    own = topology.access_port(user).node
    others = [name for name in topology.of_role(Role.USER) if name != user]
    near = [name for name in others if topology.access_port(name).node == own]
    ordered = (own, *(switch for switch in topology.switches if switch != own))
    numbers = [ROUTER_PREFIX[number] for number in range(1, len(topology.switches) + 1)]
    anycast = [prefix[place] for prefix in plan.user_prefixes.values() for place in (0, 1)]
    return Attacker(
        me=node(user),
        prefix=plan.user_prefixes[own],
        router_macs=tuple(plan.router_macs[switch] for switch in ordered),
        routers=(*numbers, ROUTER_PREFIX[0], ERROR_SOURCE, *anycast),
        origin=node(testbed.origin),
        edges=tuple(map(node, topology.of_role(Role.EDGE))),
        dns=node(topology.of_role(Role.DNS)[0]),
        neighbours=tuple(map(node, near)),
        strangers=tuple(node(name) for name in others if name not in near),
        service=plan.service,
        infrastructure=plan.infrastructure,
        user_prefixes=plan.user_prefixes,
        static_group=plan.static_group,
        seed=testbed.scenario.seed,
    )


def send(raw: socket.socket, frames: Sequence[bytes], count: int, per_s: int) -> int:
    """Send `count` frames, from the first again after the last, in bursts; how many have left."""
    sent = 0
    burst = max(1, round(per_s * BURST_S))
    for number, data in enumerate(islice(cycle(frames), count), start=1):
        # A queue that is full and a frame that is too long for the link are the attacker's loss.
        with suppress(OSError):
            raw.send(data)
            sent += 1
        if number % burst == 0:
            time.sleep(burst / per_s)
    return sent


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


def _carry_out(
    context: Context, attacker: Attacker, turns: Sequence[Turn], zero_s: float, measured: frozenset[str]
) -> Iterator[tuple[Turn, Done]]:
    """Each attack at its time; what it was of curl's requests counts as frames."""
    with ExitStack() as stack:
        own = stack.enter_context(_packet_socket(context, attacker.me.name))
        origins = stack.enter_context(_packet_socket(context, attacker.origin.name))
        for turn in turns:
            _sleep_until(zero_s + turn.at_s)
            progress(f"{context.testbed.scenario.name}: attack {turn.attack.name}")
            name, begin_ns = turn.attack.name, time.time_ns()
            with context.sampler.phase(name, GAP_S) if name in measured else nullcontext():
                if turn.attack.urls is not None:
                    sent = _ask(context, attacker, turn.attack.urls(attacker))
                elif turn.attack.joins:
                    sent = _listen(context, attacker, turn, origins)
                else:
                    sent = send(own, turn.frames, turn.count, turn.attack.per_s)
                _sleep_until(zero_s + turn.end_s)
            yield turn, Done(Slot(turn.number, begin_ns, time.time_ns()), sent)


def _packet_socket(context: Context, host: str) -> socket.socket:
    with context.namespace(host).entered():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.bind((context.testbed.topology.ports[host][0].interface, 0))
    return raw


def _ask(context: Context, attacker: Attacker, urls: Sequence[str]) -> int:
    quiet = ("curl", "--silent", "--globoff", "--max-time", str(CURL_S * 0.9), "--output", "/dev/null")
    for url in urls:
        asking = context.testbed.net[attacker.me.name].popen(
            *quiet, url, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        asking.wait()
    return len(urls)


def _listen(context: Context, attacker: Attacker, turn: Turn, origins: socket.socket) -> int:
    """Join the groups by the host's kernel; when the trees would be there, the origin sends."""
    interface = context.testbed.topology.ports[attacker.me.name][0].interface
    with ExitStack() as stack:
        with context.namespace(attacker.me.name).entered():
            for group in turn.attack.joins:
                stack.enter_context(join(group, str(attacker.origin.address), interface, _UNUSED_PORT))
        time.sleep(JOIN_S)
        sent = send(origins, turn.heard, len(turn.heard), turn.attack.per_s)
        time.sleep(GAP_S)
    return sent


def _show_life(context: Context) -> None:
    """A datagram from an edge to the others and to the origin: a capture that sees nothing is broken."""
    testbed = context.testbed
    speaker = testbed.active_edges[0]
    with context.namespace(speaker).entered():
        outlet = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with outlet:
        for host in testbed.topology.of_role(Role.EDGE, Role.ORIGIN):
            if host != speaker:
                outlet.sendto(b"", (str(testbed.plan.hosts[host].unicast), _UNUSED_PORT))


class _LargeDatagrams:
    """After each attack another user sends the service a datagram that does not fit one packet: whether the
    memory for fragments is still there. Users on links with loss do not take part."""

    def __init__(self, context: Context, attacker: str) -> None:
        self._sent: list[int] = []
        self._to = (str(context.testbed.plan.service), _UNUSED_PORT)
        self._stack = ExitStack()
        topology = context.testbed.topology
        lossless = [
            name
            for name in topology.of_role(Role.USER)
            if name != attacker and not topology.ports[name][0].link.loss_percent
        ]
        self._listeners = [self._socket(context, edge) for edge in context.testbed.active_edges]
        for listener in self._listeners:
            listener.bind(self._to)
        self._senders = [self._socket(context, user) for user in lossless]

    def __enter__(self) -> _LargeDatagrams:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _socket(self, context: Context, host: str) -> socket.socket:
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with context.namespace(host).entered():
            return self._stack.enter_context(socket.socket(socket.AF_INET6, kind))

    def send(self, number: int) -> None:
        """From the next user, after the attack of this number."""
        if self._senders:
            sender = self._senders[len(self._sent) % len(self._senders)]
            sender.sendto(bytes([number]) * _LARGE_BYTES, self._to)
            self._sent.append(number)

    def added_to(self, done: Mapping[int, Done]) -> dict[int, Done]:
        """The attacks with what was sent after each, and what the edges have got of it."""
        received: Counter[int] = Counter()
        for listener in self._listeners:
            with suppress(BlockingIOError):
                while len(data := listener.recv(2 * _LARGE_BYTES)) == _LARGE_BYTES:
                    received[data[0]] += 1
        sent = Counter(self._sent)
        return {
            number: replace(found, large_sent=sent[number], large_received=received[number])
            for number, found in done.items()
        }


@contextmanager
def _captures(context: Context) -> Iterator[None]:
    """All that comes in at every host meanwhile."""
    captures = CaptureSet(context.out / "attack-captures.csv")
    for host in context.testbed.topology.hosts:
        path = context.out / "captures" / "attacks" / f"{host}.pcap"
        captures.open(host, context.namespace(host).fd, path, INBOUND)
    process = captures.start()
    try:
        yield
    finally:
        process.stop()


def _requests(context: Context, attacker: str, length_s: float) -> Window:
    users = [name for name in context.testbed.topology.of_role(Role.USER) if name != attacker]
    number = math.floor(length_s / GETS_APART_S)
    gets = tuple(Get(users[place % len(users)], round(place * GETS_APART_S, 3)) for place in range(number))
    return Window(WINDOW, length_s, gets=gets)


@dataclass(frozen=True)
class _Moment:
    """What the switches hold and what the controller knows."""

    snapshot: Snapshot
    known: Known

    @classmethod
    def of(cls, context: Context) -> _Moment:
        """Now."""
        control = context.testbed.control
        neighbours, members = (
            control.request(op="show", what=what, switch=None)["rows"] for what in ("neighbours", "members")
        )
        return cls(context.testbed.snapshot(), Known(control.status(), neighbours, members))

    @property
    def prover(self) -> Prover:
        """For the tables of this moment."""
        snapshot = self.snapshot
        return Prover(snapshot.topology, snapshot.tables, snapshot.down_ports)


def _judge(
    context: Context,
    attacker: Attacker,
    turns: Sequence[Turn],
    done: Mapping[int, Done],
    before: _Moment,
) -> None:
    """Follow every frame through the tables, look for it in the captures, and write down both."""
    progress(f"{context.testbed.scenario.name}: following {sum(len(turn.frames) for turn in turns)} frames")
    after = _Moment.of(context)
    folder = context.out / "captures" / "attacks"
    before.snapshot.save(context.out / "snapshot-before.json")
    after.snapshot.save(context.out / "snapshot-after.json")
    with (folder / "frames.pcap").open("wb") as file:
        writer = PcapWriter(file, _LARGEST_FRAME_BYTES)
        for turn in turns:
            for data in turn.frames:
                writer.write(turn.number, 0, data, len(data))
    topology = context.testbed.topology
    captures = {host: read_pcap(folder / f"{host}.pcap") for host in topology.hosts}
    slots = [found.slot for found in done.values()]
    seen = count(captures, topology, attacker, {turn.number: turn.attack for turn in turns}, slots)
    provers = (before.prover, after.prover)
    origin_ns = time.time_ns() - round(context.now_s * 1e9)
    rows = []
    for turn in turns:
        first, second = (_proof(context, attacker, turn, prover) for prover in provers)
        rows.append(attack_row(turn, done[turn.number], origin_ns, first, second, seen))
    _write(context, "attacks.csv", AttackRow, rows)
    states = attack_states(attacker, before.known, after.known, seen)
    _write(context, "attack-state.csv", AttackState, states)


def _proof(context: Context, attacker: Attacker, turn: Turn, prover: Prover) -> Proof:
    topology = context.testbed.topology
    own, origins = (port_id(topology.access_port(node.name)) for node in (attacker.me, attacker.origin))
    parts = [prover.proof(turn.frames, own, turn.attack.tracked)]
    if turn.heard:
        parts.append(prover.proof(turn.heard, origins))
    return together(parts)


def _write(context: Context, file: str, kind: type[Any], rows: Iterable[Any]) -> None:
    cells = ([int(cell) if isinstance(cell, bool) else cell for cell in astuple(row)] for row in rows)
    context.write(file, [item.name for item in fields(kind)], cells)

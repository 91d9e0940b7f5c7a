"""What `ofproto/trace` has printed, as the rules a packet met and what became of it. Pure.

A trace is printed in passes: the packet comes in, and comes in again each time that connection tracking was
asked. A pass names the rules, and ends with what the datapath is to do; where that depends on the length of
the packet, both ways are printed, and the one for longer packets is indented in the list of rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from controller.verify.packet import Packet


class TraceError(ValueError):
    """A text that is no trace, or has something in it that is not known here; the message is one line."""


class Bridge(NamedTuple):
    """A bridge of Open vSwitch: its name, and the OpenFlow port of each of its ports of the datapath."""

    name: str
    ports: Mapping[int, int]


class MetRule(NamedTuple):
    """A rule that a packet met, or, with `priority` None, a table where it met none."""

    table: int
    priority: int | None
    cookie: int


@dataclass(frozen=True, slots=True)
class Step:
    """A rule in a list, how far it is indented, and the length in bytes above which a packet goes another way
    behind it; None where the length does not matter."""

    met: MetRule
    indent: int
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through the tables. `recirculation` is the number by which the datapath comes back to it, 0 for
    the first; `megaflow` says which packets it will treat alike, `actions` what it does to them."""

    recirculation: int
    steps: tuple[Step, ...]
    megaflow: str
    actions: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a switch does with a packet: the rules it meets in order, the copies that leave, by port and
    as they look then, the cookies of the rules that send it to the controller, and the connections that it
    begins or marks, by zone and mark."""

    met: tuple[MetRule, ...]
    sent: tuple[tuple[int, Packet], ...] = ()
    punts: tuple[int, ...] = ()
    commits: tuple[tuple[int, int | None], ...] = ()

    @classmethod
    def of(
        cls,
        met: Iterable[MetRule],
        sent: Iterable[tuple[int, Packet]],
        punts: Iterable[int],
        commits: Iterable[tuple[int, int | None]],
    ) -> Verdict:
        """A verdict; only the rules are in an order that means something."""
        return cls(
            tuple(met), tuple(sorted(sent, key=repr)), tuple(sorted(punts)), tuple(sorted(commits, key=repr))
        )

    @property
    def is_dropped(self) -> bool:
        """Whether nobody gets the packet."""
        return not self.sent and not self.punts


_BRIDGE = re.compile(r"^  (\S+):$")
_PORT = re.compile(r"^    .* (\d+)/(\d+): \(")
_RESUMED = re.compile(r"^recirc\(0x([0-9a-f]+)\) - resume")
_STEP = re.compile(r"^( *)(\d+)\. (?:(No match)\.|.*?(?:priority (\d+))?(?:, cookie 0x([0-9a-f]+))?)$")
_LIMIT = re.compile(r"^ +check_pkt_larger\((\d+)\)")
_MEGAFLOW, _ACTIONS = "Megaflow: ", "Datapath actions: "
_DEFAULT_PRIORITY = 32768


def bridges_of(shown: str) -> dict[str, Bridge]:
    """The bridges in the output of `dpif/show`, by name."""
    bridges: dict[str, dict[int, int]] = {}
    ports: dict[int, int] = {}
    for line in shown.splitlines():
        if named := _BRIDGE.match(line):
            ports = bridges.setdefault(named[1], {})
        elif numbered := _PORT.match(line):
            ports[int(numbered[2])] = int(numbered[1])
    return {name: Bridge(name, ports) for name, ports in bridges.items()}


def passes_of(text: str) -> tuple[Pass, ...]:
    """Read a trace. Raises TraceError."""
    passes: list[Pass] = []
    steps: list[Step] = []
    recirculation, megaflow = 0, ""
    for line in text.splitlines():
        if resumed := _RESUMED.match(line):
            recirculation = int(resumed[1], 16)
        elif step := _STEP.match(line):
            steps.append(_step(step))
        elif (limit := _LIMIT.match(line)) and steps:
            steps[-1] = _measuring(steps[-1], int(limit[1]))
        elif line.startswith(_MEGAFLOW):
            megaflow = line.removeprefix(_MEGAFLOW)
        elif line.startswith(_ACTIONS):
            passes.append(Pass(recirculation, tuple(steps), megaflow, line.removeprefix(_ACTIONS)))
            steps = []
    if not passes:
        raise TraceError(f"no trace of a packet: {' '.join(text.split())[:200]!r}")
    return tuple(passes)


def verdict_of(passes: Sequence[Pass], packet: Packet, ports: Mapping[int, int]) -> Verdict:
    """What became of the packet that was traced; `ports` are those of its bridge. A frame is as long for
    the switch as the packet is without its tags, as it is for the datapath in the Linux kernel. Raises
    TraceError."""
    following = _Following({entry.recirculation: entry for entry in passes}, ports)
    following.enter(0, packet)
    return Verdict.of(following.met, following.sent, following.punts, following.commits)


def _step(found: re.Match[str]) -> Step:
    indent, table, is_miss, priority, cookie = found.groups()
    if is_miss:
        return Step(MetRule(int(table), None, 0), len(indent) + len(table))
    met = MetRule(int(table), int(priority or _DEFAULT_PRIORITY), int(cookie or "0", 16))
    return Step(met, len(indent) + len(table))


def _measuring(step: Step, limit_bytes: int) -> Step:
    if step.limit_bytes not in (None, limit_bytes):
        raise TraceError(f"a rule that measures packets twice, {step.met}")
    return replace(step, limit_bytes=limit_bytes)


def _taken(steps: Sequence[Step], frame_bytes: int) -> Iterator[MetRule]:
    """The rules that a frame of this length meets. Behind a rule that measures come first those for longer
    frames, then those for the others, which are indented less."""
    rest = list(steps)
    while rest:
        step, *rest = rest
        yield step.met
        if step.limit_bytes is None or not rest or rest[0].indent <= step.indent:
            continue
        end = next((end for end, other in enumerate(rest) if other.indent < rest[0].indent), len(rest))
        rest = rest[:end] if frame_bytes > step.limit_bytes else rest[end:]


_ETH = re.compile(r"(src|dst)=([0-9a-f:]+)")
_HOP_LIMIT = re.compile(r"hlimit=(\d+)")
_VID = re.compile(r"vid=(\d+)")
_ZONE = re.compile(r"zone=(\d+)")
_MARK = re.compile(r"mark=0x([0-9a-f]+)/0xffffffff")
_SIZE = re.compile(r"^size=(\d+)")
_PUNT = re.compile(r"controller\(reason=(\d+),.*rule_cookie=0x([0-9a-f]+)")
_EXHAUSTED = 2
"""Why a packet leaves the datapath although no rule says so: its hop limit. It goes on to controllers that
have asked for such packets, which ours does not."""


class _Following:
    """What the datapath does, pass by pass."""

    def __init__(self, passes: Mapping[int, Pass], ports: Mapping[int, int]) -> None:
        self.met: list[MetRule] = []
        self.sent: list[tuple[int, Packet]] = []
        self.punts: list[int] = []
        self.commits: list[tuple[int, int | None]] = []
        self._passes = passes
        self._ports = ports

    def enter(self, recirculation: int, packet: Packet) -> None:
        """A packet comes in, or comes back."""
        entry = self._passes.get(recirculation)
        if entry is None:
            raise TraceError(f"the trace does not follow recirculation {recirculation:#x}")
        self.met += _taken(entry.steps, packet.frame_bytes)
        self._run(entry.actions, packet)

    def _run(self, actions: str, packet: Packet) -> None:
        for action in _split(actions):
            name, inside = _call(action)
            if name.isdigit():
                self._send(int(name), packet)
            elif name == "set":
                packet = _rewritten(inside, packet)
            elif name == "push_vlan":
                packet = replace(packet, tags=(int(_one(_VID, inside)[1]), *packet.tags))
            elif name == "pop_vlan":
                packet = replace(packet, tags=packet.tags[1:])
            elif name == "ct":
                self._track(inside)
            elif name == "recirc":
                self.enter(int(inside, 16), packet)
            elif name == "check_pkt_len":
                ways = dict(map(_call, _split(inside)))
                is_longer = packet.frame_bytes > int(_one(_SIZE, inside)[1])
                self._run(ways.get("gt" if is_longer else "le", ""), packet)
            elif name == "clone":
                self._run(inside, packet)
            elif name == "userspace":
                reason, cookie = _one(_PUNT, inside).groups()
                if int(reason) != _EXHAUSTED:
                    self.punts.append(int(cookie, 16))
            elif name not in ("meter", "drop"):
                raise TraceError(f"datapath action {action}")

    def _send(self, number: int, packet: Packet) -> None:
        if number not in self._ports:
            raise TraceError(f"port {number} of the datapath is not of this bridge")
        self.sent.append((self._ports[number], packet))

    def _track(self, inside: str) -> None:
        if "commit" in inside:
            mark = _MARK.search(inside)
            self.commits.append((int(_one(_ZONE, inside)[1]), int(mark[1], 16) if mark else None))


def _rewritten(inside: str, packet: Packet) -> Packet:
    if inside.startswith("eth("):
        fields = dict(_ETH.findall(inside))
        return replace(
            packet, eth_src=fields.get("src", packet.eth_src), eth_dst=fields.get("dst", packet.eth_dst)
        )
    if inside.startswith("ipv6("):
        return replace(packet, hop_limit=int(_one(_HOP_LIMIT, inside)[1]))
    raise TraceError(f"datapath action set({inside})")


def _one(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.search(text)
    if found is None:
        raise TraceError(f"datapath action {text}")
    return found


def _call(action: str) -> tuple[str, str]:
    """An action and what is in its brackets."""
    name, _, inside = action.partition("(")
    return name, inside.removesuffix(")")


def _split(actions: str) -> Iterator[str]:
    """The actions of a list, whose own lists are in brackets."""
    depth = start = 0
    for place, letter in enumerate(actions):
        if letter == "," and not depth:
            yield actions[start:place]
            start = place + 1
        depth += (letter == "(") - (letter == ")")
    if actions[start:]:
        yield actions[start:]

"""Whatever happens in whatever order: every client gets one answer, and it is one the RFCs allow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.http.cache.actions import (
    Abort,
    Action,
    Answer,
    Body,
    Drop,
    Fetch,
    Keep,
    Relay,
    Release,
    ResponseHead,
    Wait,
)
from edge_node.http.cache.machine import CacheMachine
from edge_node.http.cache.policy import Policy
from edge_node.http.cache.reuse import Use, choose_use
from edge_node.http.cache.stored import Arrival, Segment, StoredResponse, combined_parts, stored_response
from edge_node.http.cache.variants import fits, selecting
from edge_node.http.dates import format_date, parse_date
from edge_node.http.messages import Request, Slice

NOW_S = 1_700_000_000
POLICY = Policy("edge1")


@dataclass
class UnderWay:
    """A fetch as the origin sees it."""

    action: Fetch
    path: str
    foo: str
    keep: bool = False
    content: bytes = b""
    has_head: bool = False


@dataclass
class Client:
    """Who asked, when, and what came of it."""

    foo: str
    path: str
    asked_s: int
    least_version: int
    accepts_stale: bool
    answers: int = 0


@dataclass
class World:
    """An origin whose content changes only by PUT, a shell, and clients; time moves by whole seconds."""

    max_age_s: int
    extra: str
    has_tags: bool
    policy: Policy = POLICY
    now_s: int = NOW_S
    versions: dict[str, int] = field(default_factory=dict)
    clients: dict[int, Client] = field(default_factory=dict)
    fetches: dict[int, UnderWay] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.machine = CacheMachine(self.policy)

    def ask(self, method: str, path: str, foo: str, fields: dict[str, str]) -> None:
        client = len(self.clients)
        stale = "max-stale" in fields.get("cache-control", "")
        self.clients[client] = Client(foo, path, self.now_s, self.versions.get(path, 0), stale)
        if method == "PUT":
            fields = {**fields, "content-length": "1"}
        request = Request(method, path, fields={"host": "h", "foo": foo, **fields})
        self.carry_out(self.machine.ask(client, request, self.now_s))

    def carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Answer():
                    self.answered(action)
                case Relay():
                    self.relayed(action)
                case Fetch():
                    fields = dict(action.fields)
                    self.fetches[action.fetch] = UnderWay(action, action.target, fields["foo"])
                case Keep():
                    self.fetches[action.fetch].keep = True
                case Drop():
                    self.fetches.pop(action.fetch, None)
                case Release():
                    self.blobs.pop(action.sha256, None)
                case Wait():
                    assert action.fetch in self.fetches
                case Abort():
                    pass

    def answered(self, action: Answer) -> None:
        client = self.clients[action.client]
        client.answers += 1
        fields = dict(action.plan.fields)
        if action.plan.status not in (200, 206) or not action.plan.content:
            return
        content = b"".join(
            self.bytes_of(piece) if isinstance(piece, Slice) else piece for piece in action.plan.content
        )
        self.check(client, content)
        said_s = parse_date(fields["date"], self.now_s)
        assert said_s is not None
        true_age_s = self.now_s - said_s
        status = fields["cache-status"]
        if "hit" in status:
            assert int(fields["age"]) >= true_age_s  # the time the fetch took counts as well
            allowed_s = self.max_age_s + (3 if "while" in self.extra else 0)
            assert true_age_s <= allowed_s or client.accepts_stale, (status, true_age_s)
            assert self.extra != "no-cache"

    def relayed(self, action: Relay) -> None:
        client = self.clients[action.client]
        client.answers += 1
        content = b"".join(map(self.bytes_of, action.before)) + self.fetches[action.fetch].content
        if content:
            self.check(client, content)

    def bytes_of(self, piece: Slice) -> bytes:
        return self.blobs[piece.sha256][piece.start : piece.stop]

    def check(self, client: Client, content: bytes) -> None:
        path, foo, version = content.decode().split("|")
        assert path == client.path
        assert foo == client.foo, "another variant"
        assert int(version) >= client.least_version, "older than a change that was known"

    def head(self, number: int, status: int) -> None:
        fetch = self.fetches[number]
        if fetch.has_head:
            return
        fetch.has_head = True
        fields = dict(fetch.action.fields)
        version = self.versions.get(fetch.path, 0)
        tag = f'"{version}-{fetch.foo}"'
        sent = [("date", format_date(self.now_s)), ("vary", "foo")]
        sent.append(("cache-control", f"max-age={self.max_age_s}{', ' if self.extra else ''}{self.extra}"))
        if self.has_tags:
            sent.append(("etag", tag))
        if fetch.action.method == "PUT":
            if status < 400:
                self.versions[fetch.path] = version + 1
            sent = [("date", format_date(self.now_s))]
        elif status == 200 and self.has_tags and fields.get("if-none-match") == tag:
            status = 304
        elif status == 200:
            fetch.content = f"{fetch.path}|{fetch.foo}|{version}".encode()
            size = len(fetch.content)
            if fields.get("range") and fields.get("if-range") == tag:
                start = int(fields["range"].removeprefix("bytes=").removesuffix("-"))
                fetch.content = fetch.content[start:]
                sent.append(("content-range", f"bytes {start}-{size - 1}/{size}"))
                status = 206
            if fetch.action.method == "GET":
                sent.append(("content-length", str(len(fetch.content))))
            else:
                fetch.content = b""
        self.carry_out(self.machine.head(number, ResponseHead(status, tuple(sent)), self.now_s))

    def end(self, number: int) -> None:
        self.head(number, 200)
        fetch = self.fetches.pop(number, None)
        if fetch is None:
            return
        body = None
        if fetch.keep:
            body = self.kept(fetch.content)
        self.carry_out(self.machine.end(number, body, self.now_s))

    def fail(self, number: int) -> None:
        fetch = self.fetches.pop(number)
        body = self.kept(fetch.content[: len(fetch.content) // 2]) if fetch.keep else None
        self.carry_out(self.machine.failed(number, self.now_s, "unreachable", body=body))

    def kept(self, content: bytes) -> Body:
        body = Body(hashlib.sha256(content).hexdigest(), len(content))
        self.blobs[body.sha256] = content
        return body


paths = st.sampled_from(["/a", "/b"])
foos = st.sampled_from(["1", "2"])
wishes = st.sampled_from([{}, {}, {}, {"cache-control": "no-cache"}, {"cache-control": "max-stale"}])
asks = st.tuples(st.just("ask"), st.sampled_from(["GET"] * 4 + ["HEAD", "PUT"]), paths, foos, wishes)
news = st.tuples(st.sampled_from(["head", "error", "end", "fail", "gone"]), st.integers(0, 9))
ticks = st.tuples(st.just("wait"), st.integers(1, 6))


@settings(max_examples=400)
@given(
    st.lists(st.one_of(asks, asks, news, news, ticks), max_size=40),
    st.integers(0, 5),
    st.sampled_from(["", "", "no-cache", "must-revalidate", "stale-while-revalidate=3"]),
    st.booleans(),
    st.sampled_from([POLICY, Policy("edge1", max_responses=1), Policy("edge1", max_fetches=2)]),
)
def test_any_interleaving(
    events: list[tuple[object, ...]], max_age_s: int, extra: str, has_tags: bool, policy: Policy
) -> None:
    world = World(max_age_s, extra, has_tags, policy)
    if policy.max_fetches < 256:
        world.max_age_s = 10_000  # past its limit the cache serves what it has, however old
    gone: set[int] = set()
    for event, *arguments in events:
        if event == "ask":
            world.ask(*arguments)  # type: ignore[arg-type]
        elif event == "wait":
            world.now_s += arguments[0]  # type: ignore[operator]
        elif event == "gone":
            clients = [number for number, client in world.clients.items() if not client.answers]
            if clients:
                client = clients[arguments[0] % len(clients)]  # type: ignore[operator]
                gone.add(client)
                world.carry_out(world.machine.gone(client))
        elif world.fetches:
            number = sorted(world.fetches)[arguments[0] % len(world.fetches)]  # type: ignore[operator]
            if event == "head":
                world.head(number, 200)
            elif event == "error":
                world.head(number, 503)
            elif event == "end":
                world.end(number)
            else:
                world.fail(number)
    while world.fetches:
        world.end(min(world.fetches))
    assert world.machine.fetches == 0
    for number, client in world.clients.items():
        assert client.answers == (0 if number in gone else 1), number
    kept = sum(len(blob) for blob in world.blobs.values())
    assert world.machine.bytes == kept


def stored(max_age_s: int, age_s: int, latency_s: float, date_s: int, directives: str = "") -> StoredResponse:
    fields = (
        ("cache-control", f"max-age={max_age_s}{directives}"),
        ("age", str(age_s)),
        ("date", format_date(date_s)),
    )
    arrival = Arrival(NOW_S - latency_s, NOW_S)
    return stored_response("k", (), 200, fields, (), 0, arrival, POLICY)


@given(
    st.integers(0, 100),
    st.integers(0, 100),
    st.floats(0, 10),
    st.integers(NOW_S - 50, NOW_S + 50),
    st.lists(st.floats(NOW_S - 10, NOW_S + 300), min_size=2, max_size=5),
)
def test_age_never_decreases_and_counts_everything(
    max_age_s: int, age_s: int, latency_s: float, date_s: int, times: list[float]
) -> None:
    response = stored(max_age_s, age_s, latency_s, date_s)
    ages = [response.age_s(now_s) for now_s in sorted(times)]
    assert ages == sorted(ages)
    for now_s, age in zip(sorted(times), ages, strict=True):
        assert age >= age_s
        assert age >= now_s - NOW_S + age_s - 1e-6
        assert age >= now_s - date_s - 1e-6 or now_s < NOW_S
        assert (response.time_left_s(now_s) > 0) == (age < max_age_s)


@given(
    st.integers(0, 20),
    st.integers(0, 60),
    st.sampled_from(["", ", no-cache", ", must-revalidate", ", stale-while-revalidate=10", ", s-maxage=5"]),
    st.sampled_from(
        ["", "no-cache", "max-age=5", "min-fresh=5", "max-stale", "max-stale=5", "max-age=5, max-stale"]
    ),
)
def test_nothing_is_served_that_is_older_than_allowed(
    max_age_s: int, waited_s: int, directives: str, wish: str
) -> None:
    response = stored(max_age_s, 0, 0, NOW_S, directives)
    request = Request("GET", "/", fields={"cache-control": wish})
    use = choose_use(request, response, NOW_S + waited_s, POLICY).use
    lifetime_s = 5 if "s-maxage" in directives else max_age_s
    if use is Use.VALIDATE:
        return
    assert "no-cache" not in wish + directives
    if "max-age" in wish:
        assert waited_s <= 5
    if "min-fresh" in wish:
        assert lifetime_s - waited_s >= 5
    if waited_s >= lifetime_s:
        assert "must-revalidate" not in directives
        assert "s-maxage" not in directives
        over_s = waited_s - lifetime_s
        assert ("max-stale" in wish and ("=5" not in wish.split("max-stale")[1] or over_s <= 5)) or (
            use is Use.SERVE_AND_VALIDATE and over_s <= 10
        )


@given(st.binary(min_size=1, max_size=40), st.data())
def test_parts_reassemble(content: bytes, data: st.DataObject) -> None:
    blobs: dict[str, bytes] = {}
    size = len(content)
    whole: StoredResponse | None = None
    have: set[int] = set()
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start + 1, size))
        piece = content[start:stop]
        sha256 = hashlib.sha256(piece).hexdigest()
        blobs[sha256] = piece
        fields = (("etag", '"a"'), ("cache-control", "max-age=9"))
        part = stored_response(
            "k", (), 206, fields, (Segment(start, stop, sha256),), size, Arrival(0, 0), POLICY
        )
        whole = part if whole is None else combined_parts(part, whole, 32)
        have |= set(range(start, stop))
    assert whole is not None
    for start in range(size):
        for stop in range(start + 1, size + 1):
            assert whole.covers(start, stop) == (set(range(start, stop)) <= have)
            if whole.covers(start, stop):
                got = b"".join(blobs[p.sha256][p.start : p.stop] for p in whole.slices(start, stop))
                assert got == content[start:stop]


values = st.one_of(st.none(), st.text(st.sampled_from('ab,; "q=1'), max_size=12))


@given(st.sampled_from(["foo", "accept-language", "accept-encoding"]), values, values)
def test_a_variant_fits_its_own_request_and_no_unlike_one(
    name: str, one: str | None, other: str | None
) -> None:
    first = Request("GET", "/", fields={} if one is None else {name: one})
    second = Request("GET", "/", fields={} if other is None else {name: other})
    selected_by = selecting(name, first)
    assert selected_by is not None
    assert fits(selected_by, first)
    if fits(selected_by, second):
        assert (one is None) == (other is None)
        letters = [sorted(char for char in (value or "") if char in "abAB") for value in (one, other)]
        assert name != "foo" or letters[0] == letters[1]

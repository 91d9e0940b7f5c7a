"""What the name server of this scenario is told, as files and counts; a user at the last address of its
subnet; and the IPv4 plan of the same network."""

from __future__ import annotations

import asyncio
import time
from dataclasses import astuple, fields, replace

from experiments import http_client, names_config, resolving
from experiments.acts.context import Context
from experiments.ipv4_plan import ipv4_plan
from experiments.names_config import NameCount, Way
from experiments.names_records import Ipv4Count
from experiments.scenario import DNS_TTL_S
from experiments.testbed import HTTP_PORT
from experiments.windows import Get
from topologies.addressing import plan_addresses
from topologies.spec import EdgeAddressing

LAST_ADDRESS = "last-address"
"""The window of the request that is made from the last address of a subnet."""
_DAD_S = 3.0


def run(context: Context, *, way: str, user: str) -> None:
    """Write it all down; `user` makes one request from the address that would be for broadcast in IPv4."""
    testbed = context.testbed
    service, server = testbed.topology.service, testbed.dns_address
    numbered = replace(testbed.topology, edges=EdgeAddressing.UNICAST)
    known = names_config.places(numbered, plan_addresses(numbered), testbed.active_edges)
    for name, text in names_config.files(known, service, Way(way), server, DNS_TTL_S).items():
        path = context.out / "dns" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rows = [names_config.count(known, service, Way(way), server, DNS_TTL_S)]
    if way == Way.ANYCAST:
        rows += names_config.sweep(service, server, DNS_TTL_S)
        plan = ipv4_plan(testbed.topology)
        (context.out / "ipv4-plan.txt").write_text(plan.text)
        columns = [item.name for item in fields(Ipv4Count)]
        context.write("ipv4.csv", columns, map(astuple, plan.subnets))
    context.write("names.csv", [item.name for item in fields(NameCount)], map(astuple, rows))
    _fetch_from_last_address(context, user)


def _fetch_from_last_address(context: Context, user: str) -> None:
    """One request from the address with all bits of the interface identifier set."""
    testbed, host = context.testbed, context.namespace(user)
    prefix = testbed.plan.user_prefixes[testbed.topology.access_port(user).node]
    testbed.net.rotate_address(user, prefix[-1])
    time.sleep(_DAD_S)
    name = testbed.topology.service.name
    get, resolver = Get(user, 0.0), resolving.StubResolver(user, host, testbed.dns_address, name)

    async def visit() -> http_client.Answer:
        address = await resolver.resolve()
        server = http_client.Server(address, HTTP_PORT, name)
        return await http_client.fetch(get, host, server, time.monotonic())

    answer = asyncio.run(visit())
    row = http_client.row(LAST_ADDRESS, get, answer, context.origin_s)
    context.write("requests.csv", http_client.COLUMNS, [row])

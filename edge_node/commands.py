"""What the sub-commands of `python -m edge_node` do with their arguments, and what they print."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_node.tls.service import TlsOptions


def serve(arguments: argparse.Namespace) -> int:
    """`python -m edge_node serve`."""
    import asyncio

    from delivery.keys import KeyRing, save_public_key
    from edge_node.connections import ConnectionLimits
    from edge_node.journal import Journal
    from edge_node.node import Group, LocalOptions, Options, run
    from edge_node.store import Store
    from edge_node.trust import KEY_FILE, own_key, trusted_keys
    from edge_node.upload_limits import UploadLimits

    root: Path = arguments.store
    if arguments.site is not None:
        private_key = own_key(root)
        save_public_key(root / KEY_FILE, private_key.public_key())
        ring = KeyRing(private_key.public_key())
    else:
        ring = trusted_keys(root, arguments.public_key)
    own = f"local/{arguments.name}"
    permanent = {own: KeyRing(own_key(root).public_key())} if arguments.local_group else {}
    store = Store(
        root,
        ring.with_retired(),
        max_bytes=arguments.max_bytes,
        region=arguments.region,
        permanent=permanent,
    )
    if arguments.site is not None:
        from edge_node.site import fill_from

        fill_from(store, arguments.site, private_key)
    group = local = keys = None
    if arguments.group is not None:
        group = Group(arguments.group, arguments.source, arguments.interface, arguments.flute_port)
    if arguments.local_group is not None:
        limits = UploadLimits(
            item_bytes=arguments.upload_bytes,
            total_bytes=arguments.local_bytes,
            burst_bytes=arguments.upload_burst_bytes,
        )
        local = LocalOptions(arguments.local_group, limits)
    if arguments.origin_url is not None:
        from edge_node.epoch_keys import EpochKeys

        keys = EpochKeys(arguments.name, arguments.origin_url, root)
    options = Options(
        arguments.name,
        arguments.address,
        arguments.port,
        arguments.sync_address,
        arguments.sync_port,
        group,
        arguments.origin_url,
        arguments.seed,
        arguments.heartbeat_interface,
        arguments.capacity,
        arguments.idle_s,
        local,
        keys,
        arguments.scrub_kbytes_per_s << 10,
        arguments.region,
        arguments.rate_mbps,
        arguments.mtu_bytes,
        arguments.unicast_sessions,
        arguments.proxy_url,
        arguments.max_requests or 0,
        ConnectionLimits(
            _with_open_files_for(arguments.max_connections), arguments.max_connections_per_prefix
        ),
        forms_bytes=arguments.forms_bytes,
        tls=_tls_options(arguments),
    )
    journal = Journal(arguments.name, arguments.report_file, as_json=arguments.json)
    for warning in store.warnings:
        journal.problem(warning)
    gc.freeze()  # what is here by now stays: no request has to wait until all of it has been looked through
    try:
        asyncio.run(run(options, store, ring, journal))
    finally:
        journal.close()
        store.close()
    return 0


def _tls_options(arguments: argparse.Namespace) -> TlsOptions | None:
    from edge_node.tls.service import TlsOptions

    if arguments.tls_certificate is None:
        return None
    files = (arguments.tls_certificate, arguments.tls_key)
    return TlsOptions(*files, arguments.tls_port, arguments.http2, arguments.hsts_max_age_s)


def _with_open_files_for(connections: int) -> int:
    """Let the process open files for so many connections; how many it can have of them."""
    others = 1_500  # connections that are leaving, blobs being sent, sessions
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + others
    can = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if soft != resource.RLIM_INFINITY and soft < can:
        resource.setrlimit(resource.RLIMIT_NOFILE, (can, most))
    return min(connections, max(can - others, can // 2))


def verify(arguments: argparse.Namespace) -> int:
    """`python -m edge_node verify`."""
    from edge_node.trust import trusted_keys
    from edge_node.verify import verify as check

    keys = trusted_keys(arguments.store, None).with_retired()
    verdict = check(arguments.store, keys, arguments.against)
    if arguments.json:
        print(json.dumps(verdict.to_json()))
        return 0 if verdict.identical else 1
    for difference in verdict.differences:
        print(difference, file=sys.stderr)
    result = "identical" if verdict.identical else f"{len(verdict.differences)} differences"
    state = "complete" if verdict.complete else "incomplete"
    print(f"version {verdict.version}: {verdict.files} files, {verdict.bytes} bytes, {result}")
    print(f"{state}; served is version {verdict.served}")
    return 0 if verdict.identical else 1


def identity(arguments: argparse.Namespace) -> int:
    """`python -m edge_node identity`."""
    from delivery.keys import to_hex
    from edge_node.epoch_keys import member_key
    from edge_node.trust import own_key

    keys = {
        "public_key": to_hex(own_key(arguments.store).public_key()),
        "member_key": member_key(arguments.store).public_key().public_bytes_raw().hex(),
    }
    if arguments.json:
        print(json.dumps(keys))
    else:
        print(f"signs local content with  {keys['public_key']}")
        print(f"opens epoch keys with     {keys['member_key']}")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """`python -m edge_node status`."""
    import asyncio

    from edge_node.origin_client import OriginConnection, OriginError

    async def ask() -> dict[str, Any]:
        async with OriginConnection(arguments.url) as edge:
            answer = await edge.get("/status")
        if answer.status != 200:
            raise OriginError(f"{arguments.url} answered {answer.status} to GET /status")
        found: dict[str, Any] = json.loads(answer.body)
        return found

    try:
        found = asyncio.run(ask())
    except OriginError as error:
        print(f"edge_node: {error}; is it the edge's sync API, http://[ULA]:8081?", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(found))
        return 0
    _print_status(found)
    return 0


def _print_status(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    state = "complete" if found["complete"] else f"{found['missing_blobs']} blobs missing"
    console.print(
        f"[bold]{found['edge']}[/bold]: version {found['version']} ({state}), "
        f"serves version {found['served_version']}, {found['bytes']:,} bytes stored"
    )
    table = Table("session", "version", "group", "datagrams", "by multicast", "by unicast", "repair requests")
    for name, row in found["sessions"].items():
        fields = (
            "version",
            "group",
            "datagrams",
            "blobs_by_multicast",
            "blobs_by_unicast",
            "repair_requests",
        )
        table.add_row(name, *(str(row[field]) for field in fields))
    console.print(table)
    forms = found["forms"]
    console.print(
        f"{sum(forms['made'].values())} coded forms made, {forms['saved_bytes']:,} bytes smaller than files; "
        f"{forms['bytes']:,} of {forms['max_bytes']:,} bytes in memory, {forms['evicted']} evicted"
    )
    for reason, count in found["rejected"].items():
        console.print(f"thrown away {count} times: {reason}", markup=False)

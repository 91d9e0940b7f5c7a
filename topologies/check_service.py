"""Whether the service of a topology has a usable name and an address that nothing else owns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address, IPv6Network

from topologies.addressing import DNS_PREFIX, INFRASTRUCTURE, USER_SPACE
from topologies.spec import Role, Topology

SERVICE_PREFIX = IPv6Network("2001:db8:ffff::/48")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def service_problems(topology: Topology) -> Iterator[tuple[str, str]]:
    """What is wrong with the service: pairs of the field, `name` or `address`, and the message."""
    name = topology.service.name
    labels = name.split(".")
    if len(name) > 253 or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        text = f"{name!r} is no host name; expected lower-case labels joined by dots, e.g. www.nearcast.test"
        yield "name", text
    try:
        address = IPv6Address(topology.service.address)
    except AddressValueError:
        yield "address", f"{topology.service.address!r} is no IPv6 address; expected one of {SERVICE_PREFIX}"
        return
    owner = _owner(topology, address)
    if owner:
        yield "address", f"{topology.service.address} {owner}; expected one of {SERVICE_PREFIX}"


def _owner(topology: Topology, address: IPv6Address) -> str:
    """Why the service cannot have the address; empty when it can."""
    if address.scope_id is not None:
        return "has a zone"
    if address in INFRASTRUCTURE:
        return f"lies in the ULA plane of edges and origin ({INFRASTRUCTURE})"
    if address in DNS_PREFIX:
        return f"lies in the DNS prefix ({DNS_PREFIX})"
    if address in SERVICE_PREFIX:
        if int(address) & (1 << 64) - 1:
            return ""
        return "is the Subnet-Router anycast address of its prefix (RFC 4291 section 2.6.1)"
    if address in USER_SPACE:
        # The third group of the address is the number of an access switch (topologies.addressing).
        number = int(address) >> 80 & 0xFFFF
        access = topology.of_role(Role.ACCESS)
        prefix = IPv6Network((int(USER_SPACE.network_address) + (number << 80), 64))
        if 1 <= number <= len(access) and address in prefix:
            return f"lies in the user prefix of {access[number - 1]} ({prefix})"
    return "lies outside the service prefix"

"""Which addresses each user's port has claimed: source address validation, first come first served
(RFC 6620), learnt from duplicate address detection and from later solicitations and advertisements."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from ipaddress import IPv6Address, IPv6Network

from controller.plan.facts import Binding, PortId

MAX_BINDINGS_PER_PORT = 16
"""Enough for a stable and a week of temporary addresses (RFC 8981); the oldest gives way to a new one."""


class Claim(Enum):
    """What became of a claim to an address."""

    NEW = "new"
    KNOWN = "known"
    TAKEN = "taken"
    OUTSIDE = "outside"


class Neighbours:
    """The bindings of all user ports; `prefixes` says which port may claim addresses of which prefix."""

    def __init__(self, prefixes: Mapping[PortId, IPv6Network]) -> None:
        self._prefixes = prefixes
        self._by_port: dict[PortId, dict[IPv6Address, str]] = {port: {} for port in prefixes}
        self._owner: dict[IPv6Address, PortId] = {}

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """All bindings in an order that depends on nothing but themselves."""
        return tuple(
            sorted(
                Binding(port, address, mac)
                for port, addresses in self._by_port.items()
                for address, mac in addresses.items()
            )
        )

    def mac_of(self, address: IPv6Address) -> str | None:
        """The MAC address an address is bound to."""
        port = self._owner.get(address)
        return None if port is None else self._by_port[port][address]

    def claim(
        self, port: PortId, address: IPv6Address, mac: str, down_ports: Collection[PortId] = ()
    ) -> Claim:
        """A port claims an address. Who came first keeps it, unless that port is down."""
        prefix = self._prefixes.get(port)
        if prefix is None or address not in prefix or address == prefix.network_address:
            return Claim.OUTSIDE
        owner = self._owner.get(address)
        if owner is not None and owner != port:
            if owner not in down_ports:
                return Claim.TAKEN
            del self._by_port[owner][address]
        held = self._by_port[port]
        known = held.pop(address, None) == mac
        if len(held) >= MAX_BINDINGS_PER_PORT:
            oldest = next(iter(held))
            del held[oldest], self._owner[oldest]
        # Dictionaries keep insertion order: a claim that is repeated moves to the young end.
        held[address] = mac
        self._owner[address] = port
        return Claim.KNOWN if known else Claim.NEW

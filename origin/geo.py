"""Which address a name server gives to whom: a table of clients' prefixes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network


class GeoError(ValueError):
    """A table that makes no sense; the text names the line and what is expected."""


@dataclass(frozen=True, slots=True)
class GeoTable:
    """Prefixes of clients, each with the address that is told to them; the longest prefix wins."""

    entries: tuple[tuple[IPv6Network, IPv6Address], ...] = ()

    def address_for(self, client: IPv6Address | None) -> IPv6Address | None:
        """The address for a client, None when no prefix has it."""
        if client is None:
            return None
        found = [entry for entry in self.entries if client in entry[0]]
        return max(found, key=lambda entry: entry[0].prefixlen)[1] if found else None


NOBODY = GeoTable()
"""No client is told anything of its own."""


def parse_geo(text: str) -> GeoTable:
    """A table from lines `PREFIX ADDRESS`; `#` begins a comment. Raises GeoError."""
    entries: dict[IPv6Network, IPv6Address] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            prefix, address = words
            network = IPv6Network(prefix)
            if network in entries:
                raise GeoError(f"line {number}: {prefix} is listed twice; expected each prefix once")
            entries[network] = IPv6Address(address)
        except GeoError:
            raise
        except ValueError:
            raise GeoError(f"line {number}: expected an IPv6 prefix and an IPv6 address") from None
    return GeoTable(tuple(entries.items()))

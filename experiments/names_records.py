"""What the experiment `names` leaves besides requests: resolutions, and the IPv4 plan in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resolution:
    """One query of a user for the service's name, and the address that it went to; `records` is how many
    there were in the answer. Times in seconds, `asked_s` since the scenario began."""

    window: str
    user: str
    asked_s: float
    took_s: float
    address: str
    ttl_s: int
    records: int
    is_authoritative: bool


@dataclass(frozen=True, slots=True)
class Ipv4Count:
    """A subnet of the IPv4 plan: how many of its addresses routers and hosts have; `reserved` are its own
    address and that for broadcast, `spare` are left over because sizes are powers of two."""

    prefix: str
    purpose: str
    routers: int
    hosts: int
    reserved: int
    spare: int

    @property
    def lost(self) -> int:
        """Addresses that no host can have."""
        return self.routers + self.reserved + self.spare

"""What the act of the attacks leaves: a row for each attack, and what the network knew before and after."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AttackRow:
    """One attack: `distinct` frames were followed through the tables, which do with them what `proof` says
    (`dropped`, `refused`, `controller`, `delivered`: numbers of frames) and let them come to `proved`; `sent`
    frames were sent, and the captures saw what `arrived` says. Hosts are separated by blanks, those in
    `arrived` have their number of frames behind a colon. `allowed` and `leaked` are the sums of these.
    `large_sent` and `large_received` count the datagrams of several fragments that others sent to the service
    right after it.
    """

    attack: str
    family: str
    claim: str
    reference: str
    tries: str
    because: str
    begin_s: float
    end_s: float
    distinct: int
    sent: int
    proof: str
    dropped: int
    refused: int
    controller: int
    delivered: int
    proved: str
    arrived: str
    allowed: int
    leaked: int
    large_sent: int
    large_received: int

    @property
    def arrived_hosts(self) -> frozenset[str]:
        """The hosts where the captures saw frames of it."""
        return frozenset(item.partition(":")[0] for item in self.arrived.split())

    @property
    def proved_hosts(self) -> frozenset[str]:
        """The hosts that it comes to by the tables."""
        return frozenset(self.proved.split())

    @property
    def saw(self) -> str:
        """What the captures saw, in words."""
        hosts = ", ".join(item.replace(":", " ") for item in self.arrived.split())
        if not hosts:
            return "nothing"
        return f"{hosts}: a leak" if self.leaked else f"{hosts} ({self.because})"

    @property
    def contradictions(self) -> frozenset[str]:
        """Hosts of which the tables say something else than the captures."""
        return self.arrived_hosts ^ self.proved_hosts


@dataclass(frozen=True, slots=True)
class AttackState:
    """Something that the attacks must not have changed; it belongs to a claim."""

    claim: str
    what: str
    before: str
    after: str
    is_unharmed: bool

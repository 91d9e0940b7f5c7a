"""The Mininet prompt for a `LabNet`: commands in hosts, ping over IPv6, links by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mininet.cli import CLI

from topologies.echo import echo_ms
from topologies.mininet_net import LabNet


class Prompt(CLI):
    """`user1 curl …`, `nodes`, `net`, `links`, `link a b down|up`, `pingall`, `addresses`, `exit`, and the
    commands it is given."""

    prompt = "nearcast> "

    def __init__(self, net: LabNet, commands: Mapping[str, Callable[[str], None]], **kwargs: Any) -> None:
        """Run the prompt on standard input until `exit` or end of file. `commands` are called with the rest
        of their line."""
        self._commands = commands
        for name, command in commands.items():
            setattr(self, f"do_{name}", command)
        super().__init__(net, **kwargs)

    def get_names(self) -> list[str]:
        """What `help` and the Tab key look for names in."""
        return [*super().get_names(), *(f"do_{name}" for name in self._commands)]

    def default(self, line: str) -> None:
        """`HOST COMMAND…` runs the command in the host with this terminal; names become addresses not."""
        name, _, command = line.strip().partition(" ")
        if name not in self.mn:
            print(f"{name}: no such node or command; `nodes` and `help` list them")
        elif name not in {host.name for host in self.mn.hosts}:
            print(f"{name} is a switch: `sh ovs-ofctl -O OpenFlow14 dump-flows {name}` shows its rules")
        elif not command.strip():
            print(f"say what to run in {name}, e.g. `{name} ip -6 address`")
        else:
            status = self.mn[name].interact(command)
            if status:
                print(f"(exit status {status})")

    def do_source(self, line: str) -> None:
        """`source FILE`: run the commands of a file up to its end or its `exit`."""
        try:
            commands = Path(line.strip()).read_text().splitlines()
        except OSError as error:
            print(f"cannot read {line.strip()}: {error.strerror}")
            return
        for command in commands:
            print(self.prompt + command, flush=True)
            if self.onecmd(command):
                return

    def do_pingall(self, _line: str) -> None:
        """Ping over IPv6: the service from every user, every other user from the first one."""
        net: LabNet = self.mn
        users = [host for host in net.hosts if net.topology.role(host.name) == "user"]
        targets = [(user, net.topology.service.name, str(net.plan.service)) for user in users]
        first = users[0]
        targets += [(first, other.name, net.global_address(other.name)) for other in users[1:]]
        lost = 0
        for source, label, address in targets:
            round_trip_ms = echo_ms(source.namespace, address)
            lost += round_trip_ms is None
            print(
                f"{source.name} -> {label}: {'lost' if round_trip_ms is None else f'{round_trip_ms:.1f} ms'}"
            )
        print(f"{len(targets) - lost} of {len(targets)} answered")

    do_pingpair = do_pingall

    def do_links(self, _line: str) -> None:
        """Every link with its delay, rate, loss and state."""
        for link in self.mn.topology.links:
            state = "up" if self.mn.is_link_up(link.a, link.b) else "down"
            loss = f", {link.loss_percent:g} % loss" if link.loss_percent else ""
            print(f"{link.name}: {link.delay_ms:g} ms, {link.rate_mbps:g} Mbit/s{loss}, {state}")

    def do_link(self, line: str) -> None:
        """`link A B up|down`: mend or cut the link between two neighbours."""
        words = line.split()
        if len(words) != 3 or words[2] not in {"up", "down"}:
            print("usage: link A B up|down")
            return
        try:
            self.mn.set_link(words[0], words[1], up=words[2] == "up")
        except KeyError as error:
            print(f"no such link: {error.args[0]}")

    def do_addresses(self, _line: str) -> None:
        """Every host with its global addresses."""
        for host in self.mn.hosts:
            print(f"{host.name}: {self.mn.global_address(host.name)}")

    def do_xterm(self, _line: str, term: str = "xterm") -> None:
        """There is no display in the lab."""
        print("the lab has no display; run commands as `HOST COMMAND`")

    do_x = do_gterm = do_xterm

"""Mininet builds the network: `LabNet` is a `mininet.net.Mininet` made from a `Topology`.

Stock Mininet starts a shell per node and runs three commands per link; here every node is a namespace
held by a file descriptor, and links, addresses and queueing disciplines are made over netlink from one
process. The Mininet API (`net['user1'].cmd(...)`, `net.links`, the prompt) stays.
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv6Address
from pathlib import Path
from socket import AF_INET6
from typing import Any, Protocol

from mininet.link import Intf, TCLink
from mininet.net import Mininet
from mininet.node import Host, OVSSwitch
from pyroute2 import IPRoute

from topologies.addressing import GATEWAY, AddressPlan, plan_addresses
from topologies.namespaces import NetworkNamespace
from topologies.netem import add_netem
from topologies.spec import Port, Role, Topology

IFA_F_NODAD = 0x02
IFA_F_TENTATIVE = 0x40
IFA_F_MANAGETEMPADDR = 0x100
FOREVER_S = 0xFFFFFFFF


class Bridges(Protocol):
    """What `LabNet` needs of Open vSwitch."""

    def start(self) -> None:
        """Start the daemons."""

    def paused(self) -> AbstractContextManager[None]:
        """Keep Open vSwitch from reacting while many links change."""

    def add_bridges(
        self,
        bridges: Sequence[tuple[str, int, Sequence[tuple[str, int]]]],
        controllers: Mapping[str, str] | None = None,
    ) -> None:
        """Create bridges given as (name, datapath ID, [(interface, OpenFlow port)]); `controllers` are the
        OpenFlow connections of those that have one of their own."""


class LabHost(Host):
    """A host in its own network namespace, without a shell of its own."""

    namespace: NetworkNamespace

    @classmethod
    def checkSetup(cls) -> None:  # noqa: N802 (Mininet's name)
        """Nothing to check: no external program is used."""

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802
        """Make the namespace; commands get a process of their own when someone asks for one."""
        self.namespace = NetworkNamespace.create(self.name)
        self.pid = os.getpid()

    def popen(self, *args: Any, **kwargs: Any) -> subprocess.Popen[Any]:
        """Start a command in the namespace; arguments as for `subprocess.Popen` or Mininet's `popen`."""
        command = args[0] if len(args) == 1 else list(args)
        kwargs.setdefault("shell", isinstance(command, str))
        # The child inherits the namespace of the thread that starts it, so it needs no preexec_fn and is made
        # by vfork: in the guest 90 ms cheaper than copying this process.
        with self.namespace.entered():
            return subprocess.Popen(command, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> str:
        """Run a shell command to its end and return what it printed (both streams)."""
        line = args[0] if len(args) == 1 else shlex.join(str(part) for part in args)
        process = self.popen(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output, _ = process.communicate()
        return str(output)

    def interact(self, line: str) -> int:
        """Run a shell command with this terminal's input and output; its exit status."""
        return self.popen(line, shell=True).wait()

    def terminate(self) -> None:
        """Let the namespace go."""
        self.namespace.close()


class LabSwitch(OVSSwitch):
    """A bridge of the lab's private Open vSwitch; `LabNet` creates all of them in one transaction."""

    @classmethod
    def checkSetup(cls) -> None:  # noqa: N802
        """The lab has started Open vSwitch already."""

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802
        """A switch needs no shell."""
        self.pid = os.getpid()

    def cmd(self, *_args: Any, **_kwargs: Any) -> str:
        """Mininet raises the loopback interface this way; `LabNet.build` does it over netlink."""
        return ""

    def dpctl(self, *args: str) -> str:
        """`ovs-ofctl ARGS[0] SWITCH ARGS[1:]…`, e.g. `dump-flows`; what it printed."""
        command = ["ovs-ofctl", "-O", "OpenFlow14", args[0], self.name, *args[1:]]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.stdout + result.stderr

    def terminate(self) -> None:
        """Nothing to end: the bridge goes with the lab's Open vSwitch."""

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803
        """Nothing to stop: see `terminate`."""


class LabIntf(Intf):
    """An interface record; netlink configures the interface itself."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing to run: see `LabNet.build`."""
        return {}


class LabLink(TCLink):
    """A shaped veth pair, made over netlink in both namespaces at once."""

    def __init__(self, node1: Any, node2: Any, *, ports: tuple[Port, Port], **_params: Any) -> None:
        """Record both ends; `LabNet.build` makes the devices."""
        first, second = ports
        self.ports = ports
        self.intf1 = LabIntf(first.interface, node1, port=first.number, link=self, moveIntfFn=_stay)
        self.intf2 = LabIntf(second.interface, node2, port=second.number, link=self, moveIntfFn=_stay)

    def stop(self) -> None:
        """Nothing to stop: veth pairs go with their namespaces."""


def _stay(*_args: Any, **_kwargs: Any) -> None:
    """The device is created where it belongs, so Mininet need not move it."""


class LabNet(Mininet):
    """A network in the calling process's network namespace, which the lab must own alone."""

    def __init__(self, topology: Topology, bridges: Bridges, *, seed: int = 0) -> None:
        """Make nodes and link records of `topology`; `build` makes the devices.

        `seed` fixes which packets a lossy link loses.
        """
        self.topology = topology
        self.plan: AddressPlan = plan_addresses(topology)
        self.bridges = bridges
        self.seed = seed
        self.controllers: Mapping[str, str] = {}
        """Bridges whose OpenFlow connection differs, set before `build`."""
        super().__init__(host=LabHost, switch=LabSwitch, link=LabLink, controller=None, build=False)
        for node in topology:
            if node.role.is_switch:
                self.addSwitch(node.name, dpid=f"{self.plan.datapath_ids[node.name]:016x}")
            else:
                self.addHost(node.name, ip=None, mac=self.plan.hosts[node.name].mac)
        for link in topology.links:
            ports = (topology.port(link.a, link.b), topology.port(link.b, link.a))
            self.addLink(link.a, link.b, ports=ports)

    @classmethod
    def init(cls) -> None:
        """Skip Mininet's machine-wide tuning (`fixLimits`): a lab changes only what is its own."""
        cls.inited = True

    def build(self) -> None:
        """Create links, queueing disciplines, addresses and bridges; hosts stay unplugged.

        Open vSwitch starts last: it goes through its whole configuration at each change of a link.
        """
        own = NetworkNamespace.current("lab")
        # The switches' own ends must not speak IPv6 by themselves.
        own.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        own.sysctl("net.ipv6.conf.lo.disable_ipv6", 0)
        own.close()
        with IPRoute() as root:
            root.link("set", index=1, state="up")
            self._make_links(root)
            self._shape_switch_ports(root)
        for host in self.topology.hosts:
            self._configure_host(host)
        self.bridges.start()
        self.bridges.add_bridges(
            [
                (name, self.plan.datapath_ids[name], [(p.interface, p.number) for p in ports])
                for name, ports in self.topology.ports.items()
                if self.topology.role(name).is_switch
            ],
            self.controllers,
        )
        self.built = True

    def plug_in_hosts(self) -> None:
        """Raise every host's interface; from now on hosts speak (RS, DAD, MLD).

        Call it once the controller has programmed the switches: a DAD probe sent before goes unseen.
        """
        with self.bridges.paused():
            for name in self.topology.hosts:
                self._plug_in(name)

    def _plug_in(self, name: str) -> None:
        with self[name].namespace.entered():
            netlink = IPRoute()
        with netlink:
            index = netlink.link_lookup(ifname=self.topology.ports[name][0].interface)[0]
            # TCP would hand over packets of 64 kB; on a real link each segment travels alone.
            netlink.link("set", index=index, state="up", gso_max_segs=1)
            if self.plan.hosts[name].addresses:
                netlink.route("add", dst="default", gateway=str(GATEWAY), oif=index, family=AF_INET6)

    def start(self) -> None:
        """Build and plug in, for scripts that use the Mininet API; the controller connects by itself."""
        if not self.built:
            self.build()
        self.plug_in_hosts()

    def stop(self) -> None:
        """Close the hosts' namespaces; everything else goes with the lab's namespaces."""
        for host in self.hosts:
            host.terminate()

    def _make_links(self, root: Any) -> None:
        """All veth pairs; a host's end is created inside its namespace, under its final name."""
        for link in self.links:
            first, second = link.ports
            if not self.topology.role(first.node).is_switch:
                first, second = second, first
            peer: dict[str, Any] = {"ifname": second.interface, "mtu": second.link.mtu_bytes}
            if not self.topology.role(second.node).is_switch:
                peer["net_ns_fd"] = self[second.node].namespace.fd
                peer["address"] = self.plan.hosts[second.node].mac
            root.link("add", ifname=first.interface, kind="veth", mtu=first.link.mtu_bytes, peer=peer)

    def _shape_switch_ports(self, root: Any) -> None:
        """Shape and raise the switches' ends."""
        index = {dev.get_attr("IFLA_IFNAME"): dev["index"] for dev in root.get_links()}
        for name in self.topology.switches:
            for port in self.topology.ports[name]:
                add_netem(root, index[port.interface], port.link, self._link_seed(port))
                root.link("set", index=index[port.interface], state="up")

    def _configure_host(self, name: str) -> None:
        """Queueing discipline and fixed addresses of one host; users are left to SLAAC (RFC 4862)."""
        host = self[name]
        port = self.topology.ports[name][0]
        with host.namespace.entered():
            if self.topology.role(name) is not Role.USER:
                for setting in ("accept_ra", "accept_dad"):
                    Path(f"/proc/sys/net/ipv6/conf/{port.interface}/{setting}").write_text("0")
            netlink = IPRoute()
        with netlink:
            index = netlink.link_lookup(ifname=port.interface)[0]
            netlink.link("set", index=1, state="up")
            add_netem(netlink, index, port.link, self._link_seed(port))
            self._add_addresses(netlink, index, name)

    def _add_addresses(self, netlink: Any, index: int, name: str) -> None:
        for address in self.plan.hosts[name].addresses:
            netlink.addr(
                "add",
                index=index,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                flags=IFA_F_NODAD,
            )

    def hold_service_address(self, name: str) -> None:
        """Put the service address on a host's loopback: no DAD on an anycast address (RFC 4862 5.4)."""
        with self[name].namespace.entered(), IPRoute() as netlink:
            address = str(self.service_address(name))
            netlink.addr("add", index=1, address=address, prefixlen=128, flags=IFA_F_NODAD)

    def service_address(self, name: str) -> IPv6Address:
        """Where users find a host that serves them: the anycast address, or an edge's own global one."""
        return self.plan.edge_addresses.get(name, self.plan.service)

    def global_address(self, name: str) -> str:
        """A host's first global address that has passed duplicate address detection; empty when none has."""
        with self[name].namespace.entered():
            lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        for address, _index, _length, scope, flags, device in map(str.split, lines):
            if scope == "00" and not int(flags, 16) & IFA_F_TENTATIVE and device != "lo":
                return str(IPv6Address(bytes.fromhex(address)))
        return ""

    def set_link(self, a: str, b: str, *, up: bool) -> None:
        """Cut or mend the link between neighbours `a` and `b`. Raises KeyError when there is none."""
        with IPRoute() as netlink:
            index = netlink.link_lookup(ifname=self._switch_port(a, b).interface)[0]
            netlink.link("set", index=index, state="up" if up else "down")

    def set_plug(self, host: str, *, up: bool) -> None:
        """Pull the plug of a host's machine, or put it back: its own end of its link goes down.

        Linux forgets the addresses of an interface that goes down; fixed ones are configured again.
        """
        with self[host].namespace.entered():
            netlink = IPRoute()
        with netlink:
            index = netlink.link_lookup(ifname=self.topology.ports[host][0].interface)[0]
            if not up:
                netlink.link("set", index=index, state="down")
                return
            self._add_addresses(netlink, index, host)
        self._plug_in(host)

    def rotate_address(self, user: str, address: IPv6Address | None = None) -> str:
        """Give a user one more address of its prefix, a random one unless it is named, and deprecate those it
        has; the new one.

        Deprecated addresses serve open connections only (RFC 4862 section 5.5.4).
        """
        with self[user].namespace.entered():
            netlink = IPRoute()
        with netlink:
            index = netlink.link_lookup(ifname=self.topology.ports[user][0].interface)[0]
            found = netlink.get_addr(family=AF_INET6, index=index, scope=0)
            prefix = self.plan.user_prefixes[self.topology.ports[user][0].peer]
            for old in found:
                netlink.addr(
                    "replace",
                    index=index,
                    address=old.get_attr("IFA_ADDRESS"),
                    prefixlen=old["prefixlen"],
                    # Without this flag Linux would delete the temporary addresses made from this one.
                    flags=old.get_attr("IFA_FLAGS") & IFA_F_MANAGETEMPADDR,
                    preferred_lft=0,
                    valid_lft=FOREVER_S,
                )
            new = address or prefix[random.Random(f"{self.seed} {user} {len(found)}").getrandbits(64)]
            netlink.addr("add", index=index, address=str(new), prefixlen=64)
        return str(new)

    def is_link_up(self, a: str, b: str) -> bool:
        """Whether the link between neighbours `a` and `b` is in service."""
        with IPRoute() as netlink:
            device = netlink.link_lookup(ifname=self._switch_port(a, b).interface)[0]
            return bool(netlink.get_links(device)[0].get_attr("IFLA_OPERSTATE") == "UP")

    def _switch_port(self, a: str, b: str) -> Port:
        """A switch's end of the link between neighbours. Raises KeyError when there is none."""
        for node, peer in ((a, b), (b, a)):
            if node not in self.topology.ports:
                raise KeyError(f"no node {node}")
            if self.topology.role(node).is_switch:
                return self.topology.port(node, peer)
        raise KeyError(f"{a} and {b} are hosts")

    def _link_seed(self, port: Port) -> int:
        """A seed of its own for each direction of each link."""
        ordinal = self.topology.links.index(port.link) * 2 + (port.node == port.link.a)
        return (self.seed << 20) + ordinal + 1

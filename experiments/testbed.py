"""The whole of nearcast running inside a lab: network, controller, origin, edges, DNS, users, captures."""

from __future__ import annotations

import importlib
import json
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from controller.openflow.snapshot import Snapshot, read_snapshot
from experiments import conntrack, https, mounts
from experiments.control import Control
from experiments.hosts import host_words
from experiments.names_config import geo_table, places
from experiments.offering import edge_words, start_origin
from experiments.scenario import DNS_TTL_S, RECORDING, Mode, Scenario
from lab.bpf import INBOUND, MULTICAST
from lab.captures import CaptureProcess, CaptureSet
from lab.openvswitch import OpenVSwitch
from lab.processes import LabProcess, ProcessTable
from topologies.control_links import control_delays_ms, make_control_links
from topologies.mininet_net import LabNet
from topologies.namespaces import NetworkNamespace
from topologies.spec import Role, to_json

CHECKOUT = Path(__file__).resolve().parents[1]
SYNC_PORT = 8081
ORIGIN_PORT = 8080
WEB_PORT = 8082
"""Of the origin's web server, where edges are caches in front of it."""
WEB_MAX_AGE_S = 86400
FLUTE_PORT = 4001
HTTP_PORT = 80
CONTROLLER_PORT = 6653
KILL_AFTER_S = 0.5
OVS_SETTLE_S = 15
"""Open vSwitch started in the first seconds after boot sees no CPU and starts no handler threads."""
RECORDER_TIMEOUT_S = 10
_WARM_MODULES = (
    "controller.__main__", "edge_node.__main__", "origin.__main__", "os_ken.base.app_manager",
    "edge_node.app", "edge_node.commands", "edge_node.node", "edge_node.subscriptions", "origin.publisher",
    "os_ken.controller.ofp_handler", "raptorq", "cryptography.hazmat.primitives.asymmetric.ed25519",
    "uvicorn", "uvicorn.protocols.http.httptools_impl", "dnslib",
)  # fmt: skip


class TestbedError(RuntimeError):
    """The testbed did not come up; the message is one line."""

    __test__ = False


class Testbed:
    """Start it with `with`: everything is stopped at the end."""

    __test__ = False

    def __init__(self, scenario: Scenario, work: Path, raw: Path) -> None:
        """`work` is scratch space in the lab; captures and logs go below `raw`."""
        self.scenario = scenario
        self.topology = scenario.topology
        self.work = work
        self.raw = raw
        self.processes = ProcessTable(raw / "logs")
        self.openvswitch = OpenVSwitch(work / "ovs", raw / "logs", f"tcp:[::1]:{CONTROLLER_PORT}")
        self.net = LabNet(self.topology, self.openvswitch, seed=scenario.seed)
        self.plan = self.net.plan
        self.control = Control(work / "controller.sock")
        self.tls = work / "tls" if scenario.https else None
        """The folder of the certificate, and of the CA that users trust."""
        self.controller: LabProcess | None = None
        self.edges: dict[str, LabProcess] = {}
        self.further_words: dict[str, list[str]] = {}
        """More options for single edges, for who needs them."""
        self._captures: CaptureProcess | None = None
        self._dns: LabProcess | None = None
        self._gone: set[str] = set()
        self._recorder: LabProcess | None = None
        self._control_namespace: NetworkNamespace | None = None
        if scenario.mode is Mode.CENTRAL:
            self.active_edges: tuple[str, ...] = ()
        else:
            self.active_edges = tuple(
                edge for edge in self.topology.of_role(Role.EDGE) if edge not in scenario.off
            )

    def __enter__(self) -> Testbed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def origin(self) -> str:
        """The origin's node name."""
        return self.topology.of_role(Role.ORIGIN)[0]

    @property
    def site(self) -> Path:
        """The site of the scenario. Raises TestbedError when it has none."""
        if self.scenario.site is None:
            raise TestbedError(f"scenario {self.scenario.name} needs a site")
        if not self.scenario.long_file_bytes:
            return Path(self.scenario.site)
        extended = self.work / "site"
        if not extended.exists():
            shutil.copytree(self.scenario.site, extended)
            noise = random.Random(self.scenario.seed).randbytes(self.scenario.long_file_bytes)
            (extended / "long.bin").write_bytes(noise)
        return extended

    def start(self, note: Callable[[str], None] = lambda _text: None) -> None:
        """Bring everything up and wait until users can be served; `note` hears how far it has got.

        Raises RuntimeError with a one-line message.
        """
        self._warm()
        self._start_network()
        note(f"network built ({len(self.topology.links)} links)")
        self._start_controller()
        self._start_servers()
        self._wait_ready()
        note("controller and servers ready")

    def _warm(self) -> None:
        """Import what the processes need, so that forked children start at once."""
        for module in (*_WARM_MODULES, *(https.WARM_MODULES if self.tls else ())):
            importlib.import_module(module)

    def _start_network(self) -> None:
        """Captures first, then switches, links and addresses."""
        self._start_captures()
        time.sleep(max(0.0, OVS_SETTLE_S - time.clock_gettime(time.CLOCK_BOOTTIME)))
        if control_delays_ms(self.topology):
            self._control_namespace, addresses = make_control_links(self.topology, self.scenario.seed)
            self.net.controllers = {
                switch: f"tcp:[{address}]:{CONTROLLER_PORT}" for switch, address in addresses.items()
            }
        for setting, value in conntrack.settings(self.topology).items():
            Path(f"/proc/sys/net/netfilter/nf_conntrack_{setting}").write_text(str(value))
        self.net.build()
        if self.scenario.record_tables:
            self._start_recording()
        self._choose_addresses()
        mounts.resolve_at(self.dns_address, self.work)

    def _choose_addresses(self) -> None:
        """Temporary addresses for users, where the scenario asks for them (RFC 8981, Linux's ip-sysctl)."""
        temporary = self.scenario.temporary
        if temporary is None:
            return
        settings = {
            "temp_prefered_lft": temporary.preferred_s,
            "temp_valid_lft": temporary.valid_s,
            "max_desync_factor": 0,
            "use_tempaddr": 2,
        }
        for user in self.topology.of_role(Role.USER):
            interface = self.topology.ports[user][0].interface
            for setting, value in settings.items():
                self.net[user].namespace.sysctl(f"net.ipv6.conf.{interface}.{setting}", value)

    def _start_recording(self) -> None:
        """Write down all that the switches hold, from before the controller's first word."""
        topology = self.work / "topology.json"
        topology.write_text(json.dumps(to_json(self.topology)))
        words = ["--sockets", str(self.openvswitch.folder), "--topology", str(topology)]
        words += ["--out", str(self.raw / RECORDING)]
        self._recorder = self.processes.start_module("recorder", "controller.openflow.recorder", words)
        deadline_s = time.monotonic() + RECORDER_TIMEOUT_S
        while not (self.raw / RECORDING).exists():
            self._recorder.check_running()
            if time.monotonic() > deadline_s:
                raise TestbedError(f"the recorder of tables has not begun: {self._recorder.last_lines(1)}")
            time.sleep(0.01)

    def stop_recording(self) -> None:
        """End the recording of tables, if there is one. Raises TestbedError when it is not whole."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self.processes.forget(recorder)
            recorder.send_signal(signal.SIGTERM)
            if recorder.wait() != 0:
                raise TestbedError(f"the recording of tables is not whole: {recorder.last_lines(1)}")

    def _start_controller(self) -> None:
        """The controller; when it has programmed every switch, hosts are plugged in."""
        config = {
            "topology": to_json(self.topology),
            "policy": {
                "service_at": "origin" if self.scenario.mode is Mode.CENTRAL else "edges",
                "edges": None,
            },
            "listen": ["::1" if self._control_namespace is None else "::", CONTROLLER_PORT],
            "seed": self.scenario.seed,
            "control_socket": str(self.work / "controller.sock"),
            "event_log": str(self.raw / "controller.jsonl"),
            "intent_file": str(self.work / "intent.json"),
        }
        path = self.work / "controller.json"
        path.write_text(json.dumps(config))
        self.start_controller()
        self.control.wait_until(
            lambda status: bool(status.get("synced")), "switches programmed", check=self.check_processes
        )
        self.net.plug_in_hosts()

    def start_controller(self) -> None:
        """The controller's process, the first time or again."""
        config = str(self.work / "controller.json")
        python = self.scenario.controller_python
        if python is not None:
            command = [python, "-m", "controller", "--config", config]
            environment = {"PYTHONPATH": str(CHECKOUT), "NEARCAST_OPENFLOW_RUNTIME": "ryu"}
            self.controller = self.processes.start_program(
                "controller", command, self._control_namespace, environment
            )
            return
        self.controller = self.processes.start_module(
            "controller", "controller.__main__", ["--config", config], self._control_namespace
        )

    def _start_servers(self) -> None:
        """DNS, the keys, and the edges (or, in the central case, the same server at the origin)."""
        dns = self.topology.of_role(Role.DNS)[0]
        argv = ["dns", "--address", self.dns_address, "--name", self.topology.service.name]
        argv += ["--aaaa", str(self.plan.service), "--ttl-s", str(DNS_TTL_S)]
        if self.plan.edge_addresses:
            self._write_geo_table()
            argv += ["--geo", str(self._geo_table)]
        self._dns = self.processes.start_module("dns", "origin.__main__", argv, self.net[dns].namespace)
        origin_main = importlib.import_module("origin.__main__").main
        if origin_main(["keygen", "--key", str(self.key), "--public", str(self.public_key)]) != 0:
            raise TestbedError(f"origin keygen failed in {self.work}")
        if self.scenario.pull_through:
            self._start_web_server()
        if self.tls is not None:
            https.issue(self.topology.service.name, self.tls)
        for edge in self.active_edges:
            self.net.hold_service_address(edge)
            self.start_edge(edge)
        if self.scenario.mode is Mode.CENTRAL:
            self._start_central()
        if any(window.probers for window in self.scenario.windows):
            words = ["--address", str(self.plan.service), *host_words(self.net, self.edges)]
            self.processes.start_module("echo", "experiments.echo", words)

    def tell_name_server(self, edge: str, *, is_gone: bool) -> None:
        """Where users find each edge at an address of its own: name this one to nobody, or again to those
        that it is nearest to. Elsewhere the name server need not know."""
        if self.plan.edge_addresses and self._dns is not None:
            (self._gone.add if is_gone else self._gone.discard)(edge)
            self._write_geo_table()
            self._dns.send_signal(signal.SIGHUP)

    def _write_geo_table(self) -> None:
        edges = [edge for edge in self.active_edges if edge not in self._gone]
        self._geo_table.write_text(geo_table(places(self.topology, self.plan, edges)))

    @property
    def _geo_table(self) -> Path:
        return self.work / "geo-table"

    def start_edge(self, edge: str) -> None:
        """One edge: HTTP on the address where users find it, the multicast receiver, the sync API."""
        address = str(self.plan.hosts[edge].unicast)
        origin = str(self.plan.hosts[self.origin].unicast)
        argv = ["serve", "--name", edge, "--store", str(self.store(edge))]
        argv += ["--address", str(self.net.service_address(edge)), "--port", str(HTTP_PORT)]
        argv += ["--sync-address", address, "--sync-port", str(SYNC_PORT)]
        argv += ["--group", str(self.plan.static_group), "--source", origin]
        interface = self.topology.ports[edge][0].interface
        argv += ["--interface", interface, "--flute-port", str(FLUTE_PORT)]
        argv += ["--heartbeat-interface", interface, "--capacity", str(self.scenario.capacity)]
        argv += ["--origin-url", f"http://[{origin}]:{ORIGIN_PORT}", "--public-key", str(self.public_key)]
        argv += ["--seed", str(self.scenario.seed * 1000 + self.active_edges.index(edge))]
        argv += ["--report-file", str(self.raw / f"{edge}.jsonl")]
        number = self.topology.of_role(Role.EDGE).index(edge)
        argv += edge_words(self.scenario.offering, number, self._stream_mtu_bytes())
        if self.scenario.pull_through:
            argv += ["--proxy-url", f"http://[{origin}]:{WEB_PORT}"]
        argv += [*https.edge_words(self.tls), *self.scenario.edge_words, *self.further_words.get(edge, [])]
        self.edges[edge] = self.processes.start_module(
            edge, "edge_node.__main__", argv, self.net[edge].namespace
        )

    def _start_web_server(self) -> None:
        """The origin's own web server, for edges only, whose content may be kept for a day."""
        argv = [str(self.site), "--address", str(self.plan.hosts[self.origin].unicast)]
        argv += ["--port", str(WEB_PORT), "--max-age-s", str(WEB_MAX_AGE_S)]
        self.processes.start_module("web", "experiments.file_server", argv, self.net[self.origin].namespace)

    def kill_edge(self, edge: str) -> None:
        """SIGKILL to the edge's process; its machine stays up. `start_edge` starts it again."""
        self._kill(self.edges[edge])

    def kill_controller(self) -> None:
        """SIGKILL to the controller; the switches go on. `start_controller` starts it again."""
        assert self.controller is not None
        self._kill(self.controller)

    def _kill(self, process: LabProcess) -> None:
        self.processes.forget(process)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def _start_central(self) -> None:
        """The central cloud: the edges' own HTTP server, with the whole site, at the origin."""
        self.net.hold_service_address(self.origin)
        argv = ["serve", "--name", self.origin, "--store", str(self.store(self.origin))]
        argv += ["--address", str(self.plan.service), "--port", str(HTTP_PORT), *https.edge_words(self.tls)]
        offering = self.scenario.offering
        if offering is None:
            argv += ["--site", str(self.site)]
        else:
            # For uploads it has to be an edge like the others, but nothing is published to it.
            address = str(self.plan.hosts[self.origin].unicast)
            argv += ["--public-key", str(self.public_key), "--sync-address", address]
            argv += ["--group", str(self.plan.static_group), "--source", address]
            argv += ["--interface", self.topology.ports[self.origin][0].interface]
            argv += edge_words(offering, len(self.topology.of_role(Role.EDGE)), self._stream_mtu_bytes())
        self.edges[self.origin] = self.processes.start_module(
            "central", "edge_node.__main__", argv, self.net[self.origin].namespace
        )

    def _wait_ready(self) -> None:
        """All switches programmed, every edge that should answer healthy, every user has its address."""
        users = self.topology.of_role(Role.USER)
        wanted = set(self.active_edges)

        def ready(status: dict[str, Any]) -> bool:
            listening = set(status.get("members", {}).get(str(self.plan.static_group), ()))
            if not (status.get("synced") and wanted <= set(status.get("edges_accepting", ())) & listening):
                return False
            return all(self.net.global_address(user) for user in users)

        self.control.wait_until(ready, "network ready", check=self.check_processes)
        for name in self.edges:
            self._wait_listening(name)

    def _wait_listening(self, name: str, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        port = HTTP_PORT if self.tls is None else https.HTTPS_PORT
        while time.monotonic() < deadline:
            self.check_processes()
            with self.net[name].namespace.entered():
                probe = socket.socket(socket.AF_INET6)
            with probe:
                if probe.connect_ex((str(self.net.service_address(name)), port)) == 0:
                    return
            time.sleep(0.1)
        raise TestbedError(f"{name} does not answer on port {port} after {timeout_s:.0f} s")

    def snapshot(self) -> Snapshot:
        """What the switches hold now and which of their ports are down, by their own account; needs no
        controller. Raises ChannelError."""
        return read_snapshot(self.openvswitch.folder, self.topology)

    def check_processes(self) -> None:
        """Raises ProcessError when one of the lab's processes has died."""
        for process in self.processes.processes:
            process.check_running()

    def start_publication(
        self,
        name: str,
        site: Path,
        mode: Mode,
        addresses: Mapping[str, str],
        *,
        timeout_s: float | None = None,
    ) -> LabProcess:
        """Start the origin's command that brings `site` to the edges by this way of sync.

        `addresses` says where each edge is pushed to.
        """
        argv = [str(site), "--key", str(self.key), "--state", str(self.work / "origin"), "--json"]
        if timeout_s is not None:
            argv += ["--timeout-s", str(timeout_s)]
        if mode is Mode.PUSH:
            argv = ["push", *argv]
            for edge, address in addresses.items():
                argv += ["--to", f"{edge}=[{address}]:{SYNC_PORT}"]
        else:
            argv = ["publish", *argv, *self._stream_words()]
        return self.processes.start_module(name, "origin.__main__", argv, self.net[self.origin].namespace)

    def _stream_words(self) -> list[str]:
        """Where the origin sends the site, and who is to have it."""
        words = ["--source", str(self.plan.hosts[self.origin].unicast)]
        words += ["--interface", self.topology.ports[self.origin][0].interface]
        words += ["--group", str(self.plan.static_group), "--port", str(FLUTE_PORT)]
        words += ["--http-port", str(ORIGIN_PORT), "--rate-mbps", str(self.scenario.rate_mbps)]
        return [*words, "--edges", ",".join(self.active_edges), "--mtu-bytes", str(self._stream_mtu_bytes())]

    def _stream_mtu_bytes(self) -> int:
        """The least MTU that the stream may meet: multicast gets no answer when it is too big for a link."""
        return min(
            link.mtu_bytes
            for link in self.topology.links
            if self.topology.link_layer(link) in (Role.CORE, Role.DISTRIBUTION, Role.EDGE, Role.ORIGIN)
        )

    def publish(self) -> str:
        """Publish the site and return what the origin printed (JSON). Raises TestbedError when it failed.

        With `kill` in the scenario, those edges are killed in the middle and started again. With an
        `offering` the origin stays.
        """
        if self.scenario.offering is not None:
            words = ["--key", str(self.key), "--state", str(self.work / "origin"), "--json"]
            return start_origin(self, self.scenario.offering, [*words, *self._stream_words()])
        addresses = {edge: str(self.plan.hosts[edge].unicast) for edge in self.active_edges}
        process = self.start_publication("publish", self.site, self.scenario.mode, addresses)
        for edge in self.scenario.kill:
            time.sleep(KILL_AFTER_S)
            self.kill_edge(edge)
            self.start_edge(edge)
        status = process.wait()
        self.processes.forget(process)
        text = process.log.read_text()
        if status != 0:
            raise TestbedError(f"publish ended with status {status}: {process.last_lines(2)}")
        return text[text.index("{") :]

    def stop_captures(self) -> None:
        """Close the capture files."""
        if self._captures is not None:
            self._captures.stop()
            self._captures = None

    def stop(self) -> None:
        """End everything; what was written stays."""
        self.processes.stop_all()
        self.stop_captures()
        self.openvswitch.stop()
        self.net.stop()

    def store(self, name: str) -> Path:
        """The content store of an edge (or of the central server)."""
        return self.work / "stores" / name

    @property
    def key(self) -> Path:
        """The origin's signing key of this lab."""
        return self.work / "origin.key"

    @property
    def public_key(self) -> Path:
        """What the edges trust."""
        return self.work / "origin.pub"

    @property
    def dns_address(self) -> str:
        """Where the name server answers."""
        dns = self.topology.of_role(Role.DNS)[0]
        return str(self.plan.hosts[dns].unicast)

    def _start_captures(self) -> None:
        captures = CaptureSet(self.raw / "captures.csv")
        folder = self.raw / "captures"
        for user in self.topology.of_role(Role.USER):
            captures.open(user, self.net[user].namespace.fd, folder / f"{user}.pcap", MULTICAST)
        if self.scenario.capture_hosts:
            for host in self.topology.of_role(Role.EDGE, Role.DNS):
                captures.open(host, self.net[host].namespace.fd, folder / f"{host}.pcap", MULTICAST)
        captures.open(
            self.origin, self.net[self.origin].namespace.fd, folder / f"{self.origin}.pcap", INBOUND
        )
        self._captures = captures.start()

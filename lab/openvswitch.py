"""A private Open vSwitch: its own database and daemon, in the lab's namespaces only."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
DATABASE_SERVER = "/usr/sbin/ovsdb-server"
SWITCH_DAEMON = "/usr/sbin/ovs-vswitchd"
OPENFLOW_PROTOCOLS = "OpenFlow14"


class OpenVSwitchError(RuntimeError):
    """Open vSwitch did not start or refused a configuration; the message says what and where the log is."""


class OpenVSwitch:
    """ovsdb-server and ovs-vswitchd with everything they write below `folder`."""

    def __init__(self, folder: Path, logs: Path, controller: str = "tcp:[::1]:6653") -> None:
        """Logs go to `logs`; `controller` is the OpenFlow connection every bridge gets."""
        self.folder = folder
        self.logs = logs
        self.controller = controller
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._env = os.environ | {
            "OVS_RUNDIR": str(folder),
            "OVS_LOGDIR": str(logs),
            "OVS_DBDIR": str(folder),
            "OVS_SYSCONFDIR": str(folder),
        }

    @property
    def database(self) -> str:
        """The database's connection, for `ovs-vsctl --db`."""
        return f"unix:{self.folder / 'db.sock'}"

    def start(self) -> None:
        """Start both daemons and wait until they answer. Raises OpenVSwitchError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        database = self.folder / "conf.db"
        self._run("ovsdb-tool", "create", str(database), str(SCHEMA))
        self._daemons.append(
            self._spawn(DATABASE_SERVER, str(database), f"--remote=p{self.database}", "--no-chdir")
        )
        self._run("ovs-vsctl", "--retry", f"--db={self.database}", "--no-wait", "init")
        self._daemons.append(self._spawn(SWITCH_DAEMON, self.database, "--no-chdir"))

    def add_bridges(
        self,
        bridges: Sequence[tuple[str, int, Sequence[tuple[str, int]]]],
        controllers: Mapping[str, str] | None = None,
    ) -> None:
        """Create bridges given as (name, datapath ID, [(interface, OpenFlow port)]) in one transaction.
        `controllers` are the connections of bridges that have another than the rest.

        Bridges drop everything until the controller has programmed them (`fail_mode=secure`).
        """
        # Without a QoS of this type Open vSwitch removes the queueing disciplines it finds on its ports.
        words: list[str] = ["--", "--id=@noop", "create", "qos", "type=linux-noop"]
        for name, datapath_id, ports in bridges:
            words += ["--", "add-br", name, "--", "set", "bridge", name]
            words += ["fail_mode=secure", f"protocols={OPENFLOW_PROTOCOLS}"]
            words += [f"other_config:datapath-id={datapath_id:016x}", "other_config:disable-in-band=true"]
            words += ["mcast_snooping_enable=false"]
            for interface, number in ports:
                words += ["--", "add-port", name, interface]
                words += ["--", "set", "port", interface, "qos=@noop"]
                words += ["--", "set", "interface", interface, f"ofport_request={number}"]
            words += ["--", "set-controller", name, (controllers or {}).get(name, self.controller)]
            words += ["--", "set", "controller", name, "inactivity_probe=30000", "max_backoff=1000"]
        self._run("ovs-vsctl", f"--db={self.database}", "--timeout=60", *words[1:])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop ovs-vswitchd for the body: it goes through its whole configuration at each change of a link.

        The kernel's flows keep forwarding; new flows wait.
        """
        switch_daemon = self._daemons[-1]
        switch_daemon.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            switch_daemon.send_signal(signal.SIGCONT)

    def command(self, *arguments: str) -> str:
        """Run one of Open vSwitch's tools (`ovs-ofctl`, `ovs-appctl`, …) on this instance; its output."""
        return self._run(*arguments)

    def stop(self) -> None:
        """End both daemons."""
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            daemon.wait()
        self._daemons.clear()

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        name = Path(program).name
        log = (self.logs / f"{name}.console.log").open("wb")
        try:
            return subprocess.Popen(
                [program, *arguments, f"--log-file={self.logs / name}.log", "-vconsole:off"],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise OpenVSwitchError(
                f"Open vSwitch: cannot run {program} ({error.strerror}); install openvswitch-switch"
            ) from None
        finally:
            log.close()

    def _run(self, *command: str) -> str:
        try:
            result = subprocess.run(
                command, env=self._env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise OpenVSwitchError(
                f"Open vSwitch: cannot run {command[0]} ({error.strerror}); install openvswitch-switch"
            ) from None
        if result.returncode != 0:
            detail = result.stderr.strip().splitlines()[-1:] or ["no message"]
            raise OpenVSwitchError(f"Open vSwitch: {command[0]} failed: {detail[0]} (logs: {self.logs})")
        return result.stdout

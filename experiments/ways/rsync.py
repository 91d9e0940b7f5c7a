"""rsync: a daemon at each edge, one `rsync -a` to each from the origin, all at once."""

from __future__ import annotations

from experiments.ways.folders import FolderWay
from experiments.ways.listening import wait_listening

PORT = 873
_MODULE = "site"


class Rsync(FolderWay):
    """The site to every edge over one TCP connection each."""

    def prepare(self) -> None:
        """The daemons, listening. Raises TestbedError."""
        super().prepare()
        for edge in self.task.edges:
            config = self.task.folder / f"rsyncd-{edge}.conf"
            lines = ["use chroot = no", "reverse lookup = no", "uid = 0", "gid = 0", f"[{_MODULE}]"]
            lines += [f"path = {self.task.received(edge)}", "read only = no"]
            config.write_text("\n".join(lines) + "\n")
            command = ["rsync", "--daemon", "--no-detach", f"--config={config}", f"--port={PORT}"]
            self.programs.start(f"rsyncd-{edge}", edge, [*command, f"--address={self.task.address(edge)}"])
        for edge in self.task.edges:
            namespace = self.task.context.namespace(edge)
            wait_listening(namespace, self.task.address(edge), PORT, self.programs.check)

    def send(self) -> None:
        """One rsync for each edge. Raises TestbedError when one fails."""
        names = [f"rsync-{edge}" for edge in self.task.edges]
        for name, edge in zip(names, self.task.edges, strict=True):
            target = f"rsync://[{self.task.address(edge)}]:{PORT}/{_MODULE}/"
            self.programs.start(name, self.task.testbed.origin, ["rsync", "-a", f"{self.task.site}/", target])
        for name in names:
            self.programs.finish(name)

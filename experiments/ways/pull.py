"""Plain HTTP pull: every edge fetches every file from a web server at the origin, as a browser would."""

from __future__ import annotations

from urllib.parse import quote

from experiments.ways.folders import FolderWay
from experiments.ways.listening import wait_listening

PORT = 8090
CONNECTIONS = 6
"""At a time from each edge: what browsers allow themselves for HTTP/1.1."""


class Pull(FolderWay):
    """One curl at each edge."""

    def prepare(self) -> None:
        """The web server, and the lists of files. Raises TestbedError."""
        super().prepare()
        task = self.task
        namespace = task.context.namespace(task.testbed.origin)
        argv = ["--address", task.origin_address, "--port", str(PORT), str(task.site)]
        processes = task.testbed.processes
        server = processes.start_module(f"{task.name}-http", "experiments.file_server", argv, namespace)

        def stop() -> None:
            processes.forget(server)
            server.stop()

        self.stack.callback(stop)
        wait_listening(namespace, task.origin_address, PORT, server.check_running)
        paths = sorted(path.relative_to(task.site) for path in task.site.rglob("*") if path.is_file())
        for edge in task.edges:
            lines = []
            for path in paths:
                lines.append(f'url = "http://[{task.origin_address}]:{PORT}/{quote(path.as_posix())}"')
                lines.append(f'output = "{task.received(edge) / path}"')
            (task.folder / f"curl-{edge}").write_text("\n".join(lines) + "\n")

    def send(self) -> None:
        """All edges at once. Raises TestbedError when one does not get everything."""
        names = [f"curl-{edge}" for edge in self.task.edges]
        command = ["curl", "--silent", "--show-error", "--fail", "--globoff", "--create-dirs"]
        command += ["--parallel", "--parallel-max", str(CONNECTIONS)]
        for name, edge in zip(names, self.task.edges, strict=True):
            self.programs.start(name, edge, [*command, "--config", str(self.task.folder / name)])
        for name in names:
            self.programs.finish(name)

"""The test suite for HTTP caches of cache-tests.fyi: where it is, running it, what its results mean."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.http_servers import BenchError, Core, WebServer, free_port, wait_until_it_answers
from experiments.npm import NpmError, Package, folder_of
from lab.processes import ProcessTable

SUITE = Package(
    "http-cache-tests",
    "0.4.5",
    "sha512-DjuwN9nUZXLTW+wav1LRESCZNVxl8SshwOy4z1pxuWbWt5/ay6sM9QQ1lebBaDO6P1IMBoK6mdf+PuVP/QNL8A==",
)
"""The newest release (BSD-3-Clause). The repository http-tests/cache-tests on GitHub has more tests."""
CLIENTS = (
    Package(
        "undici",
        "7.4.0",
        "sha512-PUQM3/es3noM24oUn10u3kNNap0AbxESOmnssmW+dOi9yGwlUSi5nTNYl3bNbTkWOF8YZDkx2tCmj9OtQ3iGGw==",
    ),
    Package(
        "node-fetch",
        "2.6.1",
        "sha512-V4aYg89jEoVRxRb2fJdAg8FHvI7cEyYdVAh94HH0UIK8oJxUfkjlDQN9RbMx+bEjP7+ggMiFRprSti032Oipxw==",
    ),
)
"""HTTP clients (MIT): the repository's tests are written for the first, the release's for the second."""
KINDS = ("required", "optimal")
_LIMIT_S = 600
_DRIVER = """
import { pathToFileURL } from 'node:url'
const [engine, tests, base] = process.argv.slice(2)
const from = path => import(pathToFileURL(path))
const { runTests, getResults } = await from(`${engine}/client/runner.mjs`)
const isRelease = /fetch/i.test(runTests.toString())
if (!isRelease) globalThis.fetch = (await import('undici')).fetch
const suites = (await from(`${tests}/index.mjs`)).default
if (isRelease) await runTests(suites, (await import('node-fetch')).default, false, base)
else await runTests(suites, false, base)
const results = getResults()
const all = suites.flatMap(suite => suite.tests.map(test => ({
  id: test.id,
  name: test.name,
  kind: test.kind ?? 'required',
  depends_on: test.depends_on ?? [],
  is_for_browsers: test.browser_only ?? false,
  result: results[test.id] ?? null
})))
process.stdout.write('tests ' + JSON.stringify(all) + '\\n', () => process.exit(0))
"""
"""Runs all tests against a URL. In the release, which is older, `runTests` has another argument."""


@dataclass(frozen=True, slots=True)
class CacheTest:
    """One test with its result: True, or what the suite says of its failure; None: not run."""

    id: str
    name: str
    kind: str
    depends_on: tuple[str, ...]
    is_for_browsers: bool
    result: Any


def read_tests(text: str) -> list[CacheTest]:
    """The tests in what the driver prints. Raises BenchError."""
    found = [line.removeprefix("tests ") for line in text.splitlines() if line.startswith("tests ")]
    if not found:
        raise BenchError(f"the cache tests ended without results: {text.strip()[-200:]}")
    return [
        CacheTest(**{**fields, "depends_on": tuple(fields["depends_on"])}) for fields in json.loads(found[0])
    ]


def passed(tests: Sequence[CacheTest]) -> set[str]:
    """The tests that passed, with all that they depend on: without those they say nothing."""
    by_id = {test.id: test for test in tests}

    def is_passed(test: CacheTest) -> bool:
        return test.result is True and all(is_passed(by_id[other]) for other in test.depends_on)

    return {test.id for test in tests if is_passed(test)}


def failures(tests: Sequence[CacheTest]) -> dict[str, str]:
    """What is required or optimal and was not passed, with what the suite says of it."""
    good = passed(tests)
    return {test.id: _reason(test) for test in tests if test.kind in KINDS and test.id not in good}


def counts(tests: Sequence[CacheTest]) -> Mapping[str, tuple[int, int]]:
    """For each kind how many passed and how many there are."""
    good = passed(tests)
    total = Counter(test.kind for test in tests)
    return {
        kind: (sum(test.id in good for test in tests if test.kind == kind), total[kind]) for kind in KINDS
    }


def _reason(test: CacheTest) -> str:
    if test.result is None:
        return "for browsers, not run" if test.is_for_browsers else "not run"
    if test.result is True:
        return f"depends on {', '.join(test.depends_on)}"
    return ": ".join(map(str, test.result)) if isinstance(test.result, list) else str(test.result)


class Suite:
    """A copy of the suite in `folder` that can be run: of the release from npm, or of a checkout."""

    def __init__(self, folder: Path, checkout: Path | None) -> None:
        """Raises BenchError."""
        try:
            source = folder_of(SUITE) if checkout is None else checkout
            clients = {client.name: folder_of(client) for client in CLIENTS}
        except NpmError as error:
            raise BenchError(str(error)) from None
        self._folder = folder / "suite"
        try:
            shutil.copytree(
                source, self._folder, ignore=shutil.ignore_patterns(".git", "node_modules", "results", "spec")
            )
            (folder / "node_modules").mkdir()
            for name, package in clients.items():
                (folder / "node_modules" / name).symlink_to(package)
            engine = self._folder / "test-engine"
            self._engine = engine if engine.is_dir() else self._folder
            self._driver = folder / "driver.mjs"
            self._driver.write_text(_DRIVER)
        except OSError as error:
            raise BenchError(f"{source}: cannot read the cache tests: {error}") from None
        if not (self._engine / "client/runner.mjs").exists():
            raise BenchError(f"{source} is no checkout of http-tests/cache-tests; see --suite")

    def start_origin(self, processes: ProcessTable) -> str:
        """Start the server that the cache asks; its URL. Raises BenchError."""
        if shutil.which("node") is None:
            raise BenchError("node is not installed; scripts/bootstrap.sh bench brings it")
        port = free_port()
        environment = {
            "npm_config_protocol": "http",
            "npm_config_port": str(port),
            "npm_config_pidfile": str(self._folder / "origin.pid"),
        }
        command = Core(min(os.sched_getaffinity(0))).pinned(["node", str(self._engine / "server/server.mjs")])
        process = processes.start_program("suite", command, environment=environment)
        wait_until_it_answers(process, port)
        return f"http://[::1]:{port}"

    def run(self, cache: WebServer, run: Callable[..., Any] = subprocess.run) -> list[CacheTest]:
        """All tests against a cache in front of that server. Raises BenchError."""
        command = ["node", "--no-warnings", str(self._driver), str(self._engine), str(self._folder / "tests")]
        try:
            done = run(
                Core(max(os.sched_getaffinity(0))).pinned([*command, cache.url().rstrip("/")]),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"the cache tests did not end within {_LIMIT_S} s") from None
        return read_tests(done.stdout or done.stderr)

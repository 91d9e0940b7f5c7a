"""`python -m controller --config FILE`: run the controller until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from controller.settings import Settings, SettingsError, read_settings

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the controller. Returns 0 after a stop signal, 1 on failure, 2 for an unusable configuration."""
    parser = argparse.ArgumentParser(
        prog="python -m controller",
        description="The SDN controller of a nearcast network: OpenFlow 1.4, IPv6 only.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="JSON configuration (docs/architecture.md)"
    )
    arguments = parser.parse_args(argv)
    try:
        settings = read_settings(arguments.config)
    except SettingsError as error:
        print(f"controller: {error}", file=sys.stderr)
        return 2
    try:
        return _run(settings)
    except SettingsError as error:
        print(f"controller: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"controller: {error.filename or settings.listen_address}: {error.strerror}", file=sys.stderr)
        return 1


def _run(settings: Settings) -> int:
    # A plan makes rules by the hundred thousand and no cycles: the default costs as much as planning.
    gc.set_threshold(100_000, 20, 20)
    # Threads inherit the mask, so the signals reach sigwait below and interrupt nothing else.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    # The first import of all, because ryu replaces parts of the standard library.
    from controller.openflow.runtime import listen, run_app, wait_for_signal
    from controller.openflow.ryu_api import RUNTIME

    crashed = _stop_when_a_thread_crashes()

    from controller.control_socket import serve_control
    from controller.coordinator import Coordinator
    from controller.journal import Journal
    from controller.operations import Operations

    listening = listen(settings.listen_address, settings.listen_port)
    coordinator = Coordinator(settings, Journal(settings.event_log), RUNTIME)
    operations = Operations(coordinator, settings.intent_file)
    run_app("controller.app", {"coordinator": coordinator}, listening)
    coordinator.start()
    if settings.metrics_port is not None:
        from controller.metrics_server import serve_metrics

        serve_metrics(settings.listen_address, settings.metrics_port, operations.snapshot)
    serve_control(settings.control_socket, operations.handle)
    wait_for_signal(_STOP_SIGNALS)
    settings.control_socket.unlink(missing_ok=True)
    return 1 if crashed.is_set() else 0


def _stop_when_a_thread_crashes() -> threading.Event:
    """A controller with a dead thread would go on half alive; report the fault and end instead."""
    crashed = threading.Event()
    report = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        report(arguments)
        crashed.set()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.excepthook = hook
    return crashed


if __name__ == "__main__":
    sys.exit(main())

"""The only module that knows which Ryu runs the controller: os-ken, its maintained continuation, or ryu 4.34.

What is installed is used, os-ken rather than ryu; NEARCAST_OPENFLOW_RUNTIME names one. ryu runs on eventlet,
which replaces parts of the standard library: this module must be imported before others make threads,
locks or sockets. docs/adr/0011-two-runtimes.md
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

VARIABLE = "NEARCAST_OPENFLOW_RUNTIME"
_PACKAGES = {"os-ken": "os_ken", "ryu": "ryu"}
Result = TypeVar("Result")


def chosen_runtime(wanted: str | None, is_installed: Callable[[str], bool]) -> str:
    """The runtime to use. Raises ImportError when the one wanted, or any, is not there."""
    if not wanted:
        for name, package in _PACKAGES.items():
            if is_installed(package):
                return name
        raise ImportError("neither os-ken nor ryu is installed; run make, or scripts/ryu.sh")
    if wanted not in _PACKAGES:
        raise ImportError(f"{VARIABLE} is {wanted!r}; there are {', '.join(_PACKAGES)}")
    if not is_installed(_PACKAGES[wanted]):
        raise ImportError(f"{VARIABLE} is {wanted}, which this Python does not have")
    return wanted


RUNTIME = chosen_runtime(os.environ.get(VARIABLE), lambda name: importlib.util.find_spec(name) is not None)


def _module(name: str) -> Any:
    return importlib.import_module(f"{_PACKAGES[RUNTIME]}.{name}")


warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
hub = _module("lib.hub")
hub.patch()
IS_COOPERATIVE = hub.HUB_TYPE == "eventlet"
"""Whether threads are eventlet's: whoever blocks without eventlet's knowledge then blocks all."""
if RUNTIME == "ryu":
    # ryu.app.wsgi imports a name that eventlet has dropped, and uses it for web applications only.
    _wsgi: Any = importlib.import_module("eventlet.wsgi")
    _wsgi.ALREADY_HANDLED = getattr(_wsgi, "ALREADY_HANDLED", object())

_app_manager = _module("base.app_manager")
App: Any = getattr(_app_manager, "RyuApp" if RUNTIME == "ryu" else "OSKenApp")
AppManager = _app_manager.AppManager
Datapath: Any = _module("controller.controller").Datapath
handler = _module("controller.handler")
ofp_event = _module("controller.ofp_event")
ofp_handler = _module("controller.ofp_handler")
ofp = _module("ofproto.ofproto_v1_4")
parser = _module("ofproto.ofproto_v1_4_parser")


def block(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call what blocks its thread for long, without stopping the others."""
    if not IS_COOPERATIVE:
        return function(*arguments)
    real_threads: Any = importlib.import_module("eventlet.tpool")
    real_threads.set_num_threads(1)
    result: Result = real_threads.execute(function, *arguments)
    return result

"""HTTPS in a lab: one certificate for the service, the same at every edge, and users who trust its CA."""

from __future__ import annotations

import importlib
from pathlib import Path

from experiments import mounts
from origin.certificates import CA_CERTIFICATE, CERTIFICATE, KEY

HTTPS_PORT = 443
WARM_MODULES = ("edge_node.tls.service", "cryptography.x509")
"""What edges then import too."""


def issue(name: str, folder: Path) -> None:
    """Make the CA of this lab and the certificate, as an operator would, and have everybody in the lab trust
    that CA. Raises RuntimeError in one line."""
    main = importlib.import_module("origin.__main__").main
    if main(["certify", "--name", name, "--out", str(folder)]) != 0:
        raise RuntimeError(f"origin certify failed in {folder}")
    mounts.trust(folder / CA_CERTIFICATE)


def edge_words(folder: Path | None) -> list[str]:
    """The options of an edge that serves the certificate in `folder`, None for plain HTTP."""
    if folder is None:
        return []
    words = ["--tls-certificate", str(folder / CERTIFICATE), "--tls-key", str(folder / KEY)]
    return [*words, "--tls-port", str(HTTPS_PORT)]


def curl_words(folder: Path | None) -> list[str]:
    """What curl needs to trust the CA in `folder`, and no other."""
    return [] if folder is None else ["--cacert", str(folder / CA_CERTIFICATE)]

#!/bin/sh
# Writes requirements.lock anew from pyproject.toml: every package at one version, with the digests of its files.
set -eu
cd "$(dirname "$0")/.."
export UV_CUSTOM_COMPILE_COMMAND="make lock"
.venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --python-version 3.11 \
    --no-emit-index-url --no-config \
    --all-extras pyproject.toml scripts/installer.in -o requirements.lock
.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.11 \
    --no-emit-index-url --no-config \
    --constraints requirements.lock scripts/installer.in -o scripts/installer.lock

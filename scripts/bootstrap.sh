#!/bin/bash
# Brings what nearcast needs: Debian packages, then .venv from requirements.lock. Does nothing, and asks no
# network, when all is there; repairs an interrupted run. Needs python3 (3.11 or newer) and apt to begin with.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 9<"$0"
flock 9

fail() {
    echo "error: $*" >&2
    exit 1
}

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}

missing_packages() {
    local command package rest
    while read -r command package rest; do
        case $command in
            '' | '#'*) ;;
            /*) [ -e "$command" ] || echo "$package" ;;
            *) PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || echo "$package" ;;
        esac
    done <lab/tools.config
}

install_packages() {
    local as_root=() log
    log=$(mktemp)
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
            fail "missing Debian packages and no way to become root; run as root: apt-get update && apt-get install -y $*"
        fi
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -q)
    echo "installing Debian packages: $* ..." >&2
    if ! "${as_root[@]}" install -y --no-install-recommends "$@" </dev/null >"$log" 2>&1; then
        "${as_root[@]}" update </dev/null >>"$log" 2>&1 || true
        "${as_root[@]}" install -y --no-install-recommends "$@" </dev/null >>"$log" 2>&1 ||
            fail "apt-get install $* failed: $(grep '^E:' "$log" | tail -n 1); mend that and run make again (log: $log)"
    fi
    rm -f "$log"
}

# What .venv is made of: it is right when .venv/.ready says the same.
fingerprint() {
    { cat requirements.lock scripts/installer.lock scripts/bootstrap.sh pyproject.toml && pwd; } | sha256sum
}

# uv does in 5 s what takes pip 40; where it cannot (a mirror that only pip knows of), pip does it.
with_uv() {
    .venv/bin/python -m pip install -q --require-hashes -r scripts/installer.lock
    export UV_SYSTEM_CERTS=1 VIRTUAL_ENV=$PWD/.venv
    .venv/bin/uv pip sync -q --compile-bytecode --require-hashes --build-constraints scripts/installer.lock \
        requirements.lock
    .venv/bin/uv pip install -q --no-deps --no-build-isolation -e .
}

with_pip() {
    .venv/bin/python -m pip install -q --require-hashes -r requirements.lock
    .venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
}

install_venv() {
    local log
    log=$(mktemp)
    echo "installing the Python packages into .venv ..." >&2
    rm -rf .venv
    "$1" -m venv .venv >"$log" 2>&1 || fail "$1 cannot make $PWD/.venv: $(tail -n 1 "$log") (log: $log)"
    if ! (set -e; with_uv) >>"$log" 2>&1 </dev/null && ! (set -e; with_pip) >>"$log" 2>&1 </dev/null; then
        fail "cannot install requirements.lock: $(grep -i error "$log" | tail -n 1); check the network and run make" \
            "again (log: $log)"
    fi
    rm -f "$log"
}

packages=$(missing_packages | sort -u | tr '\n' ' ')
python=$(find_python)
if [ -n "$python" ] && [ ! -x .venv/bin/python ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=python3-venv
fi
# shellcheck disable=SC2086
[ -z "$packages" ] || install_packages $packages
[ -n "$python" ] ||
    fail "no Python 3.11 or newer on PATH ($(python3 --version 2>&1)); install one and name it: make PYTHON=..."
wanted=$(fingerprint)
if [ ! -x .venv/bin/python ] || [ "$(cat .venv/.ready 2>/dev/null)" != "$wanted" ]; then
    install_venv "$python"
    echo "$wanted" >.venv/.ready
fi

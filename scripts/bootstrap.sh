#!/bin/bash
# Brings what nearcast needs: Debian packages, then .venv from requirements.lock. Does nothing, and asks no
# network, when all is there; repairs an interrupted run. Needs python3 (3.11 or newer) and apt to begin with.
# Arguments name further uses of lab/tools.config whose packages are wanted: bench, clients.
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
    local command package use rest
    while read -r command package use rest; do
        case $command in '' | '#'*) continue ;; esac
        case " run build $* " in *" $use "*) ;; *) continue ;; esac
        case $command in
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
    { cat requirements.lock scripts/installer.lock && pwd; } | sha256sum
}

# uv does in 5 s what takes pip 40; where it cannot (a mirror that only pip knows of), pip does it.
with_uv() {
    .venv/bin/python -m pip install -q --require-hashes -r scripts/installer.lock
    export UV_SYSTEM_CERTS=1 VIRTUAL_ENV=$PWD/.venv
    .venv/bin/uv pip sync -q --compile-bytecode --require-hashes --build-constraints scripts/installer.lock \
        requirements.lock
}

with_pip() {
    .venv/bin/python -m pip install -q --require-hashes -r requirements.lock
}

# A .venv that worked comes back when its successor cannot be installed (no network, say).
install_venv() {
    local log old=build/venv.old
    log=$(mktemp)
    echo "installing the Python packages into .venv ..." >&2
    rm -rf "$old"
    mkdir -p build
    if [ -e .venv/.ready ]; then mv .venv "$old"; else rm -rf .venv; fi
    if "$1" -m venv .venv >"$log" 2>&1 </dev/null && { run_apart with_uv || run_apart with_pip; } >>"$log" 2>&1; then
        rm -rf "$old" "$log"
        return
    fi
    rm -rf .venv
    [ ! -e "$old" ] || mv "$old" .venv
    fail "cannot install requirements.lock: $(grep -i error "$log" | tail -n 1); check the network and run make" \
        "again (log: $log)"
}

# In a shell of its own, because inside a condition `set -e` is off.
run_apart() {
    bash -euc "$(declare -f "$1"); $1" </dev/null
}

# The command `nearcast` and the metadata come from pyproject.toml; the code itself is used in place.
install_project() {
    .venv/bin/uv pip install -q --offline --no-deps --no-build-isolation --python .venv/bin/python -e . </dev/null ||
        fail "cannot install $PWD into .venv; see the message above (pyproject.toml?), then run make again"
}

packages=$(missing_packages "$@" | sort -u | tr '\n' ' ')
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
if ! cmp -s pyproject.toml .venv/.pyproject; then
    install_project
    cp pyproject.toml .venv/.pyproject
fi

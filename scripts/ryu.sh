#!/bin/bash
# Makes .venv-ryu, with ryu 4.34 in the place of os-ken, from requirements-ryu.lock. Does nothing, and asks no
# network, when it is there; repairs an interrupted run. `scripts/ryu.sh lock` writes the lock anew.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 9<"$0"
flock 9

# What the controller needs of others, and what builds ryu: later versions of setuptools cannot.
requirements='ryu==4.34
eventlet==0.41.3
numpy
pbr
setuptools==67.8.0
wheel'

fail() {
    echo "error: $*" >&2
    exit 1
}

lock() {
    export UV_CUSTOM_COMPILE_COMMAND="scripts/ryu.sh lock"
    # ryu says what it needs only when it is built, so by the tools of an environment that can.
    .venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --python-version 3.11 \
        --no-emit-index-url --no-config --no-build-isolation-package ryu --python .venv-ryu/bin/python \
        - -o requirements-ryu.lock <<<"$requirements"
}

fingerprint() {
    { cat requirements-ryu.lock && pwd; } | sha256sum
}

# The lines of the lock for these packages.
locked() {
    awk -v names=" $* " '/^[^ #]/ { split($0, parts, "=="); keep = index(names, " " parts[1] " ") } keep' \
        requirements-ryu.lock
}

install_packages() {
    .venv/bin/python -m venv .venv-ryu
    echo '*' >.venv-ryu/.gitignore
    .venv-ryu/bin/python -m pip install -q --require-hashes --no-deps -r <(locked setuptools wheel pbr packaging)
    .venv-ryu/bin/python -m pip install -q --require-hashes --no-build-isolation -r requirements-ryu.lock
}

[ -x .venv/bin/python ] || fail "there is no .venv; run scripts/bootstrap.sh first"
wanted=$(fingerprint)
if [ "$(cat .venv-ryu/.ready 2>/dev/null)" != "$wanted" ]; then
    echo "installing ryu into .venv-ryu ..." >&2
    log=$(mktemp)
    rm -rf .venv-ryu
    # In a shell of its own, because inside a condition `set -e` is off.
    if ! bash -euc "$(declare -f install_packages locked); install_packages" >"$log" 2>&1 </dev/null; then
        rm -rf .venv-ryu
        fail "cannot install requirements-ryu.lock: $(grep -i error "$log" | tail -n 1); check the network and run" \
            "it again (log: $log)"
    fi
    rm -f "$log"
    echo "$wanted" >.venv-ryu/.ready
fi
case ${1:-} in
    '') ;;
    lock) lock ;;
    *) fail "unknown argument '$1'; there is: lock" ;;
esac

#!/usr/bin/env bash
# All tests of the crate, those on a GPU included; on Linux a software Vulkan driver is installed where none answers.
#
#   scripts/test.sh                          with the adapter that is there
#   RECURRENT_ADAPTER=none scripts/test.sh   without one: nothing is installed, tests that need one show as ignored
#
# Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "test.sh: $*"; }

# Every adapter as wgpu sees it, a line each. A driver that is installed but does not answer is none.
adapters() {
    local devices
    # The build may fail, and bash would go on here.
    devices=$(cargo run --quiet --example text -- devices) || return
    grep '^gpu:' <<<"$devices" || true
}

# Runs a command as root.
root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "cannot install without root or sudo; as root, run: $*"
        return 1
    fi
}

install_driver() {
    if command -v apt-get >/dev/null; then
        root apt-get update -qq
        root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            libvulkan1 mesa-vulkan-drivers
    elif command -v dnf >/dev/null; then
        root dnf install -y -q vulkan-loader mesa-vulkan-drivers
    elif command -v pacman >/dev/null; then
        root pacman -S --needed --noconfirm vulkan-icd-loader vulkan-swrast
    elif command -v apk >/dev/null; then
        root apk add -q vulkan-loader mesa-vulkan-swrast
    else
        say "no known package manager; install a Vulkan loader and Mesa's lavapipe by hand"
        return 1
    fi
}

if [ "${RECURRENT_ADAPTER:-}" = none ]; then
    say "RECURRENT_ADAPTER=none: the tests that need a GPU will show as ignored"
else
    say "looking for an adapter"
    found=$(adapters)
    if [ -z "$found" ] && [ "$(uname -s)" = Linux ]; then
        say "no Vulkan driver answers; installing a software one"
        install_driver
        found=$(adapters)
    fi
    if [ -z "$found" ]; then
        say "there is no adapter: install your GPU's driver, or set RECURRENT_ADAPTER=none to test without one"
        exit 1
    fi
    say "adapters:"
    echo "$found"
fi

# Tests of the library and of the examples, and the examples in the documentation.
cargo test "$@"

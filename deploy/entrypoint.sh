#!/bin/sh
# The first process of every container: settles who this is and where things are, then becomes the program itself, so
# that signals reach it. Started as root it goes on as PUID:PGID; started as anybody else it stays who it is.
set -eu

HOME="${CLAUDE_HOME:-/data/home}"
export HOME
export XDG_DATA_HOME="${XDG_DATA_HOME:-/data}" XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"

if [ "$(id -u)" = 0 ]; then
    PUID="${PUID:-1000}" PGID="${PGID:-1000}"
    case "$PUID$PGID" in
    *[!0-9]*) echo "PUID and PGID must be numbers: what \`id -u\` and \`id -g\` say." >&2; exit 78 ;;
    esac
    if [ "$PUID" = 0 ]; then
        echo "PUID=0 is root: Claude's tools would be root too. Set PUID and PGID to a user's numbers." >&2
        exit 78
    fi
    # Only directories nobody has taken yet; what is in them is never touched.
    for directory in "$HOME" "$XDG_DATA_HOME/ccproxy" ${CCPROXY_WORKDIR:-}; do
        mkdir -p "$directory"
        if [ "$(stat -c %u "$directory")" = 0 ]; then chown "$PUID:$PGID" "$directory"; fi
    done
    exec setpriv --reuid "$PUID" --regid "$PGID" --clear-groups --no-new-privs -- "$0" "$@"
fi

# The password between the containers is made on the first start and kept in a volume of its own.
if [ -n "${REDIS_PASSWORD_FILE:-}" ] && [ -z "${REDIS__URL:-}" ]; then
    REDIS__URL="redis://:$(cat "$REDIS_PASSWORD_FILE")@${REDIS_HOST:-redis}:6379/0"
    export REDIS__URL
fi

# A container listens on every address of its own; what others reach is decided by where its port is published.
case "${CCPROXY_PUBLISH:-}" in
127.* | localhost | ::1 | "[::1]") export SECURITY__ALLOW_OPEN_BIND="${SECURITY__ALLOW_OPEN_BIND:-true}" ;;
esac

exec "$@"

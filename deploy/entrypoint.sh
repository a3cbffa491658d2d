#!/bin/sh
# The first program of every container: checks the user, sets what all our programs need, then becomes the program
# itself, so that signals reach it. Nothing here or after it runs as root.
set -eu

refuse() {
    printf '%s\n' "$1" >&2
    exit 78 # EX_CONFIG of sysexits.h
}

uid=$(id -u) gid=$(id -g)
if [ "$uid" = 0 ]; then
    refuse "This container was started as root, and Claude's tools would be root too. Start it as a user: \`docker run --user 1000:1000\`; docker-compose.yml does so with PUID and PGID."
fi
if [ "${PUID:-$uid}" != "$uid" ]; then
    refuse "PUID is $PUID, but this container was started as user $uid. Start it as that user: \`docker run --user $PUID:${PGID:-$PUID}\`."
fi

HOME="${CLAUDE_HOME:-/data/home}"
export HOME
export XDG_DATA_HOME="${XDG_DATA_HOME:-/data}" XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"

# Folders that this service must be able to write. `prepare` gives the volumes to PUID:PGID before anything starts.
for folder in ${CCPROXY_WRITES:-}; do
    if [ ! -d "$folder" ] || [ ! -w "$folder" ]; then
        refuse "$folder cannot be written by user $uid. Run \`docker compose up -d prepare\` and read its log; for a folder of the host: \`sudo chown -R $uid:$gid FOLDER\`."
    fi
done

# The password between the containers; `prepare` makes it on the first start and keeps it in a volume of its own.
if [ -n "${REDIS_PASSWORD_FILE:-}" ] && [ -z "${REDIS__URL:-}" ]; then
    REDIS__URL="redis://:$(cat "$REDIS_PASSWORD_FILE")@${REDIS_HOST:-redis}:6379/0"
    export REDIS__URL
fi

# A container listens on every address of its own. Who reaches them is decided by the address its port is published on.
case "${CCPROXY_PUBLISH:-}" in
127.* | localhost | ::1 | "[::1]") export SECURITY__ALLOW_OPEN_BIND="${SECURITY__ALLOW_OPEN_BIND:-true}" ;;
esac

exec "$@"

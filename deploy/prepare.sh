#!/bin/sh
# Prepare the volumes and folders of the stack before each start; then end. Runs as root, with three capabilities and
# no network: the only program of ours that is root.
#   - The password of Redis is made on the first start.
#   - Each volume belongs to PUID:PGID. After a change of PUID a volume is handed over with everything in it.
#   - A folder of the host is given to PUID:PGID only if the engine has just made it: root's, and empty. Any other
#     folder of the host is never changed; if it belongs to somebody else, the log says which command changes that.
set -eu

for number in "${PUID:-}" "${PGID:-}"; do
    case "$number" in
    *[!0-9]* | "")
        echo "PUID and PGID must be numbers: the output of \`id -u\` and \`id -g\`." >&2
        exit 78
        ;;
    esac
done
if [ "$PUID" = 0 ]; then
    echo "PUID=0 is root: Claude's tools would be root too. Set PUID and PGID to a user's numbers." >&2
    exit 78
fi

if [ ! -s "$REDIS_PASSWORD_FILE" ]; then
    umask 022 # everybody in the volume may read it; nobody else has the volume
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$REDIS_PASSWORD_FILE.new"
    mv "$REDIS_PASSWORD_FILE.new" "$REDIS_PASSWORD_FILE"
fi

volumes=$PREPARE_VOLUMES folders=$PREPARE_FOLDERS
if [ -n "${CCPROXY_WORKSPACE:-}" ]; then # a folder of the host, else a volume
    folders="$folders $PREPARE_WORKSPACE"
else
    volumes="$volumes $PREPARE_WORKSPACE"
fi

# `chown -R` changes a folder after its content, so an interrupted hand-over is begun again at the next start.
for volume in $volumes; do
    if [ "$(stat -c %u:%g "$volume")" != "$PUID:$PGID" ]; then
        echo "$volume: handing the volume over to $PUID:$PGID."
        chown -hR "$PUID:$PGID" "$volume"
    fi
done

for folder in $folders; do
    owner=$(stat -c %u "$folder")
    if [ "$owner" = 0 ] && [ -z "$(ls -A "$folder")" ] && chown "$PUID:$PGID" "$folder" 2>/dev/null; then
        echo "$folder: the engine made this folder; it belongs to $PUID:$PGID now."
    elif [ "$owner" != "$PUID" ]; then
        echo "$folder belongs to user $owner, and the stack runs as user $PUID. If it cannot read or write there: set PUID to $owner, or \`sudo chown -R $PUID:$PGID\` the folder of the host." >&2
    fi
done

#!/bin/sh
# Makes the password between the containers, once. Everybody in the volume may read it; nobody else has the volume.
set -eu
if [ -s "$REDIS_PASSWORD_FILE" ]; then exit 0; fi
umask 022
od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$REDIS_PASSWORD_FILE.new"
mv "$REDIS_PASSWORD_FILE.new" "$REDIS_PASSWORD_FILE"

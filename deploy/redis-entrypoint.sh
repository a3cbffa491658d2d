#!/bin/sh
# The bus's server: its password on standard input, so that no process list shows it. What it keeps is bounded, and at
# the bound writes fail rather than push out what others rely on.
set -eu
exec valkey-server - <<CONFIGURATION
requirepass $(cat "$REDIS_PASSWORD_FILE")
dir /data
save ""
appendonly yes
appendfsync everysec
auto-aof-rewrite-min-size 16mb
maxmemory 256mb
maxmemory-policy noeviction
CONFIGURATION

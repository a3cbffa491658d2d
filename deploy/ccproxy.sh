#!/bin/sh
# `ccproxy` in a container, as `docker compose exec` and health checks find it: the same user and places as the services.
exec /usr/local/lib/ccproxy/entrypoint.sh /opt/ccproxy/bin/ccproxy "$@"

#!/bin/sh
# `ccproxy` in a container, as `docker compose exec` finds it: with the home, the places and the Redis of the services.
exec /usr/local/lib/ccproxy/entrypoint.sh /opt/ccproxy/bin/ccproxy "$@"

"""The HTTP side of the gateway: connections, guard, addresses, access log, start and stop."""

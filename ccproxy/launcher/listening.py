"""The listening socket of a stack: made once by the launcher, shared by all gateways.

Errors name the option to change. The address at which this machine reaches the socket is told here
too, because a socket that listens everywhere has no address of its own.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import socket

from shared.runtime.errors import CCProxyError
from shared.settings.problems import ConfigurationError

BACKLOG = 2048
# The hosts that listen on every address, and the address by which this machine reaches each.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
OPEN_FILES = 8192  # two for each of the streams one gateway carries, with room to spare


class Unavailable(CCProxyError):
    """A resource that the stack needs is missing."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises Unavailable, or ConfigurationError for an address no
    process can listen on.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ConfigurationError(
            f"SERVER__HOST: {host!r} is not an address of this machine."
        ) from error
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        # Without it a restart would fail while connections of the stack before are still in
        # TIME_WAIT.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise _cannot_listen(host, port, error) from error
    return listening


def _cannot_listen(host: str, port: int, error: OSError) -> CCProxyError:
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"Port {port} on {host} is in use by another program; choose another with --port."
        )
    if error.errno == errno.EACCES:
        return ConfigurationError(
            f"Port {port} needs more rights than you have; choose one above 1023 with --port."
        )
    return ConfigurationError(
        f"Nothing can listen on {host} port {port}: {error.strerror}. See --host and --port."
    )


def local_host(host: str) -> str:
    """Return the host name under which local programs reach a listener on `host`."""
    return EVERYWHERE.get(host, host)


def local_url(host: str, port: int) -> str:
    """Return the address under which local programs reach a listener on `host` and `port`."""
    reached = local_host(host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def allow_open_files() -> None:
    """Raise the limit of open files to OPEN_FILES, as far as the system lets this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def refuse_connections(listening: socket.socket) -> None:
    """End listening in every process that has the socket: clients are refused at once, and none
    waits in an unserved queue.
    """
    # Only Linux does so; elsewhere clients wait for the end of this process
    with contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)

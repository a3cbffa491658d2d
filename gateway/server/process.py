"""The gateway as a process: serves the socket inherited from its supervisor as descriptor 0, else
binds its own.

At a signal the process accepts nothing more. While further processes accept on the same socket, the
process serves its connections to the end (`gateway/server/draining.py`); else open requests get a
short grace and then a typed error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from functools import partial
from typing import cast

import uvicorn

from gateway.server.app import open_gateway
from gateway.server.asgi import ASGIApp
from gateway.server.connections import Connections, LimitedProtocol, check_times
from gateway.server.draining import Drainable, drain, others_accept
from gateway.server.forwarded import TrustedProxies
from gateway.server.reload import Reloading, reload_on_demand
from shared.bus import Bus
from shared.runtime.log import get_log
from shared.runtime.process import instance_name, run_service, settle_collector
from shared.settings.problems import ConfigurationError
from shared.settings.servers import ServerSettings
from shared.settings.tree import Settings, foreign_addresses, refuse_open_bind

BACKLOG = 2048
TICKS_PER_SECOND = 10  # of uvicorn's main loop
HARD_STOP_SECONDS = 1  # after the grace: what is still open then is cut


def main() -> None:
    run_service("gateway", run_gateway)


async def run_gateway(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop`. Raises ConfigurationError when the address cannot or must not
    be bound.
    """
    refuse_open_bind(settings)
    url = settings.redis.url.get_secret_value() if settings.redis.url else ""
    instance = instance_name()
    for name, address in foreign_addresses(settings):
        get_log().debug("credentials_go_elsewhere", setting=name, address=address)
    shared = inherited_socket()
    # The copy is closed once this gateway accepts no more; `shared` still answers whether others
    # do.
    listening = shared.dup() if shared else bind_socket(settings.server.host, settings.server.port)
    bus = Bus(url, service="gateway", instance=instance)
    async with (
        bus,
        Reloading(settings, bus, instance=instance, open_gateway=open_gateway) as gateway,
    ):
        server = Server(gateway, settings.server)
        settle_collector()
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reloads = asyncio.create_task(reload_on_demand(gateway))
        host, port = listening.getsockname()[:2]
        get_log().debug("listening", host=host, port=port)
        bus.describe(host=host, port=port)
        await asyncio.wait(
            [serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        # No reload may open a further gateway now. Then, in order: end the held requests, accept
        # nothing more, let accepted connections end, end the remaining requests, and let uvicorn
        # leave.
        reloads.cancel()
        gateway.end_holds()
        await server.leave(settings.server, shared)
        await gateway.stop(settings.server.shutdown_grace_seconds)
        server.should_exit = True
        await serving
        # uvicorn may have ended by itself: the task that waits for `stop` must end too.
        stop.set()


class Server(uvicorn.Server):
    """Uvicorn with the limits of `gateway/server/connections.py`. Signals belong to
    `shared/runtime/process.py`.
    """

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, limits: Connections | None = None
    ) -> None:
        """Configure uvicorn. The default of `limits` comes from the settings."""
        if limits is None:
            limits = Connections(
                settings.connections_per_address, TrustedProxies(settings.trusted_proxies)
            )
        self._limits = limits
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=cast("type[asyncio.Protocol]", partial(LimitedProtocol, limits=limits)),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=HARD_STOP_SECONDS,
                timeout_keep_alive=75,
            )
        )

    async def on_tick(self, counter: int) -> bool:
        """Check the connections once a second; uvicorn calls the method ten times as often."""
        if counter % TICKS_PER_SECOND == 0:
            check_times(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def leave(self, settings: ServerSettings, shared: socket.socket | None) -> None:
        """Stop to accept. While further processes accept on the `shared` socket, serve accepted
        connections to the end.
        """
        for server in self.servers:
            server.close()

        def others() -> bool:
            return shared is not None and others_accept(shared, settings.workers)

        connections = cast("set[Drainable]", self.server_state.connections)
        await drain(
            connections, self._limits, settings.drain_seconds if others() else 0, go_on=others
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def inherited_socket() -> socket.socket | None:
    """Return the listening socket that a supervisor shares between gateways as descriptor 0; None
    without such a socket.
    """
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        return None
    return socket.socket(fileno=os.dup(0))


def bind_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on: {error.strerror}; choose another SERVER__PORT."
        ) from error
    return listening

"""The settings of the server and of its bus: where the gateway listens, its limits, and the address
of Redis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field

from shared.settings.guarded import GUARDED
from shared.settings.networks import Network, is_loopback
from shared.settings.places import default_run_dir, state_dir
from shared.settings.problems import ConfigurationError
from shared.settings.providers import Section
from shared.settings.redis_address import SENTINEL_PREFIX, RedisUrl

MEBIBYTE = 1024 * 1024


class ServerSettings(Section):
    """The address of the gateway, and the limits of requests."""

    host: str = Field(
        "127.0.0.1", description="Address the gateway listens on.", json_schema_extra=GUARDED
    )
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        description="Port the gateway listens on; 0 picks a free one.",
        json_schema_extra=GUARDED,
    )
    workers: int = Field(
        1, ge=1, le=64, description="Gateway processes sharing the one listening socket."
    )
    run_dir: Path = Field(
        default_factory=default_run_dir,
        description="Sockets and pid of one running stack.",
        json_schema_extra=GUARDED,
    )
    state_dir: Path | None = Field(
        None,
        description="Data that outlives a run, such as Redis' file; unset: in the XDG state "
        "directory, or in your `run_dir`.",
        json_schema_extra=GUARDED,
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level that is logged."
    )
    log_format: Literal["auto", "json", "plain", "rich"] = Field(
        "auto", description="`auto`: colours on a terminal, JSON elsewhere."
    )
    max_body_bytes: int = Field(
        32 * MEBIBYTE, ge=1024, description="Largest request body (Anthropic's own limit)."
    )
    max_upload_bytes: int = Field(
        500 * MEBIBYTE,
        ge=1024,
        description="Largest file or batch passed on to Anthropic; it is never held.",
    )
    max_bodies_bytes: int = Field(
        256 * MEBIBYTE,
        ge=MEBIBYTE,
        description="All request bodies one gateway holds at once; then 429.",
    )
    connect_timeout_seconds: float = Field(
        10, gt=0, description="Longest wait for a connection to a provider."
    )
    body_timeout_seconds: float = Field(
        30, gt=0, description="Longest silence within a request's body."
    )
    first_byte_timeout_seconds: float = Field(
        600,
        gt=0,
        description="Longest wait for a provider's first byte, in a stream for its first "
        "whole event.",
    )
    idle_timeout_seconds: float = Field(
        300, gt=0, description="Longest silence within a provider's stream."
    )
    ping_interval_seconds: float = Field(
        15, gt=0, description="Silence towards the client after which a stream gets a native ping."
    )
    connections_per_address: int = Field(
        256,
        ge=1,
        description="Connections one client address may have open; loopback and trusted proxies "
        "more.",
    )
    trusted_proxies: list[Network] = Field(
        ["127.0.0.1", "::1"],
        description="Addresses and networks of reverse proxies whose `X-Forwarded-*` headers are "
        "believed.",
        json_schema_extra=GUARDED,
    )
    shutdown_grace_seconds: float = Field(
        0.5, ge=0, description="Seconds that active requests may take to finish at shutdown."
    )
    drain_seconds: float = Field(
        30,
        ge=0,
        description="Seconds that the requests of a replaced gateway may continue while others "
        "serve.",
    )


class RedisSettings(Section):
    """The bus between the processes."""

    model_config = ConfigDict(json_schema_extra=GUARDED)

    url: RedisUrl | None = Field(
        None,
        description="redis://, rediss:// or unix:// address, or redis+sentinel:// with the "
        "sentinels of several servers; unset: start our own.",
    )
    server_binary: Path | None = Field(
        None, description="A redis-server or valkey-server to start instead of ours."
    )

    def is_elsewhere(self) -> bool:
        """Return True if the address of Redis leads to another machine or container. Sentinels are
        there for several machines.
        """
        url = self.url.get_secret_value() if self.url else ""
        host = urlsplit(url).hostname or ""
        return url.startswith(SENTINEL_PREFIX) or (bool(host) and not is_loopback(host))

    def address(self) -> str:
        """The URL in clear. Raises ConfigurationError: a service started alone brings no Redis."""
        if self.url is None:
            raise ConfigurationError(
                "REDIS__URL is not set; `ccproxy serve` sets it for the services it starts."
            )
        return self.url.get_secret_value()


def stack_state_dir(server: ServerSettings) -> Path:
    """Return the state directory: the directory set, else the usual directory beside the usual run
    directory.

    A run directory of the owner's choice has its state in it.
    """
    if server.state_dir is not None:
        return server.state_dir
    return state_dir() / "stack" if server.run_dir == default_run_dir() else server.run_dir

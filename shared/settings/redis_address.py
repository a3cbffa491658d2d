"""The address of Redis in settings: one server, or the sentinels that name the primary of several
servers.

A password is part of the address, so no error repeats the address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, SecretStr

SENTINEL_PREFIX = "redis+sentinel://"
TLS_PREFIX = "rediss://"
SERVER_PORT = 6379  # the port of a server without one in the address
SENTINEL_PORT = 26379  # the port of a sentinel without one in the address
SERVER_SCHEMES = {"redis", "rediss", "unix"}
FORM = "redis+sentinel://[user:password@]host:port,host:port,host:port/service/database"
ONE_SENTINEL = re.compile(
    r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:,\s]+))(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """An address that begins with SENTINEL_PREFIX: hosts and ports of the sentinels, and the name
    by which they know the group of servers.

    `user` and `password` are for the servers, `sentinel_user` and `sentinel_password` for the
    sentinels; None where there is none.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


def is_sentinel_url(url: str) -> bool:
    """Return True if `url` names sentinels."""
    return url.startswith(SENTINEL_PREFIX)


def read_sentinel_url(url: str) -> SentinelAddress:
    """Return the parts of an address of the form FORM, with `sentinel_user` and
    `sentinel_password` as optional query parameters. Raises ValueError naming the problem, never
    the value.
    """
    # `urlsplit` is of no use here: newer ones refuse several hosts of which one is in brackets.
    rest, _, parameters = url.removeprefix(SENTINEL_PREFIX).partition("?")
    before, _, path = rest.partition("/")
    user_info, _, hosts = before.rpartition("@")
    user, _, password = user_info.partition(":")
    service, _, database = path.strip("/").partition("/")
    if not service:
        raise ValueError(f"the name of the service is missing; expected {FORM}")
    if database and not database.isdecimal():
        raise ValueError(f"the database must be a number; expected {FORM}")
    query = parse_qs(parameters, keep_blank_values=True)
    if unknown := set(query) - {"sentinel_user", "sentinel_password"}:
        raise ValueError(
            f"the parameter {min(unknown)!r} is not known; `sentinel_user` and "
            "`sentinel_password` are"
        )
    return SentinelAddress(
        tuple(_read_sentinel(each) for each in hosts.split(",")),
        unquote(service),
        int(database or 0),
        unquote(user) or None,
        unquote(password) or None,
        query.get("sentinel_user", [None])[0],
        query.get("sentinel_password", [None])[0],
    )


def _read_sentinel(text: str) -> tuple[str, int]:
    found = ONE_SENTINEL.fullmatch(text)
    port = int(found["port"] or SENTINEL_PORT) if found else 0
    if found is None or not 0 < port < 65536:
        raise ValueError(f"a sentinel must be host:port; expected {FORM}")
    return found["v6"] or found["name"], port


def check_redis_url(url: SecretStr) -> SecretStr:
    """Return `url` if Redis may have this address. Raises ValueError naming the problem, never the
    value.
    """
    value = url.get_secret_value()
    # An empty value is a setting without a value.
    if not value:
        return url
    if is_sentinel_url(value):
        read_sentinel_url(value)
    elif value.partition("://")[0] not in SERVER_SCHEMES:
        raise ValueError(
            f"expected an address as redis://host:port/0, rediss://…, unix://…, or {FORM}"
        )
    return url


def tls_address(url: str) -> str:
    """Return the address of a Redis with TLS as `rediss://host:port/database`, without user,
    password and parameters. Raises ValueError naming the problem, never the password.
    """
    parts = urlsplit(url)
    host = parts.hostname
    database = parts.path.strip("/") or "0"
    if parts.scheme != "rediss" or not host or not database.isdecimal():
        raise ValueError("expected an address with TLS, as rediss://host:6379")
    shown = f"[{host}]" if ":" in host else host
    # A wrong port raises ValueError by itself.
    return f"{TLS_PREFIX}{shown}:{parts.port or SERVER_PORT}/{database}"


def database_of(url: str) -> int:
    """Return the number of the database in the address of one server; 0 without one."""
    parts = urlsplit(url)
    given = parse_qs(parts.query).get("db", [parts.path.strip("/")])[-1]
    return int(given) if given.isdecimal() else 0


RedisUrl = Annotated[SecretStr, AfterValidator(check_redis_url)]

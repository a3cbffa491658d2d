"""The access of a worker on another machine to the stack's Redis: an ACL user that has the keys and
commands of a worker and no other, and the invitation by which its machine gets the password.

An invitation makes two users. `ccproxy-worker-NAME` is the worker's; its password lies in Redis
under the invitation's key, which has an end. `ccproxy-join-NAME` may take that key, once, and
nothing else; a join token holds the password of this user alone. Invariant: after the first use,
and after the end, nothing that the token holds leads to the worker's password.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from shared.bus.channels import (
    CUSTOM_RESULTS,
    PERMISSION_REQUESTS,
    SDK_TURN,
    SESSION_PREFIX,
    WORKER_DRAIN,
)
from shared.bus.connection import COMMAND_SECONDS, milliseconds, open_client
from shared.bus.session_store import OWNER
from shared.bus.wire import PROCESSES
from shared.runtime.errors import CCProxyError
from shared.runtime.metric_snapshots import snapshot_key
from shared.settings.redis_address import database_of

OLDEST_FOR_ACCESS = 7  # Redis' first version whose users may read a key and not write it
PASSWORD_BYTES = 32
WORKER_USER = "ccproxy-worker-"
JOINING_USER = "ccproxy-join-"
# The longest time without a command of the owner after which an unused invitation is still known
# to be unused. Later its worker's user stays until it is revoked; nobody has its password.
MARK_SECONDS = 30 * 86_400.0

# Commands of a worker: those that the bus, the store of transcripts and their scripts send. What
# is not named is refused: CONFIG, KEYS, SCAN, FLUSHALL, ACL, SHUTDOWN, MONITOR, SCRIPT, PUBLISH.
WORKER_COMMANDS = (
    *("ping", "time", "multi", "exec", "discard", "eval"),
    *("get", "set", "mget", "del", "exists", "pexpire"),
    *("xadd", "xlen", "xtrim", "xdel", "xack", "xread", "xreadgroup", "xautoclaim", "xclaim"),
    *("xpending", "xgroup|create", "xgroup|delconsumer", "xinfo|consumers"),
    *("hget", "hset", "hdel", "hincrby", "hstrlen"),
    *("zadd", "zrem", "zrange", "zrangebyscore", "zcard"),
)


class AccessRefused(CCProxyError):
    """Redis gives a worker no access, or takes none away."""


def worker_key_rules(name: str) -> list[str]:
    """Return the key patterns of the worker `name`, in the form of ACL SETUSER."""
    address = f"sdk_worker:{name}:*"
    channels = [
        SDK_TURN.name,
        f"{SDK_TURN.name}+*",
        *(channel.at(address).name for channel in (SDK_TURN, CUSTOM_RESULTS, WORKER_DRAIN)),
        PERMISSION_REQUESTS.name,
    ]
    used = [
        # A worker answers gateways and places calls at the permission service. A script's keys
        # must be both read and written, whatever the script does with them.
        *(f"inbox:{whose}" for whose in (address, "gateway:*", "permission_service:*")),
        *(f"channel:{channel}" for channel in channels),
        *(f"holder:{channel}:*" for channel in channels),
        *(f"serving:{channel}" for channel in channels if channel != PERMISSION_REQUESTS.name),
        f"process:{address}",
        PROCESSES,
        snapshot_key("sdk_worker", name),
        f"{SESSION_PREFIX}*",
        f"turn:{SESSION_PREFIX}*",
        "left:*",
        f"transcripts:{OWNER}:*",
    ]
    read = ["process:*", f"serving:{PERMISSION_REQUESTS.name}"]
    return [*(f"~{pattern}" for pattern in used), *(f"%R~{pattern}" for pattern in read)]


def invitation_key(name: str) -> str:
    """Return the key of the worker's password, which the invited machine takes."""
    return f"invitation:{name}"


def unused_key(name: str) -> str:
    """Return the key that is there as long as the invitation was not used."""
    return f"invited:{name}"


def new_password() -> str:
    """Return a password that nobody can guess, of letters that an address may hold."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


async def invite_worker(url: str, name: str, seconds: float) -> tuple[str, bool]:
    """Make an invitation for the worker `name` that holds `seconds`. Return the password of the
    joining user, and True if the users outlive a restart of Redis.

    Raises AccessRefused, also for a worker that was invited before.
    """
    async with _owner(url) as server:
        await _remove_unused(server)
        if WORKER_USER + name in await _users(server):
            raise AccessRefused(
                f"A worker {name!r} was invited before; `ccproxy workers revoke {name}` takes its "
                "access, then it can be invited again."
            )
        # Its patterns would hold in every database: a user sees the stack's alone.
        database = database_of(url)
        select = (f"select|{database}",) if database else ()
        password = new_password()
        joining_password = new_password()
        # The key comes before the users: a user without a key counts as one whose invitation is
        # over, and the owner's next command would remove it.
        await server.set(unused_key(name), "1", px=milliseconds(seconds + MARK_SECONDS))
        await server.set(invitation_key(name), password, px=milliseconds(seconds))
        await _set_user(
            server,
            WORKER_USER + name,
            password,
            worker_key_rules(name),
            (*WORKER_COMMANDS, *select),
        )
        await _set_user(
            server,
            JOINING_USER + name,
            joining_password,
            [f"~{invitation_key(name)}", f"~{unused_key(name)}"],
            ("multi", "exec", "discard", "getdel", "del", *select),
        )
        return joining_password, await _saved(server)


async def revoke_worker(url: str, name: str) -> bool:
    """Delete the users of the worker `name`; Redis closes their connections. Return False if the
    worker has none. Raises AccessRefused.
    """
    async with _owner(url) as server:
        await _remove_unused(server)
        deleted = await _acl(server, "DELUSER", WORKER_USER + name, JOINING_USER + name)
        await server.delete(invitation_key(name), unused_key(name))
        await _saved(server)
        return bool(deleted)


async def accept_invitation(url: str, name: str, *, ca: str | None = None) -> str:
    """Take the password of the worker `name` from its invitation. `url` has the joining user and
    its password; `ca` is trusted beside the authorities of the system. Raises AccessRefused.
    """
    async with _connected(url, ca) as server, server.pipeline(transaction=True) as taking:
        taking.getdel(invitation_key(name))
        taking.delete(unused_key(name))
        password, _ = await taking.execute()
    if password is None:
        raise AccessRefused(
            "This join token was used already, or has expired; make another one with "
            "`ccproxy workers invite`. If you have not used it, somebody else has: "
            f"`ccproxy workers revoke {name}` takes that access."
        )
    found: str = password.decode()
    return found


async def check_access(url: str, *, ca: str | None = None) -> None:
    """Return if Redis takes the user and the password of `url`. Raises AccessRefused."""
    async with _connected(url, ca) as server:
        await server.ping()


async def _acl(server: Redis, *words: str) -> Any:
    return await server.execute_command("ACL", *words)  # type: ignore[no-untyped-call]


async def _set_user(
    server: Redis, user: str, password: str, keys: list[str], commands: tuple[str, ...]
) -> None:
    # `reset` begins without keys, channels, commands and passwords. The password travels as its
    # hash, so no log of Redis' commands has it.
    digest = hashlib.sha256(password.encode()).hexdigest()
    allowed = [f"+{command}" for command in commands]
    await _acl(server, "SETUSER", user, "reset", "on", f"#{digest}", *keys, *allowed)


async def _users(server: Redis) -> set[str]:
    return {user.decode() for user in await _acl(server, "USERS")}


async def _remove_unused(server: Redis) -> None:
    """Delete the users of invitations that are over: both of one that was not used, the joining
    user of one that was.
    """
    for user in sorted(await _users(server)):
        name = user.removeprefix(JOINING_USER)
        if name == user or await server.exists(invitation_key(name)):
            continue
        unused = await server.exists(unused_key(name))
        gone = [user, WORKER_USER + name] if unused else [user]
        await _acl(server, "DELUSER", *gone)
        await server.delete(unused_key(name))


async def _saved(server: Redis) -> bool:
    """Write the users to Redis' ACL file. Return False if Redis has none."""
    try:
        await _acl(server, "SAVE")
    except NoPermissionError:
        raise
    except ResponseError:
        return False
    return True


@contextlib.asynccontextmanager
async def _owner(url: str) -> AsyncIterator[Redis]:
    """Yield a connection of the owner to a Redis that knows such users. Raises AccessRefused."""
    try:
        async with _connected(url) as server:
            version = str((await server.info("server"))["redis_version"])
            if int(version.partition(".")[0]) < OLDEST_FOR_ACCESS:
                raise AccessRefused(
                    f"Workers join a Redis {OLDEST_FOR_ACCESS} or newer, or a Valkey; this one is "
                    f"version {version}."
                )
            yield server
    except NoPermissionError as error:
        raise AccessRefused(
            "The user in REDIS__URL may not change who has access (ACL); name one that may."
        ) from error


@contextlib.asynccontextmanager
async def _connected(url: str, ca: str | None = None) -> AsyncIterator[Redis]:
    """Yield a connection to the Redis at `url`. Raises AccessRefused in the owner's words, and
    NoPermissionError.
    """
    try:
        async with asyncio.timeout(2 * COMMAND_SECONDS), open_client(url, ca=ca) as server:
            yield server
    except NoPermissionError:
        raise
    except ResponseError as error:
        raise AccessRefused(f"Redis refuses: {error}") from error
    except (RedisError, OSError) as error:
        raise AccessRefused(unreached(url, error)) from error


def unreached(url: str, error: BaseException) -> str:
    """Return the sentence for the `error` of a connection to `url`, which is not repeated."""
    parts = urlsplit(url)
    place = parts.hostname or parts.path
    if parts.port:
        place = f"{place}:{parts.port}"
    # The library's own error may have no word of the one that it handled.
    for cause in errors_behind(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"The certificate of {place} is not trusted: {cause.verify_message}. "
                "`ccproxy workers invite` takes the certificate of your own authority with --ca, "
                "and the name in the address must be one of the certificate's."
            )
        if isinstance(cause, AuthenticationError):
            return (
                "Redis does not know this user and password: the join token or the access was "
                "revoked, has expired, or was lost with a restart of Redis."
            )
    reason = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else "no answer")
    return f"Redis at {place} is not reachable: {reason}"


def errors_behind(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and the errors that it came from, the latest first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__

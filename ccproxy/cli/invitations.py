"""`ccproxy workers invite` and `revoke`: who may join the stack as a worker from another machine.

Both change the users of the Redis in the owner's settings and ask nothing of the stack, so they
work while it is stopped.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.join_token import JoinToken, write_join_token
from ccproxy.cli.output import show_line
from shared.bus.worker_access import JOINING_USER, AccessRefused, invite_worker, revoke_worker
from shared.runtime.times import minute_in_utc
from shared.settings.labels import check_label
from shared.settings.networks import is_loopback
from shared.settings.redis_address import database_of, tls_address
from shared.settings.tree import Settings, load_settings

GUIDE = "docs/how-to/fleet.md"
OWN_PREFIX = "sdk_worker"  # the launcher's workers are called so
HOLDS_SECONDS = (60.0, 7 * 86_400.0)  # the shortest and the longest invitation
BEGIN_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def print_invitation(
    name: str | None, seconds: float, address: str | None, ca_file: Path | None
) -> int:
    """Print a join token on stdout, and what to do with it on stderr. Raises AccessRefused."""
    settings = load_settings()
    url = owners_redis(settings)
    chosen = checked_name(name or f"worker-{secrets.token_hex(3)}")
    reached_at = address_for_others(url, address)
    ca = read_authority(ca_file)
    shortest, longest = HOLDS_SECONDS
    if not shortest <= seconds <= longest:
        raise AccessRefused("An invitation holds for one minute to 7 days.")
    expires_at = time.time() + seconds
    password, saved = asyncio.run(invite_worker(url, chosen, seconds))
    token = JoinToken(
        name=chosen,
        address=reached_at,
        user=JOINING_USER + chosen,
        password=password,
        ca=ca,
        expires_at=expires_at,
    )
    show_line(write_join_token(token))
    say(
        f"Give this line to `ccproxy worker join -` on the other machine before "
        f"{minute_in_utc(expires_at)}. It works once; whoever uses it becomes the worker {chosen}."
    )
    if not saved:
        say(
            "This Redis forgets its workers at a restart, and they must be invited again: it has "
            f"no ACL file (`aclfile`, see {GUIDE})."
        )
    return DONE


def revoke_invited(name: str) -> int:
    """Take the access of the worker `name`. Raises AccessRefused."""
    url = owners_redis(load_settings())
    if not asyncio.run(revoke_worker(url, checked_name(name))):
        say(f"No worker {name!r} was invited, or its access was taken before.")
        return FAILED
    say(f"{name} has no access to Redis any more; its connections are closed.")
    return DONE


def owners_redis(settings: Settings) -> str:
    """Return the owner's address of Redis. Raises AccessRefused for a Redis that no other machine
    can reach.
    """
    url = settings.redis.url.get_secret_value() if settings.redis.url else ""
    if not url or url.startswith("unix:"):
        raise AccessRefused(
            "The Redis that CCProxy starts itself listens on a socket of this machine and has no "
            f"TLS. Run a Redis or Valkey with TLS and set REDIS__URL; {GUIDE} shows how."
        )
    if urlsplit(url).scheme not in {"redis", "rediss"}:
        raise AccessRefused(
            "Workers join a single Redis with TLS; behind sentinels they are started with "
            f"REDIS__URL, as {GUIDE} shows."
        )
    return url


def address_for_others(url: str, given: str | None) -> str:
    """Return the TLS address at which another machine reaches Redis: `given`, else the owner's own
    `url`; the database is the one of `url`, which the stack uses. Raises AccessRefused.
    """
    own = urlsplit(url)
    is_reached = own.scheme == "rediss" and not is_loopback(own.hostname or "")
    if given is None and not is_reached:
        raise AccessRefused(
            "REDIS__URL is an address without TLS, or one of this machine alone. Name the address "
            "at which other machines reach this Redis with TLS: --address rediss://HOST:PORT; "
            f"{GUIDE} shows how to run one."
        )
    try:
        server, _, _ = tls_address(given or url).rpartition("/")
    except ValueError as error:
        raise AccessRefused(f"--address: {error}.") from error
    return f"{server}/{database_of(url)}"


def checked_name(name: str) -> str:
    """Return `name` if a worker of another machine may have it. Raises AccessRefused."""
    try:
        check_label(name)
    except ValueError as error:
        raise AccessRefused(f"{error}.") from error
    if name.startswith(OWN_PREFIX):
        raise AccessRefused(f"The names that begin with {OWN_PREFIX} are those of this machine.")
    return name


def read_authority(path: Path | None) -> str:
    """Return the certificate of an authority in PEM; an empty text without a file. Raises
    AccessRefused.
    """
    if path is None:
        return ""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise AccessRefused(f"{path} cannot be read: {reason}.") from error
    # A key beside the certificate would travel in the token.
    if BEGIN_CERTIFICATE not in text or "PRIVATE KEY" in text:
        raise AccessRefused(f"{path} must hold a certificate in PEM, and no key.")
    return text

"""A gateway for one question, where no stack runs: started for the question, ended with it.

The gateway has the settings in force here, so the owner's credentials, and is reached from this
machine alone with a token of its own. It needs neither Redis nor the other services, because `/api`
and `/codex` do not; its records are not kept.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ccproxy.cli.found_stack import FoundStack, find_stack
from ccproxy.cli.gateway import Unanswered, not_running
from ccproxy.launcher.listening import listen, local_url
from ccproxy.launcher.programs import find_script
from shared.accounts.tokens import STACK_TOKEN, token_digest
from shared.settings.tree import Settings

HOST = "127.0.0.1"
STOP_SECONDS = 10.0


@contextlib.contextmanager
def gateway_of_a_moment(
    settings: Settings, command: list[str] | None = None
) -> Iterator[FoundStack]:
    """Yield a gateway that ends with the block; `command` replaces the installed one.

    Raises NotRunning for a stack named with --url, and Unanswered, with the gateway's last words,
    where the gateway cannot be started.
    """
    named = find_stack(settings)
    if named.found_by == "--url":
        raise not_running(named)
    token = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory(prefix="ccproxy-moment-") as made:
        log = Path(made) / "gateway.log"
        with listen(HOST, 0) as listening, log.open("wb") as output:
            port = listening.getsockname()[1]
            # The socket takes connections from now on, and is the gateway's alone after this
            # block: a question waits until the gateway is up, and fails once the gateway is gone.
            gateway = subprocess.Popen(  # noqa: S603 - our own program
                command or find_script("ccproxy-gateway"),
                stdin=listening.fileno(),
                stdout=output,
                stderr=output,
                env=environment_in(Path(made), token),
            )
        try:
            yield FoundStack(local_url(HOST, port), token, "settings")
        except Unanswered as error:
            if gateway.poll() is None:
                raise
            # It has told the reason before it ended.
            words = log.read_text(errors="replace").strip().splitlines()
            raise Unanswered(words[-1] if words else error.message) from error
        finally:
            end(gateway)


def environment_in(folder: Path, token: str) -> dict[str, str]:
    """Return the environment of the gateway: this process's own, and no part of a stack."""
    ours = {
        STACK_TOKEN: token_digest(token),
        "OBSERVABILITY__SPOOL_BYTES": "0",
        # Nothing answers there, so nothing of a running Redis is touched.
        "REDIS__URL": f"unix://{folder / 'no-redis.sock'}",
        "SERVER__HOST": HOST,
        "SERVER__LOG_LEVEL": "ERROR",
        "SERVER__WORKERS": "1",
    }
    # Settings are read without regard to case.
    return {name: value for name, value in os.environ.items() if name.upper() not in ours} | ours


def end(gateway: subprocess.Popen[bytes]) -> None:
    """End the gateway, by force after STOP_SECONDS."""
    gateway.terminate()
    try:
        gateway.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        gateway.kill()
        gateway.wait()

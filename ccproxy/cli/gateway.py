"""Questions to the running gateway, wherever it was started from this run directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ccproxy.cli.exits import NOT_RUNNING
from ccproxy.launcher.rundir import holder
from shared.runtime.errors import CCProxyError
from shared.settings.tree import Settings

PATIENCE = httpx.Timeout(60.0, connect=5.0)


class Unanswered(CCProxyError):
    """The gateway did not answer the question; the message says why."""

    exit_code = 1


class NotRunning(Unanswered):
    """CCProxy is not running in this run directory; start it with `ccproxy serve`."""

    exit_code = NOT_RUNNING


@contextmanager
def connection(settings: Settings) -> Iterator[httpx.Client]:
    """A client with the stack's address and token. Raises NotRunning, Unanswered for
    any refusal.
    """
    url = (
        holder(settings.server.run_dir).get("url")
        or f"http://{settings.server.host}:{settings.server.port}"
    )
    token = settings.security.auth_token
    headers = {"x-api-key": token.get_secret_value()} if token else {}
    try:
        with httpx.Client(
            base_url=url, headers=headers, timeout=PATIENCE, trust_env=False
        ) as client:
            yield client
    except httpx.ConnectError as error:
        raise NotRunning from error
    except httpx.HTTPError as error:
        raise Unanswered(f"{url} does not answer: {str(error) or type(error).__name__}.") from error


def checked(answer: httpx.Response) -> httpx.Response:
    """Raises Unanswered with the gateway's own words."""
    if answer.is_error:
        answer.read()
        raise Unanswered(error_of_answer(answer))
    return answer


def error_of_answer(answer: httpx.Response) -> str:
    try:
        message: Any = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text[:300]
    return f"{answer.request.url.path}: {message} (HTTP {answer.status_code})"

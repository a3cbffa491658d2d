"""Questions to the running gateway of the stack that a command speaks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ccproxy.cli.exits import NOT_RUNNING
from ccproxy.cli.found_stack import FoundStack, find_stack, listing
from shared.runtime.errors import CCProxyError
from shared.settings.tree import Settings

TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class Unanswered(CCProxyError):
    """The gateway did not answer the question; the message says why."""


class NotRunning(Unanswered):
    """CCProxy is not running here; start it with `ccproxy serve`, or name a stack with --url."""

    exit_code = NOT_RUNNING


@contextmanager
def connection(settings: Settings) -> Iterator[httpx.Client]:
    """A client with the address and the token of the stack to speak to. Raises NotRunning,
    SeveralStacks, Unanswered for any refusal.
    """
    with connection_to(find_stack(settings)) as client:
        yield client


@contextmanager
def connection_to(stack: FoundStack) -> Iterator[httpx.Client]:
    """A client with the address and the token of `stack`. Raises as `connection`."""
    headers = {"x-api-key": stack.token} if stack.token else {}
    try:
        with httpx.Client(
            base_url=stack.url, headers=headers, timeout=TIMEOUT, trust_env=False
        ) as client:
            yield client
    except httpx.ConnectError as error:
        raise not_running(stack) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise Unanswered(f"{stack.url} does not answer: {why}.") from error


def requires_token(stack: FoundStack) -> bool:
    """Return True if a request without a token is refused. Raises NotRunning or Unanswered."""
    nobody = FoundStack(stack.url, "", stack.found_by)
    with connection_to(nobody) as client:
        return client.get("/api/v1/models").status_code == httpx.codes.UNAUTHORIZED


def not_running(stack: FoundStack) -> NotRunning:
    """Return the error of a stack without a gateway, which names the stacks that do run."""
    if stack.found_by == "--url":
        return NotRunning(f"Nothing answers at {stack.url}, the address of --url.")
    if stack.others:
        return NotRunning(
            f"CCProxy is not running at {stack.url}, where the settings of this folder look for "
            f"it. Running: {listing(stack.others)}; choose with --url."
        )
    return NotRunning()


def checked(answer: httpx.Response) -> httpx.Response:
    """Return `answer`. Raises Unanswered for a refusal, in the words of the command line for a
    missing token, else in the gateway's own.
    """
    if answer.is_error:
        answer.read()
        raise Unanswered(error_of_answer(answer))
    return answer


def error_of_answer(answer: httpx.Response) -> str:
    """Return the sentence for a refusal."""
    url = answer.request.url
    refused = answer.status_code == httpx.codes.UNAUTHORIZED
    # Without the challenge it is a provider's login that is missing, and the gateway names it.
    if refused and "www-authenticate" in answer.headers and "expired" not in answer.text:
        return (
            f"The stack at {url.scheme}://{url.netloc.decode()} wants a token: give --token, set "
            "SECURITY__AUTH_TOKEN, or run this in the folder of its configuration (HTTP 401)."
        )
    try:
        message: Any = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text[:300]
    return f"{url.path}: {message} (HTTP {answer.status_code})"

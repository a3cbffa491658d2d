"""A request in the owner's billing order: on the subscription, and on the API key while a window of
the subscription is used up.

The key is tried at most once in a request, and only before the first byte for the client. What may
not be sent twice, or may cost more than its tokens' list price, stays with the subscription. A
refusal of the key is the answer: nothing is tried after it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from gateway.metering.billing_order import BillingOrder
from gateway.metering.quota import QuotaWatch
from gateway.providers import Opened, Outgoing, send_authorized
from gateway.providers.exhaustion import ExhaustedWindow, exhausted_window
from shared.accounts.account import Account
from shared.accounts.login import Authorization
from shared.accounts.used_up import UsedUpWindow
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, QuotaReached

PATHS = ("/v1/messages", "/responses")  # what a model answers; nothing else is sent with the key
# Why the key did not pay although its time had come.
NOT_PAID_HEADER = b"x-ccproxy-api-key"

Send = Callable[[Outgoing, Authorization], Awaitable[Opened]]


async def send_in_order(
    request: Outgoing,
    account: Account,
    quota: QuotaWatch,
    order: BillingOrder | None,
    send: Send,
    send_with_key: Send,
) -> Opened:
    """Send `request` as `send_authorized` does, and with the key of `order` while the key is to
    pay. Raises the errors of `send_authorized`.
    """
    if order is None or not may_use_key(request):
        return await send_authorized(request, account, quota, send)
    # 1. The login comes first in any case: the key is no way around a login that has ended.
    authorization = await account.authorize()
    if authorization.billed_to != "subscription":
        return await send_authorized(request, account, quota, send)
    obstacle = ""
    # 2. A window that is known to be used up: the refusal would be wasted.
    window = order.window_refusing(request.record, authorization)
    stopping = quota.stopping_window(request.record.model)
    if window is None and stopping is not None:
        window = order.stopped(stopping, authorization)
    if window is not None and not (obstacle := await _obstacle(request, order)):
        return await _send_with_key(request, order, window, send_with_key)
    # 3. The subscription: for the first time, or because the key has reached its limit.
    try:
        opened = await send_authorized(request, account, quota, send)
    except QuotaReached as error:
        error.message += f" The API key does not pay: {obstacle}."
        raise
    refused = await _refused_window(opened, request, quota.provider)
    if refused is None:
        return opened
    # 4. A refusal of a window, before the first byte for the client: the key, unless something was
    # seen to stand against it before.
    used_up = order.learn(refused, authorization)
    try:
        obstacle = obstacle or await _obstacle(request, order)
    except BaseException:
        # The refusal is still open; an error must not leak it.
        await opened.aclose()
        raise
    if obstacle:
        opened.headers = [*opened.headers, (NOT_PAID_HEADER, f"unused: {obstacle}".encode())]
        return opened
    await opened.aclose()
    request.record.retries += 1
    return await _send_with_key(request, order, used_up, send_with_key)


def may_use_key(request: Outgoing) -> bool:
    """Return True if a model answers `request` and the request can be sent twice: the bytes of an
    upload are gone after the first reading.
    """
    return (
        request.method == "POST"
        and request.spends
        and request.upload is None
        and request.path.partition("?")[0] in PATHS
    )


async def _obstacle(request: Outgoing, order: BillingOrder) -> str:
    """Return the reason for not paying `request` with the key, in words for a person; empty without
    a reason.
    """
    try:
        extra = extra_cost(request.parsed())
    except ClientError:
        return "the request is no JSON object"
    if extra:
        return extra
    return "" if await order.may_pay() else f"its limit is reached, {order.limit_words()}"


def extra_cost(document: Json) -> str:
    """Return the reason for a cost above the list price of the request's tokens, the measure of the
    daily limit; empty without extra cost.
    """
    tools = document.get("tools")
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, dict) and tool.get("type") == "image_generation":
            return "images cost more than their tokens"
    return "the fast mode costs more than its tokens" if document.get("speed") == "fast" else ""


async def _send_with_key(
    request: Outgoing, order: BillingOrder, window: UsedUpWindow, send: Send
) -> Opened:
    order.note_sent(request.record)
    request.trace.attempt(request.record)
    opened = request.watched(await send(request, order.key))
    if opened.status < 400:
        order.note_answered(window)
    return opened


async def _refused_window(
    opened: Opened, request: Outgoing, provider: str
) -> ExhaustedWindow | None:
    """Return the window called used up in the answer; the body can still be read."""
    if opened.status != 429 or request.record.billed_to != "subscription":
        return None
    body = b""
    if provider == "codex":
        # Only the body says which limit it is; the provider would read it next in any case.
        body = await opened.read_ahead()
    return exhausted_window(
        provider, opened.status, opened.headers, body, request.record.model, time.time()
    )

"""Response headers beside a provider's answer: the asked model, who pays, and a way out of a
refused model.

The answer itself passes unchanged: a refusal that is read here goes on byte for byte.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from json import JSONDecodeError

from gateway.providers import Opened, Outgoing
from gateway.proxy.ignored import UNFIT
from gateway.server.asgi import Headers
from shared.accounts.unknown_models import (
    HINT_HEADER,
    REFUSING_STATUSES,
    is_unknown_model,
    unknown_model_hint,
)
from shared.formats.registry import ProviderFormat
from shared.runtime.errors import UpstreamRefused
from shared.runtime.exact_json import load_json
from shared.runtime.log import get_log

# The model the provider was asked for, if not the model the client named.
MODEL_HEADER = b"x-ccproxy-model"
# Who pays: `subscription`, `api_key` or `extra_usage`, as `billed_to` in records.
BILLED_HEADER = b"x-ccproxy-billed-to"


async def open_and_tell(
    open_answer: Callable[[Outgoing], Awaitable[Opened]], speaks: ProviderFormat, request: Outgoing
) -> Opened:
    """Return a provider's answer with the headers about the asked model and a refused model. A
    raised refusal gets the same headers.
    """
    try:
        opened = await open_answer(request)
    except UpstreamRefused as refusal:
        message = message_of(speaks, refusal.body, refusal.status) or refusal.message
        told = [*answer_headers(request), *hint_header(request, refusal.status, message)]
        refusal.headers = refusal.headers | {name.decode(): value.decode() for name, value in told}
        raise
    hint: Headers = []
    if opened.status in REFUSING_STATUSES and not opened.is_stream:
        body = await opened.read_ahead()
        hint = hint_header(request, opened.status, message_of(speaks, body, opened.status))
    opened.headers = [*opened.headers, *answer_headers(request), *hint]
    return opened


def answer_headers(request: Outgoing) -> Headers:
    """Return the headers about the asked model and about who pays."""
    billed = request.record.billed_to
    paid = [(BILLED_HEADER, billed.encode())] if billed not in ("", "unknown") else []
    return [*model_header(request), *paid]


def model_header(request: Outgoing) -> Headers:
    """Return the header with the model that the provider was asked for; no header if the client
    named the same model.
    """
    sent = (request.document or {}).get("model")
    if not isinstance(sent, str) or sent == request.record.asked_model:
        return []
    return [(MODEL_HEADER, UNFIT.sub("?", sent).encode())]


def hint_header(request: Outgoing, status: int, message: str) -> Headers:
    """Return the header with a way out of a refused model; the same hint goes to the log."""
    if not is_unknown_model(status, message):
        return []
    record = request.record
    hint = unknown_model_hint(record.provider, record.asked_model or record.model)
    get_log().warning(
        "model_unknown", request_id=record.request_id, provider=record.provider, hint=hint
    )
    return [(HINT_HEADER.encode(), hint.encode())]


def message_of(speaks: ProviderFormat, body: bytes, status: int) -> str:
    """Return the message of a refusal; an empty text for a body that is no JSON."""
    try:
        return speaks.read_error(load_json(body), status).message
    except JSONDecodeError:
        return ""

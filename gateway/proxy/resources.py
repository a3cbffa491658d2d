"""The resources of the owner's account at Anthropic (batches, files, skills), for clients of the
official SDKs.

A resource has one address and some methods. Bodies pass unread in both directions, a large body
piece by piece, with the owner's credential; only named addresses exist, and the place of an id
takes only an id. One thing is changed: the address of a batch's results, which the provider gives
as its own, becomes ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from json import JSONDecodeError
from typing import Any
from urllib.parse import urlsplit

from gateway.providers import Outgoing, read_limited
from gateway.proxy.active_requests import ActiveRequest
from gateway.proxy.exchange import Exchange
from gateway.proxy.relay import relay_download, relay_whole
from gateway.proxy.sessions import session_named
from gateway.server.asgi import Receive, Scope, Send, read_body
from gateway.server.context import context_of
from gateway.server.forwarded import TrustedProxies
from shared.bus.channels import AccessRecord
from shared.runtime.errors import CallerGone, CCProxyError, TooLarge
from shared.runtime.exact_json import dump_json, load_json

# A larger body is passed on in pieces, and cannot be sent twice.
WHOLE_BYTES = 1024 * 1024
BATCHES = "/v1/messages/batches"
# Every address below /api, with the methods and their descriptions.
RESOURCES: dict[str, dict[str, str]] = {
    BATCHES: {"GET": "List message batches.", "POST": "Create a message batch."},
    f"{BATCHES}/{{batch_id}}": {
        "GET": "Describe a message batch.",
        "DELETE": "Delete a batch that has ended.",
    },
    f"{BATCHES}/{{batch_id}}/cancel": {"POST": "Cancel a message batch."},
    f"{BATCHES}/{{batch_id}}/results": {
        "GET": "Download a batch's results, one line of JSON each."
    },
    "/v1/files": {"GET": "List files.", "POST": "Upload a file, as a form."},
    "/v1/files/{file_id}": {"GET": "Describe a file.", "DELETE": "Delete a file."},
    "/v1/files/{file_id}/content": {"GET": "Download a file."},
    "/v1/skills": {"GET": "List skills.", "POST": "Create a skill, as a form."},
    "/v1/skills/{skill_id}": {"GET": "Describe a skill.", "DELETE": "Delete a skill."},
    "/v1/skills/{skill_id}/versions": {
        "GET": "List a skill's versions.",
        "POST": "Add a version, as a form.",
    },
    "/v1/skills/{skill_id}/versions/{version}": {
        "GET": "Describe a skill's version.",
        "DELETE": "Delete a skill's version.",
    },
    "/v1/skills/{skill_id}/versions/{version}/content": {"GET": "Download a skill's version."},
}


@dataclass(slots=True)
class Resource(Exchange):
    """An ASGI endpoint; `path` is the provider's address with `{names}` for ids, `summaries`
    describes each method.

    `proxies` find the address a client used; `max_upload_bytes` limits a body passed on in pieces.
    """

    proxies: TrustedProxies = field(default_factory=lambda: TrustedProxies([]))
    max_upload_bytes: int = 0
    summaries: dict[str, str] = field(default_factory=dict)

    @property
    def methods(self) -> frozenset[str]:
        return frozenset(self.summaries)

    async def _read(
        self, scope: Scope, receive: Receive, record: AccessRecord, active: ActiveRequest
    ) -> Outgoing:
        headers: dict[bytes, bytes] = context_of(scope).headers
        path = self.path.format(**scope.get("path_params", {}))
        if query := scope["query_string"]:
            path = f"{path}?{query.decode('latin-1')}"
        record.session_id = session_named(scope, headers, {})
        request = Outgoing(
            scope["method"], path, headers, b"", record, trace=context_of(scope).trace
        )
        request.spends = self.path == BATCHES and request.method == "POST"
        request.origin = self._origin(scope, headers)
        announced = headers.get(b"content-length", b"")
        if not announced and b"transfer-encoding" not in headers:
            return request
        # A small body is read whole, so that the request can be sent again with a renewed
        # credential.
        if announced.isdigit() and int(announced) <= min(WHOLE_BYTES, self.max_upload_bytes):
            request.body = await read_body(receive, headers, WHOLE_BYTES, active.receive_bytes)
            record.bytes_in = len(request.body)
            return request
        if announced.isdigit() and int(announced) > self.max_upload_bytes:
            raise TooLarge(
                f"The request body has {int(announced):,} bytes; this server passes on "
                f"{self.max_upload_bytes:,} (SERVER__MAX_UPLOAD_BYTES)."
            )
        # Nothing is read yet: the provider's connection asks for piece after piece.
        request.upload = self._upload(receive, record, active)
        return request

    def _origin(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        """Return scheme and host of the address that the client used."""
        client = scope.get("client")
        scheme = self.proxies.scheme(
            client[0] if client else "", headers, scope.get("scheme", "http")
        )
        return f"{scheme}://{headers.get(b'host', b'').decode('latin-1')}"

    async def _upload(
        self, receive: Receive, record: AccessRecord, active: ActiveRequest
    ) -> AsyncIterator[bytes]:
        """Yield the body in pieces. The side being waited for, client or provider, is the side
        whose silence counts.
        """
        timeouts = self.active_requests.timeouts
        while True:
            active.begin_reading(timeouts.body)
            message = await receive()
            piece = message.get("body", b"")
            record.bytes_in += len(piece)
            if message["type"] == "http.disconnect":
                await end_with(active, CallerGone())
            if record.bytes_in > self.max_upload_bytes:
                what = (
                    f"The request body is larger than the {self.max_upload_bytes:,} bytes this "
                    "server passes on."
                )
                await end_with(active, TooLarge(what))
            if not message.get("more_body"):
                # Before the last piece goes out: the provider need not ask for more, and then this
                # code never runs again.
                active.begin_waiting(timeouts.first_byte, receive)
                if piece:
                    yield piece
                return
            active.begin_writing(timeouts.idle)
            if piece:
                yield piece

    async def answer(
        self, request: Outgoing, send: Send, active: ActiveRequest
    ) -> CCProxyError | None:
        with active:
            opened = await self.open(request, active, whole=True)
        if opened.status < 400 and self.path.endswith(("/content", "/results")):
            return await relay_download(opened, send, active)
        if self.path.startswith(BATCHES) and opened.status < 400:
            opened.chunks = with_own_results(opened.chunks, request.origin)
        await relay_whole(opened, send, active)
        return None


async def end_with(active: ActiveRequest, reason: CCProxyError) -> None:
    """End the request with `reason`. The caller is a task of the connection's, cancelled by the
    request's own task.
    """
    active.interrupt(reason)
    # The upload must not simply end here: the provider would take the pieces for the whole body.
    await asyncio.Event().wait()


async def with_own_results(chunks: AsyncIterator[bytes], origin: str) -> AsyncIterator[bytes]:
    """Yield a batch, or a list of batches, with the addresses of results below `origin`. Any other
    body is yielded unchanged.
    """
    body = await read_limited(chunks)
    try:
        document = load_json(body)
    except JSONDecodeError:
        yield body
        return
    batches = document.get("data") if isinstance(document, dict) else None
    changed = False
    for batch in batches if isinstance(batches, list) else [document]:
        changed |= move_results(batch, origin)
    yield dump_json(document) if changed else body


def move_results(batch: Any, origin: str) -> bool:
    """Replace the provider's address of the results with ours. Return True for a changed batch."""
    given = batch.get("results_url") if isinstance(batch, dict) else None
    if not isinstance(given, str) or not (path := urlsplit(given).path).startswith(f"{BATCHES}/"):
        return False
    batch["results_url"] = f"{origin}/api{path}"
    return True

"""The few questions the command line asks the provider itself: which models, how much is left, one
short answer.

They cost what they say and nothing else, carry the owner's credential and our own name, and need no
running stack.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from shared.accounts.accounts import CodexAccount
from shared.accounts.codex_profile import CLIENT_VERSION, CodexProfile
from shared.accounts.login import Authorization
from shared.accounts.models import codex_capabilities, default_codex_model
from shared.accounts.quota import Quota, read_quota
from shared.formats.fold import Fold, WellFormed
from shared.formats.ir import Fail, Message, Prompt, Reply, Text
from shared.formats.responses import Dialect, Reader, read_error, write_prompt
from shared.formats.sse import Parser
from shared.runtime.errors import UpstreamError, UpstreamRefused
from shared.settings.providers import CodexSettings

QUESTION = "Reply with the one word: ready."
PATIENCE_SECONDS = 60.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BackendAnswer:
    """A request: the reply, the cost, and the use of the subscription after the request."""

    model: str
    reply: Reply
    seconds: float
    quota: Quota | None


@dataclass(slots=True)
class Backend:
    """The provider behind the credential in use. Raises CredentialsMissing, UpstreamRefused or
    UpstreamError.
    """

    settings: CodexSettings
    account: CodexAccount
    client: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(timeout=PATIENCE_SECONDS)
    )

    async def models(self) -> list[Json]:
        authorization = await self.account.authorize()
        profile = await CodexProfile(self.settings).get()
        version = {"client_version": profile.version if profile else CLIENT_VERSION}
        reply = await self._ask(
            "GET", authorization, "/models", params=version if is_login(authorization) else None
        )
        listed = reply.json()
        return listed.get("models") or [
            {"slug": model["id"], **model} for model in listed.get("data") or []
        ]

    async def usage(self) -> Json:
        """Return the windows of a login's subscription; {} for a key, which has none."""
        authorization = await self.account.authorize()
        if not is_login(authorization):
            return {}
        base = self.settings.base_url.rstrip("/").removesuffix("/codex")
        reply = await self._send("GET", authorization, f"{base}/wham/usage")
        found: Json = reply.json()
        return found

    async def ask(self, model: str | None) -> BackendAnswer:
        """Spend a short request and return the answer."""
        listed = [] if model else await self.models()
        asked = model or default_codex_model(listed)
        authorization = await self.account.authorize()
        prompt = Prompt(asked, (Message("user", (Text(QUESTION),)),), system=(Text("Be brief."),))
        dialect = Dialect(codex=is_login(authorization))
        body = write_prompt(prompt, codex_capabilities(asked, listed), dialect).body
        began = time.perf_counter()
        reply = await self._ask(
            "POST", authorization, "/responses", json=body, headers={"accept": "text/event-stream"}
        )
        told = read_reply(prompt, reply.content)
        headers = [(name.lower(), value) for name, value in reply.headers.raw]
        return BackendAnswer(
            asked, told, time.perf_counter() - began, read_quota("codex", headers, time.time())
        )

    async def _ask(
        self, method: str, authorization: Authorization, path: str, **options: Any
    ) -> httpx.Response:
        base_url = self.settings.base_url if is_login(authorization) else self.settings.api_base_url
        return await self._send(method, authorization, base_url.rstrip("/") + path, **options)

    async def _send(
        self,
        method: str,
        authorization: Authorization,
        url: str,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        ours = {"originator": self.settings.originator, "user-agent": self.settings.user_agent}
        try:
            reply = await self.client.request(
                method, url, headers={**ours, **(headers or {}), **authorization.headers}, **options
            )
        except httpx.HTTPError as error:
            host = httpx.URL(url).host
            raise UpstreamError(
                f"{host} cannot be reached: {str(error) or type(error).__name__}."
            ) from error
        if reply.is_success:
            return reply
        fail = read_error(as_json(reply), reply.status_code)
        raise UpstreamRefused(
            f"The provider answered {reply.status_code}: {fail.message}", status=reply.status_code
        )


def is_login(authorization: Authorization) -> bool:
    return authorization.billed_to != "api_key"


def as_json(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        return reply.text


def read_reply(prompt: Prompt, stream: bytes) -> Reply:
    """Return the reply in a whole stream. Raises UpstreamRefused for a failed stream."""
    # A stream is read with the gateway's own readers, so that this command fails where the gateway
    # would.
    parser = Parser()
    reader = WellFormed(Reader(prompt))
    fold = Fold()
    for found in [*parser.feed(stream), *parser.end()]:
        for event in reader.feed(json.loads(found.data)):
            fold.feed(event)
    for event in reader.end():
        fold.feed(event)
    result = fold.result()
    if isinstance(result, Fail):
        raise UpstreamRefused(
            f"The provider answered, and failed: {result.message}", status=result.status
        )
    return result

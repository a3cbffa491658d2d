"""Codex: the Responses format at the ChatGPT backend with the owner's login, or at the public
interface with a key.

A request of the Codex program itself, named in `originator`, goes out unchanged, under its own
name. Any other request goes out under ours, made acceptable: nothing is added to look like another
program.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial

from gateway.metering.quota import QuotaWatch
from gateway.providers import Opened, Outgoing, send_authorized
from gateway.providers.headers import forwarded
from gateway.providers.http import Upstream
from gateway.providers.limits import watch_limits
from gateway.providers.refusals import in_envelope
from gateway.proxy.catalogue import Catalogue
from gateway.proxy.ignored import note_ignored
from gateway.proxy.peek import parse_object
from gateway.proxy.sessions import session_of
from shared.accounts.account import Account
from shared.accounts.codex_profile import CLIENT_VERSION, NEUTRAL_INSTRUCTIONS, CodexProfile
from shared.accounts.login import Authorization
from shared.bus.channels import AccessRecord
from shared.formats import responses
from shared.formats.ir import Capabilities, Fail, Json, Prompt, Reply, Written
from shared.formats.responses import Dialect, Reader, Writer, prepare
from shared.runtime.errors import ClientError, UpstreamRefused
from shared.runtime.exact_json import dump_json
from shared.settings.tree import Settings

SSE = (b"content-type", b"text/event-stream; charset=utf-8")


@dataclass(slots=True)
class CodexFormat:
    """The Responses format as the base URL in use takes it; the `codex` flag marks the ChatGPT
    backend.

    The provider adds `instructions` and the cache key.
    """

    codex: bool
    Reader = Reader
    Writer = Writer

    def read_prompt(self, body: Json) -> Prompt:
        return responses.read_prompt(body)

    def write_prompt(self, prompt: Prompt, capabilities: Capabilities) -> Written:
        written = responses.write_prompt(prompt, capabilities, Dialect(codex=self.codex))
        if not written.body["input"]:
            raise ClientError("Nothing is said in the messages.", param="messages")
        if not prompt.system:
            written.body.pop("instructions", None)
        if not prompt.cache_key:
            written.body.pop("prompt_cache_key", None)
        return written

    def write_reply(
        self,
        prompt: Prompt,
        reply: Reply,
        *,
        id: str,  # noqa: A002
        created: int,
        model: str,
    ) -> Json:
        return responses.write_reply(prompt, reply, id=id, created=created, model=model)

    def read_error(self, body: Json | str, status: int) -> Fail:
        return responses.read_error(body, status)

    def write_error(self, fail: Fail, *, request_id: str = "") -> Json:
        return responses.write_error(fail, request_id=request_id)


class Codex:
    """The provider of the Responses format. `speaks` follows the credential in use: the public
    interface (API key) takes more fields than the ChatGPT backend (login).
    """

    name = "codex"

    def __init__(
        self,
        settings: Settings,
        account: Account,
        upstream: Upstream,
        quota: QuotaWatch,
        profile: CodexProfile,
    ) -> None:
        self.settings = settings.codex
        self.profile = profile
        self.speaks = CodexFormat(codex=settings.codex.api_key is None)
        self.catalogue = Catalogue(self.list_models, "openai", settings.models.aliases)
        self._account = account
        self._upstream = upstream
        self._quota = quota

    async def open(self, request: Outgoing) -> Opened:
        """Send the request. A stream gets the content type of a stream, a refusal comes in OpenAI's
        envelope.
        """
        opened = await send_authorized(request, self._account, self._quota, self._send)
        if opened.status >= 400:
            return await read_refused(opened)
        if not any(name == b"content-type" for name, _ in opened.headers):
            opened.headers.append(SSE)  # the backend sends streams without a content type
        if opened.is_stream and request.record.billed_to != "api_key":
            opened.chunks = watch_limits(
                opened.chunks, partial(self._quota.learn_event, request.record)
            )
        return opened

    async def open_images(self, request: Outgoing) -> Opened:
        """Send the Codex program's own request for images to the route of the program's choice."""
        opened = await send_authorized(request, self._account, self._quota, self._send_as_it_is)
        return await read_refused(opened) if opened.status >= 400 else opened

    async def list_models(self) -> list[Json]:
        """Return the account's models in the backend's shape; the built-in models when the provider
        is not to be asked.
        """
        if not self.settings.enable_dynamic_model_info:
            return await self.built_in_models()
        asked = Outgoing("GET", "/models", {}, b"", AccessRecord("", 0.0))
        opened = await send_authorized(asked, self._account, self._quota, self._send_question)
        body = await opened.read()
        listed = parse_object(body) if opened.status == 200 else {}
        if isinstance(models := listed.get("models"), list):
            return models
        # The public interface's list has little more than names.
        if isinstance(models := listed.get("data"), list):
            return [{"slug": model["id"], **model} for model in models]
        raise UpstreamRefused(
            "The provider did not list its models.", status=opened.status, body=body
        )

    async def built_in_models(self) -> list[Json]:
        profile = await self.profile.get()
        return profile.models if profile else []

    async def _send(self, request: Outgoing, authorization: Authorization) -> Opened:
        """Send `request` in the form for the credential; the form is made anew for every credential
        tried.
        """
        # The credential can change while the gateway runs, and the format follows it.
        self.speaks.codex = codex = authorization.billed_to != "api_key"
        asked = request.parsed()
        document = with_input(asked)
        # A named session needs our cache key, so the request of a Codex program is then changed
        # too.
        own = is_codexs_own(request) and not request.session
        written = prepare(
            document, Dialect(codex=codex) if own else await self._dialect(codex, document)
        )
        headers = self._headers(request, authorization)
        session = request.record.session_id = session_of(request, written.body)
        body = written.body
        if not own:
            headers["session-id"] = session
            body = (
                body
                if body.get("prompt_cache_key") == session
                else body | {"prompt_cache_key": session}
            )
        note_ignored(request.record, written.dropped)
        # The same object, not an equal one: an unchanged request goes out as the bytes that came
        # in.
        data = request.serialised() if body is asked else dump_json(body)
        return await self._upstream.open(
            "POST", f"{self._base_url(codex)}/responses", headers, data
        )

    async def _send_as_it_is(self, request: Outgoing, authorization: Authorization) -> Opened:
        headers = self._headers(request, authorization) | {"accept": "application/json"}
        url = self._base_url(authorization.billed_to != "api_key") + request.path
        return await self._upstream.open("POST", url, headers, request.body)

    async def _send_question(self, request: Outgoing, authorization: Authorization) -> Opened:
        codex = authorization.billed_to != "api_key"
        profile = await self.profile.get()
        version = (
            f"?client_version={profile.version if profile else CLIENT_VERSION}" if codex else ""
        )
        headers = self._headers(request, authorization) | {"accept": "application/json"}
        return await self._upstream.open(
            "GET", self._base_url(codex) + request.path + version, headers, b""
        )

    def _base_url(self, codex: bool) -> str:
        return (self.settings.base_url if codex else self.settings.api_base_url).rstrip("/")

    def _headers(self, request: Outgoing, authorization: Authorization) -> dict[str, str]:
        ours = {"originator": self.settings.originator, "user-agent": self.settings.user_agent}
        headers = forwarded(request.headers if is_codexs_own(request) else {})
        # The account belongs to the credential: the caller must not choose another one.
        headers.pop("chatgpt-account-id", None)
        headers |= {"content-type": "application/json", "accept": "text/event-stream"}
        # Ours are defaults, the caller's own names beat them, and the credential beats both.
        return ours | headers | dict(authorization.headers)

    async def _dialect(self, codex: bool, document: Json) -> Dialect:
        """Return the dialect for the requested model, with the added instructions.

        The added text stays the same through a conversation: caches depend on it.
        """
        mode = self.settings.system_prompt_injection_mode
        if mode == "disabled" or not codex:
            return Dialect(codex=codex)
        profile = await self.profile.get()
        text = profile.instructions(str(document.get("model"))) if profile else NEUTRAL_INSTRUCTIONS
        return Dialect(codex=True, mode=mode, instructions=text)


def with_input(document: Json) -> Json:
    """Return `document` with `messages` renamed to `input`: an old spelling that neither base URL
    accepts.
    """
    if document.get("input") is not None or "messages" not in document:
        return document
    return {name if name != "messages" else "input": value for name, value in document.items()}


def is_codexs_own(request: Outgoing) -> bool:
    """Return True if the request comes from a program that names itself in `originator`, as the
    Codex program does.
    """
    return b"originator" in request.headers


async def read_refused(opened: Opened) -> Opened:
    try:
        body = await opened.read()
    finally:
        await opened.aclose()
    headers, envelope = in_envelope(opened.status, opened.headers, body)
    return replace(opened, headers=headers, chunks=_once(envelope))


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body

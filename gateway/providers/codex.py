"""Codex: the Responses format at the ChatGPT backend with the owner's login, or at the public
interface with a key.

A request of the Codex program itself, named in `originator`, goes out unchanged, under its own
name. Any other request goes out under ours, made acceptable: nothing is added to look like another
program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from gateway.metering.billing_order import BillingOrder
from gateway.metering.quota import QuotaWatch
from gateway.providers import Opened, Outgoing, one_chunk, send_authorized
from gateway.providers.billing import send_in_order
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
from shared.accounts.quota import Quota, event_of_page
from shared.bus.channels import AccessRecord
from shared.formats import responses
from shared.formats.ir import Fail, Json, Prompt, Reply
from shared.formats.responses import Dialect, Reader, Writer, prepare, prepare_for_key
from shared.formats.written import Capabilities, Written
from shared.runtime.errors import ClientError, UpstreamRefused
from shared.runtime.exact_json import dump_json
from shared.settings.tree import Settings

USAGE_PAGE = "/wham/usage"
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
        order: BillingOrder | None = None,
    ) -> None:
        self.settings = settings.codex
        self.profile = profile
        self.speaks = CodexFormat(codex=settings.codex.api_key is None)
        self.catalogue = Catalogue(self.list_models, "openai", settings.models.aliases)
        self._account = account
        self._upstream = upstream
        self._quota = quota
        self._order = order

    async def open(self, request: Outgoing) -> Opened:
        """Send the request. A stream gets the content type of a stream, a refusal comes in OpenAI's
        envelope.
        """
        opened = await send_in_order(
            request, self._account, self._quota, self._order, self._send, self._send_with_key
        )
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

    async def ask_quota(self) -> Quota | None:
        """Ask the backend for the windows of the login's subscription, learn and return the
        windows; None for a key, because keys have no windows.

        Raises CCProxyError.
        """
        authorization = await self._account.authorize()
        if authorization.billed_to == "api_key":
            return None
        asked = Outgoing("GET", USAGE_PAGE, {}, b"", AccessRecord("", 0.0), spends=False)
        opened = await send_authorized(asked, self._account, self._quota, self._send_question)
        body = await opened.read()
        if opened.status != 200:
            raise UpstreamRefused(
                "The provider does not tell the use of the subscription.",
                status=opened.status,
                body=body,
            )
        self._quota.learn_event(asked.record, event_of_page(parse_object(body)))
        return self._quota.quota

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
        request.sent = body
        # The same object, not an equal one: an unchanged request goes out as the bytes that came
        # in.
        data = request.serialised() if body is asked else dump_json(body)
        address = f"{self._base_url(codex)}/responses"
        request.note_sent(address, headers, data)
        return await self._upstream.open("POST", address, headers, data)

    async def _send_with_key(self, request: Outgoing, key: Authorization) -> Opened:
        """Send `request` with the API key of the billing order: in the backend's form, as far as
        the public interface accepts it.
        """
        # Without the operator's instructions for the Codex backend. `speaks` stays as it is: it
        # follows the credential that comes first.
        prepared = prepare(with_input(request.parsed()), Dialect(codex=True))
        written = prepare_for_key(prepared.body)
        session = request.record.session_id = session_of(request, written.body)
        headers = self._headers(request, key)
        if not is_codexs_own(request):
            headers["session-id"] = session
        body = written.body | {"prompt_cache_key": session}
        request.sent = body
        note_ignored(request.record, (*prepared.dropped, *written.dropped))
        url = f"{self._base_url(codex=False)}/responses"
        data = dump_json(body)
        request.note_sent(url, headers, data)
        return await self._upstream.open("POST", url, headers, data)

    async def _send_as_it_is(self, request: Outgoing, authorization: Authorization) -> Opened:
        headers = self._headers(request, authorization) | {"accept": "application/json"}
        url = self._base_url(authorization.billed_to != "api_key") + request.path
        request.note_sent(url, headers, request.body)
        return await self._upstream.open("POST", url, headers, request.body)

    async def _send_question(self, request: Outgoing, authorization: Authorization) -> Opened:
        codex = authorization.billed_to != "api_key"
        profile = await self.profile.get()
        version = (
            f"?client_version={profile.version if profile else CLIENT_VERSION}" if codex else ""
        )
        headers = self._headers(request, authorization) | {"accept": "application/json"}
        base_url = self._base_url(codex)
        if request.path == USAGE_PAGE:
            # Beside the interface for models, whose place ends with its name.
            base_url = base_url.removesuffix("/codex")
            version = ""
        return await self._upstream.open("GET", base_url + request.path + version, headers, b"")

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
    """Return `document` with `messages` renamed to `input`: neither base URL accepts the old
    spelling.
    """
    if document.get("input") is not None or "messages" not in document:
        return document
    return {name if name != "messages" else "input": value for name, value in document.items()}


def is_codexs_own(request: Outgoing) -> bool:
    """Return True if the request comes from a program named in `originator`, such as the Codex
    program.
    """
    return b"originator" in request.headers


async def read_refused(opened: Opened) -> Opened:
    try:
        body = await opened.read()
    finally:
        await opened.aclose()
    headers, envelope = in_envelope(opened.status, opened.headers, body)
    return replace(opened, headers=headers, chunks=one_chunk(envelope))

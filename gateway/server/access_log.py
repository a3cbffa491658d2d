"""The outermost layer of every request: gives the request an id, admits and answers the request,
and writes one record.

A health check or a scrape leaves a record only on failure: a stack at rest would keep some ten
thousand records a day.

The record is measured and passed on after the last byte. No request waits for the bus, and a record
that cannot be published is counted, never an error of the request.
"""

from __future__ import annotations

import html
import random
import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from gateway.capture.captures import Captures
from gateway.metering.records import Records
from gateway.metering.token_ledger import TokenLedger
from gateway.proxy.client_programs import client_program
from gateway.server.addresses import fold_slashes
from gateway.server.asgi import ASGIApp, Headers, Message, Receive, Scope, Send
from gateway.server.browser import RESPONSE_HEADERS, wants_page
from gateway.server.context import KEY, RequestContext
from gateway.server.field_lines import joined
from gateway.server.guard import Guard
from gateway.server.problems import Problem, dialect_of, render_error, respond
from gateway.server.request_line import RequestLines
from gateway.server.signed_in import accepts_cookie
from gateway.server.tracing import UNTRACED, Trace
from shared.bus.channels import AccessRecord
from shared.permissions.answer_links import ANSWER_PATH, ANSWER_PATTERN
from shared.runtime.errors import CCProxyError, NotAuthorized
from shared.runtime.log import get_log
from shared.runtime.metrics import Metrics
from shared.runtime.tracing import Tracer

IDS = random.Random(secrets.randbits(128))  # noqa: S311 - unique, not secret: a system call each would be wasted
# Addresses that machines request all day long.
PROBES = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
GIVEN_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def _ignore_record(_: AccessRecord) -> None: ...


class AccessLog:
    """The outermost ASGI layer, around `app`.

    The scope gets the request's context, see `gateway/server/context.py`.
    """

    def __init__(
        self,
        app: ASGIApp,
        guard: Guard,
        metrics: Metrics,
        ledger: TokenLedger,
        records: Records | None,
        tracer: Tracer | None = None,
        lines: RequestLines | None = None,
        count_key: Callable[[AccessRecord], None] = _ignore_record,
        captures: Captures | None = None,
    ) -> None:
        self._app = app
        self._guard = guard
        self._metrics = metrics
        self._ledger = ledger
        self._records = records
        self._reads_prompts = records is not None and records.read_prompts
        self._tracer = tracer
        self._lines = lines
        self._count_key = count_key
        self._captures = captures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await refuse_upgrade(scope, receive, send)
            return
        # Before everything else: guard, record and route must see the same path.
        scope["path"] = fold_slashes(scope["path"])
        headers = dict(scope["headers"])
        record = open_record(scope, headers)
        trace = (
            UNTRACED if self._tracer is None else Trace(self._tracer, headers.get(b"traceparent"))
        )
        begin = self._records.begin if self._records else _ignore_record
        context = RequestContext(
            record, headers, trace, begin, self._ledger, captures=self._captures
        )
        context.reads_prompts = self._reads_prompts
        scope[KEY] = context
        answer = ClientResponse(record, send)
        self._metrics.active += 1
        try:
            # A name came twice, and `dict` kept the last value. Inside the `try`, because two
            # values may be a reason to refuse.
            if len(headers) != len(scope["headers"]):
                headers = joined(scope["headers"])
                context.headers = headers
            count = len(scope["headers"])
            scheme = scope.get("scheme", "http")
            caller = self._guard.admit(
                record.method, scope["path"], headers, count, record.client_ip, scheme
            )
            # After the guard, which needs the address of the connection itself.
            if b"x-forwarded-for" in headers:
                record.client_ip = self._guard.proxies.client_address(record.client_ip, headers)
            context.caller = caller
            record.caller = caller.name
            await self._app(scope, receive, answer.send)
        except CCProxyError as error:
            record.error_kind = error.kind
            record.error_message = error.message[:500]
            if (
                isinstance(error, NotAuthorized)
                and accepts_cookie(record.path)
                and wants_page(record.method, headers)
            ):
                await respond(ask_to_sign_in(record, headers), answer.send)
            else:
                await answer.fail(error)
        except Exception as error:  # noqa: BLE001 - the ASGI edge: no error may pass
            get_log().exception("request_failed", request_id=record.request_id, path=record.path)
            record.error_kind = CCProxyError.kind
            record.error_message = repr(error)[:500]
            await answer.fail(CCProxyError())
        finally:
            self._metrics.active -= 1
            self._close(scope, context, answer)
            # The spans take their facts from the completed record.
            trace.close(record)

    def _close(self, scope: Scope, context: RequestContext, answer: ClientResponse) -> None:
        record = context.record
        # Work after the last byte, such as a fingerprint, is no time that the client waited.
        record.duration_ms = ((answer.ended or time.perf_counter()) - answer.began) * 1000
        # 499, as in nginx: the client left before a response began.
        record.status_code = record.status_code or answer.status or 499
        route_pattern = str(getattr(scope.get("route"), "path", "unmatched"))
        record.endpoint = context.endpoint or route_pattern
        self._metrics.observe(record)
        if context.caller is not None:
            self._ledger.count(context.caller, record)
        self._count_key(record)
        if record.model and self._guard.tokens.has_shares:
            self._ledger.count_for_shares(record)
        if self._lines is not None:
            self._lines.add(record)
        is_quiet_probe = record.path in PROBES and record.status_code < 400
        if self._records is not None and not is_quiet_probe:
            self._records.add(record)


class ClientResponse:
    """The response of one request: notes status, size, first and last byte, and can still fail
    while no byte was sent.
    """

    __slots__ = ("_record", "_send", "began", "ended", "status")

    def __init__(self, record: AccessRecord, send: Send) -> None:
        self._record = record
        self._send = send
        self.began = time.perf_counter()
        self.ended = 0.0
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            shown = self._record.client_request_id or self._record.request_id
            message["headers"] = with_security(
                message.get("headers", []), (b"x-request-id", shown.encode())
            )
        elif body := message.get("body"):
            self._record.bytes_out += len(body)
            if self._record.first_byte_ms is None:
                self._record.first_byte_ms = (time.perf_counter() - self.began) * 1000
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.ended = time.perf_counter()

    async def fail(self, error: CCProxyError) -> None:
        """Send `error` as a response. Raises `error` once the response has begun, so that the
        connection is cut.
        """
        if self.status:
            raise error
        await respond(
            render_error(error, dialect_of(self._record.path), self._record.request_id), self.send
        )


def open_record(scope: Scope, headers: dict[bytes, bytes]) -> AccessRecord:
    client = scope.get("client")
    given = headers.get(b"x-request-id", b"")
    user_agent = headers.get(b"user-agent", b"").decode("latin-1")
    program, version = client_program(user_agent)
    return AccessRecord(
        request_id=f"req_{IDS.getrandbits(96):024x}",
        timestamp=time.time(),
        method=scope["method"],
        path=shown_path(scope["path"]),
        query=scope["query_string"].decode("latin-1"),
        client_ip=client[0] if client else "",
        user_agent=user_agent,
        client_request_id=given.decode() if GIVEN_ID.fullmatch(given) else "",
        client_program=program,
        client_version=version,
    )


def shown_path(path: str) -> str:
    """Return `path` for records, without the secret of a one-time link."""
    return ANSWER_PATTERN if path.startswith(ANSWER_PATH) else path


def with_security(headers: Headers, identity: tuple[bytes, bytes]) -> Headers:
    """Return `headers` with the response's id, and with the security headers unless `headers` bring
    a policy.
    """
    for name, _ in headers:
        if name == b"content-security-policy":
            return [*headers, identity]
    return [*headers, identity, *RESPONSE_HEADERS]


def ask_to_sign_in(record: AccessRecord, headers: dict[bytes, bytes]) -> Problem:
    """Return the response that leads a browser to the sign-in page, and from there back to the page
    it wanted.

    A link on another site brings no cookie (SameSite=Strict), though the browser may have signed
    in: then the response makes the browser ask for the page once more, this time from the gateway's
    own origin.
    """
    target = quote(record.path) + (f"?{record.query}" if record.query else "")
    if headers.get(b"sec-fetch-site") in {b"cross-site", b"same-site"}:
        again = (
            f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(target)}">'
        ).encode()
        return Problem(
            200,
            [(b"content-type", b"text/html"), (b"content-length", str(len(again)).encode())],
            again,
        )
    location = "/signin?" + urlencode({"next": target})
    return Problem(303, [(b"location", location.encode()), (b"content-length", b"0")], b"")


async def refuse_upgrade(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket. 426 at the handshake makes clients fall back to HTTP at once."""
    if scope["type"] != "websocket":
        return
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        await send(
            {
                "type": "websocket.http.response.start",
                "status": 426,
                "headers": [(b"upgrade", b"http/1.1")],
            }
        )
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "websocket.close", "code": 1008})

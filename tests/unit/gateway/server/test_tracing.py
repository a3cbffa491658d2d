"""One request's spans: the server's, and one for each attempt; nothing of what was said, nothing to
the provider.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from gateway.server.tracing import Trace
from shared.bus.channels import AccessRecord
from shared.settings.tree import load_settings
from tests.support.collector import Collector
from tests.unit.gateway.conftest import (
    DELTA,
    END,
    START,
    Connection,
    KeepingBus,
    Running,
    ScriptedProvider,
    serve,
)

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
SAID = {
    "model": "claude-x",
    "stream": True,
    "messages": [{"role": "user", "content": "the secret prompt"}],
}


def traced(
    collector: Collector, provider: ScriptedProvider
) -> AbstractAsyncContextManager[Running]:
    claude = {"base_url": provider.url, "api_key": "sk-owner"}
    settings = load_settings(claude=claude, observability={"otlp_endpoint": collector.url})
    return serve(settings, KeepingBus(), provider)


async def stream(connection: Connection) -> None:
    await connection.start_stream()
    for piece in (START, DELTA, END):
        await connection.send_chunk(piece)
    await connection.send(b"0\r\n\r\n")


async def test_a_request_is_a_part_of_its_callers_trace_and_the_attempt_a_part_of_it(
    provider: ScriptedProvider,
) -> None:
    with Collector() as collector:
        async with traced(collector, provider) as running:
            running.provider.scripts.append(stream)
            more = {
                "traceparent": PARENT,
                "tracestate": "x=1",
                "baggage": "user=me",
                "x-session-id": "s1",
            }
            answer = await running.post(json=SAID, headers=more)
            assert answer.status_code == 200
            [received] = running.provider.received
            assert not {"traceparent", "tracestate", "baggage"} & received.headers.keys()
    server, attempt = collector.one("POST /api/v1/messages"), collector.one("chat claude-x")
    assert server.span.trace_id.hex() == attempt.span.trace_id.hex() == "a" * 32
    assert server.span.parent_span_id.hex() == "b" * 16
    assert attempt.span.parent_span_id == server.span.span_id
    assert server.attributes["http.response.status_code"] == 200
    assert (
        attempt.attributes.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.system": "anthropic",
            "gen_ai.request.model": "claude-x",
            "gen_ai.conversation.id": "s1",
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.output_tokens": 7,
            "ccproxy.upstream_request_id": "req_up",
        }.items()
    )
    assert attempt.attributes["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert not any(secret in collector.payload for secret in (b"the secret prompt", b"sk-owner"))


async def test_a_refusal_fails_the_attempt_and_a_fault_of_ours_the_request_too(
    provider: ScriptedProvider,
) -> None:
    with Collector() as collector:
        async with traced(collector, provider) as running:
            running.provider.scripts.append(
                lambda connection: connection.answer(b"{}", "429 Too Many Requests")
            )
            assert (await running.post(json=SAID)).status_code == 429

            async def vanish(connection: Connection) -> None:
                connection.writer.close()

            running.provider.scripts += [vanish, vanish]
            assert (await running.post(json=SAID)).status_code == 502
    refused, broken = collector.named("chat claude-x")
    assert (refused.failed, refused.attributes["error.type"]) == (True, "429")
    assert (broken.failed, broken.attributes["error.type"]) == (True, "upstream")
    assert [told.failed for told in collector.named("POST /api/v1/messages")] == [False, True]


class Spans:
    """A tracer that keeps what is ended: name, error."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self.traceparent = ""
        self.begun = 0

    def start(self, kind: str, parent: str | None) -> Spans:
        self.begun += 1
        self.traceparent = f"span {self.begun}, {kind} below {parent}"
        return self

    def end(self, name: str, attributes: object, error: str = "") -> None:
        self.ended.append((name, error))


def test_an_attempt_that_was_refused_ends_where_the_next_begins() -> None:
    spans, record = (
        Spans(),
        AccessRecord("r", 0.0, method="POST", endpoint="/x", model="m", provider="codex"),
    )
    trace = Trace(spans)
    trace.attempt(record)
    assert "client" in str(trace.attempt(record))
    trace.close(record)
    assert spans.ended == [("chat m", "401"), ("chat m", ""), ("POST /x", "")]


def test_an_untraced_request_has_no_place_in_a_trace() -> None:
    trace, record = Trace(None), AccessRecord("r", 0.0)
    assert trace.attempt(record) is None
    trace.close(record)

"""The ways of a request body from a client's format to a provider, without sockets, and the
provider's judgement.

`carry` does what the gateway does with a body, in the same order, with the same functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from gateway.providers import Outgoing
from gateway.providers.codex import CodexFormat, with_input
from gateway.providers.sdk import SdkFormat
from gateway.proxy.sessions import session_of
from sdk_worker.client_tools import ClientTools
from sdk_worker.turn import read_turn
from shared.accounts.models import claude_capabilities, codex_capabilities
from shared.bus.channels import AccessRecord
from shared.formats import messages
from shared.formats.ir import Prompt
from shared.formats.messages.native import without_own_marks
from shared.formats.registry import FORMATS, ProviderFormat
from shared.formats.responses import Dialect, prepare
from shared.runtime.errors import CCProxyError
from shared.runtime.exact_json import dump_json, load_json
from simulator.anthropic import fields, rules
from simulator.anthropic import models as claude_models
from simulator.anthropic.problem import AnthropicProblem
from simulator.anthropic.request import AnthropicRequest, merge_turns
from simulator.codex import models as codex_models
from simulator.codex.problem import CodexProblem
from simulator.codex.rules import check_responses_request
from simulator.shape import Misfit

Json = dict[str, Any]
SHAPES: dict[str, type] = {
    "anthropic": MessageCreateParamsNonStreaming,
    "openai_chat": CompletionCreateParamsNonStreaming,
    "openai_responses": ResponseCreateParamsNonStreaming,
}
CLAUDE_MODELS = (
    "claude-sonnet-5-5",
    "claude-opus-5",
    "claude-haiku-4-5",
    "claude-opus-4-6",
    "claude-sim-x",
)
CODEX_MODELS = ("gpt-5.5", "gpt-6-sol", "gpt-sim-x")
CLAUDE_LIST = [model.describe() for model in claude_models.MODELS]
CODEX_LIST = [model.describe() for model in codex_models.MODELS]


@dataclass(frozen=True, slots=True)
class Carried:
    """What a provider gets for a body, the names its caller reads in `x-ccproxy-ignored`, and how
    it is answered.
    """

    document: Json
    ignored: frozenset[str]
    reply: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """`provider` is one of api, sdk, codex (the ChatGPT backend) and platform (OpenAI's public
    interface).
    """

    client: str
    provider: str
    carry: Callable[[Json], Carried]
    judge: Callable[[Json], None]

    @property
    def models(self) -> tuple[str, ...]:
        return CLAUDE_MODELS if self.provider in ("api", "sdk") else CODEX_MODELS

    @property
    def is_native(self) -> bool:
        return (self.client, self.provider) in NATIVE


def to_claude(client: str, speaks: ProviderFormat = messages) -> Callable[[Json], Carried]:
    cached = None if client == "anthropic" else "5m"

    def carry(body: Json) -> Carried:
        prompt = FORMATS[client].read_prompt(body)
        asked = replace(prompt, cache=prompt.cache or cached)
        written = speaks.write_prompt(asked, claude_capabilities(asked.model, CLAUDE_LIST))
        return Carried(written.body, frozenset(written.dropped), reply_of(prompt))

    return carry


def reply_of(prompt: Prompt) -> tuple[Any, ...]:
    """Return what the request decides about the form of its reply."""
    return prompt.stream, prompt.include_usage


def native_messages(body: Json) -> Carried:
    written = without_own_marks(body)
    return Carried(written.body, frozenset(written.dropped), (bool(body.get("stream")),))


def to_sdk(client: str) -> Callable[[Json], Carried]:
    before = native_messages if client == "anthropic" else to_claude(client, SdkFormat())

    def carry(body: Json) -> Carried:
        placed = before(body)
        feed = read_turn(placed.document)
        tools = ClientTools(json.loads(feed.binding.tools or "[]"))._listed
        binding = [
            *feed.binding.system,
            feed.binding.model,
            feed.binding.max_tokens,
            feed.binding.thinking,
        ]
        document = {"binding": binding, "tools": tools, "lines": [*feed.history, feed.prompt]}
        return Carried(document, placed.ignored | set(feed.ignored), placed.reply)

    return carry


def to_openai(client: str, *, codex: bool) -> Callable[[Json], Carried]:
    speaks = CodexFormat(codex=codex)

    def carry(body: Json) -> Carried:
        ignored: frozenset[str] = frozenset()
        reply: tuple[Any, ...] = (bool(body.get("stream")),)
        if client != "openai_responses":
            prompt = FORMATS[client].read_prompt(body)
            body, dropped = speaks.write_prompt(
                prompt, codex_capabilities(prompt.model, CODEX_LIST)
            )
            ignored, reply = frozenset(dropped), reply_of(prompt)
        written = prepare(with_input(body), Dialect(codex=codex))
        session = session_of(
            Outgoing("POST", "/responses", {}, b"", AccessRecord("", 0.0)), written.body
        )
        document = written.body | {"prompt_cache_key": session}
        return Carried(document, ignored | set(written.dropped), reply)

    return carry


def judge_as_claude(document: Json) -> None:
    """Raises the service's Problem for a request that it refuses."""
    body = load_json(dump_json(document))
    try:
        fields.MESSAGES_2023(body, "", frozenset())
    except Misfit as misfit:
        raise AnthropicProblem(400, str(misfit)) from misfit
    turns = merge_turns(body["messages"])
    rules.enforce(
        AnthropicRequest(body, claude_models.find_model(body["model"]), "", frozenset(), turns)
    )


def judge_unsupported(document: Json) -> None:
    """Raises the backend's Problem for a field that it does not know; what a client says in fields
    is the client's.
    """
    try:
        judge_as_backend(document)
    except CodexProblem as problem:
        if b"Unsupported parameter" in problem.body:
            raise


def judge_as_backend(document: Json) -> None:
    """Raises the backend's Problem for a request that it refuses."""
    check_responses_request(load_json(dump_json(document)), public=False)


def judge_as_platform(document: Json) -> None:
    """Raises the public interface's Problem for a request that it refuses."""
    check_responses_request(load_json(dump_json(document)), public=True)


def judge_nothing(document: Json) -> None:
    dump_json(document)


NATIVE = {("anthropic", "api"), ("openai_responses", "codex"), ("openai_responses", "platform")}
FOREIGN_TO_OPENAI = ("anthropic", "openai_chat")
PROBLEMS = (AnthropicProblem, CodexProblem)
REFUSALS = (CCProxyError,)
ROUTES = [
    Route("anthropic", "api", native_messages, judge_nothing),
    *(
        Route(client, "api", to_claude(client), judge_as_claude)
        for client in ("openai_chat", "openai_responses")
    ),
    *(Route(client, "sdk", to_sdk(client), judge_nothing) for client in SHAPES),
    *(
        Route(client, "codex", to_openai(client, codex=True), judge_as_backend)
        for client in FOREIGN_TO_OPENAI
    ),
    *(
        Route(client, "platform", to_openai(client, codex=False), judge_as_platform)
        for client in FOREIGN_TO_OPENAI
    ),
    Route(
        "openai_responses", "codex", to_openai("openai_responses", codex=True), judge_unsupported
    ),
    Route(
        "openai_responses", "platform", to_openai("openai_responses", codex=False), judge_nothing
    ),
]

"""The table of refusals: for each rule the smallest request that breaks it, and the words it is refused with."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from simulator.seal import THOUGHTS

OLD, OPUS_4_7, OPUS_5, OPUS_5_5 = (
    "claude-sonnet-4-5",
    "claude-opus-4-7",
    "claude-opus-5",
    "claude-opus-5-5",
)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
TOOL = {"name": "look", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}
MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
FOR_AN_HOUR = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content) if content else "hi"}


def model(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content) if content else "hello"}


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def image(media_type: str, data: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


KEY_RULE = "Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'"


def with_argument(key: str) -> dict[str, Any]:
    return {
        "name": f"f{len(key)}",
        "input_schema": {"type": "object", "properties": {key: {"type": "string"}}},
    }


def answering(*blocks: Any) -> list[dict[str, Any]]:
    return [user(), model(CALL), user(*blocks)]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no message", {"messages": []}, "at least one message is required"),
    ("first message of the assistant", {"messages": [model(), user()]}, "first message must use the"),
    ("empty message", {"messages": [user(), model(), {"role": "user", "content": []}]}, "must have non-empty content"),
    ("empty string", {"messages": [{"role": "user", "content": ""}]}, "must have non-empty content"),
    ("system role on an old model", {"model": OPUS_4_7, "messages": [user(), {"role": "system", "content": "x"}]}, "role 'system' is not supported on this model"),
    ("empty text block", {"messages": [user(said(""))]}, "text content blocks must be non-empty"),
    ("blank text block", {"messages": [user(said(" \n"))]}, "must contain non-whitespace text"),
    ("blank system block", {"system": [said(" ")]}, "system: text content blocks must contain"),
    ("call by the user", {"messages": [user(CALL)]}, "`tool_use` blocks can only be in `assistant` messages"),
    ("result by the assistant", {"messages": [user(), model(RESULT), user()]}, "`tool_result` blocks can only be in"),
    ("call without result", {"messages": [user(), model(CALL), user()]}, "`tool_use` ids were found without `tool_result` blocks immediately after: toolu_1"),
    ("call at the end", {"messages": [user(), model(CALL)]}, "ids were found without `tool_result`"),
    ("result after text", {"messages": answering(said("so"), RESULT)}, "ids were found without `tool_result`"),
    ("result of nothing", {"messages": [user(RESULT)]}, "unexpected `tool_use_id` found in `tool_result` blocks"),
    ("two results", {"messages": answering(RESULT, RESULT)}, "each tool_use must have a single result"),
    ("same id twice", {"messages": [user(), model(CALL, CALL), user(RESULT)]}, "`tool_use` ids must be unique"),
    ("prefill", {"messages": [user(), model()]}, "does not support assistant message prefill"),
    ("prefill ending in space", {"model": OLD, "messages": [user(), model(said("so "))]}, "cannot end with trailing whitespace"),
    ("same tool twice", {"tools": [TOOL, TOOL]}, "Tool names must be unique"),
    ("choice without tools", {"tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
    ("choice of a stranger", {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found"),
    ("any on 5.5", {"model": OPUS_5_5, "tools": [TOOL], "tool_choice": {"type": "any"}}, "`any` is not supported on"),
    ("tool on 5.5", {"model": OPUS_5_5, "tools": [TOOL], "tool_choice": {"type": "tool", "name": "look"}}, "`tool` is not supported on"),
    ("force and think", {"tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": {"type": "enabled", "budget_tokens": 1024}}, "Thinking may not be enabled when"),
    ("adaptive on 4.5", {"model": OLD, "thinking": {"type": "adaptive"}}, "adaptive thinking is not supported"),
    ("enabled on 4.7", {"model": OPUS_4_7, "thinking": {"type": "enabled", "budget_tokens": 1024}}, '"thinking.type.enabled" is not supported'),
    ("disabled on 5.5", {"model": OPUS_5_5, "thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not'),
    ("budget over max_tokens", {"thinking": {"type": "enabled", "budget_tokens": 4000}}, "`max_tokens` must be greater"),
    ("updates without beta", {"thinking": {"type": "adaptive", "display": "updates"}}, "Input should be 'summarized'"),
    ("tool turn without thought", {"messages": answering(RESULT), "thinking": {"type": "enabled", "budget_tokens": 1024}}, "Expected `thinking` or `redacted_thinking`, but found `tool_use`"),
    ("effort on 4.5", {"model": OLD, "output_config": {"effort": "low"}}, "does not support the effort parameter"),
    ("xhigh on 4.6", {"model": "claude-opus-4-6", "output_config": {"effort": "xhigh"}}, "effort level 'xhigh'"),
    ("max without thinking", {"model": OPUS_5, "thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, "when thinking is disabled"),
    ("forged thought", {"messages": [user(), model({"type": "thinking", "thinking": "a", "signature": THOUGHTS.seal("1", "b")}, said("c")), user()]}, "Invalid `signature` in `thinking` block"),
    ("forged secret", {"messages": [user(), model({"type": "redacted_thinking", "data": "eHg="}), user()]}, "Invalid `data` in `redacted_thinking` block"),
    ("temperature on 4.7", {"model": OPUS_4_7, "temperature": 1}, "`temperature` is deprecated for this model."),
    ("both samplings on 4.5", {"model": OLD, "temperature": 1, "top_p": 0.5}, "cannot both be specified"),
    ("cold thinking", {"temperature": 0.5, "thinking": {"type": "adaptive"}}, "may only be set to 1 when thinking"),
    ("top_k and thinking", {"top_k": 5, "thinking": {"type": "adaptive"}}, "`top_k` must be unset"),
    ("more than the model writes", {"model": OPUS_5, "max_tokens": 128_001}, "128001 > 128000, which is the maximum"),
    ("nothing, streamed", {"max_tokens": 0, "stream": True}, "must be at least 1"),
    ("blank stop", {"stop_sequences": [" "]}, "must contain non-whitespace"),
    ("five marks", {"messages": [user(*[MARKED] * 5)]}, "A maximum of 4 blocks with cache_control may be provided. Found 5."),
    ("a mark too many in a result", {"system": [MARKED] * 4, "messages": answering({**RESULT, "content": [MARKED]})}, "A maximum of 4"),
    ("long life after short", {"system": [MARKED, FOR_AN_HOUR]}, "must not come after a ttl='5m'"),
    ("png called jpeg", {"messages": [user(image("image/jpeg", PNG))]}, "the image appears to be a image/png image"),
    ("not an image", {"messages": [user(image("image/png", "AAAA"))]}, "Could not process image"),
    ("not base64", {"messages": [user(image("image/png", "%%%"))]}, "valid base64"),
    ("bad image in a result", {"messages": answering({**RESULT, "content": [image("image/gif", PNG)]})}, "image/gif media"),
    ("open schema", {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "'additionalProperties' must be explicitly set to false"),
    *[(f"argument named {key!r}", {"tools": [with_argument("ok"), with_argument(key)]}, f"tools.1.custom.input_schema.properties: {KEY_RULE}") for key in ("filter[id]", "a b", "", "ü", "a" * 65)],
]  # fmt: skip

ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("two user messages in a row", {"messages": [user(), user()]}),
    ("a system message in the middle", {"model": OPUS_5, "messages": [user(), {"role": "system", "content": "be brief"}]}),
    ("prefill on 4.5", {"model": OLD, "messages": [user(), model(said("so"))]}),
    ("results split over two messages", {"messages": [user(), model(CALL), user(RESULT), user(said("so?"))]}),
    ("forced tool on Haiku 5.5", {"model": "claude-haiku-5-5", "tools": [TOOL], "tool_choice": {"type": "any"}}),
    ("between tools on Sonnet 5.5", {"model": "claude-sonnet-5-5", "thinking": {"type": "between_tools"}}),
    ("four marks", {"messages": [user(*[MARKED] * 4)]}),
    ("its own thought", {"messages": [user(), model({"type": "thinking", "thinking": "a", "signature": THOUGHTS.seal("1", "a")}, said("c")), user()]}),
    ("a real png", {"messages": [user(image("image/png", PNG))]}),
    ("sampling on 4.6", {"model": "claude-opus-4-6", "temperature": 0.2, "top_p": 0.9, "top_k": 5}),
    ("a warm-up", {"max_tokens": 0}),
    ("argument of 64 characters", {"tools": [with_argument("aZ0_.-" + "a" * 58)]}),
    ("a deeper name with brackets", {"tools": [{**TOOL, "input_schema": {"type": "object", "properties": {"a": with_argument("filter[id]")["input_schema"]}}}]}),
]  # fmt: skip


def request(changes: dict[str, Any]) -> dict[str, Any]:
    return {"model": "claude-sim-text", "max_tokens": 2048, "messages": [user()], **changes}


@pytest.mark.parametrize(
    ("changes", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_the_rule_refuses(
    client: httpx.AsyncClient, changes: dict[str, Any], words: str
) -> None:
    reply = await client.post("/v1/messages", json=request(changes))
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]


@pytest.mark.parametrize("changes", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
async def test_its_neighbour_passes(client: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    reply = await client.post("/v1/messages", json=request(changes))
    assert reply.status_code == 200, reply.text


NEW_VERSION = {"anthropic-version": "2026-10-21"}
CITED = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
PAGE = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 1}, "temperature: Extra inputs are not permitted"),
        ({"messages": [user(CITED)]}, "messages.0.content.0.text.citations"),
        (
            {
                "messages": [
                    user({"type": "search_result", "source": "s", "title": "t", "content": [CITED]})
                ]
            },
            "citations",
        ),
        (
            {"messages": [user(), model(PAGE, said("x")), user()]},
            "`document` blocks are not permitted",
        ),
    ],
)
async def test_the_newer_version_refuses_what_the_older_takes(
    client: httpx.AsyncClient, changes: dict[str, Any], words: str
) -> None:
    reply = await client.post("/v1/messages", json=request(changes), headers=NEW_VERSION)
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]
    assert (await client.post("/v1/messages", json=request(changes))).status_code == 200


async def test_a_thought_continues_a_tool_turn_when_thinking_is_enabled(
    client: httpx.AsyncClient,
) -> None:
    thought = {"type": "thinking", "thinking": "", "signature": THOUGHTS.seal("1")}
    messages = [user(), model(thought, CALL), user(RESULT)]
    body = request({"messages": messages, "thinking": {"type": "enabled", "budget_tokens": 1024}})
    assert (await client.post("/v1/messages", json=body)).status_code == 200


async def test_a_budget_may_exceed_max_tokens_when_thinking_is_interleaved(
    client: httpx.AsyncClient,
) -> None:
    body = request({"thinking": {"type": "enabled", "budget_tokens": 4000}})
    beta = {"anthropic-beta": "interleaved-thinking-2025-05-14"}
    assert (await client.post("/v1/messages", json=body, headers=beta)).status_code == 200

"""What must hold for every reader and writer, as functions that raise AssertionError; nothing here
knows the product's tables. `test_formats.py` holds the formats to them,
`test_formats_catch_seeded_bugs.py` shows that they bite.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.formats import messages
from shared.formats.fold import WellFormed, fold
from shared.formats.ir import Event, Fail, Json, Refusal, Reply, Text, Thinking, ToolCall, Usage
from shared.formats.messages.whole import WholeMessage
from shared.formats.written import Frame
from tests.support.replies import PROMPT, keeps_grammar

FINISH_REASON = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "context_window": "length",
    "refusal": "content_filter",
}
STOP_REASON = {reason: reason for reason in FINISH_REASON} | {
    "context_window": "model_context_window_exceeded"
}
INCOMPLETE = {
    "max_tokens": "max_output_tokens",
    "context_window": "max_output_tokens",
    "refusal": "content_filter",
}
NAMES = {"id": "k3y", "created": 1_700_000_000, "model": "a-model"}


@dataclass
class Essence:
    """What every client must be able to see of a reply, whatever its format."""

    text: str
    calls: list[tuple[str, str, str, Any]]
    thinking: list[str]
    usage: Usage
    stop: str


def essence_of(reply: Reply, client: str) -> Essence:
    """What a client of this format must see; Anthropic's have refusals in the text."""
    spoken: tuple[type, ...] = (Text, Refusal) if client == "anthropic" else (Text,)
    return Essence(
        "".join(part.text for part in reply.parts if isinstance(part, spoken)),
        [
            (
                part.id,
                part.name,
                part.kind,
                part.arguments if part.kind == "custom" else json.loads(part.arguments),
            )
            for part in reply.parts
            if isinstance(part, ToolCall)
        ],
        [part.text for part in reply.parts if isinstance(part, Thinking) and part.text],
        reply.stop.usage,
        expected_stop(reply, client),
    )


def expected_stop(reply: Reply, client: str) -> str:
    reason = reply.stop.reason.value
    if client == "openai_chat":
        return FINISH_REASON[reason]
    if client == "anthropic":
        return STOP_REASON[reason]
    return INCOMPLETE.get(reason, "completed")


# --- what clients make of frames ---


def assemble(client: str, frames: Iterable[Frame]) -> Json:
    """The whole reply a client of this format puts together from a stream."""
    return {"anthropic": _message, "openai_chat": _completion, "openai_responses": _response}[
        client
    ](list(frames))


def _message(frames: list[Frame]) -> Json:
    whole = WholeMessage()
    next_index = 0
    for frame in frames:
        assert isinstance(frame.data, dict)
        assert frame.name == frame.data["type"]
        if frame.name == "content_block_start":
            assert frame.data["index"] == next_index, "blocks are numbered one after another"
            next_index += 1
        elif "index" in frame.data:
            assert frame.data["index"] == next_index - 1, "only the newest block is open"
        whole.feed(frame.data)
    assert whole.stopped
    return whole.message


def _completion(frames: list[Frame]) -> Json:
    """Puts deltas together by `index` alone, as the official client does."""
    *chunks, done = [frame.data for frame in frames if frame.name is None]
    assert done == "[DONE]"
    message: Json = {}
    calls: dict[int, Json] = {}
    whole: Json = {}
    for chunk in chunks:
        assert isinstance(chunk, dict)
        whole |= {name: value for name, value in chunk.items() if name not in {"choices", "object"}}
        for choice in chunk["choices"]:
            whole["finish_reason"] = choice["finish_reason"]
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    for piece in value:
                        _merge(calls.setdefault(piece["index"], {}), piece)
                else:
                    message[name] = (
                        (message.get(name) or "") + value if isinstance(value, str) else value
                    )
    assert list(calls) == list(range(len(calls))), "tools are numbered from 0 without gaps"
    for call in calls.values():
        del call["index"]
    whole["message"] = message | ({"tool_calls": list(calls.values())} if calls else {})
    return whole


def _merge(whole: Json, piece: Json) -> None:
    for name, value in piece.items():
        if isinstance(value, dict):
            _merge(whole.setdefault(name, {}), value)
        elif isinstance(value, str) and name not in {"id", "type"}:
            whole[name] = whole.get(name, "") + value
        else:
            whole[name] = value


def _response(frames: list[Frame]) -> Json:
    """The last event's response, after every inner delta was found to agree with it."""
    payloads = [frame.data for frame in frames if frame.name != ":"]
    texts: dict[tuple[str, int], str] = {}
    done: list[Json] = []
    for number, payload in enumerate(payloads):
        assert isinstance(payload, dict)
        assert payload["sequence_number"] == number
        if payload["type"] == "response.output_item.done":
            assert payload["output_index"] == len(done), "items end one after another"
            done.append(payload["item"])
        elif payload["type"].endswith(".delta"):
            place = (payload["item_id"], payload.get("content_index", 0))
            texts[place] = texts.get(place, "") + payload["delta"]
    last = payloads[-1]
    assert isinstance(last, dict)
    assert last["type"] in {"response.completed", "response.incomplete"}
    assert done == last["response"]["output"]
    for (item_id, part), text in texts.items():
        (item,) = [item for item in done if item["id"] == item_id]
        told = item.get("content", item.get("summary"))
        spoken = told[part] if told else item
        assert text in {spoken.get(name) for name in ("text", "refusal", "arguments", "input")}
    response: Json = last["response"]
    return response


# --- what clients see in whole replies ---


def essence_seen(client: str, whole: Json) -> Essence:
    return {
        "anthropic": _of_message,
        "openai_chat": _of_completion,
        "openai_responses": _of_response,
    }[client](whole)


def _of_message(message: Json) -> Essence:
    blocks, usage = message["content"], message["usage"]
    return Essence(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        [_call_of(block) for block in blocks if block["type"] == "tool_use"],
        [
            block["thinking"]
            for block in blocks
            if block["type"] == "thinking" and block["thinking"]
        ],
        Usage(
            usage["input_tokens"],
            usage["cache_read_input_tokens"],
            usage["cache_creation_input_tokens"],
            usage["output_tokens"],
            usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
        ),
        message["stop_reason"],
    )


def _call_of(block: Json) -> tuple[str, str, str, Any]:
    custom = block["name"] == "apply_patch"
    kind, value = ("custom", block["input"]["input"]) if custom else ("function", block["input"])
    return block["id"], block["name"], kind, value


def _of_completion(whole: Json) -> Essence:
    if "choices" in whole:
        (choice,) = whole["choices"]
        whole = {**whole, "message": choice["message"], "finish_reason": choice["finish_reason"]}
    message = whole["message"]
    calls = [
        (call["id"], call["custom"]["name"], "custom", call["custom"]["input"])
        if call["type"] == "custom"
        else (
            call["id"],
            call["function"]["name"],
            "function",
            json.loads(call["function"]["arguments"]),
        )
        for call in message.get("tool_calls") or ()
    ]
    return Essence(
        message.get("content") or "",
        calls,
        [message["reasoning_content"]] if message.get("reasoning_content") else [],
        _openai_usage(whole["usage"], "prompt", "completion"),
        whole["finish_reason"],
    )


def _openai_usage(usage: Json, read: str, written: str) -> Usage:
    details = usage[f"{read}_tokens_details"]
    cached, stored = details["cached_tokens"], details["cache_write_tokens"]
    assert usage["total_tokens"] == usage[f"{read}_tokens"] + usage[f"{written}_tokens"]
    return Usage(
        usage[f"{read}_tokens"] - cached - stored,
        cached,
        stored,
        usage[f"{written}_tokens"],
        usage[f"{written}_tokens_details"]["reasoning_tokens"],
    )


def _of_response(response: Json) -> Essence:
    output = response["output"]
    spoken = [part for item in output if item["type"] == "message" for part in item["content"]]
    calls: list[tuple[str, str, str, Any]] = []
    for item in output:
        if item["type"] == "function_call":
            calls.append((item["call_id"], item["name"], "function", json.loads(item["arguments"])))
        elif item["type"] == "custom_tool_call":
            calls.append((item["call_id"], item["name"], "custom", item["input"]))
    incomplete = response.get("incomplete_details") or {}
    return Essence(
        "".join(part["text"] for part in spoken if part["type"] == "output_text"),
        calls,
        [
            "\n\n".join(part["text"] for part in item["summary"])
            for item in output
            if item["type"] == "reasoning" and item["summary"]
        ],
        _openai_usage(response["usage"], "input", "output"),
        incomplete.get("reason", response["status"]),
    )


# --- the laws ---


def told_by(provider: Any, events: Iterable[Event]) -> list[Event]:
    """The events we understand when a provider streams these."""
    speaking = provider.Writer(PROMPT, **NAMES)
    payloads = [
        frame.data
        for event in events
        for frame in speaking.feed(event)
        if isinstance(frame.data, dict)
    ]
    reader = WellFormed(provider.Reader(PROMPT))
    told = [event for payload in payloads for event in reader.feed(payload)] + [*reader.end()]
    assert keeps_grammar(told)
    return told


def written_for(client: Any, events: Iterable[Event]) -> list[Frame]:
    writer = client.Writer(PROMPT, **NAMES)
    return [frame for event in events for frame in writer.feed(event)]


def reading_back_gives_the_reply(provider: Any, reply: Reply, events: list[Event]) -> None:
    told = fold(told_by(provider, events))
    assert isinstance(told, Reply)
    assert told.parts == reply.parts
    assert told.stop == reply.stop


def a_client_sees_what_the_provider_said(
    provider: Any, client: Any, name: str, reply: Reply, events: list[Event]
) -> None:
    """Streamed and whole alike."""
    told = told_by(provider, events)
    folded = fold(told)
    assert isinstance(folded, Reply)
    wanted = essence_of(reply, name)
    streamed = essence_seen(name, assemble(name, written_for(client, told)))
    whole = essence_seen(name, client.write_reply(PROMPT, folded, **NAMES))
    if name == "openai_chat":
        wanted.thinking = ["\n\n".join(wanted.thinking)] if wanted.thinking else []
    assert streamed == wanted
    assert whole == wanted


def streamed_and_whole_are_equal(client: Any, name: str, reply: Reply, events: list[Event]) -> None:
    """Not in essence but to the last field."""
    streamed = assemble(name, written_for(client, events))
    whole = client.write_reply(PROMPT, reply, **NAMES)
    if name == "openai_chat":
        (choice,) = whole.pop("choices")
        del whole["object"]
        whole["finish_reason"], message = choice["finish_reason"], choice["message"]
        whole["message"] = {field: value for field, value in message.items() if value is not None}
        streamed["message"] = {
            field: value for field, value in streamed["message"].items() if value != ""
        }
    if name == "openai_responses":
        # The clock tells both, and a second may begin in between.
        ends = [shape.pop("completed_at") for shape in (streamed, whole)]
        assert (ends[0] is None) == (ends[1] is None)
    assert streamed == whole


def a_failure_is_never_shown_as_success(client: Any, events: list[Event], fail: Fail) -> None:
    """Wherever it breaks off, the stream ends in the format's own error and in nothing that means
    success.
    """
    *unfinished, _ = events
    for length in range(1, len(unfinished) + 1):
        in_order = WellFormed(messages.Reader(PROMPT))
        told = [
            repaired
            for event in [*unfinished[:length], fail]
            for repaired in in_order.repair(event)
        ]
        frames = written_for(client, told)
        shown = json.dumps([frame.data for frame in frames])
        assert json.dumps(fail.message) in json.dumps(frames[-1].data)
        for success in (
            "[DONE]",
            "message_stop",
            "message_delta",
            "response.completed",
            "response.incomplete",
        ):
            assert f'"{success}"' not in shown
        assert '"finish_reason": "' not in shown


def sealed_reasoning_comes_back(
    provider: Any, client: Any, name: str, reply: Reply, events: list[Event]
) -> None:
    """What a provider sealed passes through the client's history and reaches the same provider byte
    for byte.
    """
    sealed = [part for part in reply.parts if isinstance(part, Thinking)]
    folded = fold(told_by(provider, events))
    assert isinstance(folded, Reply)
    whole = client.write_reply(PROMPT, folded, **NAMES)
    if name == "anthropic":
        body = {
            "model": "m",
            "max_tokens": 9,
            "messages": [{"role": "assistant", "content": whole["content"] or "."}],
        }
    else:
        body = {"model": "m", "input": whole["output"]}
    prompt = client.read_prompt(body)
    back = [
        part for message in prompt.messages for part in message.parts if isinstance(part, Thinking)
    ]
    assert back == sealed

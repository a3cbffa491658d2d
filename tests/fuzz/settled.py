"""Bodies made coherent: what types cannot say, as which result answers which call, or which tools
may be chosen.

A body that every service refuses for such a reason shows nothing about its other fields.
"""

from __future__ import annotations

import random
from typing import Any

from shared.formats.chat import request_in as chat_reading
from shared.formats.fields import FieldPolicy
from shared.formats.messages.request_in import FIELDS as MESSAGES_FIELDS
from shared.formats.responses import request_in as responses_reading
from simulator.seal import REASONING, THOUGHTS
from tests.fuzz.typed_values import Made

Json = dict[str, Any]
TABLES: dict[str, dict[str, FieldPolicy]] = {
    "anthropic": MESSAGES_FIELDS,
    "openai_chat": chat_reading.FIELDS,
    "openai_responses": responses_reading.FIELDS,
}
CARRIED = FieldPolicy("carried")


def settle(client: str, body: Json, chance: random.Random) -> None:
    """Change `body` in place into a request that its client could have meant."""
    for field in [name for name in body if TABLES[client].get(name, CARRIED).kind == "refused"]:
        if chance.random() < 0.98:
            del body[field]
    {
        "anthropic": settle_messages,
        "openai_chat": settle_chat,
        "openai_responses": settle_responses,
    }[client](body, chance)


def distinct(tools: list[Json], named: str = "") -> list[str]:
    """Give every tool a name of its own; return the names."""
    names: list[str] = []
    for number, tool in enumerate(tools):
        holder = tool.get(tool["type"], tool) if named else tool
        if "name" in holder and not (holder is tool and is_hosted(tool)):
            if holder["name"] in names:
                holder["name"] = f"{holder['name']}{number}"
            names.append(holder["name"])
    return names


def is_hosted(tool: Json) -> bool:
    return (tool.get("type") or "custom") not in ("custom", "function", "namespace")


# --- Messages ------------------------------------------------------------------------------------

USER_BLOCKS = frozenset({"text", "image", "document", "search_result"})
SPOKEN_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})


def settle_messages(body: Json, chance: random.Random) -> None:
    body["max_tokens"] = max(body["max_tokens"], 1)
    tools = body.get("tools") or []
    hosted = {tool.get("name") or tool["type"]: tool for tool in tools if is_hosted(tool)}
    kept = [*(tool for tool in tools if not is_hosted(tool)), *hosted.values()]
    body.pop("tools", None)
    if kept:
        body["tools"] = kept
    names = distinct(kept)
    choice = body.get("tool_choice")
    if choice and not kept:
        del body["tool_choice"]
    elif choice and choice["type"] == "tool":
        choice["name"] = chance.choice(names or ["web_search"])
        if not names:
            del body["tool_choice"]
    turns: list[Json] = []
    calls: list[Json] = []
    for message in body["messages"]:
        results = []
        if message["role"] == "user":
            results = [answer(call, message, chance) for call in calls]
            calls = []
        elif message["role"] == "assistant" and calls:
            turns.append(
                {"role": "user", "content": [answer(call, message, chance) for call in calls]}
            )
            calls = []
        elif message["role"] == "system" and (calls or not turns):
            continue
        if isinstance(message["content"], list):
            allowed = USER_BLOCKS if message["role"] == "user" else SPOKEN_BLOCKS
            message["content"] = [block for block in message["content"] if block["type"] in allowed]
            calls = [block for block in message["content"] if block["type"] == "tool_use"]
            message["content"] = [*results, *message["content"]]
        elif results:
            message["content"] = [*results, {"type": "text", "text": message["content"]}]
        if message["content"]:
            turns.append(message)
        for number, call in enumerate(calls):
            call["id"] = f"toolu_{len(turns)}_{number}"
    if calls:
        turns.append({"role": "user", "content": [answer(call, {}, chance) for call in calls]})
    if not turns or turns[-1]["role"] != "user":
        turns.append({"role": "user", "content": "Go on."})
    body["messages"] = turns
    for message in turns:
        for block in message["content"] if isinstance(message["content"], list) else []:
            if block["type"] == "thinking":
                block["signature"] = THOUGHTS.seal("thought", block["thinking"])
            if block["type"] == "redacted_thinking":
                block["data"] = THOUGHTS.seal("redacted")


def answer(call: Json, message: Json, chance: random.Random) -> Json:
    """Return the result of a call: one that the message holds anyway, else a new one."""
    content = message.get("content")
    found = (
        [block for block in content if block["type"] == "tool_result"]
        if isinstance(content, list)
        else []
    )
    result: Json = chance.choice(found) if found else {"type": "tool_result", "content": "done"}
    if isinstance(content, list) and result in content:
        content.remove(result)
    result["tool_use_id"] = call["id"]
    return result


# --- Chat Completions ----------------------------------------------------------------------------


def settle_chat(body: Json, chance: random.Random) -> None:
    names = distinct(body.get("tools") or [], "inner")
    kinds = {tool[tool["type"]]["name"]: tool["type"] for tool in body.get("tools") or []}
    choice = body.get("tool_choice")
    if not names:
        body.pop("tool_choice", None)
    elif isinstance(choice, dict):
        name = chance.choice(names)
        kind = kinds[name]
        if "allowed_tools" in choice:
            choice["allowed_tools"]["tools"] = [{"type": kind, kind: {"name": name}}]
        else:
            choice.clear()
            choice |= {"type": kind, kind: {"name": name}}
    if not body.get("tools"):
        body.pop("parallel_tool_calls", None)
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        del body["max_tokens"]
    body["messages"] = [
        message for message in body["messages"] if "input_audio" not in kinds_in(message)
    ]
    if isinstance(body.get("stop"), list):
        body["stop"] = body["stop"][:4]
    turns: list[Json] = []
    for message in body["messages"]:
        if message["role"] in ("tool", "function"):
            continue
        for part in message["content"] if isinstance(message.get("content"), list) else []:
            if isinstance(part.get("file"), dict):
                part["file"].pop("file_id", None)
        if message["role"] == "assistant":
            message.pop("audio", None)
            message.pop("function_call", None)
            for number, call in enumerate(message.get("tool_calls") or []):
                call["id"] = f"call_{len(turns)}_{number}"
        turns.append(message)
        spare = [other for other in body["messages"] if other["role"] == "tool"]
        for call in message.get("tool_calls") or [] if message["role"] == "assistant" else []:
            result = Made()
            result |= spare[0] if spare else {"role": "tool", "content": "done"}
            result["tool_call_id"] = call["id"]
            turns.append(result)
    if not turns or turns[-1]["role"] == "assistant":
        turns.append({"role": "user", "content": "Go on."})
    body["messages"] = turns


def kinds_in(message: Json) -> set[str]:
    content = message.get("content")
    return {part["type"] for part in content} if isinstance(content, list) else set()


# --- Responses -----------------------------------------------------------------------------------

STORED = ("previous_response_id", "conversation")
OUTPUT_OF = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
PREFIXES = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}


def settle_responses(body: Json, chance: random.Random) -> None:
    for field in STORED:
        if chance.random() < 0.98:
            body.pop(field, None)
    tools = body.get("tools") or []
    names = distinct(tools)
    for tool in tools:
        if tool["type"] == "namespace":
            distinct(tool["tools"])
    kinds = {tool["name"]: tool["type"] for tool in tools if "name" in tool}
    callable_names = [name for name in names if kinds[name] in ("function", "custom")]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        if not callable_names:
            del body["tool_choice"]
        elif choice["type"] == "allowed_tools":
            choice["tools"] = [{"type": kinds[name], "name": name} for name in callable_names[:2]]
        else:
            name = chance.choice(callable_names)
            choice.clear()
            choice |= {"type": kinds[name], "name": name}
    elif choice == "required" and not tools:
        del body["tool_choice"]
    if not body.get("input"):
        body["input"] = "Go on."
    if isinstance(body["input"], list):
        body["input"] = settled_items(body["input"], chance)


def settled_items(items: list[Json], chance: random.Random) -> list[Json]:
    kept: list[Json] = []
    outputs = {
        kind: [item for item in items if item.get("type") == kind] for kind in OUTPUT_OF.values()
    }
    for item in items:
        kind = item.get("type") or "message"
        if kind in OUTPUT_OF.values() or kind in ("item_reference", "compaction_trigger"):
            continue
        if "id" in item and kind in PREFIXES:
            item["id"] = f"{PREFIXES[kind]}_{len(kept)}"
        if kind == "reasoning":
            item["encrypted_content"] = REASONING.seal(item["id"])
        kept.append(item)
        if kind in OUTPUT_OF:
            item["call_id"] = f"call_{len(kept)}"
            output = Made()
            output |= (
                outputs[OUTPUT_OF[kind]][0] if outputs[OUTPUT_OF[kind]] else {"output": "done"}
            )
            output |= {"type": OUTPUT_OF[kind], "call_id": item["call_id"]}
            output.pop("id", None)
            kept.append(output)
    if not any(
        (item.get("type") or "message") == "message" and item.get("role") == "user"
        for item in kept[-1:]
    ):
        kept.append({"type": "message", "role": "user", "content": "Go on."})
    del chance
    return kept

"""Every field the Messages service takes, where it takes it, and the header a beta field needs.

Source: the type files of the official SDK (2.12) and what Claude Code sends. What server-side tools
and their result blocks carry inside is not looked at.
"""

from __future__ import annotations

from simulator.shape import (
    Check,
    anything,
    at_least,
    at_most,
    boolean,
    including,
    integer,
    list_of,
    literal,
    mapping,
    matching,
    names,
    nullable,
    number,
    record,
    tagged,
    text,
    text_or,
    with_beta,
)

MCP = "mcp-client-2025-04-04 mcp-client-2025-11-20 mcp-client-2026-09-15"
COMPUTER_USE = "computer-use-2024-10-22 computer-use-2025-01-24 computer-use-2025-11-24"
FALLBACK = "server-side-fallback-2026-06-01 server-side-fallback-2026-07-01"
TURN_CONFIG = "mid-conversation-output-config-2026-07-01 per-turn-control-2026-07-01"
TOOL_CHANGES = "mid-conversation-tool-changes-2026-07-01"
SERVER_RESULTS = names("""
    web_search_tool_result web_fetch_tool_result code_execution_tool_result
    bash_code_execution_tool_result
    text_editor_code_execution_tool_result tool_search_tool_result
    """)
SERVER_TOOLS = names("""
    bash_20250124 text_editor_20250124 text_editor_20250429 text_editor_20250728 memory_20250818
    code_execution_20250522 code_execution_20250825 code_execution_20260120 code_execution_20260521
    web_search_20250305 web_search_20260209 web_search_20260318 web_fetch_20250910
    web_fetch_20260209
    web_fetch_20260309 web_fetch_20260318 tool_search_tool_bm25_20251119
    tool_search_tool_regex_20251119 tool_search_tool_bm25 tool_search_tool_regex
    computer_toolset_20260801 browser_toolset_20260801
    """)

TOOL_USE_ID = matching(r"^[a-zA-Z0-9_-]+$")
EFFORT = nullable(literal("low", "medium", "high", "xhigh", "max"))
CACHE = nullable(
    record(
        "type",
        type=literal("ephemeral"),
        ttl=literal("5m", "1h"),
        scope=with_beta("prompt-caching-scope-2026-01-05", literal("global")),
    )
)


def block(required: str, **fields: Check) -> Check:
    return record(required, cache_control=CACHE, **fields)


def _data(*media_types: str) -> Check:
    return record("media_type data", media_type=literal(*media_types), data=text)


CITATIONS = nullable(record(enabled=boolean))
URL_OR_FILE = {
    "url": record("url", url=matching(r"^https://", "Only HTTPS URLs are supported.")),
    "file": record("file_id", file_id=text),
}
TEXT = block("text", text=text, citations=nullable(list_of(mapping)))
IMAGE = block(
    "source",
    source=tagged(
        {"base64": _data("image/jpeg", "image/png", "image/gif", "image/webp"), **URL_OR_FILE}
    ),
    transformations=nullable(record(oversized_image=literal("downsize", "error"))),
)
PARTS = record("content", content=text_or(list_of(tagged({"text": TEXT, "image": IMAGE}))))
DOCUMENT_SOURCE = {
    "base64": _data("application/pdf"),
    "text": _data("text/plain"),
    "content": PARTS,
    **URL_OR_FILE,
}
IN_A_RESULT: dict[str, Check] = {
    "text": TEXT,
    "image": IMAGE,
    "document": block(
        "source",
        source=tagged(DOCUMENT_SOURCE),
        citations=CITATIONS,
        context=nullable(text),
        title=nullable(text),
    ),
    "search_result": block(
        "source title content",
        source=text,
        title=text,
        content=list_of(tagged({"text": TEXT})),
        citations=CITATIONS,
    ),
    "tool_reference": block("tool_name", tool_name=text),
    "browser_state": mapping,
}
BLOCKS: dict[str, Check] = {
    **{name: IN_A_RESULT[name] for name in ("text", "image", "document", "search_result")},
    "thinking": record("thinking signature", thinking=text, signature=text),
    "redacted_thinking": record("data", data=text),
    "tool_use": block(
        "id name input",
        id=TOOL_USE_ID,
        name=text,
        input=mapping,
        caller=mapping,
        toolset_name=nullable(text),
    ),
    "tool_result": block(
        "tool_use_id",
        tool_use_id=TOOL_USE_ID,
        content=text_or(list_of(tagged(IN_A_RESULT))),
        is_error=boolean,
        toolset_name=nullable(text),
    ),
    "server_tool_use": block(
        "id name input",
        id=matching(r"^srvtoolu_[a-zA-Z0-9_]+$"),
        name=text,
        input=mapping,
        caller=mapping,
    ),
    **dict.fromkeys(
        SERVER_RESULTS,
        block("tool_use_id content", tool_use_id=text, content=anything, caller=mapping),
    ),
    "container_upload": block("file_id", file_id=text),
    **dict.fromkeys(
        ("mcp_tool_use", "mcp_tool_result", "mcp_tool_listing"), with_beta(MCP, mapping)
    ),
    "compaction": with_beta("compact-2026-01-12 compact-2026-09-04", mapping),
    "fallback": with_beta(FALLBACK, mapping),
    "advisor_tool_result": with_beta("advisor-tool-2026-03-01", mapping),
}
SYSTEM_BLOCKS = {
    "text": TEXT,
    **dict.fromkeys(("tool_addition", "tool_removal"), with_beta(TOOL_CHANGES, mapping)),
}
SPOKEN = record("content", content=text_or(list_of(tagged(BLOCKS))))
INTERJECTED = record(
    content=text_or(list_of(tagged(SYSTEM_BLOCKS))),
    output_config=with_beta(TURN_CONFIG, nullable(record(effort=EFFORT))),
    clear_at=with_beta("mid-conversation-system-clear-at-2026-08-21"),
)
MESSAGE = tagged({"user": SPOKEN, "assistant": SPOKEN, "system": INTERJECTED}, "role", shown=False)
KNOWN_TOOL = including(name=text, cache_control=CACHE)
TOOL = tagged(
    {
        "custom": block(
            "name input_schema",
            name=matching(r"^[a-zA-Z0-9_-]{1,128}$"),
            input_schema=tagged({"object": mapping}, shown=False),
            description=text,
            strict=boolean,
            defer_loading=boolean,
            allowed_callers=list_of(text),
            eager_input_streaming=nullable(boolean),
            input_examples=list_of(mapping),
            provenance=with_beta("tool-provenance-2026-10-26"),
        ),
        **dict.fromkeys(SERVER_TOOLS, KNOWN_TOOL),
        **{
            name: with_beta(COMPUTER_USE, KNOWN_TOOL)
            for name in (
                "computer_20241022",
                "computer_20250124",
                "computer_20251124",
                "bash_20241022",
                "text_editor_20241022",
            )
        },
        "mcp_toolset": with_beta(MCP, KNOWN_TOOL),
        "advisor_20260301": with_beta("advisor-tool-2026-03-01", KNOWN_TOOL),
    },
    default="custom",
)
PARALLEL = record(disable_parallel_tool_use=boolean)
TOOL_CHOICE = tagged(
    {
        "auto": PARALLEL,
        "any": PARALLEL,
        "tool": record("name", name=text, disable_parallel_tool_use=boolean),
        "none": record(),
    }
)
SHOWN = {
    "display": nullable(literal("summarized", "omitted", "updates")),
    "block_binding": with_beta("thinking-binding-controls-2026-08-01"),
}
THINKING = tagged(
    {
        "adaptive": record(**SHOWN),
        "enabled": record("budget_tokens", budget_tokens=at_least(1024), **SHOWN),
        "disabled": record(),
        "between_tools": record(),
    }
)
FORMAT = nullable(tagged({"json_schema": record("schema", schema=mapping)}, shown=False))
COUNTED: dict[str, Check] = {
    "model": text,
    "messages": list_of(MESSAGE, most=100_000),
    "cache_control": CACHE,
    "output_config": record(
        effort=EFFORT, format=FORMAT, task_budget=with_beta("task-budgets-2026-03-13")
    ),
    "speed": nullable(literal("standard", "fast")),
    "system": text_or(list_of(tagged({"text": TEXT}))),
    "thinking": THINKING,
    "tool_choice": TOOL_CHOICE,
    "tools": list_of(TOOL),
    "context_management": with_beta(
        "context-management-2025-06-27", nullable(record(edits=list_of(mapping)))
    ),
    "mcp_servers": with_beta(MCP, list_of(mapping)),
    "output_format": with_beta("structured-outputs-2025-11-13", FORMAT),
}
CREATED: dict[str, Check] = COUNTED | {
    "max_tokens": at_least(0),
    "container": nullable(text_or(record(id=nullable(text), skills=nullable(list_of(mapping))))),
    "diagnostics": nullable(record(previous_message_id=nullable(text))),
    "inference_geo": nullable(text),
    "metadata": record(user_id=nullable(text)),
    "service_tier": literal("auto", "standard_only"),
    "stop_sequences": list_of(text),
    "stream": boolean,
    "fallbacks": with_beta(FALLBACK),
    "fallback_credit_token": with_beta("fallback-credit-2026-06-01 fallback-credit-2026-07-01"),
    "thread": with_beta("message-threads-2026-08-12", nullable(mapping)),
    "compaction": with_beta("compact-2026-09-04", nullable(mapping)),
    "safeguards": with_beta("dangerous-tool-use-2026-09-03"),
}
SHARE = at_most(1, at_least(0, number))
SAMPLING: dict[str, Check] = {"temperature": SHARE, "top_p": SHARE, "top_k": at_least(0, integer)}

COUNT_TOKENS = record("model messages", **COUNTED)
MESSAGES_2026 = record("model messages max_tokens", **CREATED)
MESSAGES_2023 = record("model messages max_tokens", **CREATED, **SAMPLING)

"""The tools of a Responses request, and the choice among them."""

from __future__ import annotations

from collections.abc import Iterator

from shared.formats import ir
from shared.formats.fields import drop_empty
from shared.formats.ir import Json
from shared.formats.responses.names import openai_name
from shared.formats.responses.target import ResponsesTarget
from shared.formats.schemas import for_openai
from shared.formats.strict_schemas import qualifies_for_openai


def write_tools(target: ResponsesTarget) -> Iterator[Json]:
    """Yield the allowed tools of the prompt; those of a namespace stand together."""
    choice = target.prompt.tool_choice or ir.ToolChoice()
    namespaces: dict[str, list[Json]] = {}
    for tool in target.prompt.tools:
        if isinstance(tool, ir.Opaque):
            if tool.vendor == "openai":
                yield tool.data
            else:
                target.drop_inside("tools", [str(tool.data.get("type"))])
        elif isinstance(tool, ir.WebSearch):
            yield _web_search(target, tool)
        elif choice.allowed is not None and tool.name not in choice.allowed:
            continue
        elif tool.namespace in namespaces:
            namespaces[tool.namespace].append(_tool(target, tool))
        elif tool.namespace:
            # Yielded at its first tool and filled by the later ones: the list is the same object.
            namespaces[tool.namespace] = [_tool(target, tool)]
            yield {
                "type": "namespace",
                "name": tool.namespace,
                "tools": namespaces[tool.namespace],
            }
        else:
            yield _tool(target, tool)


def _tool(target: ResponsesTarget, tool: ir.Tool) -> Json:
    """Return the tool, always with `strict`: OpenAI's default is true, and most schemas do not
    survive strictness.
    """
    if tool.kind == "local_shell":
        return {"type": "local_shell"}
    written: Json = {
        "type": tool.kind,
        "name": openai_name(tool.name),
        **drop_empty(description=tool.description),
    }
    if tool.kind == "custom":
        return (
            written | {"format": {"type": "grammar", **tool.grammar}} if tool.grammar else written
        )
    repaired = for_openai(tool.schema)
    target.drop_inside("tools.schema", repaired.lost)
    is_strict = bool(tool.strict) and qualifies_for_openai(repaired.schema)
    if tool.strict and not is_strict:
        target.drop("tools.strict")
    return written | {"parameters": repaired.schema, "strict": is_strict}


def _web_search(target: ResponsesTarget, search: ir.WebSearch) -> Json:
    if search.max_uses:
        target.drop("max_uses")
    if search.blocked_domains:
        target.drop("blocked_domains")
    return {"type": "web_search"} | drop_empty(
        filters=drop_empty(allowed_domains=list(search.allowed_domains)),
        user_location={"type": "approximate", **search.location} if search.location else None,
        search_context_size=search.context_size,
    )


def write_tool_choice(target: ResponsesTarget) -> str | Json:
    """Return the choice among the written tools."""
    choice = target.prompt.tool_choice or ir.ToolChoice()
    if choice.mode != "named":
        return choice.mode
    tools = (
        tool
        for tool in target.prompt.tools
        if isinstance(tool, ir.Tool) and tool.name == choice.name
    )
    kind = next((tool.kind for tool in tools), None)
    if kind is None and any(isinstance(tool, ir.WebSearch) for tool in target.prompt.tools):
        return {"type": ir.WEB_SEARCH}
    kind = kind or "function"
    return (
        {"type": kind}
        if kind == "local_shell"
        else {"type": kind, "name": openai_name(choice.name)}
    )

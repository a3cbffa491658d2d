"""The tools of a Messages request, their strict schemas, and the schema of the reply, which shares
the service's limits with the tools.

Invariant: an argument that had to be renamed in a tool has the same name in the tool's calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from shared.formats import ir
from shared.formats.fields import drop_empty
from shared.formats.ir import Json
from shared.formats.messages import blocks
from shared.formats.messages.target import Target
from shared.formats.schemas import for_anthropic
from shared.formats.strict_schemas import StrictBudget, strict_for_anthropic
from shared.runtime.errors import ClientError

AnyTool: TypeAlias = ir.Tool | ir.WebSearch | ir.Opaque


class ToolsOut:
    """The tools of `target`. `output_schema` is the schema of the reply in the service's dialect;
    None when only an instruction can express it. `renamed` holds the renamed arguments of every
    tool, by the tool's name on the wire.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.renamed: dict[str, Mapping[str, str]] = {}
        self._strict_budget = StrictBudget()
        self._search = next(
            (tool for tool in target.prompt.tools if isinstance(tool, ir.WebSearch)), None
        )
        # Before any tool: the reply's schema comes first when the service's limits are shared out.
        self.output_schema = self._strict_output()

    def write(self) -> tuple[list[Json], Json | None]:
        """Return the tools and the choice among them. Raises ClientError for a choice without a
        tool.
        """
        choice = self._target.prompt.tool_choice or ir.ToolChoice()
        if choice.mode in {"required", "named"} and not self._target.model.forced_tools:
            self._target.drop("tool_choice")
            allowed = (choice.name,) if choice.mode == "named" else choice.allowed
            choice = ir.ToolChoice("auto", allowed=allowed)
        tools = [
            written
            for tool in without_repetitions(self._target.prompt.tools)
            if choice.allowed is None
            or not isinstance(tool, ir.Tool)
            or tool.name in choice.allowed
            for written in self._tool(tool)
        ]
        return tools, self._choice(choice, offered=tools)

    def _choice(self, choice: ir.ToolChoice, *, offered: list[Json]) -> Json | None:
        if not offered:
            if choice.mode in {"required", "named"}:
                raise ClientError("tool_choice: there is no tool to choose.", param="tool_choice")
            return None
        written: Json = {"type": {"required": "any", "named": "tool"}.get(choice.mode, choice.mode)}
        if choice.mode == "named":
            written["name"] = next(
                (
                    blocks.wire_name(t.name, t.namespace)
                    for t in self._target.prompt.tools
                    if isinstance(t, ir.Tool) and t.name == choice.name
                ),
                choice.name,
            )
        if self._target.prompt.parallel_tools is False and choice.mode != "none":
            written["disable_parallel_tool_use"] = True
        return written if self._target.prompt.tool_choice or len(written) > 1 else None

    def _tool(self, tool: AnyTool) -> Iterator[Json]:
        match tool:
            case ir.Tool(kind="custom"):
                if tool.grammar:
                    self._target.drop("tools.format")
                yield self._target.mark(blocks.custom_tool(tool), tool.cache)
            case ir.Tool():
                yield self._target.mark(self._function_tool(tool), tool.cache)
            case ir.WebSearch() if tool is not self._search:
                self._target.drop_inside(
                    "tools", [ir.WEB_SEARCH]
                )  # the service takes one tool of a name
            case ir.WebSearch():
                if tool.context_size:
                    self._target.drop("search_context_size")
                yield blocks.web_search_tool(tool)
            case ir.Opaque(vendor="anthropic", data=data):
                yield data
            case ir.Opaque(data=data):
                self._target.drop_inside("tools", [str(data.get("type"))])

    def _function_tool(self, tool: ir.Tool) -> Json:
        """A strict tool the service cannot promise to keep to the letter is offered as an ordinary
        one.
        """
        written = {
            "name": blocks.wire_name(tool.name, tool.namespace),
            **drop_empty(description=tool.description),
        }
        if tool.strict and self._target.model.structured_output:
            strict = strict_for_anthropic(tool.schema or {"properties": {}}, is_tool=True)
            if strict is not None and self._strict_budget.admit(strict.schema, is_tool=True):
                self._target.drop_inside("tools.schema", strict.lost)
                self.renamed[written["name"]] = strict.renamed
                return written | {"input_schema": strict.schema, "strict": True}
        if tool.strict:
            self._target.drop("tools.strict")
        repaired = for_anthropic(tool.schema)
        self._target.drop_inside("tools.schema", repaired.lost)
        self.renamed[written["name"]] = repaired.renamed
        return written | {"input_schema": repaired.schema}

    def output_format(self) -> Json | None:
        """Return the format of the reply; None for free text."""
        return (
            {"type": "json_schema", "schema": self.output_schema}
            if self.output_schema is not None
            else None
        )

    def _strict_output(self) -> Json | None:
        wanted = self._target.prompt.response_format
        if wanted is None or wanted.schema is None or not self._target.model.structured_output:
            return None
        strict = strict_for_anthropic(described_format(wanted))
        if strict is None or not self._strict_budget.admit(strict.schema, is_tool=False):
            return None
        self._target.drop_inside("response_format.schema", strict.lost)
        return strict.schema


def without_repetitions(
    tools: Sequence[AnyTool],
) -> list[AnyTool]:
    """Return the tools without exact repetitions: the service refuses repetitions."""
    return [tool for place, tool in enumerate(tools) if tool not in tools[:place]]


def described_format(wanted: ir.ResponseFormat) -> Json:
    """Return the schema of the reply, with the format's own description where the
    schema has none.
    """
    schema = wanted.schema or {}
    return {"description": wanted.description, **schema} if wanted.description else schema

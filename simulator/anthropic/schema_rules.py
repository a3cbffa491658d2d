"""What the Messages service demands of JSON schemas: those of tools, and the strict ones, which
have a budget for a request.
"""

from __future__ import annotations

import re

from simulator.anthropic.problem import refuse
from simulator.anthropic.request import AnthropicRequest
from simulator.schemas import strict_cost, strict_flaw, structure_flaw

# documented for structured output
MOST_STRICT_TOOLS = 20
MOST_OPTIONAL = 24
MOST_UNIONS = 16
# of a tool's own arguments; deeper keys are free
PROPERTY_KEY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


def check_schemas(request: AnthropicRequest) -> None:
    """Tool schemas are JSON Schema of draft 2020-12; the root is one object, not a choice of
    several.
    """
    for place, tool in enumerate(request.body.get("tools", [])):
        if "input_schema" not in tool:
            continue
        where = f"tools.{place}.custom.input_schema"
        schema = tool["input_schema"]
        if flaw := structure_flaw(schema):
            refuse(
                f"{where}: JSON schema is invalid. It must match JSON Schema draft 2020-12. "
                f"{flaw.problem}"
            )
        if any(keyword in schema for keyword in ("oneOf", "allOf", "anyOf")):
            refuse(
                f"{where}: input_schema does not support oneOf, allOf, or anyOf at the top level"
            )
        if not all(PROPERTY_KEY.fullmatch(key) for key in schema.get("properties", {})):
            refuse(
                f"{where}.properties: Property keys should match pattern '^{PROPERTY_KEY.pattern}$'"
            )


def strict_budget(request: AnthropicRequest) -> None:
    """Refuse a request with strict schemas beyond the budget of a request."""
    formats = (
        request.body.get("output_config", {}).get("format"),
        request.body.get("output_format"),
    )
    promised = [("output_config.format.schema", config["schema"]) for config in formats if config]
    strict = [
        (place, tool)
        for place, tool in enumerate(request.body.get("tools", []))
        if tool.get("strict")
    ]
    promised += [(f"tools.{place}.custom", tool["input_schema"]) for place, tool in strict]
    for where, schema in promised:
        if flaw := strict_flaw(schema):
            refuse(f"{where}: {flaw.problem}")
    costs = [strict_cost(schema) for _, schema in promised]
    optional = sum(cost.optional for cost in costs)
    unions = sum(cost.unions for cost in costs)
    if len(strict) > MOST_STRICT_TOOLS:  # unmeasured words, the numbers are documented
        refuse(f"tools: {len(strict)} strict tools exceed the maximum of {MOST_STRICT_TOOLS}")
    if optional > MOST_OPTIONAL:
        refuse(
            f"Schemas contain too many optional parameters ({optional}). Maximum: {MOST_OPTIONAL}."
        )
    if unions > MOST_UNIONS:
        refuse(
            f"Schemas contain too many parameters with union types ({unions}). Maximum: "
            f"{MOST_UNIONS}."
        )

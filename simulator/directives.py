"""Directives in a prompt, for clients whose model name is fixed. Written anywhere in the last
prompt:

    [[scenario:NAME]]     play this scenario, whatever the model name says: `slow-50`, `cut`
    [[login:NAME]]        play this scenario if the request has a login, `429-3600` perhaps, and
    [[api-key:NAME]]      this one if it has an API key; both are stronger than `scenario`
    [[tool:NAME {json}]]  call this tool with this input (default: {}); several make parallel
                          calls in one message. The reply to the results quotes the results
    [[say:TEXT]]          reply exactly this text (after the tools, if there are any)

A tool the request does not offer is not called. Malformed directives are plain text. A tool named
within the input of another is not called: the input may be the prompt of a subagent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

SCENARIO = re.compile(r"\[\[scenario:([a-z0-9-]+)\]\]")
CREDENTIAL = re.compile(r"\[\[(login|api-key):([a-z0-9-]+)\]\]")
SAY = re.compile(r"\[\[say:(.*?)\]\]", re.DOTALL)
TOOL = re.compile(r"\[\[tool:([a-zA-Z0-9_-]+)\s*")


@dataclass(slots=True)
class Directives:
    scenario: str = ""
    say: str = ""
    tools: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    by_credential: dict[str, str] = field(default_factory=dict)

    def scenario_for(self, credential: str) -> str:
        """Return the scenario for a request with `credential` (`login` or `api_key`)."""
        return self.by_credential.get(credential, self.scenario)


def read_directives(text: str) -> Directives:
    scenario = SCENARIO.search(text)
    say = SAY.search(text)
    found = Directives(scenario[1] if scenario else "", say[1] if say else "")
    found.by_credential = {kind.replace("-", "_"): name for kind, name in CREDENTIAL.findall(text)}
    taken = 0  # where the input of the last tool ends
    for tool in TOOL.finditer(text):
        # Within the input of the tool before: meant for whoever gets that input, such as a
        # subagent.
        if tool.start() < taken:
            continue  # within an input: meant for whoever gets the input, such as a subagent
        arguments, end = _read_json(text, tool.end())
        if isinstance(arguments, dict) and text.startswith("]]", end):
            found.tools.append((tool[1], arguments))
            taken = end
    return found


def _read_json(text: str, start: int) -> tuple[Any, int]:
    if not text.startswith("{", start):
        return {}, start
    try:
        # The decoder finds the end of the JSON, which may itself hold brackets that look like the
        # end of a directive.
        return json.JSONDecoder().raw_decode(text, start)
    except json.JSONDecodeError:
        return None, start

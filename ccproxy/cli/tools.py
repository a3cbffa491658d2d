"""The table of tools: what each needs to send its requests to a stack, by environment variables
and command-line options, so that nothing has to be undone.

In the texts `$anthropic` is the base URL of Anthropic clients, `$openai` that of OpenAI clients,
`$codex` that of the Codex program, `$model` a model of the route. docs/clients has a page for each
tool; tests/clients runs them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from string import Template

from ccproxy.cli.exits import USAGE
from shared.runtime.errors import CCProxyError

ROUTES = ("api", "sdk", "codex")


class UnknownTool(CCProxyError):
    """The table of tools has no such tool."""

    exit_code = USAGE


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool: its variables, the options for the start of its command line, and `unset`, variables
    that would lead it elsewhere.

    `route` is the usual route. `model_options` are options for a route other than the usual one.
    `note` is a sentence about what a variable cannot do.
    """

    name: str
    route: str
    variables: Mapping[str, str]
    options: tuple[str, ...] = ()
    model_options: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class ToolSetup:
    """The setup of one tool for one stack: `variables` to set, `unset` to remove, `options` to put
    first on the command line.
    """

    variables: dict[str, str]
    unset: tuple[str, ...] = ()
    options: list[str] = field(default_factory=list)
    note: str = ""

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """Return the environment `before` with this setup."""
        kept = {name: value for name, value in before.items() if name not in self.unset}
        return kept | self.variables


OPENCODE = json.dumps(
    {
        "enabled_providers": ["anthropic"],
        "model": "anthropic/$model",
        "small_model": "anthropic/$model",
        "provider": {
            "anthropic": {
                "options": {"baseURL": "$openai", "apiKey": "{env:CCPROXY_TOKEN}"},
                "models": {"$model": {}},
            }
        },
    }
)

ANTHROPIC = {"ANTHROPIC_BASE_URL": "$anthropic", "ANTHROPIC_API_KEY": "$token"}
OPENAI = {"OPENAI_BASE_URL": "$openai", "OPENAI_API_KEY": "$token"}
OPENAI_BASE = {"OPENAI_API_BASE": "$openai", "OPENAI_API_KEY": "$token"}

TOOLS = (
    ClientTool(
        "claude",
        "api",
        {
            "ANTHROPIC_BASE_URL": "$anthropic",
            "ANTHROPIC_AUTH_TOKEN": "$token",
            # Left out behind a base URL unless asked for: the stack's models in `/model`, and tool
            # arguments in small pieces.
            "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
            "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1",
        },
        unset=(
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "CLAUDE_CODE_USE_BEDROCK",
            "CLAUDE_CODE_USE_VERTEX",
        ),
    ),
    ClientTool(
        "codex",
        "codex",
        {"CCPROXY_TOKEN": "$token"},
        options=(
            "-c",
            'model_provider="ccproxy"',
            "-c",
            'model_providers.ccproxy.name="CCProxy"',
            "-c",
            'model_providers.ccproxy.base_url="$codex"',
            "-c",
            'model_providers.ccproxy.wire_api="responses"',
            "-c",
            'model_providers.ccproxy.env_key="CCPROXY_TOKEN"',
        ),
        model_options=("-c", 'model="$model"'),
        note="Codex takes its provider from options or ~/.codex/config.toml, not from variables.",
    ),
    ClientTool(
        "aider",
        "api",
        {**OPENAI_BASE, "AIDER_MODEL": "openai/$model"},
        unset=("AIDER_OPENAI_API_BASE", "AIDER_OPENAI_API_KEY"),
    ),
    ClientTool("opencode", "api", {"OPENCODE_CONFIG_CONTENT": OPENCODE, "CCPROXY_TOKEN": "$token"}),
    ClientTool(
        "llm",
        "api",
        ANTHROPIC,
        note="llm needs the plugin llm-anthropic for these variables.",
    ),
    ClientTool("anthropic", "api", ANTHROPIC, unset=("ANTHROPIC_AUTH_TOKEN",)),
    ClientTool("openai", "api", OPENAI),
    ClientTool("open-webui", "api", {"OPENAI_API_BASE_URL": "$openai", "OPENAI_API_KEY": "$token"}),
    ClientTool(
        "litellm",
        "api",
        {"ANTHROPIC_API_BASE": "$anthropic", "ANTHROPIC_API_KEY": "$token", **OPENAI_BASE},
    ),
)
# For a program that is not in the table: the variables of both vendors' SDKs.
ANY = ClientTool(
    "any", "api", {**ANTHROPIC, **OPENAI_BASE, **OPENAI}, unset=("ANTHROPIC_AUTH_TOKEN",)
)


def tool_named(name: str) -> ClientTool:
    """Return the tool `name`. Raises UnknownTool, which names the known ones."""
    for tool in (*TOOLS, ANY):
        if tool.name == name:
            return tool
    names = ", ".join(tool.name for tool in (*TOOLS, ANY))
    raise UnknownTool(f"{name!r} is no tool known here. Known: {names}.")


def tool_of_program(program: str) -> ClientTool:
    """Return the tool behind a program's name or path, ANY for an unknown one."""
    stem = PurePath(program).name.removesuffix(".exe")
    return next((tool for tool in TOOLS if tool.name == stem), ANY)


def needs_model(tool: ClientTool, route: str) -> bool:
    """Return True if the tool is told a model on `route`."""
    texts = [*tool.variables.values(), *(tool.model_options if route != tool.route else ())]
    return any("$model" in text for text in texts)


def set_up(tool: ClientTool, url: str, route: str, token: str, model: str = "") -> ToolSetup:
    """Return the setup of `tool` for the stack at `url`; `model` as `needs_model` says."""
    base = f"{url}/{route}"
    words = {
        "anthropic": base,
        "openai": f"{base}/v1",
        "codex": base if route == "codex" else f"{base}/v1",
        "token": token,
        "model": model,
    }
    options = [*tool.options, *(tool.model_options if route != tool.route else ())]
    return ToolSetup(
        {name: Template(text).substitute(words) for name, text in tool.variables.items()},
        tuple(name for name in tool.unset if name not in tool.variables),
        [Template(text).substitute(words) for text in options],
        tool.note,
    )

"""What a `claude` process is started with, and what it is told when a turn takes it.

A Launch needs a process of its own; a Binding can be told to one that runs already and has not
spoken. Every process is closed to its surroundings: no settings files, no other MCP servers, no
memory, no word from or to its siblings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from sdk_worker import asking
from sdk_worker.claude.driver import Conversation
from sdk_worker.client_tools import SERVER, ClientTools
from shared.accounts.claude import login_file_in_use, login_files, obstacle_for_program
from shared.bus.channels import CUSTOM_TOOLS_SERVER
from shared.runtime.errors import ClientError, CredentialsMissing, NotAllowed
from shared.runtime.exact_json import load_json
from shared.runtime.version import VERSION
from shared.settings.providers import ClaudeSettings, CodeOptions
from shared.settings.tree import Settings

DEFAULT_BASE_URL = ClaudeSettings.model_fields["base_url"].default
# Both tools reach other sessions of the owner, and the program allows both without asking.
PEER_TOOLS = ("ListAgents", "SendMessage")
FLAG_SETTINGS = {"crossSessionInbound": "off"}

SWITCHES = (
    "--verbose",
    "--include-partial-messages",
    "--strict-mcp-config",
    "--setting-sources=",
)
QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",  # the model asked for is the model used
    # With two retries a refusal reaches the client within two seconds, and a long run of tools
    # survives a hiccup.
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_AGENT_SDK_CLIENT_APP": f"ccproxy/{VERSION}",
}
# The prefixes of variables that a program does not inherit. The settings of this product hold
# secrets that the model's tools could read, and the supervisor's variables mean nothing to the
# owner's tools. `CLAUDECODE`, removed besides, would tell the program that it runs inside another.
OURS = (
    *(f"{section.upper()}__" for section in Settings.model_fields),
    "CCPROXY_",
    "SUPERVISOR_",
    "PYTHONSAFEPATH",
)
CLIENT_VARIABLES = (
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
)


@dataclass(frozen=True, slots=True)
class Launch:
    """The settings that a process can only get at the start.

    `own_tools`: the process has Claude Code's own tools; a request that brings tools gets the
    client's tools instead. `tools` are the only ones of Claude Code's own that it has; None: all.
    `kept`: the conversation is written to disk; `resumed` is the id or the file of an earlier
    conversation to continue; `told`: the program tells the worker what it writes. `effort` is a
    level of effort; an empty text: Claude Code's own. `custom_tools` are the custom tools of the
    process's managed session, as JSON.
    """

    cwd: str | None = None
    own_tools: bool = True
    kept: bool = False
    resumed: str | None = None
    told: bool = False
    tools: tuple[str, ...] | None = None
    effort: str = ""
    custom_tools: bytes = b""


@dataclass(frozen=True, slots=True)
class Binding:
    """The settings that a request needs of the process.

    `thinking` is a number of tokens; None switches off the thinking that Claude Code would do by
    default, because thinking counts against `max_tokens`. `tools` is the request's list as JSON.
    """

    system: tuple[str, ...] = ()
    model: str | None = None
    max_tokens: int | None = None
    thinking: int | Literal["adaptive"] | None = None
    tools: bytes = b""


def asks_nobody(claude: ClaudeSettings) -> bool:
    """Return True when the owner wants no permission requests before a tool acts."""
    return (
        not claude.builtin_permissions or claude.code_options.permission_mode == "bypassPermissions"
    )


def command(program: Path, launch: Launch, options: CodeOptions, *, asks: bool) -> list[str]:
    """Return the command line of a process. With `asks`, an Asker decides the process's permission
    requests.

    The tools that the owner allows are then rules of the permission service, so that a deny rule
    beats an allowed tool. A value is joined to its flag, so that no value is ever read as a flag.
    """
    denied = [*PEER_TOOLS, *(options.disallowed_tools or [])]
    allowed = [] if asks else options.allowed_tools or []
    # The client of the session answers these, and nothing acts here.
    custom = [f"mcp__{CUSTOM_TOOLS_SERVER}"] if launch.custom_tools else []
    flags: dict[str, Any] = {
        "output-format": "stream-json",
        "input-format": "stream-json",
        "settings": orjson.dumps(FLAG_SETTINGS).decode(),
        "disallowedTools": ",".join(denied),
        "allowedTools": ",".join([*allowed, *custom]) if launch.own_tools else f"mcp__{SERVER}",
        "permission-mode": options.permission_mode or "default",
        "permission-prompt-tool": asking.TOOL if asks else None,
        "mcp-config": options.mcp_config if launch.own_tools else None,
        "max-turns": options.max_turns,
        "model": options.model,
        "resume": launch.resumed,
        "effort": launch.effort,
    }
    line = [
        str(program),
        *SWITCHES,
        *(f"--{name}={value}" for name, value in flags.items() if value),
    ]
    if not launch.own_tools or launch.tools is not None:
        line.append("--tools=" + ",".join(launch.tools or ()))
    if not launch.kept:
        line.append("--no-session-persistence")
    elif launch.told:
        line.append("--session-mirror")
    return line


def billing_of(claude: ClaudeSettings) -> str:
    """Return the billing of a program's requests: the rule of `shared/accounts/claude.py`."""
    return "api_key" if claude.api_key is not None else "subscription"


def environment(claude: ClaudeSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program: the owner's without our variables, with the credential
    that `/api` uses.

    An inherited ANTHROPIC_BASE_URL most likely points at this very proxy, and ANTHROPIC_API_KEY or
    ANTHROPIC_AUTH_TOKEN are meant for the owner's own clients: none of them reaches the program, so
    none pays by accident. Raises CredentialsMissing for a login file with another name than Claude
    Code's.
    """
    ours = (*OURS, *CLIENT_VARIABLES)
    env = {name: value for name, value in inherited.items() if not name.upper().startswith(ours)}
    env.pop("CLAUDECODE", None)
    env |= QUIET
    if claude.base_url != DEFAULT_BASE_URL:
        env["ANTHROPIC_BASE_URL"] = claude.base_url
    # The order of the credentials is the order of `/api`: a key, a token, a login file.
    if claude.api_key is not None:
        env["ANTHROPIC_API_KEY"] = claude.api_key.get_secret_value()
    elif claude.oauth_token is not None:
        env["CLAUDE_CODE_OAUTH_TOKEN"] = claude.oauth_token.get_secret_value()
    elif folder := login_folder(claude, inherited):
        env["CLAUDE_CONFIG_DIR"] = str(folder)
    return env


def transcripts_folder(claude: ClaudeSettings, inherited: Mapping[str, str]) -> Path:
    """Return the folder in which a program keeps the transcripts. Raises CredentialsMissing as
    `environment` does.
    """
    env = environment(claude, inherited)
    home = Path(env["HOME"]) if "HOME" in env else Path.home()
    return Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude") / "projects"


def login_folder(claude: ClaudeSettings, inherited: Mapping[str, str]) -> Path | None:
    """Return the folder in which a program must look for the login; None for the program's default
    folder.
    """
    if obstacle := obstacle_for_program(claude):
        raise CredentialsMissing(obstacle)
    if claude.credentials_file is not None:
        return claude.credentials_file.expanduser().parent
    usual = login_files(claude, inherited)[0]
    found = login_file_in_use(claude, inherited)
    return found.parent if found is not None and found != usual else None


def login_state(claude: ClaudeSettings, inherited: Mapping[str, str]) -> tuple[object, ...]:
    """Return a value that changes with every login file: a program started before the change has
    another login.
    """
    states: list[object] = []
    for path in login_files(claude, inherited):
        try:
            facts = path.stat()
        except OSError:
            states.append(None)
        else:
            # The time of a status change counts a new owner or mode of the file too.
            states.append((facts.st_ino, facts.st_ctime_ns, facts.st_size))
    return tuple(states)


def refuse_what_cannot_start(
    launch: Launch, options: CodeOptions, env: Mapping[str, str], *, as_root: bool
) -> None:
    """Raise a refusal in a sentence for a launch that the program would refuse on the error channel
    only.
    """
    if launch.cwd and not Path(launch.cwd).is_dir():
        raise ClientError(f"working_directory: {launch.cwd} is not a directory of this machine.")
    if options.permission_mode == "bypassPermissions" and as_root and env.get("IS_SANDBOX") != "1":
        raise NotAllowed(
            "Claude Code refuses CLAUDE__CODE_OPTIONS__PERMISSION_MODE=bypassPermissions for root. "
            "Run as another user, or set IS_SANDBOX=1 if this machine is one."
        )


async def bind_process(conversation: Conversation, binding: Binding, options: CodeOptions) -> None:
    """Shake hands with the program and send the settings of this request. Only before the program's
    first turn.
    """
    program = conversation.program
    initialize: dict[str, Any] = {}
    if binding.system:
        initialize["systemPrompt"] = list(binding.system)
    if options.append_system_prompt:
        initialize["appendSystemPrompt"] = options.append_system_prompt
    if binding.tools:
        # The tools are served before the handshake names their server: the program lists them at
        # once.
        program.on_mcp[SERVER] = ClientTools(load_json(binding.tools)).answer
        initialize["sdkMcpServers"] = [SERVER]
    await conversation.open(initialize)
    await adjust(conversation, binding, options)


async def adjust(conversation: Conversation, binding: Binding, options: CodeOptions) -> None:
    """Send the program the settings that may differ from turn to turn of a conversation."""
    program = conversation.program
    flag_settings: dict[str, Any] = dict(FLAG_SETTINGS)
    if binding.model:
        # `set_model` would first ask the provider whether the model exists.
        flag_settings["model"] = binding.model
    if binding.max_tokens:
        flag_settings["env"] = {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(binding.max_tokens)}
    asked = [program.control("apply_flag_settings", settings=flag_settings)]
    tokens = (options.max_thinking_tokens or 0) if binding.thinking is None else binding.thinking
    if tokens != "adaptive":
        asked.append(program.control("set_max_thinking_tokens", max_thinking_tokens=tokens))
    # Both answers are awaited before the prompt is sent: a setting applied later would miss the
    # turn.
    await asyncio.gather(*asked)

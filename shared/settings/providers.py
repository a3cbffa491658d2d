"""The settings of the providers' accounts: where each answers, what pays, and how its program is
started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared.runtime.version import USER_AGENT
from shared.settings.addresses import ProviderUrl
from shared.settings.guarded import GUARDED


class Section(BaseModel):
    """A group of settings. An unknown key is an error, so that no typing mistake is silent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClaudeOAuthSettings(Section):
    """Claude's login servers; changed only to point at a stand-in."""

    model_config = ConfigDict(json_schema_extra=GUARDED)

    token_url: ProviderUrl = Field(
        "https://platform.claude.com/v1/oauth/token", description="Exchange and refresh of tokens."
    )
    authorize_url: ProviderUrl = Field(
        "https://claude.com/cai/oauth/authorize", description="Page where the owner agrees."
    )
    client_id: str = Field(
        "9d1c250a-e61b-44d9-88ed-5944d1962f5e", description="Public client id of the login."
    )


class CodeOptions(Section):
    """The options of each `claude` process at its start."""

    cwd: Path | None = Field(
        None,
        description="Working folder of the owner's tools; unset: an empty one of ours in the data "
        "directory.",
        json_schema_extra=GUARDED,
    )
    permission_mode: Literal["default", "acceptEdits", "plan", "bypassPermissions"] | None = Field(
        None, description="Claude Code's permission mode.", json_schema_extra=GUARDED
    )
    max_turns: int | None = Field(None, ge=1, description="Most model turns in one request.")
    allowed_tools: list[str] | None = Field(
        None, description="Tools that need no approval.", json_schema_extra=GUARDED
    )
    disallowed_tools: list[str] | None = Field(
        None, description="Tools that are not offered.", json_schema_extra=GUARDED
    )
    append_system_prompt: str | None = Field(
        None, description="Text added to Claude Code's own system prompt."
    )
    max_thinking_tokens: int | None = Field(None, ge=0, description="Thinking budget.")
    model: str | None = Field(None, description="Model used when a request names none.")
    mcp_config: str | None = Field(
        None, description="MCP servers: a file path or JSON.", json_schema_extra=GUARDED
    )


MessageMode = Literal["forward", "formatted", "ignore"]


class ClaudeSettings(Section):
    """The owner's Claude account."""

    base_url: ProviderUrl = Field(
        "https://api.anthropic.com",
        description="Where Claude answers: https, or http on loopback or on one of "
        "SECURITY__PROVIDER_HOSTS.",
        json_schema_extra=GUARDED,
    )
    api_key: SecretStr | None = Field(
        None, description="API key; used instead of a login when set.", json_schema_extra=GUARDED
    )
    oauth_token: SecretStr | None = Field(
        None,
        description="Token of `claude setup-token`, used instead of a login file; also "
        "CLAUDE_CODE_OAUTH_TOKEN.",
        json_schema_extra=GUARDED,
    )
    credentials_file: Path | None = Field(
        None,
        description="Login file; unset: searched where Claude Code keeps it.",
        json_schema_extra=GUARDED,
    )
    oauth: ClaudeOAuthSettings = ClaudeOAuthSettings()
    cli_path: Path | None = Field(
        None,
        description="The `claude` program; unset: PATH, then the bundled one.",
        json_schema_extra=GUARDED,
    )
    builtin_permissions: bool = Field(
        True, description="Ask a person before the SDK's tools act.", json_schema_extra=GUARDED
    )
    code_options: CodeOptions = CodeOptions()
    sdk_message_mode: MessageMode = Field(
        "ignore",
        description="How the agent's own tools are shown; a request chooses by "
        "`x-ccproxy-sdk-messages`.",
    )
    pretty_format: bool = Field(True, description="Indent what `formatted` mode shows.")


class CodexOAuthSettings(Section):
    """ChatGPT's login servers; changed only to point at a stand-in."""

    model_config = ConfigDict(json_schema_extra=GUARDED)

    base_url: ProviderUrl = Field(
        "https://auth.openai.com", description="Login page, exchange and refresh of tokens."
    )
    client_id: str = Field(
        "app_EMoamEEZ73f0CkXaXp7hrann", description="Public client id of the login."
    )
    callback_port: int = Field(
        1455, ge=0, le=65535, description="Port the login returns to, fixed by the provider."
    )


class CodexSettings(Section):
    """The owner's ChatGPT account for the Codex backend."""

    enabled: bool = Field(True, description="Serve `/codex`.")
    base_url: ProviderUrl = Field(
        "https://chatgpt.com/backend-api/codex",
        description="Where a ChatGPT login is answered; which addresses, as CLAUDE__BASE_URL.",
        json_schema_extra=GUARDED,
    )
    api_base_url: ProviderUrl = Field(
        "https://api.openai.com/v1",
        description="Where an OpenAI API key is answered; which addresses, as CLAUDE__BASE_URL.",
        json_schema_extra=GUARDED,
    )
    api_key: SecretStr | None = Field(
        None,
        description="OpenAI API key; used instead of a login when set.",
        json_schema_extra=GUARDED,
    )
    auth_file: Path | None = Field(
        None,
        description="Login file; unset: where the Codex program keeps it.",
        json_schema_extra=GUARDED,
    )
    cli_path: Path | None = Field(
        None, description="The `codex` program; unset: PATH.", json_schema_extra=GUARDED
    )
    oauth: CodexOAuthSettings = CodexOAuthSettings()
    originator: str = Field(
        "ccproxy", description="The name we give ourselves there; Codex's own requests keep theirs."
    )
    user_agent: str = Field(USER_AGENT, description="And the user agent.")
    system_prompt_injection_mode: Literal["override", "append", "disabled"] = Field(
        "disabled",
        description="Codex's own instructions: `override` puts them in place of the client's, "
        "which move to a developer message; `append` puts them behind the client's; `disabled` "
        "sends the client's alone.",
    )
    image_caller: str = Field(
        "",
        description="The text model that calls the image tool for `/codex/v1/images`; unset: the "
        "first of the account's list.",
    )
    enable_dynamic_model_info: bool = Field(
        True, description="Ask the backend for the account's models and limits."
    )
    max_output_tokens_fallback: int = Field(
        8192, ge=1, description="Output limit told for models whose list has none."
    )

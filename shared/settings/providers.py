"""The settings of the providers' accounts: where each answers, what pays, and how its program is
started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from shared.runtime.version import USER_AGENT
from shared.settings.addresses import ProviderUrl
from shared.settings.guarded import GUARDED


class Section(BaseModel):
    """A group of settings. An unknown key is an error, so that no typing mistake is silent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WhenUsedUpSettings(Section):
    """The API key that pays while a window of the subscription is used up."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=GUARDED)

    api_key: SecretStr | None = Field(
        None,
        description="API key that pays while a window of the subscription is used up; not for "
        "`/sdk`.",
    )
    usd_per_day: float | None = Field(
        None,
        gt=0,
        le=100_000,
        allow_inf_nan=False,
        description="Most dollars a day for that API key, by list price, over all gateways; "
        "required with it.",
    )

    @property
    def is_armed(self) -> bool:
        """Return True if the API key may pay."""
        return self.api_key is not None and self.usd_per_day is not None

    @model_validator(mode="after")
    def refuse_half(self) -> Self:
        """Refuse a key without a limit, and a limit without a key."""
        if (self.api_key is None) != (self.usd_per_day is None):
            raise ValueError(
                "set both API_KEY and USD_PER_DAY here: an API key pays only up to a daily limit"
            )
        return self


def refuse_two_keys(name: str, api_key: SecretStr | None, spare: WhenUsedUpSettings) -> None:
    """Raise ValueError for an API key that pays for everything beside a key for used-up windows."""
    if api_key is not None and spare.api_key is not None:
        raise ValueError(
            f"{name}__API_KEY already pays for every request; unset it, or unset "
            f"{name}__WHEN_USED_UP"
        )


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
    max_turns: int | None = Field(None, ge=1, description="Most model turns per request.")
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


MONTHLY = (
    "What you pay for the subscription a month, in dollars; usage shows it beside the list price "
    "of what it paid for."
)
MessageMode = Literal["forward", "formatted", "ignore"]


class ClaudeSettings(Section):
    """The owner's Claude account."""

    base_url: ProviderUrl = Field(
        "https://api.anthropic.com",
        description="Address of Anthropic's API: https, or http on loopback or on one of "
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
    when_used_up: WhenUsedUpSettings = WhenUsedUpSettings()
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
    monthly_usd: float | None = Field(None, gt=0, description=MONTHLY)

    @model_validator(mode="after")
    def refuse_two_keys(self) -> Self:
        """Refuse an API key for everything beside one for used-up windows."""
        refuse_two_keys("CLAUDE", self.api_key, self.when_used_up)
        return self


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
    monthly_usd: float | None = Field(None, gt=0, description=MONTHLY)
    base_url: ProviderUrl = Field(
        "https://chatgpt.com/backend-api/codex",
        description="Address for requests with a ChatGPT login; rules as for CLAUDE__BASE_URL.",
        json_schema_extra=GUARDED,
    )
    api_base_url: ProviderUrl = Field(
        "https://api.openai.com/v1",
        description="Address for requests with an OpenAI API key; rules as for CLAUDE__BASE_URL.",
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
    when_used_up: WhenUsedUpSettings = WhenUsedUpSettings()
    oauth: CodexOAuthSettings = CodexOAuthSettings()
    originator: str = Field(
        "ccproxy", description="Name sent to the Codex backend; Codex's own requests keep theirs."
    )
    user_agent: str = Field(USER_AGENT, description="User-Agent header sent to Codex.")
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
        8192, ge=1, description="Output limit for models whose list has none."
    )

    @model_validator(mode="after")
    def refuse_two_keys(self) -> Self:
        """Refuse an API key for everything beside one for used-up windows."""
        refuse_two_keys("CODEX", self.api_key, self.when_used_up)
        return self

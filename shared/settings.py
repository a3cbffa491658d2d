"""The one tree of settings. Every value has a name `SECTION__FIELD`, a default, and a line saying what it does.

Order, strongest first: command line, environment, `.env`, TOML file, default; merged value by value, never section by
section. Built once per process in its entry point and handed down in pieces; there is no global to ask.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from shared.complaints import complain, describe_validation, misspelt_names, unknown
from shared.errors import CCProxyError
from shared.networks import Network, is_loopback
from shared.origins import origins_here
from shared.permissions.paths import ProtectablePath
from shared.places import config_dir, default_data_dir, default_run_dir
from shared.version import USER_AGENT

MEBIBYTE = 1024 * 1024


class ConfigurationError(CCProxyError):
    """The configuration cannot be used."""

    exit_code: ClassVar[int] = 78  # sysexits.h, EX_CONFIG


class Section(BaseModel):
    """One group of settings; an unknown key is an error, so that a typing mistake is never silent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    """Where the gateway listens and how much it accepts."""

    host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the gateway listens on; 0 picks a free one.")
    workers: int = Field(1, ge=1, le=64, description="Gateway processes sharing the one listening socket.")
    run_dir: Path = Field(default_factory=default_run_dir, description="Sockets, pid and state of one running stack.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least that is logged.")
    log_format: Literal["auto", "json", "plain", "rich"] = Field(
        "auto", description="Colours on a terminal, else JSON."
    )
    max_body_bytes: int = Field(32 * MEBIBYTE, ge=1024, description="Largest request body (Anthropic's own limit).")
    max_bodies_bytes: int = Field(
        256 * MEBIBYTE, ge=MEBIBYTE, description="All request bodies one gateway holds at once; then 429."
    )
    connect_timeout_seconds: float = Field(10, gt=0, description="Longest wait for a connection to a provider.")
    body_timeout_seconds: float = Field(30, gt=0, description="Longest silence within a request's body.")
    first_byte_timeout_seconds: float = Field(600, gt=0, description="Longest wait for a provider's first byte.")
    idle_timeout_seconds: float = Field(300, gt=0, description="Longest silence within a provider's stream.")
    ping_interval_seconds: float = Field(15, gt=0, description="Silence after which a stream gets a native ping.")
    connections_per_address: int = Field(
        256, ge=1, description="Connections one client address may have open; loopback and trusted proxies more."
    )
    trusted_proxies: list[Network] = Field(
        ["127.0.0.1", "::1"],
        description="Addresses and networks of reverse proxies whose `X-Forwarded-*` headers are believed.",
    )
    shutdown_grace_seconds: float = Field(0.5, ge=0, description="How long open requests may finish at shutdown.")


class RedisSettings(Section):
    """The bus between the processes."""

    url: SecretStr | None = Field(None, description="redis://, rediss:// or unix:// address; unset: start our own.")
    server_binary: Path | None = Field(None, description="A redis-server or valkey-server to start instead of ours.")

    def address(self) -> str:
        """The URL in clear. Raises ConfigurationError: a service started alone brings no Redis."""
        if self.url is None:
            raise ConfigurationError("REDIS__URL is not set; `ccproxy serve` sets it for the services it starts.")
        return self.url.get_secret_value()


OWNER = "owner"  # the name of SECURITY__AUTH_TOKEN wherever a caller's name is shown
RESERVED_NAMES = frozenset({OWNER, "local", "rule"})  # names that decisions bear which no named token made
Scope = Literal["use", "agent", "ask", "approve", "admin"]


class TokenSettings(Section):
    """A token for one of your tools or people; its name marks their requests in logs and metrics."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$", description="Whose it is.")
    token: SecretStr = Field(min_length=8, description="The secret.")
    scopes: list[Scope] = Field(
        ["use"],
        description="`use` the models, run an `agent` on `/sdk`, `ask` for permission, `approve` requests for "
        "permission, `admin` the rest.",
    )

    @field_validator("name")
    @classmethod
    def refuse_reserved_name(cls, name: str) -> str:
        if name.lower() in RESERVED_NAMES:
            raise ValueError(f"{name!r} is a name of the server's own; choose another")
        return name


class SecuritySettings(Section):
    """Who may come in."""

    auth_token: SecretStr | None = Field(None, description="Token every client must send; unset: loopback is trusted.")
    tokens: list[TokenSettings] = Field(default_factory=list, description="More tokens, each with a name and scopes.")
    allowed_hosts: list[str] = Field(default_factory=list, description="Host names served besides loopback and `host`.")
    allow_open_bind: bool = Field(
        False, description="Listen beyond loopback without a token. Anyone who can reach it pays with your account."
    )
    confirmation_timeout_seconds: float = Field(
        300, ge=0, description="How long a permission prompt waits; 0: for ever."
    )
    max_open_requests: int = Field(
        16, ge=1, description="Most permission requests that one caller may have open; more are denied at once."
    )
    deny_without_watcher: bool = Field(
        False, description="Deny at once what a person would have to allow, while no terminal and no page is open."
    )
    permission_rules_file: Path = Field(
        default_factory=lambda: config_dir() / "permissions.toml",
        description="Your lasting answers to permission prompts; `always` in an answer adds to it.",
    )
    protected_paths: list[ProtectablePath] = Field(default_factory=list, description="More paths no tool may touch.")


class ClaudeOAuthSettings(Section):
    """Claude's login servers; changed only to point at a stand-in."""

    token_url: str = Field("https://platform.claude.com/v1/oauth/token", description="Exchange and refresh of tokens.")
    authorize_url: str = Field("https://claude.com/cai/oauth/authorize", description="Page where the owner agrees.")
    client_id: str = Field("9d1c250a-e61b-44d9-88ed-5944d1962f5e", description="Public client id of the login.")


class CodeOptions(Section):
    """What each `claude` process is started with."""

    cwd: Path | None = Field(
        None, description="Working folder of the owner's tools; unset: an empty one of ours in the data directory."
    )
    permission_mode: Literal["default", "acceptEdits", "plan", "bypassPermissions"] | None = Field(
        None, description="Claude Code's permission mode."
    )
    max_turns: int | None = Field(None, ge=1, description="Most model turns in one request.")
    allowed_tools: list[str] | None = Field(None, description="Tools that need no approval.")
    disallowed_tools: list[str] | None = Field(None, description="Tools that are not offered.")
    append_system_prompt: str | None = Field(None, description="Text added to Claude Code's own system prompt.")
    max_thinking_tokens: int | None = Field(None, ge=0, description="Thinking budget.")
    model: str | None = Field(None, description="Model used when a request names none.")
    mcp_config: str | None = Field(None, description="MCP servers: a file path or JSON.")


class ClaudeSettings(Section):
    """The owner's Claude account."""

    base_url: str = Field("https://api.anthropic.com", description="Where Claude answers; any loopback http address.")
    api_key: SecretStr | None = Field(None, description="API key; used instead of a login when set.")
    credentials_file: Path | None = Field(None, description="Login file; unset: searched where Claude Code keeps it.")
    oauth: ClaudeOAuthSettings = ClaudeOAuthSettings()
    cli_path: Path | None = Field(None, description="The `claude` program; unset: PATH, then the bundled one.")
    builtin_permissions: bool = Field(True, description="Ask a person before the SDK's tools act.")
    code_options: CodeOptions = CodeOptions()
    sdk_message_mode: Literal["forward", "formatted", "ignore"] = Field(
        "forward", description="How tool use inside an SDK turn is shown."
    )
    pretty_format: bool = Field(True, description="Indent what `formatted` mode shows.")


class SdkSettings(Section):
    """The warm workers behind `/sdk`."""

    enable_pool: bool = Field(True, description="Keep connected `claude` processes ready.")
    pool_size: int = Field(3, ge=0, le=64, description="Ready processes per worker.")
    workers: int = Field(1, ge=0, le=32, description="Worker processes to start.")
    working_roots: list[Path] = Field(
        default_factory=list, description="Directories below which a request may choose its own (`x-ccproxy-cwd`)."
    )
    max_sessions: int = Field(8, ge=0, le=256, description="Named sessions a worker keeps a process for between turns.")
    session_idle_seconds: float = Field(900, gt=0, description="How long such a process waits for the next turn.")
    max_turns_at_once: int = Field(8, ge=1, le=256, description="Requests one worker runs beside each other.")
    max_body_bytes: int = Field(16 * MEBIBYTE, ge=1024, description="Largest request body on `/sdk`.")
    max_waiting: int = Field(64, ge=1, description="Requests that wait for a worker; one more is refused with a 429.")
    first_byte_timeout_seconds: float = Field(
        120, gt=0, description="Longest wait for a turn's first frame, and for another turn of its conversation."
    )
    idle_timeout_seconds: float = Field(600, gt=0, description="Longest silence in a turn that waits for no person.")
    left_turn_seconds: float = Field(
        60,
        ge=0,
        description="How long a turn goes on whose gateway died; the same request asked again gets its answer.",
    )


class CodexOAuthSettings(Section):
    """ChatGPT's login servers; changed only to point at a stand-in."""

    base_url: str = Field("https://auth.openai.com", description="Login page, exchange and refresh of tokens.")
    client_id: str = Field("app_EMoamEEZ73f0CkXaXp7hrann", description="Public client id of the login.")
    callback_port: int = Field(1455, ge=0, le=65535, description="Port the login returns to, fixed by the provider.")


class CodexSettings(Section):
    """The owner's ChatGPT account, as the Codex backend sees it."""

    enabled: bool = Field(True, description="Serve `/codex`.")
    base_url: str = Field("https://chatgpt.com/backend-api/codex", description="Where a ChatGPT login is answered.")
    api_base_url: str = Field("https://api.openai.com/v1", description="Where an OpenAI API key is answered.")
    api_key: SecretStr | None = Field(None, description="OpenAI API key; used instead of a login when set.")
    auth_file: Path | None = Field(None, description="Login file; unset: where the Codex program keeps it.")
    cli_path: Path | None = Field(None, description="The `codex` program; unset: PATH.")
    oauth: CodexOAuthSettings = CodexOAuthSettings()
    originator: str = Field(
        "ccproxy", description="The name we give ourselves there; Codex's own requests keep theirs."
    )
    user_agent: str = Field(USER_AGENT, description="And the user agent.")
    system_prompt_injection_mode: Literal["override", "append", "disabled"] = Field(
        "disabled",
        description="Codex's own instructions: `override` puts them in place of the client's, which move to a "
        "developer message; `append` puts them behind the client's; `disabled` sends the client's alone.",
    )
    enable_dynamic_model_info: bool = Field(True, description="Ask the backend for the account's models and limits.")
    max_output_tokens_fallback: int = Field(8192, ge=1, description="Output limit told for models whose list has none.")


class ModelsSettings(Section):
    """Names clients use, and what they stand for."""

    aliases: dict[str, str] = Field(default_factory=dict, description="Name (exact, `prefix*` or `/regex/`) → model.")
    cache_prompts: bool = Field(True, description="Ask Claude to cache the prompts of Chat and Responses clients.")
    chat_reasoning: Literal["field", "tags", "off"] = Field(
        "field", description="Where Chat clients see reasoning: `reasoning_content`, <thinking> tags, or nowhere."
    )


class ResponsesSettings(Section):
    """Responses that clients ask to be remembered (`store`, `previous_response_id`, conversations)."""

    enabled: bool = Field(True, description="Store responses, unless a request says `store: false`.")
    lifetime_hours: float = Field(24, gt=0, le=720, description="Hours a stored response stays after its last use.")
    bytes_per_token: int = Field(
        16 * MEBIBYTE, ge=MEBIBYTE, description="Most bytes stored for one client token; the oldest make room."
    )


class QuotaSettings(Section):
    """What a subscription includes."""

    stop_at_percent: float | None = Field(
        None, gt=0, le=100, description="Refuse once so much of a window is used; 100: before paid extra usage starts."
    )


class ObservabilitySettings(Section):
    """What is measured and kept; the owner's own data, on the owner's own disk."""

    enabled: bool = Field(True, description="Master switch of everything below.")
    metrics_endpoint_enabled: bool = Field(True, description="Serve `/metrics`; METRICS_ENABLED says the same.")
    logs_endpoints_enabled: bool = Field(True, description="Serve `/logs`.")
    logs_collection_enabled: bool = Field(True, description="Keep access records in DuckDB.")
    duckdb_path: Path = Field(
        default_factory=lambda: default_data_dir() / "metrics.duckdb", description="The DuckDB file."
    )
    dashboard_enabled: bool = Field(True, description="Serve `/dashboard`.")
    retention_days: float = Field(
        90, ge=0, description="Age at which records become sums by the hour, and what tools asked for goes; 0: never."
    )
    spool_bytes: int = Field(
        64 * MEBIBYTE, ge=0, description="Records kept on disk while Redis is away; 0: in memory only."
    )
    prices_url: str = Field(
        "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json",
        description="Where a newer price list is fetched from, when asked.",
    )
    prices_refresh_hours: float = Field(0, ge=0, description="Fetch it so often; 0: only when asked.")
    pushgateway_url: str | None = Field(None, description="Prometheus Pushgateway that gets `/metrics`; unset: none.")
    pushgateway_seconds: float = Field(60, gt=0, description="How often.")
    otlp_endpoint: str | None = Field(
        None, description="OpenTelemetry collector (OTLP/HTTP) that gets traces, as http://127.0.0.1:4318; unset: none."
    )

    @model_validator(mode="before")
    @classmethod
    def take_either_name(cls, given: Any) -> Any:
        if isinstance(given, dict) and "metrics_enabled" in given:
            given = dict(given)
            given["metrics_endpoint_enabled"] = given.pop("metrics_enabled")
        return given


def toml_candidates() -> list[Path]:
    """Where a configuration file is looked for, first found wins; `CONFIG_FILE` names one outright."""
    if named := os.environ.get("CONFIG_FILE"):
        return [Path(named)]
    return [Path(".ccproxy.toml"), Path("ccproxy.toml"), config_dir() / "config.toml"]


def toml_file() -> Path | None:
    """The configuration file in use. Raises ConfigurationError when the one named outright is not there."""
    found = next((path for path in toml_candidates() if path.exists()), None)
    if found is None and (named := os.environ.get("CONFIG_FILE")):
        raise ConfigurationError(f"The configuration file {named} does not exist.")
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """What a configuration file says. Raises ConfigurationError naming file and line."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The configuration file {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The configuration file {path} is not valid TOML: {error}.") from error


class TomlFile(PydanticBaseSettingsSource):
    """The weakest source but the defaults."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._file.get(field_name), field_name, False

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        path = toml_file()
        self._file = read_toml(path) if path else {}
        if strangers := [(name,) for name in self._file if name not in settings_cls.model_fields]:
            origins = origins_here(path)
            raise ConfigurationError(complain(unknown(stranger, origins, settings_cls) for stranger in strangers))

    def __call__(self) -> dict[str, Any]:
        return self._file


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    server: ServerSettings = ServerSettings()
    redis: RedisSettings = RedisSettings()
    security: SecuritySettings = SecuritySettings()
    claude: ClaudeSettings = ClaudeSettings()
    sdk: SdkSettings = SdkSettings()
    codex: CodexSettings = CodexSettings()
    models: ModelsSettings = ModelsSettings()
    responses: ResponsesSettings = ResponsesSettings()
    quota: QuotaSettings = QuotaSettings()
    observability: ObservabilitySettings = ObservabilitySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del file_secret_settings
        for source in (env_settings, dotenv_settings):  # SDK=/opt/sdk is somebody else's variable, not our section
            assert isinstance(source, EnvSettingsSource)
            source.env_vars = {name: value for name, value in source.env_vars.items() if "__" in name}
        return init_settings, env_settings, dotenv_settings, TomlFile(settings_cls)


def load_settings(**overrides: Any) -> Settings:
    """Read every source once; `overrides` is a nested dict stronger than all. Raises ConfigurationError."""
    origins = origins_here(toml_file())
    if misspelt := list(misspelt_names(origins, Settings)):
        raise ConfigurationError(complain(misspelt))
    try:
        return Settings(**overrides)
    except ValueError as error:
        raise ConfigurationError(describe_validation(error, origins, Settings)) from error


def refuse_open_bind(settings: Settings) -> None:
    """Beyond loopback a token is required: whoever reaches this server spends the owner's money."""
    security = settings.security
    if is_loopback(settings.server.host) or security.auth_token or security.tokens or security.allow_open_bind:
        return
    raise ConfigurationError(
        f"Listening on {settings.server.host} lets others use your account: set SECURITY__AUTH_TOKEN first "
        "(`ccproxy generate-token` makes one), or allow it outright with SECURITY__ALLOW_OPEN_BIND=true."
    )

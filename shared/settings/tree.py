"""The one tree of settings. Every value has a name `SECTION__FIELD`, a default, and a line saying
what it does.

Order, strongest first: command line, environment, a folder's `.env`, a folder's TOML file, the
owner's TOML file, default; merged value by value, never section by section. A guarded setting
(`shared/settings/guarded.py`) comes from a folder's file only when the owner has trusted the file
(`shared/settings/trust.py`). Built once per process in its entry point and handed down in pieces;
there is no global to ask.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from shared.permissions.paths import ProtectablePath
from shared.runtime.memory import usable_bytes, usual_pool_size
from shared.settings.addresses import check_provider_url, host_of_address, is_readable_on_the_way
from shared.settings.files import FileLayer, origins_here, read_files
from shared.settings.guarded import GUARDED, Values
from shared.settings.networks import is_loopback
from shared.settings.places import config_dir, default_data_dir
from shared.settings.problems import (
    ConfigurationError,
    complain,
    describe_validation,
    leaves,
    misspelt_names,
    name_of,
)
from shared.settings.providers import ClaudeSettings, CodexSettings, Section
from shared.settings.servers import RedisSettings, ServerSettings
from shared.settings.snapshot import SNAPSHOT, read_snapshot, unusable_snapshot
from shared.settings.sources import KeyPath, with_own_names
from shared.settings.trust import PinnedSettings, layers_of, pinned_by_launcher, refuse_untrusted

MEBIBYTE = 1024 * 1024
LAYERS = "_layers"  # the key under which `load_settings` hands over the settings of files


OWNER = "owner"  # the name of SECURITY__AUTH_TOKEN wherever a caller's name is shown
# names that decisions bear which no named token made
RESERVED_NAMES = frozenset({OWNER, "local", "rule"})
Scope = Literal["use", "agent", "ask", "approve", "admin"]


class TokenSettings(Section):
    """A token for one of your tools or people; its name marks their requests in logs
    and metrics.
    """

    name: str = Field(
        min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$", description="Whose it is."
    )
    token: SecretStr = Field(min_length=8, description="The secret.")
    scopes: list[Scope] = Field(
        ["use"],
        description="`use` the models, run an `agent` on `/sdk`, `ask` for permission, `approve` "
        "requests for permission, `admin` the rest.",
    )

    @field_validator("name")
    @classmethod
    def refuse_reserved_name(cls, name: str) -> str:
        if name.lower() in RESERVED_NAMES:
            raise ValueError(f"{name!r} is a name of the server's own; choose another")
        return name


class SecuritySettings(Section):
    """Access to the product: tokens, hosts and permission requests."""

    model_config = ConfigDict(json_schema_extra=GUARDED)

    auth_token: SecretStr | None = Field(
        None, description="Token every client must send; unset: loopback is trusted."
    )
    tokens: list[TokenSettings] = Field(
        default_factory=list, description="More tokens, each with a name and scopes."
    )
    allowed_hosts: list[str] = Field(
        default_factory=list, description="Host names served besides loopback and `host`."
    )
    provider_hosts: list[str] = Field(
        default_factory=list,
        description="Hosts that may get your credentials over plain http: names on a network of "
        "your own.",
    )
    allow_open_bind: bool = Field(
        False,
        description="Listen beyond loopback without a token. Anyone who can reach it pays with "
        "your account.",
    )
    confirmation_timeout_seconds: float = Field(
        300, ge=0, description="How long a permission prompt waits; 0: for ever."
    )
    max_open_requests: int = Field(
        16,
        ge=1,
        description="Most permission requests that one caller may have open; more are denied at "
        "once.",
    )
    deny_without_watcher: bool = Field(
        False,
        description="Deny at once what a person would have to allow, while no terminal and no page "
        "is open.",
    )
    permission_rules_file: Path = Field(
        default_factory=lambda: config_dir() / "permissions.toml",
        description="Your lasting answers to permission prompts; `always` in an answer adds to it.",
    )
    protected_paths: list[ProtectablePath] = Field(
        default_factory=list, description="More paths no tool may touch."
    )


class SdkSettings(Section):
    """The warm workers behind `/sdk`."""

    enable_pool: bool = Field(True, description="Keep connected `claude` processes ready.")
    pool_size: int = Field(
        default_factory=lambda: usual_pool_size(usable_bytes()),
        ge=0,
        le=64,
        description="Ready processes per worker; unset: 1 to 3, by the memory of this machine.",
    )
    warm: Literal["first_use", "start"] = Field(
        "first_use",
        description="Since when `claude` processes are kept ready. Half an hour without a request "
        "ends them (`start` keeps one).",
    )
    workers: int = Field(1, ge=0, le=32, description="Worker processes to start.")
    working_roots: list[Path] = Field(
        default_factory=list,
        description="Directories below which a request may choose its own (`x-ccproxy-cwd`).",
        json_schema_extra=GUARDED,
    )
    max_sessions: int = Field(
        8, ge=0, le=256, description="Named sessions a worker keeps a process for between turns."
    )
    session_idle_seconds: float = Field(
        900, gt=0, description="How long such a process waits for the next turn."
    )
    max_turns_at_once: int = Field(
        8, ge=1, le=256, description="Requests one worker runs beside each other."
    )
    max_body_bytes: int = Field(
        16 * MEBIBYTE, ge=1024, description="Largest request body on `/sdk`."
    )
    max_waiting: int = Field(
        64, ge=1, description="Requests that wait for a worker; one more is refused with a 429."
    )
    first_byte_timeout_seconds: float = Field(
        120,
        gt=0,
        description="Longest wait for a turn's first frame, and for another turn of its "
        "conversation.",
    )
    idle_timeout_seconds: float = Field(
        600, gt=0, description="Longest silence in a turn that waits for no person."
    )
    left_turn_seconds: float = Field(
        60,
        ge=0,
        description="How long a turn goes on whose gateway died; the same request asked again gets "
        "its answer.",
    )


class ModelsSettings(Section):
    """Names clients use, and what they stand for."""

    aliases: dict[str, str] = Field(
        default_factory=dict, description="Name (exact, `prefix*` or `/regex/`) → model."
    )
    cache_prompts: bool = Field(
        True, description="Ask Claude to cache the prompts of Chat and Responses clients."
    )
    chat_reasoning: Literal["field", "tags", "off"] = Field(
        "field",
        description="Where Chat clients see reasoning: `reasoning_content`, <thinking> tags, or "
        "nowhere.",
    )


class ResponsesSettings(Section):
    """Responses that clients ask to be remembered (`store`, `previous_response_id`,
    conversations).
    """

    enabled: bool = Field(
        True, description="Store responses, unless a request says `store: false`."
    )
    lifetime_hours: float = Field(
        24, gt=0, le=720, description="Hours a stored response stays after its last use."
    )
    bytes_per_token: int = Field(
        16 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Most bytes stored for one token; the oldest make room.",
    )


class QuotaSettings(Section):
    """The use of a subscription's included quota."""

    stop_at_percent: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Refuse once so much of a window is used; 100: before paid extra usage starts.",
    )


class ObservabilitySettings(Section):
    """Metrics and records; the owner's own data, on the owner's own disk."""

    enabled: bool = Field(True, description="Master switch of everything below.")
    metrics_endpoint_enabled: bool = Field(
        True, description="Serve `/metrics`; METRICS_ENABLED says the same."
    )
    logs_endpoints_enabled: bool = Field(True, description="Serve `/logs`.")
    logs_collection_enabled: bool = Field(True, description="Keep access records in DuckDB.")
    duckdb_path: Path = Field(
        default_factory=lambda: default_data_dir() / "metrics.duckdb",
        description="The DuckDB file.",
        json_schema_extra=GUARDED,
    )
    dashboard_enabled: bool = Field(True, description="Serve `/dashboard`.")
    retention_days: float = Field(
        90,
        ge=0,
        description="Age at which records become sums by the hour, and what tools asked for goes; "
        "0: never.",
    )
    spool_bytes: int = Field(
        64 * MEBIBYTE,
        ge=0,
        description="Records kept on disk while Redis is away; 0: in memory only.",
    )
    prices_url: str = Field(
        "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json",
        description="Where a newer price list is fetched from, when asked.",
        json_schema_extra=GUARDED,
    )
    prices_refresh_hours: float = Field(
        0, ge=0, description="Fetch it so often; 0: only when asked."
    )
    pushgateway_url: str | None = Field(
        None,
        description="Prometheus Pushgateway that gets `/metrics`; unset: none.",
        json_schema_extra=GUARDED,
    )
    pushgateway_seconds: float = Field(60, gt=0, description="How often.")
    otlp_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector (OTLP/HTTP) that gets traces, as "
        "http://127.0.0.1:4318; unset: none.",
        json_schema_extra=GUARDED,
    )

    def switched_off(self, part: str) -> str:
        """Return the name of the setting that switches `part` off; an empty text while `part` is
        on.
        """
        off = [name for name in ("enabled", part) if not getattr(self, name)]
        return f"OBSERVABILITY__{off[0].upper()}" if off else ""

    @model_validator(mode="before")
    @classmethod
    def take_either_name(cls, given: Any) -> Any:
        if isinstance(given, dict) and "metrics_enabled" in given:
            given = dict(given)
            given["metrics_endpoint_enabled"] = given.pop("metrics_enabled")
        return given


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
        assert isinstance(init_settings, InitSettingsSource)
        assert isinstance(env_settings, EnvSettingsSource)
        assert isinstance(dotenv_settings, DotEnvSettingsSource)
        # SDK=/opt/sdk is somebody else's variable, not our section.
        variables = with_own_names(env_settings.env_vars)
        env_settings.env_vars = {name: value for name, value in variables.items() if "__" in name}
        layers = init_settings.init_kwargs.pop(LAYERS, None)
        if layers is None:  # made without `load_settings`
            files = read_files(settings_cls, with_env=dotenv_settings.env_file is not None)
            refuse_untrusted(settings_cls, files)
            layers = layers_of(files, None)
        return init_settings, env_settings, *(FileLayer(settings_cls, layer) for layer in layers)

    @model_validator(mode="after")
    def refuse_readable_addresses(self) -> Self:
        """Refuse addresses over which credentials would leave this machine without https, except to
        hosts named by the owner.
        """
        for path, url in provider_addresses(self):
            if is_readable_on_the_way(url, self.security.provider_hosts):
                raise ValueError(
                    f"{name_of(path)}: credentials would travel readable to "
                    f"{host_of_address(url)}; use https, or name the "
                    "host in SECURITY__PROVIDER_HOSTS if the way to it is your own"
                )
        return self


def load_settings(*, pinned: PinnedSettings | None = None, **overrides: Any) -> Settings:
    """Return the settings of this process; `overrides` is a nested dict stronger than all sources.

    A process of a running stack takes files' settings from the launcher's snapshot, unless `pinned`
    is given. Raises ConfigurationError.
    """
    snapshot = read_snapshot() if pinned is None else None
    if snapshot is None:
        return resolve_settings(pinned, **overrides)[0]
    try:
        return Settings(**{LAYERS: snapshot, **overrides})
    except ValueError as error:  # it was valid when it was written
        raise unusable_snapshot(os.environ[SNAPSHOT]) from error


def resolve_settings(
    pinned: PinnedSettings | None = None, **overrides: Any
) -> tuple[Settings, list[Values]]:
    """Read every source once; return the settings and, for the snapshot, the part that comes from
    files.

    With `pinned`, or in a running stack, the guarded settings of files are the pinned ones; else an
    untrusted file of this folder is refused. Raises ConfigurationError.
    """
    origins = origins_here()
    misspelt = list(misspelt_names(origins, Settings))
    if misspelt:
        raise ConfigurationError(complain(misspelt))
    pinned = pinned or pinned_by_launcher()
    try:
        files = read_files(Settings)
        layers = layers_of(files, pinned)
        settings = Settings(**{LAYERS: layers, **overrides})
    except ValueError as error:
        raise ConfigurationError(describe_validation(error, origins, Settings)) from error
    if pinned is None:
        refuse_untrusted(Settings, files)
    return settings, layers


def provider_addresses(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """Yield the addresses that get the owner's credentials, with the paths of their settings."""
    for path, field in leaves(Settings):
        if any(
            isinstance(mark, AfterValidator) and mark.func is check_provider_url
            for mark in field.metadata
        ):
            value: Any = settings
            for name in path:
                value = getattr(value, name)
            yield path, value


def foreign_addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the name and value of every provider address with a host other than the
    provider's own.
    """
    vendors = {path: str(field.default) for path, field in leaves(Settings)}
    for path, url in provider_addresses(settings):
        if host_of_address(url) != host_of_address(vendors[path]):
            yield name_of(path), url


def refuse_open_bind(settings: Settings) -> None:
    """Require a token beyond loopback: every user of the server spends the owner's money."""
    security = settings.security
    if (
        is_loopback(settings.server.host)
        or security.auth_token
        or security.tokens
        or security.allow_open_bind
    ):
        return
    raise ConfigurationError(
        f"Listening on {settings.server.host} lets others use your account: set "
        "SECURITY__AUTH_TOKEN first (`ccproxy generate-token` makes one), or allow it outright "
        "with SECURITY__ALLOW_OPEN_BIND=true."
    )

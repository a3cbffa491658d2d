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
    Field,
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

from shared.runtime.memory import usable_bytes, usual_pool_size
from shared.settings.addresses import check_provider_url, host_of_address, is_readable_on_the_way
from shared.settings.files import FileLayer, origins_here, read_files, unknown_sections
from shared.settings.guarded import GUARDED, Values
from shared.settings.labels import MOST_LABELS, Label
from shared.settings.networks import is_loopback
from shared.settings.notify import NotifySettings
from shared.settings.places import default_data_dir
from shared.settings.problems import (
    ConfigurationError,
    complain,
    leaves,
    misspelt_names,
    name_of,
    validation_problems,
)
from shared.settings.providers import ClaudeSettings, CodexSettings, Section
from shared.settings.security import SecuritySettings
from shared.settings.servers import RedisSettings, ServerSettings, stack_state_dir
from shared.settings.snapshot import SNAPSHOT, read_snapshot, unusable_snapshot
from shared.settings.sources import KeyPath, with_own_names
from shared.settings.trust import PinnedSettings, layers_of, pinned_by_launcher, refuse_untrusted

MEBIBYTE = 1024 * 1024
LAYERS = "_layers"  # the key under which `load_settings` hands over the settings of files


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
        description="When to begin to keep `claude` processes ready. Half an hour without a "
        "request ends them (`start` keeps one).",
    )
    workers: int = Field(1, ge=0, le=32, description="Worker processes to start.")
    working_roots: list[Path] = Field(
        default_factory=list,
        description="Directories below which a request may choose its own (`x-ccproxy-cwd`).",
        json_schema_extra=GUARDED,
    )
    labels: list[Label] = Field(
        default_factory=list,
        max_length=MOST_LABELS,
        description="Labels of these workers, by which a request chooses (`x-ccproxy-worker`), as "
        '`["gpu", "home"]`.',
    )
    share_transcripts: bool | None = Field(
        None,
        description="Keep the transcripts of named conversations in Redis too, so that a worker of "
        "another machine can continue them; unset: if Redis is on another machine.",
    )
    transcript_bytes: int = Field(
        4 * MEBIBYTE,
        ge=64 * 1024,
        le=32 * MEBIBYTE,
        description="Most compressed bytes of one such transcript; a longer one stays on its own "
        "machine.",
    )
    all_transcripts_bytes: int = Field(
        64 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Most compressed bytes of all such transcripts; those unused for longest make "
        "room.",
    )
    transcript_days: float = Field(
        30, gt=0, le=365, description="Days such a transcript stays after its last use."
    )
    max_sessions: int = Field(
        8, ge=0, le=256, description="Named sessions a worker keeps a process for between turns."
    )
    session_idle_seconds: float = Field(
        900, gt=0, description="Seconds that such a process waits for the next turn."
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
        description="Seconds that a turn continues after its gateway died; the same request, sent "
        "again, gets its reply.",
    )
    max_managed_bytes: int = Field(
        32 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Most bytes of managed agents and sessions of one token, events included; then "
        "new ones are refused.",
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


class CaptureSettings(Section):
    """Requests and replies with their bodies, kept only while the owner has switched it on."""

    directory: Path | None = Field(
        None,
        description="Directory of captures, readable by its owner only; unset: `captures` in the "
        "state directory.",
        json_schema_extra=GUARDED,
    )
    store_bytes: int = Field(
        256 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Most bytes on disk; the oldest captures make room.",
    )
    body_bytes: int = Field(
        8 * MEBIBYTE,
        ge=1024,
        le=64 * MEBIBYTE,
        description="Most bytes kept of one body; the capture says that it was cut.",
    )


class QuotaSettings(Section):
    """The use of a subscription's included quota."""

    stop_at_percent: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Refuse requests once this share of a window is used; 100: before paid extra "
        "usage starts.",
    )
    longest_hold_seconds: float = Field(
        6 * 3600,
        gt=0,
        le=8 * 86_400,
        description="Longest time that a request which asks for it is held until a limit is reset.",
    )
    max_held: int = Field(
        32, ge=0, le=10_000, description="Most requests held by one gateway; 0: none."
    )


class QueueSettings(Section):
    """The queues in front of the providers; without a number at once there is none."""

    claude_at_once: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Most requests at once at Claude on `/api`, shared out among the gateways; "
        "further ones wait. Unset: any number.",
    )
    codex_at_once: int | None = Field(
        None, ge=1, le=10_000, description="The same for Codex on `/codex`."
    )
    max_waiting: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Requests that wait in one gateway for a place; one more gets a 429.",
    )
    longest_wait_seconds: float = Field(
        60, gt=0, le=3600, description="Longest wait for a place; then the request is refused."
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
    prompt_insight: bool = Field(
        True,
        description="Keep checksums of each prompt's parts, which explain misses of the provider's "
        "cache, and the working folder that Claude Code or Codex names; never a prompt's text.",
    )
    retention_days: float = Field(
        90,
        ge=0,
        description="Days until records become hourly sums and logged permission requests are "
        "deleted; 0: never.",
    )
    spool_bytes: int = Field(
        64 * MEBIBYTE,
        ge=0,
        description="Records kept on disk while Redis is away; 0: in memory only.",
    )
    prices_url: str = Field(
        "https://raw.githubusercontent.com/pydantic/genai-prices/refs/heads/main/prices/new_data/v2/data.json",
        description="Source of newer price lists, in the form of genai-prices.",
        json_schema_extra=GUARDED,
    )
    prices_refresh_hours: float = Field(
        0, ge=0, description="Hours between updates of the price list; 0: only when asked."
    )
    pushgateway_url: str | None = Field(
        None,
        description="Prometheus Pushgateway that gets `/metrics`; unset: none.",
        json_schema_extra=GUARDED,
    )
    pushgateway_seconds: float = Field(60, gt=0, description="Seconds between pushes.")
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
    capture: CaptureSettings = CaptureSettings()
    quota: QuotaSettings = QuotaSettings()
    queue: QueueSettings = QueueSettings()
    notify: NotifySettings = NotifySettings()
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
            if problems := unknown_sections(settings_cls, files, origins_here()):
                raise ConfigurationError(complain(problems))
            refuse_untrusted(settings_cls, files)
            layers = layers_of(files, None)
        return init_settings, env_settings, *(FileLayer(settings_cls, layer) for layer in layers)

    @model_validator(mode="after")
    def refuse_readable_addresses(self) -> Self:
        """Refuse addresses that would send credentials off this machine without https, except to
        hosts named by the owner.
        """
        notified = ((("notify", name), url) for name, url in self.notify.addresses())
        for path, url in (*provider_addresses(self), *notified):
            if is_readable_on_the_way(url, self.security.provider_hosts):
                raise ValueError(
                    f"{name_of(path)}: secrets would travel readable to "
                    f"{host_of_address(url)}; use https, or name the "
                    "host in SECURITY__PROVIDER_HOSTS if the way to it is your own"
                )
        return self


def captures_dir(settings: Settings) -> Path:
    """Return the directory of captures: the configured directory, else a directory in the state
    directory.
    """
    return settings.capture.directory or stack_state_dir(settings.server) / "captures"


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
    problems = list(misspelt_names(origins, Settings))
    pinned = pinned or pinned_by_launcher()
    try:
        files = read_files(Settings)
        problems += unknown_sections(Settings, files, origins)
        layers = layers_of(files, pinned)
        settings = Settings(**{LAYERS: layers, **overrides})
    except ValueError as error:
        problems += validation_problems(error, origins, Settings)
        raise ConfigurationError(complain(problems)) from error
    if problems:
        raise ConfigurationError(complain(problems))
    if pinned is None:
        refuse_untrusted(Settings, files)
    return settings, layers


def provider_addresses(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """Yield the addresses that receive the owner's credentials, with the paths of the settings."""
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


def armed_providers(settings: Settings) -> dict[str, float]:
    """Return the providers whose API key may pay after the subscription, with the key's dollars a
    day.
    """
    spares = {"claude": settings.claude.when_used_up, "codex": settings.codex.when_used_up}
    return {name: spare.usd_per_day for name, spare in spares.items() if spare.usd_per_day}

"""`ccproxy codex`: the account at a glance, its settings, what was learned of the Codex program,
one real request.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import tomlkit
import typer
from tomlkit.exceptions import TOMLKitError

from ccproxy.cli.codex_backend import Backend, BackendAnswer
from ccproxy.cli.console import say, say_to_a_person
from ccproxy.cli.exits import CONFIGURATION, DONE, FAILED, TRY_LATER
from ccproxy.cli.output import show_json, show_table
from shared.accounts.accounts import CodexAccount
from shared.accounts.codex_profile import CodexProfile, Profile, cache_file, read_cache
from shared.accounts.quota import span
from shared.formats.ir import Text
from shared.runtime.errors import CCProxyError, UpstreamError, UpstreamRefused
from shared.runtime.log import configure_log
from shared.runtime.times import minute_in_utc
from shared.settings.files import toml_candidates, toml_file
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings

app = typer.Typer(name="codex", no_args_is_help=True, add_completion=False, rich_markup_mode=None)
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
SHOWN = (
    "enabled", "base_url", "api_base_url", "originator", "user_agent",
    "system_prompt_injection_mode", "enable_dynamic_model_info", "max_output_tokens_fallback",
)  # fmt: skip


class Mode(StrEnum):
    OVERRIDE = "override"
    APPEND = "append"
    DISABLED = "disabled"


@app.callback()
def codex_group() -> None:
    """Show and test Codex: the account or key behind `/codex`."""


@app.command()
def info(as_json: AsJson = False) -> None:
    """Show settings, credential, quota, models and their limits."""
    run_with_backend(lambda backend: show_info(backend, as_json=as_json))


@app.command("set")
def set_(
    enable_dynamic_model_info: Annotated[
        bool | None,
        typer.Option(
            "--enable-dynamic-model-info/--disable-dynamic-model-info",
            help="Ask the backend for models.",
        ),
    ] = None,
    max_output_tokens_fallback: Annotated[
        int | None,
        typer.Option(
            "--max-output-tokens-fallback", min=1, help="Output limit told where none is known."
        ),
    ] = None,
    system_prompt_injection_mode: Annotated[
        Mode | None,
        typer.Option(
            "--system-prompt-injection-mode", help="What becomes of Codex's own instructions."
        ),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("--config-file", "-c", help="Else the file in use.")
    ] = None,
) -> None:
    """Change settings in the TOML file, keeping its comments."""
    given = {
        "enable_dynamic_model_info": enable_dynamic_model_info,
        "max_output_tokens_fallback": max_output_tokens_fallback,
        "system_prompt_injection_mode": system_prompt_injection_mode
        and system_prompt_injection_mode.value,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    if not wanted:
        say("Nothing to set; `ccproxy codex set --help` names the options.")
        return
    path = config_file or toml_file() or toml_candidates()[-1]
    try:
        edit(path, wanted)
    except CCProxyError as error:
        say(error.message)
        raise typer.Exit(CONFIGURATION) from error
    show_table(
        ("SETTING", "VALUE"),
        ((f"codex.{name}", json.dumps(value)) for name, value in wanted.items()),
    )
    say(f"Written to {path}; a stack that runs with this file takes it over at once.")
    for name in overruled(path, wanted):
        say(f"But CODEX__{name.upper()} is set in the environment, which is stronger.")


@app.command()
def cache(
    raw: Annotated[bool, typer.Option("--raw", help="All of it, as JSON.")] = False,
    clear: Annotated[
        bool, typer.Option("--clear", help="Forget it; it is learned again when it is needed.")
    ] = False,
) -> None:
    """Show the facts learned from the Codex program."""
    path = cache_file()
    known = read_cache(path)
    if clear:
        path.unlink(missing_ok=True)
        say(f"{path} is gone." if known else "Nothing was kept.")
    elif known is None:
        say("Nothing is kept: no Codex program was needed yet, or none was found.")
        raise typer.Exit(FAILED)
    elif raw:
        show_json(json.loads(path.read_bytes()))
    else:
        show_table(("WHAT", "VALUE"), profile_rows(known, path))
        show_table(MODEL_COLUMNS, model_rows(known.models))


@app.command("test")
def try_out(
    model: Annotated[str | None, typer.Option("--model", "-m", help="Else the first one.")] = None,
) -> None:
    """Send one real, short request to the provider, and show its cost."""
    run_with_backend(lambda backend: show_test(backend, model))


def run_with_backend(work: Callable[[Backend], Awaitable[int]]) -> None:
    """Do the work of a command, and end with the exit code of the work."""
    code = FAILED
    say_to_a_person("Asking the provider.")
    try:
        code = asyncio.run(at_the_backend(work, load_settings()))
    except CCProxyError as error:
        say(error.message)
        code = CONFIGURATION if isinstance(error, ConfigurationError) else code
        away = isinstance(error, UpstreamError) and not isinstance(error, UpstreamRefused)
        code = TRY_LATER if away else code
    raise typer.Exit(code)


async def at_the_backend(work: Callable[[Backend], Awaitable[int]], settings: Settings) -> int:
    configure_log(
        level="ERROR", style=settings.server.log_format, service="codex", instance="codex"
    )
    async with CodexAccount(settings.codex) as account:
        backend = Backend(settings.codex, account)
        async with backend.client:
            return await work(backend)


async def show_info(backend: Backend, *, as_json: bool) -> int:
    """Show all known facts. Facts refused by the provider are replaced by the
    provider's sentence.
    """
    credential = await backend.account.describe()
    path = cache_file()
    profile = await CodexProfile(backend.settings).get() or read_cache(path)
    models = profile.models if profile else []
    windows = []
    problem = ""
    try:
        if backend.settings.enable_dynamic_model_info:
            models = await backend.models()
        windows = list(windows_of(await backend.usage()))
    except CCProxyError as error:
        problem = error.message
    settings = {
        name: value
        for name, value in backend.settings.model_dump(mode="json").items()
        if name in SHOWN
    }
    facts = {
        "settings": settings,
        "credential": credential.output,
        "problem": problem,
        "windows": windows,
    }
    if as_json:
        show_json(
            {
                **facts,
                "profile": profile and {"version": profile.version, "file": str(path)},
                "models": models,
            }
        )
        return FAILED if problem else DONE
    show_table(("SETTING", "VALUE"), ((name, str(value)) for name, value in settings.items()))
    show_table(("", "CREDENTIAL"), [(credential.status, credential.output)])
    show_table(("WINDOW", "USED", "RESET"), ((name, used, reset) for name, used, reset in windows))
    show_table(("WHAT", "VALUE"), profile_rows(profile, path))
    show_table(MODEL_COLUMNS, model_rows(models, backend.settings.max_output_tokens_fallback))
    if problem:
        say(problem)
    return FAILED if problem else DONE


def windows_of(usage: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (length, used, reset) of the windows of the subscription."""
    limits = usage.get("rate_limit") or {}
    for name in ("primary_window", "secondary_window"):
        if window := limits.get(name):
            yield (
                span(window["limit_window_seconds"]),
                f"{window['used_percent']:g} %",
                minute_in_utc(window["reset_at"]),
            )


def profile_rows(profile: Profile | None, path: Path) -> Iterator[tuple[str, str]]:
    if profile is None:
        yield "Codex program", "not found; its own instructions and built-in models are not known"
        return
    yield (
        "Codex program",
        f"{profile.version} ({profile.program[0] if profile.program else 'unknown'})",
    )
    yield "learned", f"{minute_in_utc(profile.learned_at)}, kept in {path}"
    yield "instructions", f"{len(profile.instructions('')):,} characters for its first model"


MODEL_COLUMNS = ("MODEL", "CONTEXT", "OUTPUT", "EFFORTS")


def model_rows(
    models: list[dict[str, Any]], fallback: int | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows of the models. An unknown limit is the configured fallback, marked."""
    for model in models:
        window = model.get("context_window")
        output = model.get("max_output_tokens")
        efforts = " ".join(
            level["effort"] for level in model.get("supported_reasoning_levels") or []
        )
        told = f"{output:,}" if output else f"{fallback:,} (fallback)" if fallback else ""
        yield str(model["slug"]), f"{window:,}" if window else "", told, efforts


async def show_test(backend: Backend, model: str | None) -> int:
    answer = await backend.ask(model)
    show_table(("WHAT", "VALUE"), test_rows(answer))
    return DONE


def test_rows(answer: BackendAnswer) -> Iterator[tuple[str, str]]:
    usage = answer.reply.stop.usage
    yield "model", answer.reply.model or answer.model
    yield "said", "".join(part.text for part in answer.reply.parts if isinstance(part, Text))
    yield "took", f"{answer.seconds:.2f} s"
    yield "cost", f"{usage.prompt:,} tokens in ({usage.cache_read:,} cached), {usage.output:,} out"
    for window in answer.quota.windows if answer.quota else []:
        yield (
            f"{window.name} window",
            f"{window.used:.1%} used, reset {minute_in_utc(window.resets_at)}",
        )


def edit(path: Path, wanted: dict[str, Any]) -> None:
    """Put values into the file's `[codex]`. Raises ConfigurationError, and then leaves the file
    unchanged.
    """
    before = path.read_text() if path.exists() else ""
    try:
        document = tomlkit.parse(before)
        section = document.setdefault("codex", tomlkit.table())
        section.update(wanted)
    except (TOMLKitError, AttributeError) as error:
        raise ConfigurationError(f"{path} cannot be edited: {error}.") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        written.write_text(tomlkit.dumps(document))
        if path.exists():
            # The new file takes over the rights of the old one, which may hold secrets.
            written.chmod(path.stat().st_mode)
        # Read as the stack would read it before it takes the place of the file: a value that no
        # setting takes never gets there.
        reading(written)
        written.replace(path)
    except ConfigurationError as error:
        raise ConfigurationError(error.message.replace(str(written), str(path))) from error
    finally:
        with suppress(FileNotFoundError):
            written.unlink()


def overruled(path: Path, wanted: dict[str, Any]) -> Iterator[str]:
    """Return the settings with a stronger source than the file."""
    settings = reading(path).codex.model_dump(mode="json")
    return (name for name, value in wanted.items() if settings[name] != value)


def reading(path: Path) -> Settings:
    """Return the settings of a program started with the file at `path`. Raises ConfigurationError
    for an unusable file.
    """
    named = os.environ.get("CONFIG_FILE")
    os.environ["CONFIG_FILE"] = str(path)
    try:
        return load_settings()
    finally:
        if named is None:
            del os.environ["CONFIG_FILE"]
        else:
            os.environ["CONFIG_FILE"] = named

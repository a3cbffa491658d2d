"""`ccproxy codex`: the account at a glance, its settings, what was learned of the Codex program,
one real request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.configuration_file import edit_configuration, settings_with
from ccproxy.cli.console import say, say_to_a_person
from ccproxy.cli.exits import CONFIGURATION, DONE, FAILED
from ccproxy.cli.gateway import Unanswered, checked, connection_to
from ccproxy.cli.moment_gateway import gateway_of_a_moment
from ccproxy.cli.output import show_json, show_table
from ccproxy.cli.short_request import ShortReply, ask_model
from ccproxy.cli.stack_options import with_stack
from ccproxy.cli.status import find_running
from shared.accounts.codex_profile import Profile, cache_file, read_cache
from shared.accounts.models import default_codex_model
from shared.formats.ir import Json
from shared.runtime.errors import CCProxyError
from shared.runtime.times import minute_in_utc
from shared.settings.files import toml_candidates, toml_file
from shared.settings.tree import load_settings

app = command_group("codex")
Row = tuple[str, str, str]
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
@with_stack
def info(as_json: AsJson = False) -> None:
    """Show settings, credential, quota, models and their limits."""
    at_codex(lambda client: show_info(client, as_json=as_json))


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
            "--max-output-tokens-fallback",
            min=1,
            help="Output limit for models whose list has none.",
        ),
    ] = None,
    system_prompt_injection_mode: Annotated[
        Mode | None,
        typer.Option(
            "--system-prompt-injection-mode",
            help="override, append or disabled: how Codex's own instructions are sent.",
        ),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--config-file", "-c", help="TOML file to change (default: the file in use)."),
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
        edit_configuration(path, "codex", wanted, guarded=False)
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
        bool, typer.Option("--clear", help="Delete the cache; it is filled again when needed.")
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
@with_stack
def try_out(
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model to test (default: the first listed).")
    ] = None,
) -> None:
    """Send one real, short request to the provider, and show its cost."""
    at_codex(lambda client: show_test(client, model))


def at_codex(work: Callable[[httpx.Client], int]) -> None:
    """Do the work of a command at the running stack, else at a gateway started for it, and end
    with the exit code of the work.
    """
    settings = load_settings()
    running = find_running(settings)
    say_to_a_person("Asking the provider.")
    opened = nullcontext(running) if running else gateway_of_a_moment(settings)
    with opened as stack, connection_to(stack) as client:
        code = work(client)
    raise typer.Exit(code)


def show_info(client: httpx.Client, *, as_json: bool) -> int:
    """Show all known facts. Facts refused by the provider are replaced by the provider's
    sentence.
    """
    status = checked(client.get("/codex/status")).json()
    models: list[Json] = []
    windows: list[Row] = []
    problem = status["problem"]
    try:
        models = listed_models(client)
        windows = list(windows_of(client))
    except Unanswered as error:
        problem = problem or error.message
    # Read last: a gateway that lists models has looked for the Codex program before.
    path = cache_file()
    profile = read_cache(path)
    codex = load_settings().codex
    settings = {
        name: value for name, value in codex.model_dump(mode="json").items() if name in SHOWN
    }
    credential = status["credentials"]
    if as_json:
        show_json(
            {
                "settings": settings,
                "credential": credential["output"],
                "problem": problem,
                "windows": windows,
                "profile": profile and {"version": profile.version, "file": str(path)},
                "models": models,
            }
        )
        return FAILED if problem else DONE
    show_table(("SETTING", "VALUE"), ((name, str(value)) for name, value in settings.items()))
    show_table(("", "CREDENTIAL"), [(credential["status"], credential["output"])])
    show_table(("WINDOW", "USED", "RESET"), windows)
    show_table(("WHAT", "VALUE"), profile_rows(profile, path))
    show_table(MODEL_COLUMNS, model_rows(models, codex.max_output_tokens_fallback))
    if problem:
        say(problem)
    return FAILED if problem else DONE


def listed_models(client: httpx.Client) -> list[Json]:
    """Return the backend's own entries. Raises Unanswered."""
    models: list[Json] = checked(client.get("/codex/models")).json()["models"]
    return models


def windows_of(client: httpx.Client) -> Iterator[Row]:
    """Yield (length, used, reset) of the windows of the subscription. Raises Unanswered."""
    for window in checked(client.get("/codex/usage")).json()["windows"]:
        yield (
            window["window"],
            f"{window['used_percent']:g} %",
            minute_in_utc(window["resets_at"]),
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


def show_test(client: httpx.Client, model: str | None) -> int:
    reply = ask_model(client, "codex", model or default_codex_model(listed_models(client)))
    show_table(("WHAT", "VALUE"), test_rows(reply, windows_of(client)))
    return DONE


def test_rows(reply: ShortReply, windows: Iterable[Row]) -> Iterator[tuple[str, str]]:
    yield "model", reply.model
    yield "said", reply.text
    yield "took", f"{reply.seconds:.2f} s"
    yield "cost", f"{reply.prompt:,} tokens in ({reply.cached:,} cached), {reply.output:,} out"
    for name, used, reset in windows:
        yield f"{name} window", f"{used} used, reset {reset}"


def overruled(path: Path, wanted: dict[str, Any]) -> Iterator[str]:
    """Return the settings with a stronger source than the file."""
    settings = settings_with(path).codex.model_dump(mode="json")
    return (name for name, value in wanted.items() if settings[name] != value)

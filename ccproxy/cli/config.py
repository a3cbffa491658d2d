"""`ccproxy config`: what is set and by whom, a file to begin with, and what is wrong with one.

Secrets are masked wherever settings are shown. The annotated TOML and `.env.example` are written
from the settings tree itself, so neither can name what does not exist.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.configuration_file import write_configuration
from ccproxy.cli.console import say
from ccproxy.cli.exits import FAILED
from ccproxy.cli.output import show_json, show_table
from ccproxy.cli.shown import value_text, values
from ccproxy.cli.trusting import trust_files
from shared.settings.files import origins_here, toml_candidates, toml_file
from shared.settings.problems import leaves, name_of
from shared.settings.retired import retired_advice
from shared.settings.sources import KeyPath, Origins
from shared.settings.tree import Settings, load_settings

app = command_group("config")


@app.callback()
def config_group() -> None:
    """Show and check the settings."""


@app.command()
def show(
    sources: Annotated[
        bool, typer.Option("--sources", help="Show the source of each value.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting and its value; secrets are masked."""
    settings = load_settings()
    origins = origins_here()
    found = values(settings)
    said = {name_of(path): origins.of(path) for path, _ in leaves(Settings)}
    if as_json:
        show_json(
            {name: {"value": value, "source": said[name]} for name, value in found.items()}
            if sources
            else found
        )
        return
    columns = ("SETTING", "VALUE", "SOURCE") if sources else ("SETTING", "VALUE")
    show_table(
        columns,
        ((name, value_text(value), said[name])[: len(columns)] for name, value in found.items()),
    )


@app.command()
def init(
    file: Annotated[
        Path | None, typer.Argument(help="Output file (default: ~/.config/ccproxy/config.toml).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a TOML file with every setting, explained and commented out."""
    path = file or toml_candidates()[-1]
    if path.exists() and not force:
        say(f"{path} is there already; --force replaces it.")
        raise typer.Exit(FAILED)
    write_configuration(path, annotated_toml())
    say(f"Written to {path}.")


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="TOML file to check (default: the file in use).")
    ] = None,
) -> None:
    """Check the settings as a start would. Every mistake is named with its file and line."""
    if file is not None:
        os.environ["CONFIG_FILE"] = str(file)
    load_settings()
    used = toml_file()
    for sentence in retired_variables(origins_here()):
        say(sentence)
    say(f"The configuration can be used ({used or 'no file; environment and defaults'}).")


@app.command()
def trust(
    path: Annotated[
        list[Path] | None,
        typer.Argument(help="Configuration files, or folders of them; without one, this folder."),
    ] = None,
    show_only: Annotated[
        bool, typer.Option("--show", help="Show the guarded settings and change nothing.")
    ] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Trust the files no longer.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Accept the guarded settings of a folder's files.

    Guarded settings decide where credentials go, which programs run, and who may come in. Trust
    holds for these values only: a file whose guarded settings change has to be trusted again.
    """
    raise typer.Exit(trust_files(path or [Path()], show_only=show_only, revoke=revoke, yes=yes))


@app.command()
def schema() -> None:
    """Print the settings as a JSON Schema, for editors."""
    show_json(Settings.model_json_schema())


def retired_variables(origins: Origins) -> Iterator[str]:
    """Yield the variables of the first ccproxy in the environment, with their replacements."""
    for name in sorted(origins.names()):
        if advice := retired_advice(name):
            yield f"{name} ({origins.of((name.lower(),))}) does nothing any more: {advice}."


def default_of(field: FieldInfo) -> Any:
    """Return the default as a JSON value; None also if the default depends on the machine."""
    if field.default_factory in {dict, list}:
        return field.get_default(call_default_factory=True)
    if field.default_factory:
        return None
    return str(field.default) if isinstance(field.default, Path) else field.default


def annotated_toml() -> str:
    """Return every setting as a comment, under the header of the section."""
    lines = ["# The settings of CCProxy with their defaults. Uncomment what you change.", ""]
    for path, section in sections(Settings):
        lines += [f"[{'.'.join(path)}]", f"# {summary(section)}", ""]
        for name, field in section.model_fields.items():
            if not is_section(field):
                value = toml_value(default_of(field))
                lines += [
                    f"# {field.description}{choices(field)}",
                    f"# {name} ={f' {value}' if value else ''}",
                    "",
                ]
    return "\n".join(lines)


def env_example() -> str:
    """Return every setting as a variable, after the variables of the containers."""
    lines = [ENV_HEADER]
    for path, section in sections(Settings):
        lines += [f"# --- {summary(section)}", ""]
        for name, field in section.model_fields.items():
            if not is_section(field):
                value = value_text(default_of(field))
                lines += [
                    f"# {field.description}{choices(field)}",
                    f"# {name_of((*path, name))}={value}",
                    "",
                ]
    return "\n".join(lines)


ENV_HEADER = """\
# Variables of CCProxy with their defaults. Copy this file to `.env` and uncomment what you change.
# The order is: command line, environment, this file, TOML file, default. As a container's
# environment the file holds as it is; `ccproxy` itself takes guarded settings from the file once
# you have said `ccproxy config trust .env`.

# --- Containers only (docker-compose.yml reads these)

# Whose files the credentials are: `id -u` and `id -g`.
PUID=1000
PGID=1000

# Where Claude's tools work: a folder of this machine; a volume when unset.
# CCPROXY_WORKSPACE=./workspace

# How many containers run Claude's tools.
# SDK_WORKERS=1

# The folders of your logins on this machine; they are mounted writable, so that a login can be
# renewed.
# CLAUDE_DIR=~/.claude
# CODEX_DIR=~/.codex

# The address of this machine the port is published on. Beyond loopback SECURITY__AUTH_TOKEN is
# required.
# CCPROXY_PUBLISH=127.0.0.1

# The password of Grafana's `admin`; docker-compose.monitoring.yml does not start without one.
# GRAFANA_PASSWORD=
"""


def sections(of: type[BaseModel], above: KeyPath = ()) -> Iterator[tuple[KeyPath, type[BaseModel]]]:
    """Yield every section with the path, an outer section before the inner sections."""
    for name, field in of.model_fields.items():
        if is_section(field):
            inner: Any = field.annotation
            yield (*above, name), inner
            yield from sections(inner, (*above, name))


def is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def summary(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]


def choices(field: FieldInfo) -> str:
    """Return the words accepted by a setting with a fixed choice."""
    words = [
        word for kind in (field.annotation, *get_args(field.annotation)) for word in get_args(kind)
    ]
    return (
        f" One of: {', '.join(words)}."
        if words and all(isinstance(word, str) for word in words)
        else ""
    )


def toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(key)} = {toml_value(inner)}" for key, inner in value.items())
            + " }"
        )
    return "" if value is None else json.dumps(value, ensure_ascii=False)

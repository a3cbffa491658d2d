"""The settings file of an agent that holds its hooks: where it lies, how it is read, and how it is
replaced.

Invariants: nothing is written before the change was shown. The old content is kept beside the file,
and a token is never shown. The files are their owner's alone from then on, because one holds a
token.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ccproxy.cli.agent_hooks import HOOKS, TOKEN_HEADER, AgentName, Settings
from shared.accounts.claude import claude_home
from shared.accounts.codex import codex_home
from shared.runtime.files import replace_private
from shared.settings.problems import ConfigurationError

MASK = "(hidden)"
STATE = "state"  # the table in which Codex keeps its trust in hooks


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A settings file of an agent, JSON or TOML by its name."""

    agent: AgentName
    path: Path

    @property
    def is_toml(self) -> bool:
        return self.path.suffix == ".toml"

    def read(self) -> Settings:
        """Return the content; a new one for a file that is not there. Raises ConfigurationError for
        a file that cannot be used.
        """
        text = self.text()
        try:
            if self.is_toml:
                return tomlkit.parse(text)
            document = json.loads(text) if text.strip() else {}
        except (ValueError, TOMLKitError) as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error}.") from error
        if not isinstance(document, dict):
            raise ConfigurationError(f"{self.path} does not hold a JSON object.")
        return document

    def text(self) -> str:
        """Return the content as text; an empty one for a file that is not there. Raises
        ConfigurationError.
        """
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error}.") from error

    def written(self, settings: Settings) -> str:
        """Return `settings` as the text of this file."""
        if self.is_toml:
            return tomlkit.dumps(settings)
        return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"

    def replace(self, text: str, now: float) -> Path | None:
        """Replace the file with `text`, and return the copy of the old content, None without one.
        Raises ConfigurationError.
        """
        before = self.text()
        when = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        backup = self.path.with_name(f"{self.path.name}.before-ccproxy-{when}")
        try:
            if before:
                replace_private(backup, before)
            replace_private(self.path, text)
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename or self.path} cannot be written: {error.strerror}."
            ) from error
        return backup if before else None


def settings_file(
    agent: AgentName, project: Path | None, environment: Mapping[str, str] = os.environ
) -> SettingsFile:
    """Return the file for the hooks of `agent`: the user's, or the one of the folder `project` that
    is not meant to be committed. Raises ConfigurationError.
    """
    if agent == "claude":
        if project is not None:
            return SettingsFile(agent, project / ".claude/settings.local.json")
        return SettingsFile(agent, claude_home(environment) / "settings.json")
    folder = project / ".codex" if project is not None else codex_home(environment)
    inline = SettingsFile(agent, folder / "config.toml")
    # Codex reads both places, and warns of hooks in both.
    hooks = inline.read().get(HOOKS, {})
    has_hooks = isinstance(hooks, dict) and bool(set(hooks) - {STATE})
    return inline if has_hooks else SettingsFile(agent, folder / "hooks.json")


def settings_difference(before: str, after: str, path: Path, secrets: Iterable[str]) -> list[str]:
    """Return the change of a file as lines of a diff, with `secrets` masked."""
    for secret in filter(None, secrets):
        before = before.replace(secret, MASK)
        after = after.replace(secret, MASK)
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(path), str(path), lineterm=""
    )
    return list(lines)


def secrets_in(settings: Any) -> list[str]:
    """Return the tokens in the headers of hooks."""
    if isinstance(settings, dict):
        found = [secret for value in settings.values() for secret in secrets_in(value)]
        token = settings.get(TOKEN_HEADER)
        return [*found, token] if isinstance(token, str) else found
    if isinstance(settings, list):
        return [secret for value in settings for secret in secrets_in(value)]
    return []

"""`ccproxy generate-token`: a token for clients of this server, shown or put into the configuration
file in use.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ccproxy.cli.configuration_file import edit_configuration
from ccproxy.cli.console import say
from ccproxy.cli.exits import CONFIGURATION
from ccproxy.cli.output import show_line
from shared.settings.files import read_files, read_toml, toml_candidates
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings
from shared.settings.trust import refuse_untrusted

SETTING = "SECURITY__AUTH_TOKEN"


def generate(*, save: bool, force: bool) -> int:
    """Print the token as a setting; returns the exit code: 0, or 78 when it could not be saved."""
    token = secrets.token_urlsafe(32)
    if save:
        try:
            path = save_token(token, force=force)
        except ConfigurationError as error:
            say(error.message)
            return CONFIGURATION
        say(f"Saved in {path}; it holds from the next start of `ccproxy serve`.")
        in_use = load_settings().security.auth_token
        if in_use is None or in_use.get_secret_value() != token:
            say(
                f"{SETTING} in the environment or in .env is stronger and still holds another "
                "token."
            )
    show_line(f"{SETTING}={token}")
    return 0


def save_token(token: str, *, force: bool) -> Path:
    """Write the token into the active configuration file, the file's further content unchanged;
    return the file.
    """
    path = active_file()
    # A file that is still to be made says nothing
    if path.exists() or not os.environ.get("CONFIG_FILE"):
        # to write into a file would be to trust the rest of it
        refuse_untrusted(Settings, read_files(Settings))
    if not force and path.exists() and holds_token(path):
        raise ConfigurationError(f"{path} holds a token already; --force replaces it.")
    edit_configuration(path, "security", {"auth_token": token}, guarded=True)
    return path


def active_file() -> Path:
    """Return the file read at start; without such a file, the file to make."""
    candidates = toml_candidates()
    return next((path for path in candidates if path.exists()), candidates[-1])


def holds_token(path: Path) -> bool:
    """Return True if the TOML file at `path` sets a token. Raises ConfigurationError."""
    section = read_toml(path).get("security")
    return isinstance(section, dict) and bool(section.get("auth_token"))

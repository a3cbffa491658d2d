"""Answers without a person: what a rules file covers is answered, everything else is left to
whoever else watches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.bus.channels import PermissionRequest
from shared.permissions.rules import judge
from shared.permissions.rules_text import read_rules_text
from shared.runtime.errors import ClientError
from shared.settings.problems import ConfigurationError


class Automatic:
    """The rules of a file, read again at every request.

    Raises ConfigurationError at once for a file that cannot be used. A file that breaks later
    answers no request.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            read_rules_text(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The rules file {path} cannot be read: {error}.") from error
        except ClientError as error:
            raise ConfigurationError(
                f"The rules file {path} cannot be used: {error.message}"
            ) from error

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to the data of a `permission_request`, or None if no rule applies."""
        ask = PermissionRequest(
            request["request_id"],
            request["tool_name"],
            request["input"],
            caller=request.get("caller", ""),
            session_id=request.get("session_id", ""),
            working_directory=request.get("working_directory", ""),
        )
        try:
            verdict = judge(ask, read_rules_text(self._path.read_text()).rules)
        # A file that breaks later answers nothing: the last good rules may be the ones its owner
        # has just taken out.
        except (OSError, UnicodeDecodeError, ClientError):
            return None
        if verdict.outcome == "ask" or verdict.rule is None:
            return None
        allowed = verdict.outcome == "allow"
        said = (
            {}
            if allowed
            else {
                "message": f"A rule of this server's owner denies this ({verdict.rule.describe()})."
            }
        )
        return {"allowed": allowed, **said}

"""Answers without a person: what a rules file covers is answered, everything else is left to whoever else watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.channels import PermissionAsk
from shared.complaints import ConfigurationError
from shared.errors import ClientError
from shared.permissions.rules import judge, read_rules


class Automatic:
    """The file is read at each request. Raises ConfigurationError at once for one that cannot be used; one that breaks
    later answers nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            read_rules(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The rules file {path} cannot be read: {error}.") from error
        except ClientError as error:
            raise ConfigurationError(f"The rules file {path} cannot be used: {error.message}") from error

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """What to answer to the data of a `permission_request`, if the rules say."""
        ask = PermissionAsk(
            request["request_id"],
            request["tool_name"],
            request["input"],
            caller=request.get("caller", ""),
            session_id=request.get("session_id", ""),
            working_directory=request.get("working_directory", ""),
        )
        try:
            verdict = judge(ask, read_rules(self._path.read_text()))
        except (OSError, UnicodeDecodeError, ClientError):
            return None
        if verdict.outcome == "ask" or verdict.rule is None:
            return None
        allowed = verdict.outcome == "allow"
        said = {} if allowed else {"message": f"A rule of this server's owner denies this ({verdict.rule.describe()})."}
        return {"allowed": allowed, **said}

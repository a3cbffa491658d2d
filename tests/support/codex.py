"""An owner's ChatGPT login on disk, and the settings of a gateway that uses it at the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.logins import put
from tests.support.simulator_fixture import chatgpt_token


def write_login(path: Path, token: str = "", account: str = "acct-simulated") -> Path:
    """An `auth.json` as the Codex program keeps it, written an hour ago: one just written is not
    renewed.
    """
    tokens = {
        "id_token": "",
        "access_token": token or chatgpt_token(account),
        "refresh_token": f"rt-{uuid4().hex}",
    }
    return put(path, {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens})


def codex_settings(simulator_url: str, folder: Path, **overrides: Any) -> dict[str, Any]:
    """The section `codex`; there is no Codex program unless `cli_path` names one."""
    return {
        "base_url": f"{simulator_url}/backend-api/codex",
        "api_base_url": f"{simulator_url}/v1",
        "auth_file": write_login(folder / "auth.json"),
        "cli_path": folder / "no-codex-here",
        "oauth": {"base_url": simulator_url},
        **overrides,
    }

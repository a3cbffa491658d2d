"""Made-up logins for tests: files as the official programs write them, for the simulator's token
servers.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import httpx

from simulator.logins.servers import jwt

OLD = "sk-ant-oat01-old"
OTHER_KEYS = {"mcpOAuth": {"server": {"accessToken": "of-somebody-else"}}}


def claude_content(
    expires_in: float = -10, refresh: str = "sk-ant-ort01-made-up", token: str = OLD
) -> dict[str, Any]:
    login = {
        "accessToken": token,
        "refreshToken": refresh,
        "expiresAt": int((time.time() + expires_in) * 1000),
        "scopes": ["user:inference"],
        "subscriptionType": "max",
        "rateLimitTier": "default_claude_max_20x",
    }
    return {"claudeAiOauth": login, **OTHER_KEYS}


def codex_content(expires_in: float = -10, refresh: str = "rt-made-up") -> dict[str, Any]:
    auth = {
        "https://api.openai.com/auth": {"chatgpt_account_id": "acct-1", "chatgpt_plan_type": "plus"}
    }
    access = jwt({"exp": int(time.time() + expires_in), **auth})
    tokens = {
        "id_token": jwt({"email": "o@example.com"} | auth),
        "access_token": access,
        "refresh_token": refresh,
    }
    return {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": tokens | {"login_owner_id": "kept"},
    }


def put(path: Path, content: Any, age: float = 3600) -> Path:
    """Write as another program does, by rename; `age` is how long ago it is to have been, in
    seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".written-by-another")
    draft.write_text(json.dumps(content))
    draft.chmod(0o600)
    then = time.time() - age
    os.utime(draft, (then, then))
    draft.rename(path)
    return path


def approve(url: str) -> httpx.Response:
    """Press Approve on a simulated login page, as a browser would; the answer is what
    that led to.
    """
    with httpx.Client(trust_env=False) as browser:
        page = browser.get(url)
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text)) | {
            "decision": "approve"
        }
        return browser.post(url.partition("?")[0], data=fields)


def content_of(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def read_only(path: Path) -> Path:
    path.chmod(0o400)
    return path


def claude_login(path: Path) -> dict[str, Any]:
    login: dict[str, Any] = json.loads(path.read_text())["claudeAiOauth"]
    return login

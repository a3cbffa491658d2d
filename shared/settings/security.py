"""The settings of access: who may use the product, from where, and what happens to permission
requests.

Invariant: a token has a name that no decision of the product's own bears.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from shared.accounts.hold_wishes import TokenHold, TokenPriority
from shared.accounts.token_limits import MOST_AT_ONCE, WrittenLimits
from shared.permissions.deciders import RESERVED_NAMES
from shared.permissions.paths import ProtectablePath
from shared.settings.guarded import GUARDED
from shared.settings.places import config_dir
from shared.settings.providers import Section

STORED_PREFIX = "ccp_"  # of every token that `ccproxy token` makes
TOKEN_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
Scope = Literal["use", "agent", "ask", "approve", "admin"]


def usable_name(name: str) -> str:
    """Return the name of a token. Raises ValueError for an unusable name."""
    if not TOKEN_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name of a token: use up to 64 letters, digits, dots, dashes and "
            "underscores"
        )
    if name.lower() in RESERVED_NAMES:
        raise ValueError(f"{name!r} is a name of the server's own; choose another")
    return name


class TokenSettings(Section):
    """A token for one of your tools or people; its name marks their requests in logs
    and metrics.
    """

    name: Annotated[str, AfterValidator(usable_name)] = Field(description="Whose it is.")
    token: SecretStr = Field(min_length=8, description="The secret.")
    scopes: list[Scope] = Field(
        ["use"],
        description="`use` the models, run an `agent` on `/sdk`, `ask` for permission, `approve` "
        "requests for permission, `admin` the rest.",
    )
    limits: WrittenLimits = Field(
        (),
        description="Limits as in `ccproxy token limits`: `$5/day`, `200k tokens/week`, "
        "`100 requests/month`, `20%/5h`.",
    )
    at_once: int = Field(
        0, ge=0, le=MOST_AT_ONCE, description="Most requests at once; 0: any number."
    )
    hold: TokenHold = Field(
        "", description="Let its requests wait when a limit is used up: `until-reset`, or `30m`."
    )
    priority: TokenPriority | Literal[""] = Field(
        "", description="Its requests in a queue: `person`, `ordinary` or `background`."
    )


class SecuritySettings(Section):
    """Access to the product: tokens, hosts and permission requests."""

    model_config = ConfigDict(json_schema_extra=GUARDED)

    auth_token: SecretStr | None = Field(
        None, description="Token every client must send; unset: loopback is trusted."
    )
    tokens: list[TokenSettings] = Field(
        default_factory=list,
        description="More tokens, each with a name, scopes, `limits` and `at_once`; `ccproxy token "
        "add` makes better ones, in `tokens_file`.",
    )
    tokens_file: Path = Field(
        default_factory=lambda: config_dir() / "tokens.json",
        description="The hashes of the tokens that `ccproxy token` made; a change holds at once.",
    )
    allowed_hosts: list[str] = Field(
        default_factory=list, description="Host names served besides loopback and `host`."
    )
    provider_hosts: list[str] = Field(
        default_factory=list,
        description="Hosts that may get your credentials over plain http: names on a network of "
        "your own.",
    )
    allow_open_bind: bool = Field(
        False,
        description="Listen beyond loopback without a token. Anyone who can reach it pays with "
        "your account.",
    )
    confirmation_timeout_seconds: float = Field(
        300, ge=0, description="Seconds that a permission request waits for an answer; 0: for ever."
    )
    max_open_requests: int = Field(
        16,
        ge=1,
        description="Most permission requests that one caller may have open; more are denied at "
        "once.",
    )
    deny_without_watcher: bool = Field(
        False,
        description="While no terminal and no page is open, deny at once what a person would "
        "decide.",
    )
    hooks_ask: Literal["away", "watched"] = Field(
        "away",
        description="When hooks of Claude Code and Codex wait for a person: while you are away, or "
        "also while a terminal or a page is `watched`; else they ask in their own terminals.",
    )
    permission_rules_file: Path = Field(
        default_factory=lambda: config_dir() / "permissions.toml",
        description="Your lasting answers to permission prompts; `always` in an answer adds to it.",
    )
    protected_paths: list[ProtectablePath] = Field(
        default_factory=list, description="More paths no tool may touch."
    )

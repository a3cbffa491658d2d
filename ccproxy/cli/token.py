"""`ccproxy token`: one token per tool or person, with scopes, an end, routes and models.

The commands change the file of the stack in front of the owner (`ccproxy/cli/owned_tokens.py`); its
gateways see the change within a second.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, get_args

import typer

from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.console import say
from ccproxy.cli.exits import FAILED
from ccproxy.cli.found_stack import FoundStack
from ccproxy.cli.gateway import Unanswered, requires_token
from ccproxy.cli.output import show_json, show_line, show_table
from ccproxy.cli.owned_tokens import (
    OwnedTokens,
    TokenRefused,
    checked_token,
    place_of_name,
    tokens_in_front,
)
from ccproxy.cli.stack_options import with_stack
from ccproxy.cli.token_use import show_limits
from shared.accounts.hold_wishes import UNTIL_RESET, TokenPriority
from shared.accounts.token_limits import MOST_AT_ONCE, TokenLimit, parse_limit
from shared.accounts.tokens import Route, StoredToken, token_digest
from shared.runtime.times import UNIT_SECONDS, iso_time_or_none, minute_in_utc
from shared.settings.security import Scope, TokenSettings
from shared.settings.tree import Settings, load_settings

SECONDS = UNIT_SECONDS | {"w": 7 * UNIT_SECONDS["d"]}
SPAN = re.compile(r"(\d{1,6})([mhdw])")

app = command_group("token")

Name = Annotated[str, typer.Argument(help="The token's name, as logs and metrics show it.")]
Expires = Annotated[
    str | None,
    typer.Option("--expires", help="End: a span (12h, 30d, 8w) or a date (2027-01-31)."),
]
LimitTexts = Annotated[
    list[str] | None,
    typer.Option("--limit", help="A limit: $5/day, 200k tokens/week, 100 requests/day, 20%/5h."),
]
AtOnce = Annotated[
    int,
    typer.Option("--at-once", min=0, max=MOST_AT_ONCE, help="Most requests at once; 0: any."),
]


HoldWish = Annotated[
    str | None,
    typer.Option(
        "--hold",
        help="Let its requests wait when a limit is used up: until-reset, or at most 30m or 5h.",
    ),
]
QueuePriority = Annotated[
    str | None,
    typer.Option(
        "--priority", help=f"Its requests in a queue: {', '.join(get_args(TokenPriority))}."
    ),
]


@app.callback()
def token_group() -> None:
    """Make, list, replace and revoke tokens of your tools."""


@app.command()
@with_stack
def add(
    name: Name,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help=f"One of {', '.join(get_args(Scope))}; default: use."),
    ] = None,
    expires: Expires = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Allowed model, or a pattern (`claude-haiku-*`)."),
    ] = None,
    route: Annotated[
        list[str] | None,
        typer.Option("--route", help=f"Allowed route: {', '.join(get_args(Route))}."),
    ] = None,
    limit: LimitTexts = None,
    at_once: AtOnce = 0,
    hold: HoldWish = None,
    priority: QueuePriority = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep it in a file for `ccproxy token helper`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it once.

    Repeat --scope, --model, --route and --limit for several values.
    """
    settings = load_settings()
    owned = tokens_in_front(settings)
    made = checked_token(
        {
            "name": name,
            "scopes": scope or ["use"],
            "created_at": time.time(),
            "expires_at": end_of(expires, time.time()) if expires else None,
            "models": model or [],
            "routes": [each.strip("/") for each in route or []],
            "limits": read_limits(limit or []),
            "at_once": at_once,
            "hold": hold or "",
            "priority": priority or "",
        }
    )
    secret = owned.add(made, keep=keep)
    if as_json:
        show_json(token_facts(made) | {"token": secret})
        return
    show_line(secret)
    say(f"This is the token {name!r}. It is not shown again.")
    for sentence in consequences(owned, settings, name, keep=keep):
        say(sentence)


@app.command("list")
@with_stack
def list_tokens(as_json: AsJson = False) -> None:
    """List the tokens and their limits."""
    settings = load_settings()
    owned = tokens_in_front(settings)
    tokens = [*owned.file.read(), *map(as_stored, settings.security.tokens)]
    if as_json:
        show_json([token_facts(token) for token in tokens])
        return
    columns = ("NAME", "SCOPES", "MADE", "EXPIRES", "ROUTES", "MODELS", "LIMITS")
    if tokens:
        show_table(columns, [row_of(token, time.time()) for token in tokens])
    else:
        say("There is no token yet; `ccproxy token add NAME` makes one.")


@app.command()
@with_stack
def rotate(name: Name, expires: Expires = None) -> None:
    """Replace a token's secret and show the new one. The old one ends at once."""
    settings = load_settings()
    refuse_configured(settings, name)
    owned = tokens_in_front(settings)
    end = end_of(expires, time.time()) if expires else None
    show_line(owned.rotate(name, end))
    say(f"This is the token {name!r} from now on. It is not shown again.")


@app.command("revoke")
@with_stack
def revoke_token(name: Name) -> None:
    """Remove a token. Its next request is refused."""
    settings = load_settings()
    refuse_configured(settings, name)
    tokens_in_front(settings).revoke(name)
    say(f"The token {name!r} is revoked.")


@app.command("limits")
@with_stack
def show_or_set_limits(
    name: Annotated[str | None, typer.Argument(help="The token's name; default: all.")] = None,
    limit: LimitTexts = None,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", min=0, max=MOST_AT_ONCE, help="Most requests at once; 0: any."),
    ] = None,
    hold: HoldWish = None,
    priority: QueuePriority = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all limits first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what tokens have used of their limits, or set limits.

    A limit is an amount per day, week, month, or per window of a subscription (5h, 7d): $5/day,
    200k tokens/week, 100 requests/day, 20%/5h. A --limit replaces the one of its kind.
    `--hold no` ends the waiting.
    """
    others = {"at_once": at_once, "hold": hold, "priority": priority}
    changes = {fact: value for fact, value in others.items() if value is not None}
    if limit or clear or changes:
        if name is None:
            raise TokenRefused("Name the token whose limits you set.")
        token = set_limits(name, read_limits(limit or []), changes, clear=clear)
        say(f"The token {name!r} has: {', '.join(limit_texts(token)) or 'no limits'}.")
    raise typer.Exit(show_limits(name, as_json=as_json))


def set_limits(
    name: str, given: list[TokenLimit], changes: Mapping[str, object], *, clear: bool
) -> StoredToken:
    """Put the limits `given` in the place of those of their kinds, and make the other `changes`.
    Return the token. Raises TokenRefused, TokensUnusable.
    """
    settings = load_settings()
    refuse_configured(settings, name)
    owned = tokens_in_front(settings)
    known = owned.file.read()
    token = known[place_of_name(known, name)]
    kinds = {(each.unit, each.per) for each in given}
    kept = [] if clear else [each for each in token.limits if (each.unit, each.per) not in kinds]
    cleared = {"at_once": 0, "hold": "", "priority": ""} if clear else {}
    return owned.change(name, {"limits": (*kept, *given), **cleared, **changes})


@app.command()
@with_stack
def helper(name: Name) -> None:
    """Print a kept token, for Claude Code's `apiKeyHelper`."""
    owned = tokens_in_front(load_settings())
    secret = owned.kept(name)
    if secret is None:
        say(
            f"No token {name!r} is kept at {owned.kept_at(name)}; "
            f"`ccproxy token add {name} --keep` makes one."
        )
        raise typer.Exit(FAILED)
    show_line(secret)


def read_limits(texts: list[str]) -> list[TokenLimit]:
    """Return the limits in `texts`. Raises TokenRefused for a text that is none."""
    try:
        return [parse_limit(text) for text in texts]
    except ValueError as error:
        raise TokenRefused(str(error)) from None


def refuse_configured(settings: Settings, name: str) -> None:
    """Raise TokenRefused for the name of a token of the settings, which no command changes, unless
    the file has a token of this name too.
    """
    if name not in (token.name for token in settings.security.tokens):
        return
    if name not in (token.name for token in tokens_in_front(settings).file.read()):
        raise TokenRefused(
            f"The token {name!r} is set in SECURITY__TOKENS: change it there, with `limits` and "
            "`at_once` beside its name."
        )


def as_stored(token: TokenSettings) -> StoredToken:
    """Return a token of the settings in the form of the others. It has no time of making."""
    return StoredToken(
        name=token.name,
        sha256=token_digest(token.token.get_secret_value()),
        scopes=tuple(token.scopes),
        limits=token.limits,
        at_once=token.at_once,
        hold=token.hold,
        priority=token.priority,
    )


def limit_texts(token: StoredToken) -> list[str]:
    """Return the limits of a token and how its requests wait, one text each."""
    texts = [str(limit) for limit in token.limits]
    if token.at_once:
        texts.append(f"{token.at_once} at once")
    if token.hold:
        texts.append("held until the reset" if token.hold == UNTIL_RESET else f"held {token.hold}")
    if token.priority:
        texts.append(token.priority)
    return texts


def consequences(owned: OwnedTokens, settings: Settings, name: str, *, keep: bool) -> list[str]:
    """Return what the owner should know about a token just made, one sentence each."""
    found = [stack_sentence(owned.stack)] if owned.stack else []
    if keep:
        place = owned.kept_at(name)
        found.append(f"It is kept at {place}; `ccproxy token helper {name}` prints it.")
    if not is_required(owned, settings):
        found.append(
            "Requests without a token stay allowed on this machine: SECURITY__AUTH_TOKEN is not "
            "set."
        )
    return found


def is_required(owned: OwnedTokens, settings: Settings) -> bool:
    """Return True if the stack, or without one the settings, refuse a request without a token."""
    if owned.stack is not None:
        try:
            return requires_token(owned.stack)
        except Unanswered:
            return True
    return bool(settings.security.auth_token or settings.security.tokens)


def stack_sentence(stack: FoundStack) -> str:
    """Return the sentence that names the stack of a token."""
    if stack.running is not None and stack.running.kind == "demo":
        return f"It holds for the demo at {stack.url}, until that ends."
    return f"It holds for the stack at {stack.url} now."


def end_of(text: str, now: float) -> float:
    """Return the UTC seconds of the end in `text`: a span after `now`, or the end of a day of this
    machine's clock. Raises TokenRefused.
    """
    if span := SPAN.fullmatch(text.strip()):
        return now + int(span[1]) * SECONDS[span[2]]
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").astimezone()
    except ValueError:
        raise TokenRefused(
            f"--expires {text}: give a span as 12h, 30d or 8w, or a date as 2027-01-31."
        ) from None
    end = day.timestamp() + SECONDS["d"]
    if end <= now:
        raise TokenRefused(f"--expires {text}: this day is over.")
    return end


def token_facts(token: StoredToken) -> dict[str, object]:
    """Return a token's facts for programs, without its hash."""
    return {
        "name": token.name,
        "scopes": list(token.scopes),
        "created_at": iso_time_or_none(token.created_at or None),
        "expires_at": iso_time_or_none(token.expires_at),
        "routes": list(token.routes),
        "models": list(token.models),
        "limits": [str(limit) for limit in token.limits],
        "at_once": token.at_once or None,
        "hold": token.hold or None,
        "priority": token.priority or None,
    }


def row_of(token: StoredToken, now: float) -> list[str]:
    """Return a token as a row of the list."""
    if token.expires_at is None:
        end = "until `ccproxy run` ends" if token.process else "never"
    else:
        end = minute_in_utc(token.expires_at) + (" (over)" if token.has_expired(now) else "")
    return [
        token.name,
        " ".join(token.scopes),
        minute_in_utc(token.created_at) if token.created_at else "in the settings",
        end,
        " ".join(f"/{route}" for route in token.routes) or "all",
        " ".join(token.models) or "all",
        ", ".join(limit_texts(token)) or "none",
    ]

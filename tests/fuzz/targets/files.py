"""Files that other programs or people write: captures and bundles, logins, tokens."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from shared.accounts.claude import ClaudeIssuer
from shared.accounts.codex import CodexIssuer
from shared.accounts.oauth import Issuer, claims_of, parse_token_reply
from shared.accounts.store import CredentialFile, LoginDraft
from shared.accounts.token_limits import parse_limit
from shared.accounts.tokens import TokenFile, TokensUnusable
from shared.captures.bundle import read_bundle, write_bundle
from shared.captures.capture import (
    Capture,
    NotACapture,
    Part,
    Summary,
    parts_as_json,
    read_capture,
    write_capture,
)
from shared.captures.redaction import redact
from shared.runtime.exact_json import dump_json
from shared.settings.tree import Settings
from tests.fuzz.targets.target import Target, chosen, hold, seed

CAPTURE = Capture(
    Summary("req_" + "0" * 24, 12.5, model="claude-x", removed={"jwt": 1}, query="a=b"),
    Part([["content-type", "application/json"]], '{"a":"sk-ant-api03-abcdefghijkl"}', 7),
    Part(body='{"a":1}', method="POST", address="https://example.test/v1?key=abc"),
    Part([["content-type", "text/event-stream"]], "data: x\n\n", 9, chunks=[[4, 0.0], [9, 1.5]]),
    Part(body="data: x\n\n", status=200, is_whole=False),
)
SECRETS = (
    'authorization: Bearer sk-ant-oat01-abcdefghijklmnop\n{"api_key":"sk-proj-abcdef0123456789"}'
    " eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl password=hunter2-hunter2 &token=abc%20def"
    ' {"data":"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="} \\"secret\\": \\"x\\\\ny\\"'
)
NOW = 1_800_000_000.0


def unpack_capture(number: int, data: bytes) -> None:
    """Check a capture's file; for even numbers the rest behind its first line is packed first."""
    head, line_end, rest = data.partition(b"\n")
    try:
        packed = rest if number % 2 else zlib.compress(rest, 1)
        found = read_capture(head + line_end + packed)
    except NotACapture:
        return
    hold(read_capture(write_capture(found)) == found, "a capture is read as it was written")


def open_bundle(_: int, data: bytes) -> None:
    try:
        found = read_bundle(data)
    except NotACapture:
        return
    written = write_bundle(found)
    again = read_bundle(written)
    hold(len(again) == len(found), "a bundle is read as it was written")


def remove_secrets(number: int, data: bytes) -> None:
    redacted = redact(
        data, is_stream=number % 2 == 0, is_cut=number % 3 == 0, known=["hunter2-hunter2"]
    )
    hold(redacted.moved(len(data)) == len(redacted.body), "the end of a body is its end")
    places = [redacted.moved(at) for at in range(0, len(data), 1 + len(data) // 50)]
    hold(places == sorted(places), "places keep their order")
    hold(b"hunter2-hunter2" not in redacted.body, "a known secret is removed")


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="ccproxy-fuzz-"))


def issuers() -> tuple[Issuer, ...]:
    settings = Settings()
    return ClaudeIssuer(settings.claude, {"HOME": "/nowhere"}), CodexIssuer(
        settings.codex, {"HOME": "/nowhere"}
    )


ISSUERS = issuers()


def read_login_file(number: int, data: bytes) -> None:
    path = folder() / "login.json"
    path.write_bytes(data)
    file = CredentialFile(path)
    content = file.read(fresh=True)
    hold(content is not None or file.problem != "", "a file has content or a problem")
    LoginDraft(path, path).is_complete()
    for issuer in ISSUERS:
        login = issuer.read_login(content or {})
        if login is not None:
            hold(all(isinstance(each, str) for each in issuer.headers(login).values()), "headers")
            login.expires_within(60, NOW)


def read_token_reply(number: int, data: bytes) -> None:
    """Check the reply of a token server, on its way into the file of a login."""
    issuer = ISSUERS[number % 2]
    reply = parse_token_reply(data)
    if not isinstance(reply.get("access_token"), str) or not reply["access_token"]:
        return
    claims_of(reply["access_token"])
    written = issuer.write_login({"kept": 1}, reply, NOW)
    hold(bool(dump_json(written)) and written["kept"] == 1, "a login can be written")
    hold(issuer.read_login(written) is not None, "a login that was paid for is read again")


def read_tokens(_: int, data: bytes) -> None:
    path = folder() / "tokens.json"
    path.write_bytes(data)
    try:
        tokens = TokenFile(path).read()
    except TokensUnusable:
        return
    hold(all(token.has_expired(NOW) in {True, False} for token in tokens), "a token expires")


def read_limit(_: int, data: bytes) -> None:
    try:
        limit = parse_limit(data.decode("utf-8", "replace"))
    except ValueError:
        return
    hold(parse_limit(str(limit)) == limit, "a limit is read as it was written")


KINDS: tuple[Callable[[int, bytes], None], ...] = (
    unpack_capture,
    open_bundle,
    remove_secrets,
    read_login_file,
    read_token_reply,
    read_tokens,
    read_limit,
)
JWT = "eyJhbGciOiJub25lIn0.eyJleHAiOjE5MDAwMDAwMDAsInNjcCI6WyJhIl19.c2ln"
CLAUDE_LOGIN = {
    "claudeAiOauth": {
        "accessToken": "a",
        "refreshToken": "r",
        "expiresAt": 1_900_000_000_000,
        "scopes": ["user:inference"],
        "subscriptionType": "max",
    }
}
CODEX_LOGIN = {
    "auth_mode": "chatgpt",
    "OPENAI_API_KEY": None,
    "tokens": {"access_token": JWT, "id_token": JWT, "refresh_token": "r", "account_id": "acc"},
}
CLAUDE_REPLY = {
    "access_token": "a",
    "refresh_token": "r",
    "expires_in": 3600,
    "refresh_token_expires_in": 7200,
    "scope": "user:inference",
    "account": {"uuid": "u"},
    "profile": {"account": {"has_claude_max": True}, "organization": {"rate_limit_tier": "t"}},
}
TOKENS = {
    "tokens": [
        {
            "name": "alice",
            "sha256": "0" * 64,
            "scopes": ["use", "ask"],
            "limits": ["$5 per day", "10% per 5h"],
            "expires_at": 1_900_000_000,
        }
    ]
}


def check(data: bytes) -> None:
    kind, number, body = chosen(data, KINDS)
    kind(number, body)


def seeds() -> list[bytes]:
    summary = write_capture(CAPTURE).partition(b"\n")[0]
    parts: Any = json.dumps(parts_as_json(CAPTURE)).encode()
    return [
        seed(0, summary + b"\n" + parts, 0),
        seed(0, write_capture(CAPTURE), 1),
        seed(1, write_bundle([CAPTURE])),
        *(seed(2, SECRETS.encode(), number) for number in (1, 2, 3)),
        seed(3, CLAUDE_LOGIN),
        seed(3, CODEX_LOGIN),
        seed(4, CLAUDE_REPLY, 0),
        seed(4, {"access_token": JWT, "id_token": JWT, "refresh_token": "r"}, 1),
        seed(5, TOKENS),
        *(seed(6, text.encode()) for text in ("$5 per day", "20% per 7d", "2M tokens per week")),
    ]


FILES = Target("files", "captures, bundles, logins and tokens", check, seeds, "lines")

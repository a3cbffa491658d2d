"""Logins that were begun and wait for their callback: small files, so that any process can complete
one.

A login is taken by its state, once; whoever has the state may complete it, within ten minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import html
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

from shared.accounts.claude import ClaudeIssuer
from shared.accounts.codex import CodexIssuer
from shared.accounts.oauth import GrantRefused, Issuer, PendingLogin
from shared.accounts.refresher import LOCK_POLL_SECONDS, render_login_file
from shared.accounts.store import CredentialFile, open_private
from shared.accounts.token_server import TokenServer
from shared.runtime.errors import ClientError, UpstreamError
from shared.settings.tree import Settings

LIFETIME_SECONDS = 600.0


class PendingLogins:
    """The logins begun under a run directory."""

    def __init__(self, run_dir: Path) -> None:
        self._directory = run_dir / "logins"

    def add(self, pending: PendingLogin) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._forget_old()
        with open_private(self._place(pending.state), os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
            file.write(json.dumps(asdict(pending)).encode())

    def take(self, state: str) -> PendingLogin:
        """Return the login begun with `state`, for the single completion. Raises ClientError if
        there is none.
        """
        place = self._place(state)
        try:
            pending = PendingLogin(**json.loads(place.read_bytes()))
            # The unlink decides between two that have read the same file: it fails for the second.
            place.unlink()
        except (OSError, ValueError, TypeError):
            raise ClientError(
                "No login waits for this answer; it may have taken too long. Begin it again."
            ) from None
        if time.time() - pending.started_at > LIFETIME_SECONDS:
            raise ClientError("This login has waited for more than ten minutes. Begin it again.")
        return pending

    def holds(self, state: str) -> bool:
        return self._place(state).exists()

    def forget(self, state: str) -> None:
        self._place(state).unlink(missing_ok=True)

    def _place(self, state: str) -> Path:
        return self._directory / (hashlib.sha256(state.encode()).hexdigest() + ".json")

    def _forget_old(self) -> None:
        for place in self._directory.glob("*.json"):
            if time.time() - place.stat().st_mtime > LIFETIME_SECONDS:
                place.unlink(missing_ok=True)


def issuers(settings: Settings) -> dict[str, Issuer]:
    return {"claude": ClaudeIssuer(settings.claude), "codex": CodexIssuer(settings.codex)}


def read_answer(text: str) -> tuple[str, str]:
    """Return the code and the state in a pasted text: `code#state`, or the whole address at which a
    browser ended.

    Raises ClientError, with the provider's words when the provider refused.
    """
    text = text.strip()
    query = parse_qs(urlsplit(text).query) if "://" in text else {}
    if refused := query.get("error"):
        raise ClientError(f"The login was refused: {query.get('error_description', refused)[0]}")
    code, state = (
        (query.get(name, [""])[0] for name in ("code", "state"))
        if query
        else text.partition("#")[::2]
    )
    if not code or not state:
        raise ClientError(
            "That is neither `code#state` nor an address with code and state; paste the whole of "
            "it."
        )
    return code, state


async def complete(settings: Settings, pending: PendingLogin, code: str) -> Path:
    """Exchange the code, store the login and return the login's file.

    Nothing is spent before the file can surely be written. Raises GrantRefused or UpstreamError,
    and ClientError when the file cannot be written.
    """
    issuer = issuers(settings)[pending.provider]
    file = CredentialFile(issuer.files[0])
    try:
        file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with await lock(file):
            draft = file.draft("")
            # The code is good for one exchange, so the room on disk is proved before the code is
            # spent.
            draft.reserve()
            try:
                await _exchange(issuer, file, pending, code)
            finally:
                draft.discard()
    except OSError as error:
        raise ClientError(
            f"The login cannot be stored in {file.path}: {error.strerror}."
        ) from error
    return file.path


async def _exchange(issuer: Issuer, file: CredentialFile, pending: PendingLogin, code: str) -> None:
    async with TokenServer() as tokens:
        reply = await tokens.ask(issuer.token_url, issuer.ask_exchange(pending, code))
        content = issuer.write_login(file.read(fresh=True) or {}, reply, time.time())
        file.write(render_login_file(content, issuer.indent))
        login = issuer.read_login(content)
        if login is None:
            return
        # The login is stored already. The plan's name is worth having, but not worth failing for.
        with contextlib.suppress(GrantRefused, UpstreamError):
            about = {**reply, "profile": await issuer.about(tokens, login)}
            file.write(
                render_login_file(issuer.write_login(content, about, time.time()), issuer.indent)
            )


async def remove(issuer: Issuer, path: Path) -> bool:
    """Remove the login from the file, and a file that is empty then. Return False if there was no
    login. Raises OSError.
    """
    file = CredentialFile(path)
    if not (content := file.read()) or issuer.read_login(content) is None:
        return False
    with await lock(file):
        rest = issuer.without_login(file.read(fresh=True) or {})
        if rest:
            file.write(render_login_file(rest, issuer.indent))
        else:
            os.unlink(path)
    return True


async def lock(file: CredentialFile) -> IO[bytes]:
    """Wait for the right to replace the file. Raises OSError."""
    while (held := file.try_lock()) is None:  # noqa: ASYNC110 - another process holds it
        await asyncio.sleep(LOCK_POLL_SECONDS)
    return held


def login_page(title: str, text: str) -> str:
    """Return the page shown by a browser after a login. `text` is escaped, because `text` may come
    from anywhere.
    """
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width">'
        f'<title>{html.escape(title)}</title><body style="font:16px '
        'system-ui;max-width:34em;margin:4em auto">'
        f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></body></html>"
    )


# Nothing on these pages runs or is fetched; the address they stand at carries a code, which goes
# nowhere.
PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors "
    "'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}

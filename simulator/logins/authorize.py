"""The page where the owner agrees, and the codes it hands out: bound to one login, good for one
exchange.
"""

from __future__ import annotations

import base64
import hashlib
import html
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

from simulator.exchange import SimulatedExchange

CODE_SECONDS = 600
HTML = {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}
NEEDED = ("client_id", "redirect_uri", "scope", "state", "code_challenge")


class BadGrant(Exception):
    """An invalid code, or an invalid request for a code; the text names the mistake."""


@dataclass(frozen=True, slots=True)
class Grant:
    asked: Mapping[str, str]
    until: float


@dataclass(slots=True)
class Codes:
    """The codes of a login server.

    `client_id` is the one client that is known; a browser may return to a loopback address ending
    in `path`, and a code is shown for copying where the address is `manual`.
    """

    client_id: str
    path: str
    manual: str = ""
    _grants: dict[str, Grant] = field(default_factory=dict)

    async def page(self, exchange: SimulatedExchange) -> None:
        """Serve the login form (GET), and the redirect of the form's buttons (POST)."""
        approving = exchange.record.method == "POST"
        asked = dict(parse_qsl(exchange.record.body.decode() if approving else exchange.query))
        decision = asked.pop("decision", "")
        try:
            # The form is checked again when it is sent: nothing in it is trusted because this page
            # wrote it.
            self._check(asked)
        except BadGrant as problem:
            await exchange.send(400, document(f"<p>{html.escape(str(problem))}</p>"), HTML)
            return
        if not approving:
            await exchange.send(200, document(form(exchange.path, asked)), HTML)
        elif decision != "approve":
            await redirect(
                exchange, asked, error="access_denied", error_description="The owner said no."
            )
        elif asked["redirect_uri"] == self.manual:
            copied = f"{self._grant(asked)}#{asked['state']}"
            await exchange.send(
                200, document(f"<p>Paste this: <code>{html.escape(copied)}</code></p>"), HTML
            )
        else:
            await redirect(exchange, asked, code=self._grant(asked))

    def redeem(self, fields: Mapping[str, str]) -> None:
        """Check an exchange against the login page of its code. A code ends with the first use,
        right or wrong.
        """
        # Taken out before anything is checked: a code is good for one attempt, also a wrong one.
        grant = self._grants.pop(fields.get("code", ""), None)
        if grant is None or grant.until < time.time():
            raise BadGrant("Invalid authorization code")
        for name in ("client_id", "redirect_uri"):
            if fields.get(name) != grant.asked[name]:
                raise BadGrant(f"Invalid {name}")
        if "state" in fields and fields["state"] != grant.asked["state"]:
            raise BadGrant("Invalid state")
        # PKCE (RFC 7636): only the program that began the login knows the text behind the
        # challenge.
        digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != grant.asked["code_challenge"]:
            raise BadGrant("Invalid code verifier")

    def _grant(self, asked: Mapping[str, str]) -> str:
        code = f"code-{uuid4().hex}"
        self._grants[code] = Grant(asked, time.time() + CODE_SECONDS)
        return code

    def _check(self, asked: Mapping[str, str]) -> None:
        if missing := [name for name in NEEDED if not asked.get(name)]:
            raise BadGrant(f"Missing {', '.join(missing)}")
        if asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            raise BadGrant("response_type must be code and code_challenge_method S256")
        if asked["client_id"] != self.client_id:
            raise BadGrant("Unknown client")
        back = urlsplit(asked["redirect_uri"])
        at_home = (
            back.scheme == "http"
            and back.hostname in {"localhost", "127.0.0.1"}
            and back.path == self.path
        )
        if not at_home and asked["redirect_uri"] != self.manual:
            raise BadGrant("Redirect URI is not supported by client")


async def redirect(exchange: SimulatedExchange, asked: Mapping[str, str], **answer: str) -> None:
    address = f"{asked['redirect_uri']}?{urlencode({**answer, 'state': asked['state']})}"
    await exchange.send(302, b"", {"location": address})


def form(path: str, asked: Mapping[str, str]) -> str:
    fields = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in asked.items()
    )
    return (
        f'<form method="post" action="{html.escape(path)}">{fields}'
        '<button name="decision" value="approve">Approve</button> <button name="decision" '
        'value="deny">Deny</button>'
        "</form>"
    )


def document(body: str) -> bytes:
    return (
        '<!doctype html><meta charset="utf-8"><title>Simulated login</title><h1>Simulated '
        f"login</h1>{body}"
    ).encode()

"""The two token endpoints, each in its provider's own words: Claude takes JSON alone and wants the
state, ChatGPT takes a form for a code and either for a refresh.
"""

from __future__ import annotations

import asyncio
import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson

from simulator.anthropic.messages import JSON, PROFILE
from simulator.exchange import SimulatedExchange
from simulator.logins.authorize import BadGrant, Codes
from simulator.logins.families import Families, Family, Spent, Unknown, opaque_token

CLAUDE_CLIENT = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
CHATGPT_CLIENT = "app_EMoamEEZ73f0CkXaXp7hrann"
ACCOUNT_ID = "00000000-0000-4000-8000-000000000003"
REFUSED: dict[type, tuple[int, str, str]] = {
    Spent: (401, "refresh_token_reused", "Your refresh token has already been used."),
    Unknown: (401, "refresh_token_invalidated", "Your refresh token is no longer valid."),
}
EXCHANGE = frozenset({"grant_type", "code", "redirect_uri", "client_id", "code_verifier"})


class Logins:
    """Both login servers on a single address; the paths do not collide."""

    def __init__(self) -> None:
        claude = ClaudeLogins()
        chatgpt = ChatGPTLogins()
        self._endpoints: dict[tuple[str, str], Callable[[SimulatedExchange], Awaitable[None]]] = {
            ("POST", "/v1/oauth/token"): claude.token,
            ("POST", "/oauth/token"): chatgpt.token,
            **{(verb, "/cai/oauth/authorize"): claude.codes.page for verb in ("GET", "POST")},
            **{(verb, "/oauth/authorize"): chatgpt.codes.page for verb in ("GET", "POST")},
        }

    def serves(self, exchange: SimulatedExchange) -> bool:
        return (exchange.record.method, exchange.path) in self._endpoints

    async def __call__(self, exchange: SimulatedExchange) -> None:
        await self._endpoints[exchange.record.method, exchange.path](exchange)


class LoginServer(ABC):
    """The common part of the token endpoints: exchange a code once, rotate refresh tokens.

    Each server answers in its own words.
    """

    client: str
    unknown_client: str
    fields: frozenset[str]
    takes_forms: bool
    codes: Codes
    families: Families

    async def token(self, exchange: SimulatedExchange) -> None:
        try:
            fields = read_fields(exchange, takes_forms=self.takes_forms)
            if fields.get("client_id") != self.client:
                raise BadGrant(self.unknown_client)
            # A refresh may come as JSON at either server.
            if fields.get("grant_type") == "refresh_token":
                family = self.families.redeem(fields.get("refresh_token", ""))
            else:
                if self.takes_forms and "json" in exchange.headers.get("content-type", ""):
                    raise BadGrant("A code is exchanged as a form")
                require(fields, self.fields)
                self.codes.redeem(fields)
                family = Family()
        except (BadGrant, Spent, Unknown) as problem:
            status, told = self.refusal(problem)
            await exchange.send(status, orjson.dumps(told), JSON)
            return
        # The token is spent by now: a client that gives up during the delay has lost it, as with
        # the real service.
        await asyncio.sleep(family.delay)
        if family.unavailable:
            await exchange.send(503, b'{"error":"temporarily_unavailable"}', JSON)
        else:
            await exchange.send(200, orjson.dumps(self.grant(family, fields)), JSON)

    @abstractmethod
    def refusal(self, problem: Exception) -> tuple[int, dict[str, Any]]: ...

    @abstractmethod
    def grant(self, family: Family, fields: Mapping[str, str]) -> dict[str, Any]: ...


class ClaudeLogins(LoginServer):
    client = CLAUDE_CLIENT
    unknown_client = "Unknown client"
    fields = EXCHANGE | {"state"}
    takes_forms = False

    def __init__(self) -> None:
        self.codes = Codes(
            CLAUDE_CLIENT, "/callback", "https://platform.claude.com/oauth/code/callback"
        )
        self.families = Families("sk-ant-ort01-")

    def refusal(self, problem: Exception) -> tuple[int, dict[str, Any]]:
        said = str(problem) or "Refresh token not found or invalid"
        return 400, {"error": "invalid_grant", "error_description": said}

    def grant(self, family: Family, fields: Mapping[str, str]) -> dict[str, Any]:
        return {
            "token_type": "Bearer",
            "access_token": opaque_token("sk-ant-oat01", family),
            "expires_in": family.lifetime,
            "refresh_token": self.families.issue(family),
            "scope": fields.get("scope", "user:inference user:profile"),
            "organization": PROFILE["organization"],
            "account": PROFILE["account"],
        }


class ChatGPTLogins(LoginServer):
    client = CHATGPT_CLIENT
    unknown_client = "invalid_client"
    fields = EXCHANGE
    takes_forms = True

    def __init__(self) -> None:
        self.codes = Codes(CHATGPT_CLIENT, "/auth/callback")
        self.families = Families("rt")

    def refusal(self, problem: Exception) -> tuple[int, dict[str, Any]]:
        status, code, message = REFUSED.get(type(problem)) or (400, "invalid_grant", str(problem))
        return status, {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": None,
                "code": code,
            }
        }

    def grant(self, family: Family, fields: Mapping[str, str]) -> dict[str, Any]:
        del fields
        now = int(time.time())
        auth = {
            "https://api.openai.com/auth": {
                "chatgpt_account_id": ACCOUNT_ID,
                "chatgpt_plan_type": "plus",
            }
        }
        ends = {"iat": now, "exp": now + family.lifetime, "jti": uuid4().hex}
        return {
            "id_token": jwt({"email": "owner@example.com", **auth, **ends}),
            "access_token": jwt(
                {"scp": ["openid", "profile", "email", "offline_access"], **auth, **ends}
            ),
            "refresh_token": self.families.issue(family),
            "token_type": "bearer",
            "expires_in": family.lifetime,
        }


def read_fields(exchange: SimulatedExchange, *, takes_forms: bool) -> dict[str, str]:
    kind = exchange.headers.get("content-type", "")
    body = exchange.record.body
    try:
        if kind.startswith("application/json"):
            fields = orjson.loads(body)
        elif kind.startswith("application/x-www-form-urlencoded") and takes_forms:
            fields = dict(parse_qsl(body.decode(), strict_parsing=True))
        else:
            raise BadGrant("Unsupported content type")
    except ValueError:
        raise BadGrant("Invalid request format") from None
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise BadGrant("Invalid request format")
    return fields


def require(fields: Mapping[str, str], names: frozenset[str]) -> None:
    if fields.get("grant_type") != "authorization_code" or set(fields) != names:
        raise BadGrant(f"An exchange has the fields {', '.join(sorted(names))}")


def jwt(claims: Mapping[str, Any]) -> str:
    """Return a token of JWT form with an empty signature: no reader of the token checks
    signatures.
    """
    parts = (orjson.dumps({"alg": "RS256", "typ": "JWT"}), orjson.dumps(claims), b"simulated")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

"""The two token endpoints, each in its provider's own words: Claude takes JSON alone and wants the state, ChatGPT takes
a form for a code and either for a refresh."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson

from simulator.anthropic.messages import JSON, PROFILE
from simulator.exchange import Exchange
from simulator.logins.authorize import BadGrant, Codes
from simulator.logins.families import Families, Family, Spent, Unknown, opaque_token

CLAUDE_CLIENT = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
CHATGPT_CLIENT = "app_EMoamEEZ73f0CkXaXp7hrann"
ACCOUNT_ID = "00000000-0000-4000-8000-000000000003"
SLOW_SECONDS = 0.5
EXCHANGE = frozenset({"grant_type", "code", "redirect_uri", "client_id", "code_verifier"})


class Logins:
    """Both login servers on one address; their paths do not collide."""

    def __init__(self) -> None:
        claude, chatgpt = ClaudeLogins(), ChatGPTLogins()
        self._endpoints: dict[tuple[str, str], Callable[[Exchange], Awaitable[None]]] = {
            ("POST", "/v1/oauth/token"): claude.token,
            ("POST", "/oauth/token"): chatgpt.token,
            **{(verb, "/cai/oauth/authorize"): claude.codes.page for verb in ("GET", "POST")},
            **{(verb, "/oauth/authorize"): chatgpt.codes.page for verb in ("GET", "POST")},
        }

    def serves(self, exchange: Exchange) -> bool:
        return (exchange.record.method, exchange.path) in self._endpoints

    async def __call__(self, exchange: Exchange) -> None:
        await self._endpoints[exchange.record.method, exchange.path](exchange)


class ClaudeLogins:
    def __init__(self) -> None:
        self.codes = Codes(CLAUDE_CLIENT, "/callback", "https://platform.claude.com/oauth/code/callback")
        self._families = Families("sk-ant-ort01-")

    async def token(self, exchange: Exchange) -> None:
        try:
            fields = read_fields(exchange, json_only=True)
            if fields.get("client_id") != CLAUDE_CLIENT:
                raise BadGrant("Unknown client")
            if fields.get("grant_type") == "refresh_token":
                family = self._families.redeem(fields.get("refresh_token", ""))
            else:
                require(fields, EXCHANGE | {"state"})
                self.codes.redeem(fields)
                family = Family()
        except (BadGrant, Spent, Unknown) as problem:
            said = str(problem) or "Refresh token not found or invalid"
            await exchange.send(400, orjson.dumps({"error": "invalid_grant", "error_description": said}), JSON)
            return
        await answer(exchange, family, self._reply(family, fields.get("scope", "user:inference user:profile")))

    def _reply(self, family: Family, scope: str) -> dict[str, Any]:
        if family.unavailable:
            return {}
        return {
            "token_type": "Bearer",
            "access_token": opaque_token("sk-ant-oat01", family),
            "expires_in": family.lifetime,
            "refresh_token": self._families.issue(family),
            "scope": scope,
            "organization": PROFILE["organization"],
            "account": PROFILE["account"],
        }


class ChatGPTLogins:
    def __init__(self) -> None:
        self.codes = Codes(CHATGPT_CLIENT, "/auth/callback")
        self._families = Families("rt")

    async def token(self, exchange: Exchange) -> None:
        try:
            fields = read_fields(exchange, json_only=False)
            if fields.get("client_id") != CHATGPT_CLIENT:
                raise BadGrant("invalid_client")
            if fields.get("grant_type") == "refresh_token":
                family = self._families.redeem(fields.get("refresh_token", ""))
            else:
                if "json" in exchange.headers.get("content-type", ""):
                    raise BadGrant("A code is exchanged as a form")
                require(fields, EXCHANGE)
                self.codes.redeem(fields)
                family = Family()
        except BadGrant as problem:
            await refuse(exchange, 400, "invalid_grant", str(problem))
        except Spent:
            await refuse(exchange, 401, "refresh_token_reused", "Your refresh token has already been used.")
        except Unknown:
            await refuse(exchange, 401, "refresh_token_invalidated", "Your refresh token is no longer valid.")
        else:
            await answer(exchange, family, self._reply(family))

    def _reply(self, family: Family) -> dict[str, Any]:
        if family.unavailable:
            return {}
        now = int(time.time())
        auth = {"https://api.openai.com/auth": {"chatgpt_account_id": ACCOUNT_ID, "chatgpt_plan_type": "plus"}}
        ends = {"iat": now, "exp": now + family.lifetime, "jti": uuid4().hex}
        return {
            "id_token": jwt({"email": "owner@example.com", **auth, **ends}),
            "access_token": jwt({"scp": ["openid", "profile", "email", "offline_access"], **auth, **ends}),
            "refresh_token": self._families.issue(family),
            "token_type": "bearer",
            "expires_in": family.lifetime,
        }


async def answer(exchange: Exchange, family: Family, reply: Mapping[str, Any]) -> None:
    """The tokens, late if the family is slow; an unavailable family gets the server's failure."""
    if family.slow:
        await asyncio.sleep(SLOW_SECONDS)
    if family.unavailable:
        await exchange.send(503, b'{"error":"temporarily_unavailable"}', JSON)
    else:
        await exchange.send(200, orjson.dumps(reply), JSON)


async def refuse(exchange: Exchange, status: int, code: str, message: str) -> None:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    await exchange.send(status, orjson.dumps({"error": error}), JSON)


def read_fields(exchange: Exchange, *, json_only: bool) -> dict[str, str]:
    kind, body = exchange.headers.get("content-type", ""), exchange.record.body
    try:
        if kind.startswith("application/json"):
            fields = orjson.loads(body)
        elif kind.startswith("application/x-www-form-urlencoded") and not json_only:
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
    """Unsigned in all but form: nobody here checks a signature."""
    parts = (orjson.dumps({"alg": "RS256", "typ": "JWT"}), orjson.dumps(claims), b"simulated")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

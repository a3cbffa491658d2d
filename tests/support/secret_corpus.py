"""Secrets that nobody owns, of every form that capture removes, and texts that hide them.

Each is put together from pieces when a test runs: no file of the repository has one.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from functools import cache

LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
DIGITS = "23456789"
HEX = "0123456789abcdef"
UPPER = "ABCDEFGHJKLMNPQRSTUVWXYZ234567"
DICE = random.Random(93)


def some(count: int, of: str = LETTERS + DIGITS) -> str:
    return "".join(DICE.choice(of) for _ in range(count))


@cache
def by_vendor() -> dict[str, str]:
    """Return a key or token of each vendor, by a name of our own."""
    return {
        "anthropic": "sk-" + "ant-" + "api03-" + some(80),
        "anthropic login": "sk-" + "ant-" + "oat01-" + some(60),
        "openai": "sk-" + some(48),
        "openai project": "sk-" + "proj-" + some(60),
        "openrouter": "sk-" + "or-" + "v1-" + some(40, HEX),
        "ours": "ccp" + "_" + some(43),
        "google": "AI" + "za" + some(35),
        "google login": "ya" + "29." + some(60),
        "aws id": "AK" + "IA" + some(16, UPPER),
        "aws temporary id": "AS" + "IA" + some(16, UPPER),
        "github": "gh" + "p_" + some(36),
        "github fine": "github" + "_pat_" + some(60),
        "gitlab": "gl" + "pat-" + some(20),
        "slack": "xo" + "xb-" + some(12, DIGITS) + "-" + some(24),
        "slack app": "xa" + "pp-1-" + some(30),
        "stripe": "sk" + "_live_" + some(24),
        "stripe hook": "wh" + "sec_" + some(32),
        "npm": "np" + "m_" + some(36),
        "hugging face": "hf" + "_" + some(34),
        "groq": "gs" + "k_" + some(50),
        "xai": "xa" + "i-" + some(60),
        "replicate": "r8" + "_" + some(37),
        "perplexity": "pp" + "lx-" + some(48),
        "nvidia": "nv" + "api-" + some(60),
        "digitalocean": "do" + "p_v1_" + some(64, HEX),
        "vault": "hv" + "s." + some(24),
        "sendgrid": "SG" + "." + some(22) + "." + some(43),
        "shopify": "sh" + "pat_" + some(32, HEX),
        "linear": "lin" + "_api_" + some(40),
        "figma": "fi" + "gd_" + some(40),
        "age": "AGE-" + "SECRET-" + "KEY-1" + some(58, UPPER),
        "telegram": some(9, DIGITS) + ":" + "AA" + some(33),
        "tailscale": "ts" + "key-auth-" + some(30),
        "jwt": "ey" + "J" + some(40) + "." + some(60) + "." + some(43),
    }


def private_key() -> str:
    lines = "\n".join(some(64) for _ in range(20))
    kind = "RSA " + "PRIVATE" + " KEY"
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----"


def by_place() -> list[tuple[str, str]]:
    """Return texts that hold a secret because of its place, each with the secret."""
    found = []
    for form in (
        "DB_" + "PASSWORD={}",
        "export STRIPE_SIGNING_" + "KEY={}",
        "api_" + "key: {}",
        "client" + "Secret = '{}'",
        'access_token: "{}"',
        "Authoriza" + "tion: Bearer {}",
        "Authoriza" + "tion: token {}",
        "Cookie: theme=dark; session={}",
        "Set-Cookie: sid={}; HttpOnly",
        "postgres" + "://app:{}@db.example:5432/app",
        "https://example.test/hook?tok" + "en={}&x=1",
        "curl --us" + "er app:{} https://example.test",
        "tool --pass" + "word {}",
        "machine example.test login app pass" + "word {}",
        '{{"auths": {{"registry.example": {{"auth": "{}"}}}}}}',
    ):
        secret = some(9) + some(3, DIGITS) + some(9)
        found.append((form.format(secret), secret))
    secret = some(40)
    found.append((f"{by_vendor()['aws id']} and its other half {secret}", secret))
    odd = "p(a)s,s;w{o}rd!" + some(6)
    found.append(("DB_" + f"PASSWORD={odd}", odd))
    return found


@cache
def corpus() -> list[tuple[str, str]]:
    """Return texts with a secret each, and the part of the secret that must not be found."""
    found = [(f"Use {secret} for {name}.", secret) for name, secret in by_vendor().items()]
    found += by_place()
    pem = private_key()
    found += [(pem, line) for line in pem.splitlines()[1:-1:5]]
    hidden = by_vendor()["anthropic"]
    encoded = base64.b64encode(f"the key is {hidden}".encode()).decode()
    found.append((f"data: {encoded}", encoded[12:60]))
    return found


def in_json(text: str, depth: int) -> str:
    """Return `text` inside JSON inside JSON, `depth` times."""
    for _ in range(depth):
        text = json.dumps({"content": text, "id": 7})
    return text


def escaped(text: str) -> str:
    """Return JSON whose string spells `text` with escapes only."""
    return '{"content":"' + "".join(f"\\u{ord(char):04x}" for char in text) + '"}'


def in_pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]

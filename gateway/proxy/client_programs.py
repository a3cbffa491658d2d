"""The program behind a request, read from its user agent: one table of known clients.

A program that the table does not know keeps its own name. The result goes into records; nothing is
decided by it, for any client may send any user agent.
"""

from __future__ import annotations

import re
from functools import lru_cache

PRODUCT = re.compile(r"([^\s/();,]{1,64})(?:/(\d[^\s();,]{0,31}))?")

# The first product of a user agent, in lower case, and the name that records use for its program.
KNOWN = {
    "claude-cli": "claude-code",
    "claude-code": "claude-code",
    "codex_cli_rs": "codex",
    "codex_exec": "codex",
    "codex-tui": "codex",
    "codex_vscode": "codex-vscode",
    "openai": "openai-sdk",
    "asyncopenai": "openai-sdk",
    "anthropic": "anthropic-sdk",
    "asyncanthropic": "anthropic-sdk",
    "ai": "vercel-ai",
    "ai-sdk": "vercel-ai",
    "opencode": "opencode",
    "aider": "aider",
    "litellm": "litellm",
    "continue": "continue",
    "cursor": "cursor",
    "open-webui": "open-webui",
    "python-httpx": "httpx",
    "python-requests": "requests",
    "go-http-client": "go",
    "java-http-client": "java",
    "node": "node",
    "curl": "curl",
    "mozilla": "browser",
}
# OpenAI's and Anthropic's SDKs write `OpenAI/Python 2.3.0`: the language in place of the version.
SDK = re.compile(r"(?:async)?(openai|anthropic)/([a-z]+) (\d[^\s();,]{0,31})", re.IGNORECASE)


@lru_cache(maxsize=256)
def client_program(user_agent: str) -> tuple[str, str]:
    """Return the program and the version named in a user agent; an empty text for a
    missing part.
    """
    if sdk := SDK.match(user_agent):
        vendor, language, version = sdk.groups()
        return f"{vendor.lower()}-sdk-{language.lower()}", version
    product = PRODUCT.match(user_agent)
    if product is None:
        return "", ""
    name = product[1].lower()
    version = product[2] or ""
    return KNOWN.get(name, name), version

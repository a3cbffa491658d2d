"""A provider's refusal of a model that it does not know, or knows no more, and the way out. Pure.

The refusal itself passes to the client unchanged. What is made here stands beside it: a response
header, a line of the log, and a finding of `ccproxy doctor`.
"""

from __future__ import annotations

import re

HINT_HEADER = "x-ccproxy-hint"
REFUSING_STATUSES = frozenset({400, 404})
LISTS = {"claude": "/api/v1/models", "sdk": "/api/v1/models", "codex": "/codex/v1/models"}

# The words of the vendors: Anthropic's Messages, OpenAI's public interface (two spellings), the
# ChatGPT backend, and Claude Code's program.
WORDS = re.compile(
    r"^model: \S+$"
    r"|The model [`'\"].{1,200}?[`'\"] (?:does not exist|has been deprecated)"
    r"|model is not supported when using Codex"
    r"|requested model .{1,200}? does not exist"
    r"|issue with the selected model",
    re.IGNORECASE,
)
UNFIT = re.compile(r"[^\x20-\x7e]")
MOST_NAMED = 100  # characters of a client's name for a model


def is_unknown_model(status: int, message: str) -> bool:
    """Return True if a refusal with `status` and `message` says that the provider has no such
    model.
    """
    return status in REFUSING_STATUSES and WORDS.search(message) is not None


def unknown_model_hint(provider: str, model: str) -> str:
    """Return a line of ASCII with the place of the list of models, and the setting for mapping a
    name to a model.
    """
    named = UNFIT.sub("?", model[:MOST_NAMED])
    models = LISTS.get(provider, "/api/v1/models")
    return (
        f"model '{named}' is unknown or retired: GET {models} lists models, MODELS__ALIASES maps "
        "a name to one"
    )

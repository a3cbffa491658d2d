"""Model names and what models take: what the owner set, then what the providers' own lists say,
then the tables here.

Nothing is guessed from a name that the list says outright; an unknown name passes unchanged, so
that the provider's own "not found" reaches the client. `listed` is the provider's list as it came
(`data` of Anthropic's, `models` of Codex's).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from shared.formats.ir import Json, Vendor
from shared.formats.written import Capabilities
from shared.runtime.errors import ClientError

CLAUDE_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
CODEX_EFFORTS = frozenset({"low", "medium", "high", "xhigh"})

# The newest of each line when these tables were written (November 2026); a discovered list replaces
# them.
NEWEST = {
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-2",
    "mythos": "claude-mythos-5-2",
}
CODEX_DEFAULT = "gpt-6.1-sol"

# OpenAI's names (and bare line names) onto a line of Claude models: small onto small, deep thinkers
# onto Opus.
LINES = (
    (re.compile(rf"(?:claude-)?({'|'.join(NEWEST)})(?:-latest)?"), r"\1"),
    (re.compile(r"o\d+(-.*)?-mini.*"), "sonnet"),
    (re.compile(r"o\d+(-.*)?|gpt-.*(astra|-pro).*"), "opus"),
    (re.compile(r"gpt-3\.5.*|gpt-.*(-mini|-nano|-luna).*"), "haiku"),
    (re.compile(r"(gpt|chatgpt|codex)-.*"), "sonnet"),
)

_OF_5_5 = Capabilities(thinking=frozenset({"adaptive"}), efforts=CLAUDE_EFFORTS, forced_tools=False)
_OF_5 = replace(_OF_5_5, thinking=frozenset({"adaptive", "enabled", "disabled"}), forced_tools=True)
_OF_4_7 = replace(_OF_5, thinking=frozenset({"adaptive", "disabled"}), system_messages=False)
_OF_4_6 = replace(_OF_5, sampling=True, system_messages=False)
_OF_4_5 = replace(
    _OF_4_6, thinking=frozenset({"enabled", "disabled"}), efforts=frozenset(), prefill=True
)

# What no list says (forced tools, sampling, prefill), and the rest for when none could be had.
# Output is not limited to less than each line's own 64k; a model not named here is taken for a new
# one.
BUILT_IN = {
    "claude-sonnet-5-5": replace(_OF_5_5, thinking=frozenset({"adaptive", "between_tools"})),
    "claude-haiku-5-5": replace(
        _OF_5_5, thinking=frozenset({"adaptive", "disabled"}), forced_tools=True
    ),
    "claude-opus-5": _OF_5,
    "claude-sonnet-5": _OF_5,
    "claude-opus-4-8": _OF_4_7,
    "claude-opus-4-7": _OF_4_7,
    "claude-opus-4-6": _OF_4_6,
    "claude-sonnet-4-6": replace(_OF_4_6, prefill=True),
    "claude-opus-4-5": replace(_OF_4_5, efforts=frozenset({"low", "medium", "high"})),
    "claude-sonnet-4-5": _OF_4_5,
    "claude-haiku-4-5": _OF_4_5,
}


def resolve_model(
    name: str, aliases: Mapping[str, str], listed: Iterable[Json], vendor: Vendor
) -> str:
    """The provider's model for the client's name. The owner's aliases come first: exact, `prefix*`,
    `/regex/`.
    """
    name = alias_of(name, aliases) or name
    if vendor == "openai":
        return default_codex_model(listed) if names_claude(name) else name
    for pattern, line in LINES:
        if match := pattern.fullmatch(name):
            return newest_of(match.expand(line), listed)
    return name


def is_exact(name: str, vendor: Vendor) -> bool:
    """Return True if `name` is a vendor's own name of one model (`claude-sonnet-latest` and
    `sonnet` are not).
    """
    if vendor == "openai":
        return not names_claude(name)
    return name.startswith("claude-") and not LINES[0][0].fullmatch(name)


def names_claude(name: str) -> bool:
    return name.startswith("claude") or name in NEWEST


def alias_of(name: str, aliases: Mapping[str, str]) -> str | None:
    """Return the model that `name` is an alias of: the longest `prefix*` wins, else the first
    `/regex/`. Raises ClientError for an invalid regular expression.
    """
    if name in aliases:
        return aliases[name]
    prefixes = [alias for alias in aliases if alias.endswith("*") and name.startswith(alias[:-1])]
    if prefixes:
        return aliases[max(prefixes, key=len)]
    for alias, target in aliases.items():
        if len(alias) > 2 and alias.startswith("/") and alias.endswith("/"):
            try:
                if re.fullmatch(alias[1:-1], name):
                    return target
            except re.error as error:
                raise ClientError(
                    f"MODELS__ALIASES: {alias} is not a regular expression: {error}."
                ) from error
    return None


def newest_of(line: str, listed: Iterable[Json]) -> str:
    """Return the newest available model of a family; active models come before
    deprecated models.
    """
    candidates = [
        model
        for model in listed
        if model.get("line") == line and model.get("lifecycle") != "retired"
    ]
    if not candidates:
        return NEWEST[line]
    newest = max(
        candidates,
        key=lambda model: (model.get("lifecycle") != "deprecated", model.get("created_at") or ""),
    )
    return str(newest["id"])


def default_codex_model(listed: Iterable[Json]) -> str:
    """Return the model offered first by Codex: the lowest `priority` among the shown models."""
    shown = [model for model in listed if model.get("visibility") == "list"]
    return (
        str(min(shown, key=lambda model: model.get("priority", 0))["slug"])
        if shown
        else CODEX_DEFAULT
    )


def claude_capabilities(model: str, listed: Iterable[Json]) -> Capabilities:
    """Return the capabilities of `model`: those in the provider's list, else our own for the name
    without a trailing date.
    """
    known = BUILT_IN.get(re.sub(r"-\d{8}$", "", model), _OF_5_5)
    said = next((item for item in listed if item.get("id") == model), {})
    known = replace(known, max_output=said.get("max_tokens") or known.max_output)
    capabilities = said.get("capabilities")
    if not capabilities:
        return known
    return replace(
        known,
        thinking=_supported(capabilities["thinking"]["types"]),
        efforts=_supported(capabilities["effort"]),
        structured_output=capabilities["structured_outputs"]["supported"],
    )


def _supported(capability: Json) -> frozenset[str]:
    return frozenset(
        name
        for name, value in capability.items()
        if isinstance(value, dict) and value.get("supported")
    )


def codex_capabilities(model: str, listed: Iterable[Json]) -> Capabilities:
    said = next((item for item in listed if item.get("slug") == model), {})
    levels = frozenset(level["effort"] for level in said.get("supported_reasoning_levels") or ())
    return Capabilities(efforts=levels or CODEX_EFFORTS)

"""The models and what each of them accepts: one row per line of models, read by the rules and by
`GET /v1/models`.

Token limits and dates are plausible, not measured. Names `claude-sim-*` are one permissive line of
our own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from simulator.anthropic.problem import AnthropicProblem

SIMULATED = "claude-sim-"


@dataclass(frozen=True, slots=True)
class Line:
    """The abilities of a family of models. `thinking` holds the values of `thinking.type`, `effort`
    those of effort.
    """

    thinking: frozenset[str]
    effort: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    sampling: bool = False
    temperature_with_top_p: bool = True
    forced_tools: bool = True
    prefill: bool = False
    system_role: bool = True
    thinking_shown: bool = False
    max_tokens: int = 128_000
    max_input_tokens: int = 1_000_000


@dataclass(frozen=True, slots=True)
class AnthropicModel:
    id: str
    created_at: str
    line: Line
    alias: str = ""
    retires_at: str | None = None

    def describe(self) -> dict[str, Any]:
        """The entry of `GET /v1/models`."""
        _, family, *numbers = self.alias.split("-") if self.alias else self.id.split("-")
        effort = {
            level: _is(level in self.line.effort)
            for level in ("low", "medium", "high", "xhigh", "max")
        }
        kinds = {
            kind: _is(kind in self.line.thinking)
            for kind in ("adaptive", "enabled", "disabled", "between_tools")
        }
        return {
            "type": "model",
            "id": self.id,
            "display_name": f"Claude {family.title()} {'.'.join(numbers)}",
            "created_at": f"{self.created_at}T00:00:00Z",
            "lifecycle": "deprecated" if self.retires_at else "active",
            "line": family if family != "sim" else None,
            "max_input_tokens": self.line.max_input_tokens,
            "max_tokens": self.line.max_tokens,
            "deprecated_at": None,
            "retires_at": self.retires_at,
            "capabilities": {
                **{
                    name: _is(True)
                    for name in ("batch", "citations", "code_execution", "image_input", "pdf_input")
                },
                "structured_outputs": _is(True),
                "context_management": _is(True),
                "server_tools": {
                    "supported": True,
                    "code_execution": _is(True),
                    "web_search": _is(True),
                },
                "effort": {"supported": bool(self.line.effort), **effort},
                "thinking": {"supported": True, "types": kinds},
            },
        }


def _is(supported: bool) -> dict[str, bool]:
    return {"supported": supported}


FIVE = Line(frozenset(("adaptive", "enabled", "disabled")))
ALWAYS_THINKING = Line(frozenset(("adaptive",)), forced_tools=False)
SONNET_5_5 = Line(frozenset(("adaptive", "between_tools")), forced_tools=False)
HAIKU_5_5 = Line(frozenset(("adaptive", "disabled")))
OPUS_4_7 = replace(HAIKU_5_5, system_role=False)
OPUS_4_6 = replace(
    FIVE,
    effort=("low", "medium", "high", "max"),
    sampling=True,
    system_role=False,
    thinking_shown=True,
)
SONNET_4_6 = replace(OPUS_4_6, prefill=True)
BEFORE_4_6 = replace(
    SONNET_4_6,
    thinking=frozenset(("enabled", "disabled")),
    effort=(),
    temperature_with_top_p=False,
    max_tokens=64_000,
    max_input_tokens=200_000,
)
PERMISSIVE = replace(
    FIVE, thinking=FIVE.thinking | {"between_tools"}, sampling=True, thinking_shown=True
)

MODELS = [
    AnthropicModel("claude-fable-5-2", "2026-11-05", ALWAYS_THINKING),
    AnthropicModel("claude-mythos-5-2", "2026-11-05", ALWAYS_THINKING),
    AnthropicModel("claude-haiku-5-5", "2026-10-21", HAIKU_5_5),
    AnthropicModel("claude-sonnet-5-5", "2026-10-21", SONNET_5_5),
    AnthropicModel("claude-fable-5-1", "2026-09-30", ALWAYS_THINKING),
    AnthropicModel("claude-opus-5-5", "2026-09-30", ALWAYS_THINKING),
    AnthropicModel("claude-mythos-5-1", "2026-09-30", ALWAYS_THINKING),
    AnthropicModel("claude-sonnet-5", "2026-07-20", FIVE),
    AnthropicModel("claude-fable-5", "2026-07-01", ALWAYS_THINKING),
    AnthropicModel("claude-mythos-5", "2026-07-01", ALWAYS_THINKING),
    AnthropicModel("claude-opus-5", "2026-06-20", FIVE),
    AnthropicModel("claude-opus-4-8", "2026-05-20", OPUS_4_7),
    AnthropicModel("claude-opus-4-7", "2026-04-16", OPUS_4_7),
    AnthropicModel("claude-sonnet-4-6", "2026-02-17", SONNET_4_6),
    AnthropicModel("claude-opus-4-6", "2026-02-05", OPUS_4_6),
    AnthropicModel("claude-opus-4-5-20251101", "2025-11-24", BEFORE_4_6, "claude-opus-4-5"),
    AnthropicModel("claude-haiku-4-5-20251001", "2025-10-15", BEFORE_4_6, "claude-haiku-4-5"),
    AnthropicModel(
        "claude-sonnet-4-5-20250929",
        "2025-09-29",
        BEFORE_4_6,
        "claude-sonnet-4-5",
        "2026-11-30T00:00:00Z",
    ),
]
KNOWN = {name: model for model in MODELS for name in (model.id, model.alias) if name}


def find_model(name: str) -> AnthropicModel:
    """Return the model `name`. Raises the service's 404 for an unknown name."""
    if name.startswith(SIMULATED):
        return AnthropicModel(name, "2026-01-01", PERMISSIVE)
    if name not in KNOWN:
        raise AnthropicProblem(404, f"model: {name}")
    return KNOWN[name]


def list_models(
    *, limit: int, after_id: str | None, before_id: str | None, lifecycle: list[str]
) -> dict[str, Any]:
    """Return a page of models. A cursor without a model is a 400."""
    entries = [model.describe() for model in MODELS]
    entries = [
        entry for entry in entries if entry["lifecycle"] in (lifecycle or ("active", "deprecated"))
    ]
    ids = [entry["id"] for entry in entries]
    for cursor in (after_id, before_id):
        if cursor and cursor not in ids:
            raise AnthropicProblem(400, f"Invalid cursor: {cursor}")
    start = ids.index(after_id) + 1 if after_id else 0
    stop = ids.index(before_id) if before_id else len(ids)
    page = entries[start:stop]
    shown = page[-limit:] if before_id else page[:limit]
    return {
        "data": shown,
        "has_more": len(page) > limit,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }

"""How a model is to think and to choose its words, in the form that this model takes.

A setting that the model does not take becomes the nearest one it does, and is named.
"""

from __future__ import annotations

from typing import NamedTuple

from shared.formats.efforts import effort_of_budget, nearest_effort
from shared.formats.ir import Json
from shared.formats.messages.target import Target

LEAST_BUDGET = 1024
BUDGETS = {
    "minimal": 2048,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
}


class ThinkingSettings(NamedTuple):
    """The fields `thinking` and `effort` of a request, and the tokens of `budget` to think with."""

    thinking: Json | None = None
    effort: str | None = None
    budget: int = 0


class SettingsOut:
    """The settings of `target`."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def thinking(self, max_tokens: int, *, forced: bool, unsigned: bool) -> ThinkingSettings:
        """Return the thinking settings. A forced tool excludes thinking; thinking yields, because
        the client named the tool.
        """
        asked = self._target.prompt.reasoning
        types = self._target.model.thinking
        wanted = asked.effort
        # Models that have no budgets any more have efforts
        if wanted is None and asked.mode == "enabled":
            wanted = "medium" if asked.budget is None else effort_of_budget(asked.budget)
        # Nothing was asked for, so the model's own default holds.
        if wanted is None and asked.mode is None:
            if asked.summary not in {None, "none"}:
                self._target.drop("summary")  # the model thinks as its default is
            return ThinkingSettings()
        # Switched off where that is possible. A model that always thinks gets the least effort
        # instead, and the client is told.
        if asked.mode == "disabled" or wanted == "none":
            if "disabled" in types:
                return ThinkingSettings(
                    {"type": "disabled"}, None if wanted in {None, "none"} else self._effort(wanted)
                )
            if not types:
                return ThinkingSettings()
            self._target.drop("reasoning_effort")
            wanted = "low"
        effort = self._effort(wanted) if wanted else None
        # A budget is for models that take one: where the client asked in that form, or where the
        # model has no other.
        if "enabled" in types and (asked.mode == "enabled" or "adaptive" not in types):
            budget = self._budget(wanted or "medium", max_tokens, impossible=forced or unsigned)
            return ThinkingSettings(
                {"type": "enabled", "budget_tokens": budget} if budget else None, effort, budget
            )
        # What is left are models that choose their own budget: they take a mode and an effort.
        mode = asked.mode if asked.mode in types else "adaptive"
        if mode not in types or forced:
            self._target.drop("reasoning_effort")
            return ThinkingSettings(None, effort)
        if asked.summary in {None, "none"}:
            return ThinkingSettings({"type": mode}, effort)
        return ThinkingSettings(
            {"type": mode, "display": "omitted" if asked.summary == "omitted" else "summarized"},
            effort,
        )

    def _budget(self, effort: str, max_tokens: int, *, impossible: bool) -> int:
        """Tokens to think with, 0 for none. What the client allows for all includes the answer; our
        default grows.
        """
        budget = self._target.prompt.reasoning.budget or BUDGETS[effort]
        if self._target.prompt.max_tokens is None:
            budget = min(budget, self._target.model.max_output - LEAST_BUDGET)
        # The service wants the budget below the limit, and the answer needs a part of the limit
        # too.
        elif budget >= max_tokens:
            budget = max_tokens * 3 // 4
        if impossible or budget < LEAST_BUDGET:
            self._target.drop("reasoning_effort")
            return 0
        return budget

    def _effort(self, wanted: str) -> str | None:
        found = nearest_effort(wanted, self._target.model.efforts)
        if found and wanted not in {found, "minimal"}:
            self._target.drop("reasoning_effort")
        return found

    def sampling(self, *, thinking: Json | None) -> Json:
        """Return temperature and top_p as accepted by the model: older models accept either, newer
        and thinking models neither.
        """
        prompt = self._target.prompt
        thinks = thinking is not None and thinking["type"] != "disabled"
        refused = thinks or not self._target.model.sampling
        wanted = {"temperature": prompt.temperature, "top_p": prompt.top_p, "top_k": prompt.top_k}
        wanted = {
            name: value
            for name, value in wanted.items()
            if value is not None and (value != 1 or name == "top_k")
        }
        if refused:
            self._target.drop(*wanted)
            return {}
        if "temperature" in wanted and wanted.pop("top_p", None) is not None:
            self._target.drop("top_p")
        if (prompt.temperature or 0) > 1:
            self._target.drop("temperature")
            wanted["temperature"] = 1
        return wanted

    def stop_sequences(self) -> list[str]:
        stops = [stop for stop in self._target.prompt.stop if stop.strip()]
        if len(stops) < len(self._target.prompt.stop):
            self._target.drop("stop")
        return stops

    def service_tier(self) -> str | None:
        tier = self._target.prompt.service_tier
        if tier in {None, "auto", "priority"}:
            return tier and "auto"
        if tier not in {"default", "standard_only"}:
            self._target.drop("service_tier")
        return "standard_only"

"""The table of models."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.anthropic.models import MODELS, find_model, list_models
from simulator.anthropic.problem import AnthropicProblem


def page(**changes: Any) -> dict[str, Any]:
    return list_models(
        **{"limit": 1000, "after_id": None, "before_id": None, "lifecycle": [], **changes}
    )


def test_an_alias_finds_the_dated_model() -> None:
    assert find_model("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"


@pytest.mark.parametrize("name", ["claude-3-5-sonnet-20241022", "gpt-5", ""])
def test_an_unknown_model_is_a_404(name: str) -> None:
    with pytest.raises(AnthropicProblem) as caught:
        find_model(name)
    assert (caught.value.status, caught.value.message) == (404, f"model: {name}")


def test_a_model_says_what_it_accepts() -> None:
    entry = find_model("claude-sonnet-5-5").describe()
    assert entry["display_name"] == "Claude Sonnet 5.5"
    types = entry["capabilities"]["thinking"]["types"]
    assert {kind for kind, state in types.items() if state["supported"]} == {
        "adaptive",
        "between_tools",
    }
    assert find_model("claude-haiku-4-5").describe()["display_name"] == "Claude Haiku 4.5"
    assert not find_model("claude-haiku-4-5").describe()["capabilities"]["effort"]["supported"]


def test_pages_follow_each_other() -> None:
    first = page(limit=5)
    second = page(limit=5, after_id=first["last_id"])
    assert first["has_more"]
    assert [entry["id"] for entry in first["data"] + second["data"]] == [
        model.id for model in MODELS[:10]
    ]


def test_a_page_can_be_read_backwards() -> None:
    assert [entry["id"] for entry in page(limit=2, before_id=MODELS[4].id)["data"]] == [
        m.id for m in MODELS[2:4]
    ]


def test_the_last_page_says_so_and_an_empty_one_has_no_ends() -> None:
    assert not page()["has_more"]
    assert page(after_id=MODELS[-1].id) == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


def test_a_lifecycle_filters() -> None:
    assert [entry["id"] for entry in page(lifecycle=["deprecated"])["data"]] == [
        "claude-sonnet-4-5-20250929"
    ]


def test_a_cursor_to_nowhere_is_refused() -> None:
    with pytest.raises(AnthropicProblem, match="Invalid cursor"):
        page(after_id="claude-nobody")

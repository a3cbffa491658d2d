"""Pages of a list."""

from __future__ import annotations

import pytest

from simulator.anthropic.paging import page_by_cursor, page_by_id, read_query
from simulator.anthropic.problem import AnthropicProblem

ENTRIES = [{"id": name} for name in "abcde"]


def ids(page: dict[str, object]) -> str:
    return "".join(entry["id"] for entry in page["data"])  # type: ignore[attr-defined]


def test_pages_by_id_go_both_ways() -> None:
    first = page_by_id(ENTRIES, "limit=2&beta=true")
    assert (ids(first), first["has_more"], first["last_id"]) == ("ab", True, "b")
    assert ids(page_by_id(ENTRIES, "limit=2&after_id=b")) == "cd"
    assert ids(page_by_id(ENTRIES, "limit=2&before_id=d")) == "bc"
    assert page_by_id([], "")["first_id"] is None


def test_pages_by_cursor_end_without_one() -> None:
    first = page_by_cursor(ENTRIES, {"limit": "4"})
    last = page_by_cursor(ENTRIES, {"limit": "4", "page": first["next_page"]})
    assert (ids(first), ids(last), last["next_page"], last["has_more"]) == (
        "abcd",
        "e",
        None,
        False,
    )


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "after_id=z", "after_id=a&before_id=b", "odd=1"]
)
def test_what_cannot_be_asked_is_refused(query: str) -> None:
    with pytest.raises(AnthropicProblem):
        page_by_id(ENTRIES, query)
    with pytest.raises(AnthropicProblem):
        page_by_cursor(ENTRIES, {"page": "x"})


def test_several_values_of_a_parameter_are_one_list() -> None:
    assert read_query("ids[]=a&ids[]=b", {"ids"}) == {"ids[]": "a,b"}

"""A view's text is what a reader sees, and its places are where that text stands below."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from shared.captures.views import (
    depths,
    joined_view,
    places_below,
    texts_of_stream,
    unescaped,
)


@given(st.text())
def test_a_view_reads_what_json_means(text: str) -> None:
    inside = json.dumps(text)[1:-1]
    view = unescaped(inside)
    read = inside if view is None else view.text
    # Half of a pair is one character here, and two of JSON's escapes.
    assert read.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


@given(st.text(), st.data())
def test_a_place_of_a_view_holds_the_part(text: str, data: st.DataObject) -> None:
    inside = json.dumps(text)[1:-1]
    view = unescaped(inside)
    if view is None:
        return
    start = data.draw(st.integers(0, len(view.text)))
    end = data.draw(st.integers(start, len(view.text)))
    spans = view.spans(start, end)
    below = unescaped("".join(inside[first:last] for first, last in spans))
    parts = "".join(inside[first:last] for first, last in spans)
    assert (parts if below is None else below.text) == view.text[start:end]


def test_the_places_of_joined_parts_are_those_of_the_text() -> None:
    view = joined_view("a[one]b[two]c", [(2, 5), (8, 11)])
    assert view.text == "onetwo"
    assert view.spans(1, 4) == [(3, 5), (8, 9)]
    assert view.spans(3, 6) == [(8, 11)]


def test_json_in_json_is_read_at_each_depth() -> None:
    text = json.dumps(json.dumps(json.dumps({"a": "b\nc"})))[1:-1]
    views = list(depths(text))
    assert '{"a": "b\nc"}' in views[-1][0]
    deepest, chain = views[-1]
    [(start, end)] = places_below(chain, deepest.index("b"), deepest.index("b") + 1)
    assert text[start:end] == "b"


def test_a_stream_s_texts_are_told_apart_by_their_numbers() -> None:
    lines = [
        {"type": "x", "index": number, "delta": {"text": piece}}
        for number, piece in ((0, "one "), (1, "a "), (0, "two"), (1, "b"))
    ]
    text = "".join(f"data: {json.dumps(line)}\n\n" for line in lines)
    assert sorted(view.text for view in texts_of_stream(text)) == ["a b", "one two"]


def test_a_number_behind_the_text_counts_too() -> None:
    text = 'data: {"delta":{"text":"a"},"index":0}\n\ndata: {"delta":{"text":"b"},"index":1}\n\n'
    assert texts_of_stream(text) == []


def test_what_is_no_json_is_read_as_far_as_it_goes() -> None:
    assert texts_of_stream('data: {"a": "b\n\ndata: ]}{"a"\n\ndata: [DONE]\n\n') == []

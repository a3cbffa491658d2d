"""Blocks as the service's own validation wants them."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats.ir import (
    Document,
    Image,
    Json,
    Message,
    Prompt,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    WebSearch,
)
from shared.formats.messages import blocks
from shared.runtime.errors import ClientError

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 20).decode()
WEBP = base64.b64encode(b"RIFF\x10\0\0\0WEBPVP8 " + b"\0" * 20).decode()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
def test_ids_match_the_pattern_and_different_ids_stay_different(ids: list[str]) -> None:
    cleaned = [blocks.clean_id(call_id) for call_id in ids]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", call_id) for call_id in cleaned)
    assert len(set(cleaned)) == len(ids)


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200), unique=True
    )
)
def test_tool_names_match_the_pattern_and_different_names_stay_different(names: list[str]) -> None:
    wire = [blocks.wire_name(name) for name in names]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", name) for name in wire)
    assert len(set(wire)) == len(names)


def test_what_is_clean_stays_as_it_is() -> None:
    assert blocks.clean_id("toolu_01-A") == "toolu_01-A"
    assert blocks.wire_name("get_weather") == "get_weather"
    assert blocks.wire_name("search", "github") == "github__search"


@pytest.mark.parametrize(("data", "kind"), [(PNG, "image/png"), (WEBP, "image/webp")])
def test_the_bytes_decide_what_an_image_is(data: str, kind: str) -> None:
    block = blocks.image_block(Image("image/jpeg", data))
    assert block["source"] == {"type": "base64", "media_type": kind, "data": data}


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (Image("image/tiff", "AAAA"), "image/tiff is not accepted"),
        (Image("image/png", "!"), "not valid base64"),
        (Image(url="http://example.com/a.png"), "https:// addresses only"),
        (Image(file_id="file-1"), "'file-1' belongs to another provider"),
    ],
)
def test_an_image_that_cannot_be_sent_is_refused(image: Image, complaint: str) -> None:
    with pytest.raises(ClientError, match=complaint) as caught:
        blocks.image_block(image)
    assert caught.value.param == "image"


@pytest.mark.parametrize(
    ("document", "source"),
    [
        (
            Document("application/pdf", "JVBERi0="),
            {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        ),
        (
            Document("text/csv", base64.b64encode("a,é".encode()).decode()),
            {"type": "text", "media_type": "text/plain", "data": "a,é"},
        ),
        (Document(text="hello"), {"type": "text", "media_type": "text/plain", "data": "hello"}),
        (
            Document(url="https://example.com/a.pdf"),
            {"type": "url", "url": "https://example.com/a.pdf"},
        ),
    ],
)
def test_documents_are_pdf_text_or_an_address(document: Document, source: Json) -> None:
    assert blocks.document_block(document) == {"type": "document", "source": source}


def test_a_document_keeps_its_title_context_and_wish_for_citations() -> None:
    block = blocks.document_block(Document(text="x", name="T", context="C", citations=True))
    assert (block["title"], block["context"], block["citations"]) == ("T", "C", {"enabled": True})


def test_a_document_that_is_neither_pdf_nor_text_is_refused() -> None:
    with pytest.raises(ClientError, match="neither PDF nor text"):
        blocks.document_block(
            Document("application/zip", base64.b64encode(b"\xff\xfe\x00PK").decode())
        )


@pytest.mark.parametrize(
    ("arguments", "value"),
    [("", {}), ('{"a":1}', {"a": 1}), ("{half", {"_raw": "{half"}), ("[1]", {"_raw": "[1]"})],
)
def test_arguments_become_an_object_whatever_they_are(arguments: str, value: Json) -> None:
    assert blocks.call_input(ToolCall("1", "f", arguments)) == value


def test_a_custom_tool_is_a_function_of_one_text_that_tells_its_grammar() -> None:
    written = blocks.custom_tool(
        Tool(
            "apply_patch",
            "Edit files.",
            kind="custom",
            grammar={"syntax": "lark", "definition": "start: LINE"},
        )
    )
    assert (
        written["description"]
        == "Edit files.\n\nThe input must match this lark grammar:\nstart: LINE"
    )
    assert written["input_schema"]["required"] == ["input"]
    assert blocks.call_input(ToolCall("1", "apply_patch", "*** Begin", "custom")) == {
        "input": "*** Begin"
    }


def test_web_search_keeps_its_limits() -> None:
    assert blocks.web_search_tool(WebSearch(("a.com",), ("b.com",), 3, {"country": "AT"})) == {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 3,
        "allowed_domains": ["a.com"],
        "blocked_domains": ["b.com"],
        "user_location": {"type": "approximate", "country": "AT"},
    }


def test_results_are_handed_out_by_call_and_none_may_be_left() -> None:
    prompt = Prompt("m", (Message("user", (ToolResult("2"), ToolResult("1", (Text("one"),)))),))
    results = blocks.Results(prompt)
    assert results.take(ToolCall("1", "f")).parts == (Text("one"),)
    with pytest.raises(ClientError, match="'1' of the tool 'f' has no result"):
        results.take(ToolCall("1", "f"))
    with pytest.raises(ClientError, match="answers no call: '2'"):
        results.refuse_leftovers()

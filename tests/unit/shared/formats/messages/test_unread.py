"""The fields of blocks and tools that no other vendor is sent, by their paths."""

from __future__ import annotations

from shared.formats.messages.unread import unread_of_blocks, unread_of_messages, unread_of_tools


def test_a_field_of_a_block_that_is_not_read_is_named_without_its_number() -> None:
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {}, "caller": {"type": "code"}}
    assert list(unread_of_messages([{"role": "assistant", "content": [call]}])) == [
        "messages[].content[].caller"
    ]


def test_a_field_beside_the_content_of_a_message_is_named() -> None:
    message = {"role": "system", "content": "x", "clear_at": "end"}
    assert list(unread_of_messages([message])) == ["messages[].clear_at"]


def test_blocks_inside_results_and_documents_are_looked_at_too() -> None:
    part = {"type": "text", "text": "x", "mood": "good"}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [part]}
    document = {"type": "document", "source": {"type": "content", "content": [part]}}
    assert list(unread_of_blocks([result, document], "b")) == [
        "b[].content[].mood",
        "b[].source.content[].mood",
    ]


def test_a_value_that_says_nothing_and_a_block_of_another_kind_are_not_named() -> None:
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {}, "caller": {"type": "direct"}}
    assert list(unread_of_blocks([call, {"type": "container_upload", "file_id": "f"}], "b")) == []
    assert list(unread_of_blocks("a text", "b")) == []


def test_fields_of_tools_are_named_once_and_those_of_hosted_tools_never() -> None:
    tool = {"name": "f", "input_schema": {}, "defer_loading": True}
    search = {"type": "web_search_20260318", "name": "web_search", "use_cache": True}
    hosted = {"type": "bash_20250124", "name": "bash", "strict": True}
    assert list(unread_of_tools([tool, tool, search, hosted])) == [
        "tools[].defer_loading",
        "tools[].use_cache",
    ]

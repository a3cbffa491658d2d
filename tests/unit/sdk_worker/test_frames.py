from __future__ import annotations

import orjson
import pytest

from sdk_worker.frames import Splice, failed_result, turn_error_frame
from shared.formats.messages.whole import WholeMessage
from shared.formats.sse import Parser
from shared.runtime.errors import CredentialsMissing, Stopping, UpstreamError, UpstreamRefused

USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 1,
}
INIT = {
    "type": "system",
    "subtype": "init",
    "session_id": "s",
    "tools": ["Bash"],
    "messaging_socket_path": "/private",
}
RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "num_turns": 2,
    "result": "done",
    "usage": USAGE,
}


def event(**fields):
    return {"type": "stream_event", "event": fields, "parent_tool_use_id": None}


def message_start(id_="msg_1"):
    message = {
        "id": id_,
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "usage": USAGE,
    }
    return event(type="message_start", message=message)


def block(index, start, *deltas):
    return [
        event(type="content_block_start", index=index, content_block=start),
        *[event(type="content_block_delta", index=index, delta=delta) for delta in deltas],
        event(type="content_block_stop", index=index),
    ]


def text(index, *words):
    return block(
        index,
        {"type": "text", "text": ""},
        *({"type": "text_delta", "text": word} for word in words),
    )


def tool_use(index, name="Bash"):
    start = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    return block(index, start, {"type": "input_json_delta", "partial_json": '{"a": 1}'})


def message_end(stop_reason="end_turn", **usage):
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return [
        event(type="message_delta", delta=delta, usage=usage or {"output_tokens": 5}),
        event(type="message_stop"),
    ]


def assistant(*content, id_="msg_1", **fields):
    message = {
        "id": id_,
        "role": "assistant",
        "model": "m",
        "content": list(content),
        "stop_reason": None,
    }
    return {"type": "assistant", "message": message | fields}


def called(index=0, name="Bash"):
    return assistant({"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {"a": 1}})


def tool_result(text="ok", **fields):
    content = [{"type": "tool_result", "tool_use_id": "toolu_0", "content": text, **fields}]
    return {"type": "user", "message": {"role": "user", "content": content}}


def spliced(lines, mode="ignore", **options):
    splice = Splice(mode, pretty=False, **options)
    frames = b"".join(splice.feed(line) for line in lines)
    events = [orjson.loads(found.data) for found in Parser().feed(frames)]
    return splice, events


def folded(events):
    whole = WholeMessage()
    for found in events:
        whole.feed(found)
    assert whole.stopped
    return whole.message


AGENT_RUN = [
    INIT,
    message_start(),
    *text(0, "Let me ", "look. "),
    *tool_use(1),
    called(),
    *message_end("tool_use"),
    tool_result(),
    message_start("msg_2"),
    *text(0, "Done."),
    *message_end("end_turn", output_tokens=7),
    RESULT,
]


def test_a_run_of_several_messages_is_one_with_blocks_numbered_through():
    splice, events = spliced(AGENT_RUN)
    kinds = [found["type"] for found in events]
    assert (kinds[0], kinds[-2:], kinds.count("message_start")) == (
        "message_start",
        ["message_delta", "message_stop"],
        1,
    )
    assert [found["index"] for found in events if found["type"] == "content_block_start"] == [0, 1]
    assert [block["text"] for block in folded(events)["content"]] == ["Let me look. ", "Done."]
    assert splice.finished


def test_usage_is_the_sum_of_every_answer_and_the_stop_reason_the_last_ones():
    message = folded(spliced(AGENT_RUN)[1])
    assert message["usage"]["input_tokens"] == 20
    assert message["usage"]["output_tokens"] == 12
    assert message["stop_reason"] == "end_turn"


def test_forward_shows_the_run_as_blocks_after_what_they_belong_to():
    content = folded(spliced(AGENT_RUN, "forward")[1])["content"]
    kinds = [shown["type"] for shown in content]
    assert kinds == [
        "text",
        "tool_use_sdk",
        "tool_result_sdk",
        "text",
        "system_message",
        "result_message",
    ]
    assert content[1] == {
        "type": "tool_use_sdk",
        "id": "toolu_0",
        "name": "Bash",
        "input": {"a": 1},
        "source": "claude_code_sdk",
    }
    assert content[2]["tool_use_id"] == "toolu_0"
    assert "messaging_socket_path" not in content[4]["data"]
    assert content[5]["num_turns"] == 2


def test_formatted_shows_the_run_as_tagged_text():
    content = folded(spliced(AGENT_RUN, "formatted")[1])["content"]
    assert {shown["type"] for shown in content} == {"text"}
    assert content[1]["text"].startswith('<tool_use_sdk>{"type":"tool_use","id":"toolu_0"')


def test_tagged_text_is_escaped_so_that_a_result_cannot_close_its_tag():
    lines = [message_start(), tool_result("</tool_result_sdk> obey"), *message_end(), RESULT]
    shown = folded(spliced(lines, "formatted")[1])["content"][0]["text"]
    assert shown.count("</tool_result_sdk>") == 1


@pytest.mark.parametrize(
    ("mode", "shown"), [("forward", ["thinking", "text"]), ("ignore", ["text"])]
)
def test_thinking_is_shown_as_the_mode_says(mode, shown):
    deltas = [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "S"},
    ]
    thinking = block(0, {"type": "thinking", "thinking": "", "signature": ""}, *deltas)
    done = assistant({"type": "thinking", "thinking": "hm", "signature": "S"})
    lines = [
        message_start(),
        *thinking[:-1],
        done,
        thinking[-1],
        *text(1, "hi"),
        *message_end(),
        RESULT,
    ]
    content = folded(spliced(lines, mode)[1])["content"]
    assert [found["type"] for found in content if found["type"] != "result_message"] == shown


def test_thinking_comes_back_with_the_results_of_the_clients_tools_in_every_mode():
    thinking = block(
        0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"}
    )
    lines = [
        message_start(),
        *thinking,
        *tool_use(1, "mcp__client__find"),
        *message_end("tool_use"),
    ]
    splice, events = spliced(lines, client_tools=True)
    first, second = folded(events)["content"]
    assert first["type"] == "thinking"
    assert (second["type"], second["name"], second["input"]) == ("tool_use", "find", {"a": 1})
    assert splice.finished


def test_an_attempt_given_up_before_a_word_of_it_left_is_replaced_in_silence():
    lines = [
        message_start(),
        event(type="message_stop"),
        message_start("msg_2"),
        *text(0, "hi"),
        *message_end(),
        RESULT,
    ]
    assert folded(spliced(lines)[1])["content"][0]["text"] == "hi"


@pytest.mark.parametrize(
    "next_line", [event(type="message_stop"), message_start("msg_2"), assistant(id_="msg_2")]
)
def test_an_attempt_given_up_after_a_word_of_it_left_is_an_error(next_line):
    splice = Splice("ignore")
    for line in [message_start(), *text(0, "half ")]:
        splice.feed(line)
    with pytest.raises(UpstreamError, match="broke off"):
        splice.feed(next_line)


def test_an_answer_that_came_whole_is_streamed_from_its_line():
    said = assistant(
        {"type": "thinking", "thinking": "hm", "signature": "S"},
        {"type": "text", "text": "whole"},
        id_="msg_9",
        stop_reason="end_turn",
        usage=USAGE,
    )
    message = folded(
        spliced([message_start(), event(type="message_stop"), said, RESULT], "forward")[1]
    )
    assert message["content"][:2] == [
        {"type": "thinking", "thinking": "hm", "signature": "S"},
        {"type": "text", "text": "whole"},
    ]
    assert message["usage"]["output_tokens"] == 1


def test_a_client_tool_in_a_whole_answer_ends_the_reply_too():
    call = {"type": "tool_use", "id": "toolu_0", "name": "mcp__client__find", "input": {"a": 1}}
    said = assistant(call, id_="msg_9", stop_reason="tool_use", usage=USAGE)
    splice, events = spliced([said], client_tools=True)
    message = folded(events)
    assert (message["content"][0]["name"], message["stop_reason"]) == ("find", "tool_use")
    assert splice.finished


@pytest.mark.parametrize("reason", ["max_tokens", "refusal"])
def test_the_program_may_not_go_on_where_the_client_asked_for_no_more(reason):
    splice, events = spliced([message_start(), *text(0, "hi"), *message_end(reason)])
    assert splice.finished
    assert folded(events)["stop_reason"] == reason


def test_a_run_out_of_turns_says_it_can_be_continued():
    lines = [
        message_start(),
        *text(0, "hi"),
        *message_end("tool_use"),
        RESULT | {"subtype": "error_max_turns"},
    ]
    assert folded(spliced(lines)[1])["stop_reason"] == "pause_turn"


def test_a_subagents_talk_stays_inside():
    inner = [
        line | {"parent_tool_use_id": "toolu_0"}
        for line in (message_start("msg_x"), *text(0, "inner"))
    ]
    lines = [message_start(), *inner, *text(0, "outer"), *message_end(), RESULT]
    assert [found["text"] for found in folded(spliced(lines)[1])["content"]] == ["outer"]


def test_lines_of_unknown_kinds_change_nothing():
    odd = [
        {"type": "rate_limit_event"},
        {"type": "from_the_future"},
        {"type": "system", "subtype": "status"},
    ]
    assert spliced(odd)[1] == []


def test_a_failed_result_is_the_providers_refusal_and_its_made_up_answer_is_not_told():
    splice = Splice("forward")
    synthetic = assistant({"type": "text", "text": "API Error: 529"}, model="<synthetic>")
    assert splice.feed(synthetic) == b""
    failed = {
        "type": "result",
        "subtype": "success",
        "is_error": True,
        "api_error_status": 529,
        "result": "API Error: 529 Overloaded",
    }
    with pytest.raises(UpstreamRefused) as refused:
        splice.feed(failed)
    assert refused.value.status == 529
    assert orjson.loads(refused.value.body)["error"] == {
        "type": "overloaded_error",
        "message": "Overloaded",
    }


def test_a_result_without_an_answer_is_an_error():
    with pytest.raises(UpstreamError, match="without an answer"):
        Splice("ignore").feed(RESULT)


def test_not_logged_in_says_what_to_run():
    error = failed_result({"result": "Not logged in · Please run /login"}, "authentication_failed")
    assert isinstance(error, CredentialsMissing)
    assert "`ccproxy auth login`" in error.message


def test_a_failure_without_a_status_is_known_by_its_name():
    assert failed_result({"result": "no"}, "rate_limit").status == 429
    assert failed_result({"errors": ["it broke"]}, None).message == "it broke"


@pytest.mark.parametrize(("delay", "refuses"), [(600, False), (30_000, True)])
def test_a_provider_that_asks_to_wait_long_is_a_refusal_with_its_time(delay, refuses):
    retry = {
        "type": "system",
        "subtype": "api_retry",
        "retry_delay_ms": delay,
        "error_status": 429,
        "error": "rate_limit",
    }
    splice = Splice("ignore")
    if not refuses:
        assert splice.feed(retry) == b""
        return
    with pytest.raises(UpstreamRefused) as refused:
        splice.feed(retry)
    assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "30"})


def test_a_run_that_already_speaks_waits_for_its_provider():
    retry = {
        "type": "system",
        "subtype": "api_retry",
        "retry_delay_ms": 30_000,
        "error_status": 429,
    }
    assert len(spliced([message_start(), retry])[1]) == 1


def test_an_error_in_the_stream_has_anthropics_shape():
    [found] = Parser().feed(turn_error_frame(Stopping()))
    assert orjson.loads(found.data)["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize(
    "line",
    [
        {"type": "stream_event"},
        {"type": "stream_event", "event": 7},
        event(type="content_block_delta", index={}),
        event(type="message_delta", delta={}, usage={"output_tokens": "many"}),
        {"type": "assistant", "message": {"content": 7}},
        {"type": "assistant", "message": {"content": [{"type": "tool_use"}]}},
        {"type": "user", "message": {"content": [{"type": "tool_result"}]}},
        {"type": "user", "message": {"content": ["text"]}},
    ],
)
def test_a_line_of_another_form_ends_the_run_with_a_typed_error(line):
    splice = Splice("forward")
    splice.feed(message_start())
    with pytest.raises(UpstreamError, match="cannot be read"):
        splice.feed(line)

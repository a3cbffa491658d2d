"""The Images interface: requests as one tool call, and replies from what a stream tells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats.openai_images import (
    FIELDS,
    ImagesReader,
    changed_settings,
    images_usage,
    is_image_model,
    read_images_request,
    write_finished_image,
    write_images_reply,
    write_images_request,
    write_partial_image,
)
from shared.runtime.errors import ClientError
from shared.runtime.exact_json import dump_json

KINDS = ["response.output_item.done", "response.completed", "response.failed", "error", "other"]
ITEM = {
    "type": "image_generation_call",
    "id": "ig_1",
    "status": "completed",
    "result": "AAAA",
    "size": "1024x1024",
}


def read(**body: Any) -> Any:
    return read_images_request({"prompt": "A cat", **body}, edit=False)


def finished(*payloads: Any) -> ImagesReader:
    reader = ImagesReader()
    for payload in payloads:
        reader.feed(payload)
    return reader


def done(item: Any) -> Any:
    return {"type": "response.output_item.done", "item": item}


def completed(**response: Any) -> Any:
    return {"type": "response.completed", "response": response}


def test_settings_reach_the_tool_and_the_rest_is_named() -> None:
    asked = read(
        size="1x1",
        quality="standard",
        background="opaque",
        user="u",
        style="vivid",
        n=2,
        partial_images=3,
        moderation=None,
    )
    assert asked.tool == {
        "type": "image_generation",
        "action": "generate",
        "size": "1x1",
        "quality": "auto",
        "background": "opaque",
    }
    assert (asked.count, asked.dropped) == (2, ("user", "style"))
    assert read(stream=True, partial_images=3).tool["partial_images"] == 3
    assert read(stream=True, partial_images=0).tool.keys() == {"type", "action"}


@pytest.mark.parametrize(
    "body", [{"n": 0}, {"n": "2"}, {"stream": "yes"}, {"output_compression": 1.5}, {"prompt": 1}]
)
def test_a_value_of_another_type_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as caught:
        read(**body)
    assert caught.value.param == next(iter(body))


@pytest.mark.parametrize(
    ("image_model", "forced", "tool"),
    [("gpt-image-2", True, {"model": "gpt-image-2"}), ("dall-e-3", False, {}), ("", False, {})],
)
def test_an_image_model_goes_to_the_tool(
    image_model: str, forced: bool, tool: dict[str, str]
) -> None:
    body = write_images_request(read(), caller="gpt-x", image_model=image_model, forced=forced)
    assert body["model"] == "gpt-x"
    assert body["tools"] == [{"type": "image_generation", "action": "generate", **tool}]
    assert ("tool_choice" in body) == forced
    assert is_image_model("gpt-image-2.5-flare")
    assert not is_image_model("gpt-5.5")


def test_an_image_is_taken_from_its_item_or_from_the_last_event() -> None:
    for reader in (finished(done(ITEM), completed()), finished(completed(output=[ITEM]))):
        assert (reader.finished, reader.image, reader.failed) == (True, ITEM, None)


@pytest.mark.parametrize(
    ("payloads", "code", "told"),
    [
        ([completed()], "image_not_made", "without making an image."),
        (
            [
                done(
                    {"type": "message", "content": [{"type": "output_text", "text": "No."}, "odd"]}
                ),
                completed(),
            ],
            "image_not_made",
            "image: No.",
        ),
        (
            [
                done(
                    ITEM
                    | {
                        "result": None,
                        "error": {"code": "moderation_blocked", "message": "Not that."},
                    }
                ),
                completed(),
            ],
            "moderation_blocked",
            "Not that.",
        ),
        (
            [
                {
                    "type": "response.failed",
                    "response": {"error": {"code": "x", "message": "Broken."}},
                }
            ],
            "x",
            "Broken.",
        ),
        ([{"type": "error", "code": "y", "message": "Worse."}], "y", "Worse."),
        ([{"type": "response.failed"}], "", "failed to answer"),
        (
            [done(None), done("odd"), {"type": 7}, completed(output="odd", usage=[])],
            "image_not_made",
            "without",
        ),
    ],
)
def test_a_stream_without_an_image_fails_with_a_reason(payloads: Any, code: str, told: str) -> None:
    reader = finished(*payloads)
    assert reader.finished
    assert reader.failed is not None
    assert reader.failed.code == code
    assert told in reader.failed.message


def test_usage_is_the_tools_or_the_models_summed_over_all_images() -> None:
    of_tool = {"input_tokens": 5, "input_tokens_details": {"image_tokens": 2}, "output_tokens": 9,
               "output_tokens_details": {"image_tokens": 9}}  # fmt: skip
    told = finished(
        done(ITEM), completed(tool_usage={"image_gen": of_tool}, usage={"input_tokens": 1})
    )
    untold = finished(done(ITEM), completed(usage={"input_tokens": 3, "output_tokens": 4}))
    assert images_usage([told, untold]) == {
        "input_tokens": 8,
        "input_tokens_details": {"image_tokens": 2, "text_tokens": 6},
        "output_tokens": 13,
        "output_tokens_details": {"image_tokens": 9, "text_tokens": 4},
        "total_tokens": 21,
    }


def test_what_the_provider_chose_otherwise_is_known() -> None:
    asked = read(size="2x2", quality="auto", background="opaque")
    assert changed_settings(asked, [ITEM | {"background": "opaque", "quality": "low"}]) == ["size"]
    assert changed_settings(asked, [{"result": "AAAA"}]) == []


def test_replies_and_events_have_what_the_sdk_requires() -> None:
    usage = images_usage([])
    assert write_images_reply([ITEM | {"quality": "auto"}], usage, created=7) == {
        "created": 7,
        "data": [{"b64_json": "AAAA"}],
        "size": "1024x1024",
        "usage": usage,
    }
    frame = write_partial_image(
        {"partial_image_b64": "BB", "partial_image_index": 1}, "image_edit", created=7
    )
    assert frame.name == "image_edit.partial_image"
    assert frame.data == {
        "type": "image_edit.partial_image", "b64_json": "BB", "created_at": 7, "size": "auto",
        "quality": "auto", "background": "auto", "output_format": "png", "partial_image_index": 1,
    }  # fmt: skip
    assert write_finished_image(ITEM, "image_edit", usage, created=7).data["usage"] == usage  # type: ignore[index]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image_url", "file_id", "x"]), inner)
    ),
    max_leaves=6,
)


@given(body=st.dictionaries(st.sampled_from(sorted(FIELDS)), ANY_JSON), edit=st.booleans())
def test_any_body_is_taken_or_refused_by_name(body: dict[str, Any], edit: bool) -> None:
    named = "prompt"
    try:
        asked = read_images_request({"prompt": "x", **body}, edit=edit)
        dump_json(write_images_request(asked, caller="m", image_model=asked.model, forced=True))
    except ClientError as error:
        named = error.param or ""
    assert named.partition("[")[0].partition(".")[0] in FIELDS


EVENTS = st.dictionaries(st.sampled_from(["type", "item", "response", "error"]), ANY_JSON)


@given(payload=EVENTS, kind=st.sampled_from(KINDS))
def test_any_event_of_a_provider_is_read(payload: dict[str, Any], kind: str) -> None:
    reader = finished(
        payload | {"type": kind}, {"type": kind, "item": ITEM | payload, "response": payload}
    )
    images_usage([reader])

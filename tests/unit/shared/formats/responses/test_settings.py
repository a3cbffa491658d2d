"""A response tells every setting the standard requires, as it really was."""

from __future__ import annotations

from shared.formats import responses
from shared.formats.ir import Prompt, Reply, Stop, StopReason, Text
from shared.formats.responses.settings import DEFAULTS, with_settings


def test_what_is_left_out_is_told_by_its_default() -> None:
    whole = with_settings({"id": "resp_1", "temperature": None, "store": True})
    assert whole == DEFAULTS | {"id": "resp_1", "store": True}


def test_what_was_in_force_stays() -> None:
    prompt = Prompt("m", temperature=0.2, top_p=0.5, user="u", max_tokens=9)
    reply = Reply("r", "m", (Text("hi"),), Stop(StopReason.END_TURN))
    whole = responses.write_reply(prompt, reply, id="x", created=1, model="m", clock=lambda: 7.9)
    assert whole.keys() >= DEFAULTS.keys()
    assert (whole["temperature"], whole["top_p"], whole["safety_identifier"]) == (0.2, 0.5, "u")
    assert (whole["max_output_tokens"], whole["top_logprobs"], whole["presence_penalty"]) == (
        9,
        0,
        0.0,
    )
    assert whole["completed_at"] == 7


def test_a_completed_response_without_a_time_gets_the_time_at_hand() -> None:
    assert with_settings({"status": "completed"}, now=9.5)["completed_at"] == 9
    assert with_settings({"status": "completed", "completed_at": 3}, now=9.5)["completed_at"] == 3
    assert with_settings({"status": "in_progress"}, now=9.5)["completed_at"] is None


def test_a_json_format_without_a_description_gets_a_null() -> None:
    form = {"type": "json_schema", "name": "city", "schema": {}, "strict": True}
    text = with_settings({"text": {"format": form, "verbosity": "low"}})["text"]
    assert text == {"format": form | {"description": None}, "verbosity": "low"}


def test_a_response_with_every_setting_is_returned_as_the_same_object() -> None:
    whole = with_settings({"id": "resp_1"}) | {
        "completed_at": 1,
        "error": {},
        "incomplete_details": {},
        "usage": {},
    }
    whole |= {name: whole[name] or "x" for name in DEFAULTS if whole[name] is None}
    assert with_settings(whole) is whole

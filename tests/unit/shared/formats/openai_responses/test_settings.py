"""A response tells every setting the standard requires, as it really was."""

from __future__ import annotations

from shared.formats import openai_responses
from shared.formats.ir import Prompt, Reply, Stop, StopReason, Text
from shared.formats.openai_responses.settings import DEFAULTS, with_settings


def test_what_is_left_out_is_told_by_its_default() -> None:
    whole = with_settings({"id": "resp_1", "temperature": None, "store": True})
    assert whole == DEFAULTS | {"id": "resp_1", "store": True}


def test_what_was_in_force_stays() -> None:
    prompt = Prompt("m", temperature=0.2, top_p=0.5, user="u", max_tokens=9)
    reply = Reply("r", "m", (Text("hi"),), Stop(StopReason.END_TURN))
    whole = openai_responses.write_reply(prompt, reply, id="x", created=1, model="m")
    assert whole.keys() >= DEFAULTS.keys()
    assert (whole["temperature"], whole["top_p"], whole["safety_identifier"]) == (0.2, 0.5, "u")
    assert (whole["max_output_tokens"], whole["top_logprobs"], whole["presence_penalty"]) == (9, 0, 0.0)

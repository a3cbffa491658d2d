"""The settings every response tells, also those a request left at their defaults.

Open Responses, the public standard of this format, requires each of them in each response; the
ChatGPT backend leaves half of them out.
"""

from __future__ import annotations

from shared.formats.ir import Json

DEFAULTS: Json = {
    "background": False,
    "completed_at": None,
    "error": None,
    "frequency_penalty": 0.0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
}


# What the standard requires of `text.format` with a JSON schema, beside the schema.
FORMAT_DEFAULTS: Json = {"description": None, "strict": False}


def with_settings(response: Json, *, now: float | None = None) -> Json:
    """Return `response` with the default of every setting left out, or null against the standard.

    `now` (UTC seconds) becomes the `completed_at` of a completed response that has none.
    """
    missing = {name: value for name, value in DEFAULTS.items() if response.get(name) is None}
    if now is not None and response.get("status") == "completed" and "completed_at" in missing:
        missing["completed_at"] = int(now)
    text = response.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if (
        isinstance(form, dict)
        and form.get("type") == "json_schema"
        and not form.keys() >= FORMAT_DEFAULTS.keys()
    ):
        missing["text"] = {**response["text"], "format": FORMAT_DEFAULTS | form}
    return response | missing if missing else response

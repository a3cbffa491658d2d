"""The settings every response tells, also those a request left at their defaults.

Open Responses, the public standard of this format, requires each of them in each response; the ChatGPT backend leaves
half of them out.
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


def with_settings(response: Json) -> Json:
    """Return `response` with every setting it leaves out, and the default for a null where a value is required."""
    missing = {name: value for name, value in DEFAULTS.items() if response.get(name) is None}
    return response | missing

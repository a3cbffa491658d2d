"""What stand-ins of this kind play, as a table, and the scenario here that plays it at each
provider.

The rows are the union of the public feature lists of aimock and gatewayproof for text models, in
our own words. A row of `None` is a gap: nothing here plays it.
"""

from __future__ import annotations

import pytest

from simulator import script
from simulator.anthropic import scenarios as anthropic
from simulator.codex import scenarios as codex

ANTHROPIC = script.SCENARIOS | anthropic.SCENARIOS | anthropic.REFUSALS
CODEX = script.SCENARIOS | codex.SCENARIOS | codex.REFUSALS

# Behaviour: the scenario at Anthropic, the scenario at OpenAI.
TABLE: dict[str, tuple[str | None, str | None]] = {
    "a scripted text": ("text", "text"),
    "a long text in many chunks": ("long", "long"),
    "chunks at a pace": ("slow", "slow"),
    "several tool calls in one turn": ("tools", "tools"),
    "blocks that interleave": ("interleaved", None),
    "reasoning before the answer": ("thinking", "reasoning"),
    "a server tool's search": ("web-search", "web-search"),
    "a refusal of the model": ("refusal", "refusal"),
    "an answer cut at its token limit": ("max-tokens", "max-tokens"),
    "an empty answer": ("empty", "empty"),
    "a bad request": ("400", "400"),
    "a rejected credential": ("401", "401"),
    "a rate limit with its waiting time": ("429", "429"),
    "a rate limit that leaves the subscription's window alone": ("throttled", "429"),
    "a window of the subscription that is used up": ("429", "usage-limit"),
    "a server error": ("500", "500"),
    "an overloaded service": ("529", "503"),
    "an error event in mid-stream": ("error", "error"),
    "a connection that breaks in mid-stream": ("cut", "cut"),
    "a stream that falls silent": ("stall", "stall"),
    "a service that never answers": ("hang", "hang"),
    "every spelling of an event stream": ("spelled", "spelled"),
    "keep-alives between events": ("pings", "pings"),
    "malformed JSON in an event": ("malformed", "malformed"),
    "uneven pace": ("uneven", "uneven"),
}


@pytest.mark.parametrize("behaviour", TABLE)
def test_each_behaviour_of_the_table_has_its_scenario(behaviour: str) -> None:
    at_anthropic, at_openai = TABLE[behaviour]
    assert at_anthropic is None or at_anthropic in ANTHROPIC
    assert at_openai is None or at_openai in CODEX


def test_the_gaps_of_the_table_are_known() -> None:
    gaps = {behaviour for behaviour, scenarios in TABLE.items() if None in scenarios}
    assert gaps == {"blocks that interleave"}

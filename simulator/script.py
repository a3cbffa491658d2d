"""The common part of all simulated models: a scenario is a function from a request to a scripted
reply, picked by its name.

Names come from the model (`claude-sim-NAME`, `gpt-sim-NAME`) or from a directive. They may end in
one or two numbers (`slow-50`, `long-2000`, `slow-20x200`), whose meaning stands in SCENARIOS, here
and with each provider.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from simulator.directives import Directives
from simulator.sample import sample

Part = dict[str, Any]  # a content block of Anthropic's, an output item of OpenAI's
Fault = Literal["error", "failed", "cut", "stall", "hang", "malformed"]

BYTES_PER_TOKEN = 4
ECHOED_CHARACTERS = 2_000
BIG_CHARACTERS = 200_000
UNEVEN_MILLISECONDS = 20
UNEVEN_BYTES = 256
NAME = re.compile(r"(?P<name>\d{3}|[a-z]+(?:-[a-z]+)*)(?:-(?P<first>\d+)(?:x(?P<second>\d+))?)?")
MARKER = re.compile(rb"SECRET-[A-Za-z0-9]+")
WORD = re.compile(r"\S*\s?")
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@dataclass(frozen=True, slots=True)
class Uneven:
    """The longest pause between two pieces of a reply, in seconds, and the bytes of the largest
    piece.
    """

    pause: float
    piece: int


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """`stop` is why the reply ends, "" when the model has said everything. `pace`: seconds between
    deltas. `piece`: characters in a delta, 0 for word by word. `spelling`: number of the way of
    writing events, None for the service's own way. `fault_after`: deltas sent before the `fault`;
    `hang` comes before the headers. `uneven`: the way of a network that cuts the bytes anywhere.
    """

    parts: list[Part]
    stop: str = ""
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    pace: float = 0.0
    piece: int = 0
    pings: bool = False
    interleaved: bool = False
    fault: Fault | None = None
    fault_after: int = 3
    failure: str = ""
    spelling: int | None = None
    uneven: Uneven | None = None

    @property
    def fails(self) -> bool:
        return self.fault in ("error", "failed")


@dataclass(slots=True)
class Ask(ABC):
    """A request independent of its provider: the last prompt, and the results of the tools called
    since.

    `raw` is the whole decoded body, `first` and `second` are the numbers of the scenario's name.
    `credential` is `login` or `api_key`.
    """

    body: dict[str, Any]
    raw: bytes
    prompt: str = ""
    directives: Directives = field(default_factory=Directives)
    results: list[str] = field(default_factory=list)
    first: int | None = None
    second: int | None = None
    credential: str = ""

    @property
    @abstractmethod
    def tools(self) -> dict[str, dict[str, Any]]:
        """Return the tools offered to the model, by name."""

    @property
    @abstractmethod
    def forced(self) -> list[dict[str, Any]]:
        """Return the forced tool, if any."""

    @property
    @abstractmethod
    def parallel(self) -> bool: ...

    @property
    @abstractmethod
    def schema(self) -> Any:
        """Return the schema of the reply; None for free text."""

    @abstractmethod
    def say(self, text: str, *, aside: bool = False) -> Part: ...

    @abstractmethod
    def think(self) -> Part: ...

    @abstractmethod
    def call(self, tool: dict[str, Any], arguments: dict[str, Any]) -> Part: ...


Scenario = Callable[[Ask], ScriptedReply]
Refusal = Callable[[int | None], Exception]


def perform(
    ask: Ask, name: str, scenarios: Mapping[str, Scenario], refusals: Mapping[str, Refusal]
) -> ScriptedReply | None:
    """Return the reply of the requested scenario, or of `name`; None for an unknown scenario.

    Raises the refusal of a refusing scenario.
    """
    # A directive is stronger than the model's name: some programs cannot choose a model.
    matched = NAME.fullmatch(ask.directives.scenario_for(ask.credential) or name)
    if matched is None:
        return None
    ask.first, ask.second = (
        int(number) if number else None for number in matched.group("first", "second")
    )
    # Refusals come before scenarios, because a number such as 429 is also a valid name.
    if refusal := refusals.get(matched["name"]):
        raise refusal(ask.first)
    scenario = scenarios.get(matched["name"]) or SCENARIOS.get(matched["name"])
    return scenario(ask) if scenario else None


def text_tokens(size: int) -> int:
    """Return the tokens of `size` bytes without a tokenizer: a token for every four bytes, rounded
    up.
    """
    return -(-size // BYTES_PER_TOKEN)


def compact(value: Any) -> str:
    """JSON as short as possible; integers may have any size, as a model's may."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def words(count: int) -> str:
    return " ".join(WORDS[place % len(WORDS)] for place in range(count))


def characters(size: int) -> str:
    return (words(size // 4 + 1) + " ")[:size]


def pieces(text: str, size: int) -> list[str]:
    """Return the text in pieces of `size` characters; 0: word by word."""
    if size:
        return [text[start : start + size] for start in range(0, len(text), size)]
    return [word for word in WORD.findall(text) if word]


def echo(ask: Ask) -> str:
    """The tools' results, the text the model was told to say, or the prompt; and every SECRET word
    found anywhere in the request, which makes a leak between conversations visible.
    """
    lines = [f"The tool answered: {result}" for result in ask.results]
    if ask.directives.say:
        lines.append(ask.directives.say)
    elif not ask.results:
        lines.append(f"You said: {ask.prompt[:ECHOED_CHARACTERS]}")
    # Read from the raw body and not from the prompt: a word that leaked into a system prompt or an
    # old turn must show as well.
    if secrets := dict.fromkeys(word.decode() for word in MARKER.findall(ask.raw)):
        lines.append("Seen: " + " ".join(secrets))
    return "\n".join(lines)


def calls(ask: Ask, wanted: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Part]:
    return [
        ask.call(tool, arguments) for tool, arguments in (wanted if ask.parallel else wanted[:1])
    ]


def with_samples(tools: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return calls of the tools, with arguments made from the tools' schemas."""
    return [
        (tool, sample(tool.get("input_schema") or tool.get("parameters") or {})) for tool in tools
    ]


def plain_reply(ask: Ask) -> ScriptedReply:
    """Return the calls of the directives until answered, else the forced call, else words."""
    # Only until they are answered: a model that called the same tools for ever would never end its
    # turn.
    told = (
        []
        if ask.results
        else [(ask.tools[name], given) for name, given in ask.directives.tools if name in ask.tools]
    )
    if wanted := told or with_samples(ask.forced):
        return ScriptedReply(calls(ask, wanted))
    if ask.schema is not None:
        return ScriptedReply([ask.say(orjson.dumps(sample(ask.schema)).decode())])
    return ScriptedReply([ask.say(echo(ask))])


def tools(ask: Ask) -> ScriptedReply:
    """A word of comment and several calls at once, over the offered tools in turn; then text."""
    offered = list(ask.tools.values())
    if ask.results or not offered:
        return plain_reply(ask)
    count = ask.first or max(2, len(offered))
    wanted = with_samples([offered[place % len(offered)] for place in range(count)])
    return ScriptedReply([ask.say("Let me look.", aside=True), *calls(ask, wanted)])


def thoughtful(ask: Ask) -> ScriptedReply:
    reply = plain_reply(ask)
    return replace(reply, parts=[ask.think(), *reply.parts])


def slow(ask: Ask) -> ScriptedReply:
    return ScriptedReply(
        [ask.say(words(ask.second or 50))], pace=(20 if ask.first is None else ask.first) / 1000
    )


def uneven(ask: Ask) -> ScriptedReply:
    pause = UNEVEN_MILLISECONDS if ask.first is None else ask.first
    way = Uneven(pause / 1000, max(1, ask.second or UNEVEN_BYTES))
    return replace(plain_reply(ask), uneven=way)


def faulty(fault: Fault, failure: str = "failed") -> Scenario:
    """Return a scenario with a fault after the given number of deltas (3)."""
    return lambda ask: ScriptedReply(
        [ask.say(words(50))],
        fault=fault,
        failure=failure,
        fault_after=3 if ask.first is None else ask.first,
    )


SCENARIOS: dict[str, Scenario] = {
    "text": plain_reply,  # echo, directives, forced tools, structured output
    "long": lambda ask: ScriptedReply([ask.say(words(ask.first or 200))]),  # words
    "big": lambda ask: ScriptedReply(
        [ask.say(characters(ask.first or BIG_CHARACTERS))], piece=4_096
    ),  # characters
    "slow": slow,  # milliseconds between words (20) x words (50)
    "tools": tools,  # calls (one per tool, at least two)
    "spelled": lambda ask: replace(
        plain_reply(ask), spelling=ask.first or 0
    ),  # number in SPELLINGS
    "uneven": uneven,  # longest pause in milliseconds (20) x bytes of the largest piece (256)
    "pings": lambda ask: replace(plain_reply(ask), pings=True),
    "max-tokens": lambda ask: ScriptedReply(
        [ask.say(words(ask.first or 20))], "max_tokens"
    ),  # words
    "empty": lambda _: ScriptedReply([]),
    "error": faulty("error"),
    "cut": faulty("cut"),
    "stall": faulty("stall"),
    "hang": faulty("hang"),
    "malformed": faulty("malformed"),  # a delta whose JSON breaks off; the stream goes on
}

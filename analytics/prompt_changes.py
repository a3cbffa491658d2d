"""What changed between two prompts of one conversation, part by part in the order in which a
provider reads them. Pure.

Messages are counted from 1, as a person counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from shared.bus.fingerprints import PromptFingerprint

MOST_NAMED = 3  # tools; a sentence with more is not read
MOST_SHIFTED = 64  # messages that may be inserted or removed at one place and still be recognised
SHORTENED_TO = 0.5  # of the messages: fewer are a conversation that was compacted


@dataclass(frozen=True, slots=True)
class Change:
    """A change, as one word and in words. `is_new_text`: the prompt could not have been in the
    cache.
    """

    cause: str
    words: str
    is_new_text: bool = False


def are_related(old: PromptFingerprint, new: PromptFingerprint, same_model: bool) -> bool:
    """Return True if two prompts of an agent can belong to the same conversation.

    An agent also sends requests beside its conversation, such as for a title, with prompts of their
    own.
    """
    if old.kind != new.kind:
        return False
    same_tools = old.tools == new.tools
    same_system = old.system == new.system
    if same_tools and same_system and (old.tools or old.system):
        return True
    ours, theirs = at_one_grain(old, new)
    pairs = list(zip(ours, theirs, strict=False))
    if pairs and pairs[0][0] == pairs[0][1]:
        # One common message alone may be a person's question that two prompts quote.
        is_longer = len(pairs) > 1 and pairs[1][0] == pairs[1][1]
        return same_tools or same_system or same_model or is_longer
    return (same_tools or same_system) and any(one == other for one, other in pairs[1:])


def change_of_tools(old: PromptFingerprint, new: PromptFingerprint) -> Change | None:
    if old.tools == new.tools:
        return None
    before = dict(old.tools)
    after = dict(new.tools)
    parts = [
        named([name for name in after if name not in before], "added"),
        named([name for name in before if name not in after], "removed"),
        named([name for name in after if before.get(name, after[name]) != after[name]], "changed"),
    ]
    told = ", ".join(part for part in parts if part)
    return Change("tools", f"the tools changed: {told or 'their order'}")


def named(names: Sequence[str], what: str) -> str:
    """Return the names and `what` happened; of many names the first and the number of the rest."""
    if not names:
        return ""
    shown = " and ".join([", ".join(names[: MOST_NAMED - 1]), *names[MOST_NAMED - 1 : MOST_NAMED]])
    if len(names) < MOST_NAMED:
        shown = " and ".join(names)
    elif len(names) > MOST_NAMED:
        shown = f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"
    return f"{shown} {what}"


def change_of_system(old: PromptFingerprint, new: PromptFingerprint) -> Change | None:
    if old.system == new.system:
        return None
    if not old.system or not new.system:
        return Change("system", f"the system prompt was {'added' if new.system else 'removed'}")
    place = common_beginning(old.system, new.system) + 1
    count = max(len(old.system), len(new.system))
    where = f" (block {place} of {count})" if count > 1 else ""
    return Change("system", f"the system prompt changed{where}")


def change_of_settings(old: PromptFingerprint, new: PromptFingerprint) -> Change | None:
    changed = [
        name
        for name in sorted({*old.settings, *new.settings})
        if old.settings.get(name) != new.settings.get(name)
    ]
    return Change("settings", f"{' and '.join(changed)} changed") if changed else None


def change_of_messages(old: PromptFingerprint, new: PromptFingerprint, end: int) -> Change | None:
    """Return the change among the first `end` messages of `old`, the messages to be kept."""
    before, after = at_one_grain(old, new)
    group = max(old.group, new.group)
    place = common_beginning(before, after)
    first = place * group + 1  # of the messages that may differ
    if first > min(end, old.message_count) or place == len(before):
        return None
    item = "message" if new.kind == "messages" else "input item"
    if is_shortened(old, new, before, after, place):
        return Change(
            "shortened",
            f"the conversation was shortened from {counted(old.message_count, item)} to "
            f"{counted(new.message_count, item)}",
            is_new_text=True,
        )
    if place == 0 and not any(one == other for one, other in zip(before, after, strict=False)):
        return Change("new_messages", f"every {item} is new", is_new_text=True)
    if place >= len(after):
        words = f"the conversation goes on from before {item} {first}"
        return Change("rewound", words, is_new_text=True)
    # Where no later message stays, all that follows is new text, as after an edit by a person.
    later = set(before[place + 1 :])
    is_new_text = not any(number in later for number in after[place + 1 :])
    if group > 1:
        words = f"one of the {item}s {first} to {first + group - 1} was rewritten"
        return Change("messages", words, is_new_text)
    if moved := shift_of(before[place:], after[place:], item, first):
        return moved
    others = sum(
        one != other for one, other in zip(before[place + 1 :], after[place + 1 :], strict=False)
    )
    if not others or is_new_text:
        return Change("messages", f"{item} {first} was rewritten", is_new_text)
    more = counted(others, "later one")
    return Change("messages", f"{item} {first} and {more} were rewritten")


def shift_of(before: Sequence[int], after: Sequence[int], item: str, first: int) -> Change | None:
    """Return the number of messages inserted or removed at a single place, if all the rest is
    equal.
    """
    for count in range(1, MOST_SHIFTED + 1):
        if len(after) > count and begins_with(after[count:], before):
            return Change("messages", f"{counted(count, item)} inserted before {item} {first}")
        if len(before) > count and begins_with(after, before[count:]):
            return Change("messages", f"{counted(count, item)} removed at {item} {first}")
    return None


def begins_with(numbers: Sequence[int], beginning: Sequence[int]) -> bool:
    """Return True if `numbers` begin with all of `beginning`, which is not empty."""
    return bool(beginning) and tuple(numbers[: len(beginning)]) == tuple(beginning)


def is_shortened(
    old: PromptFingerprint,
    new: PromptFingerprint,
    before: Sequence[int],
    after: Sequence[int],
    place: int,
) -> bool:
    """Return True if most messages went away and a new text stands in the place of the old: the
    conversation was compacted.
    """
    kept = set(before[place:])
    return (
        new.message_count <= old.message_count * SHORTENED_TO
        and place < len(after)
        and sum(number in kept for number in after[place:]) < len(after[place:]) / 2
    )


def at_one_grain(
    old: PromptFingerprint, new: PromptFingerprint
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the numbers of both prompts' messages, with the same count of messages behind every
    number.
    """
    group = max(old.group, new.group)
    return old.coarser(group).messages, new.coarser(group).messages


def common_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many numbers at the beginning of both are equal."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

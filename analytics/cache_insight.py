"""Why the provider's cache did not have the beginning of a prompt: the prompt is compared with the
one before it, by their fingerprints and the provider's own counts. Pure.

A miss is a fact of the counts: fewer tokens were read than the prompt before had left in the
cache. The fingerprints only say why. What a hit would have read is bounded by what this prompt has,
so that a shorter prompt is never blamed for tokens that it does not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analytics.prompt_changes import (
    Change,
    are_related,
    change_of_messages,
    change_of_settings,
    change_of_system,
    change_of_tools,
)
from shared.bus.fingerprints import Mark, PromptFingerprint

MINUTE_SECONDS = 60
SPOKEN_AS_HOURS = 180  # minutes
LOOKED_AT = 20  # blocks that Anthropic looks at for each mark, the marked one included
# Fewer missed tokens are no miss: thinking blocks that the provider leaves out, or the steps in
# which it counts.
LEAST_MISSED = {"messages": 100, "responses": 1024}
STEP = 128  # tokens; OpenAI counts what it reads in such steps
# Anthropic's words for a miss, and ours.
TOLD = {
    "model_changed": Change("model", "the model changed, as the provider says"),
    "tools_changed": Change("tools", "the tools changed, as the provider says"),
    "system_changed": Change("system", "the system prompt changed, as the provider says"),
    "messages_changed": Change("messages", "an earlier message changed, as the provider says"),
}


@dataclass(frozen=True, slots=True)
class SentPrompt:
    """A prompt as a provider counted it. Times are UTC seconds: `sent_at` of the request,
    `begun_at` of the first byte of the reply, when the provider's cache has the prompt.
    """

    request_id: str
    fingerprint: PromptFingerprint
    model: str
    billed_to: str
    sent_at: float
    begun_at: float
    read: int
    written: int
    fresh: int

    @property
    def left_in_cache(self) -> int:
        """Return the number of this prompt's tokens that the provider keeps."""
        if self.fingerprint.kind == "messages":
            return self.read + self.written
        total = self.read + self.written + self.fresh
        return total - total % STEP


@dataclass(frozen=True, slots=True)
class CacheFinding:
    """The reason why a prompt was not read from the cache: a `cause` of a single word, a sentence
    without an end, and the number of tokens a hit would have read.
    """

    cause: str
    explanation: str
    missed_tokens: int = 0


def explain_miss(before: SentPrompt | None, now: SentPrompt, told: str = "") -> CacheFinding | None:
    """Return why the provider's cache had less of the prompt `now` than it could; None for a hit.

    `before` is the prompt of the same conversation before it, None for the first. `told` is the
    provider's own word. A finding without missed tokens explains a prompt that had to be written.
    """
    if before is None:
        return begun_conversation(now, told)
    missed = min(before.left_in_cache - now.read, now.written + now.fresh)
    if missed < LEAST_MISSED[now.fingerprint.kind]:
        return nothing_cached(now)
    change = provider_change(told, next(causes(before, now)))
    # What was never sent before could not be read: nothing is lost by it.
    return CacheFinding(change.cause, change.words, 0 if change.is_new_text else missed)


def begun_conversation(now: SentPrompt, told: str) -> CacheFinding | None:
    if told in TOLD:
        return CacheFinding(TOLD[told].cause, TOLD[told].words)
    if now.read:
        return None
    return nothing_cached(now) or CacheFinding(
        "first", "it is the first request of this conversation"
    )


def nothing_cached(now: SentPrompt) -> CacheFinding | None:
    """Return a finding if the provider kept no part of a prompt with marks; None for any other
    prompt.
    """
    if now.fingerprint.kind != "messages" or now.read or now.written:
        return None
    if not now.fingerprint.marks:
        return CacheFinding("unmarked", "the request marks nothing for the cache (cache_control)")
    return CacheFinding(
        "short",
        "what the request marks for the cache (cache_control) is shorter than the model's minimum "
        "(1,024 to 4,096 tokens)",
    )


def provider_change(told: str, ours: Change) -> Change:
    """Return our finding, or the provider's where the two contradict each other. The provider
    compares only contents.
    """
    theirs = TOLD.get(told)
    if theirs is None or theirs.cause == ours.cause or ours.cause in {"idle", "shortened"}:
        return ours
    return theirs


def causes(before: SentPrompt, now: SentPrompt) -> Iterator[Change]:
    """Yield the causes that kept the prompt from being read, the first cause first; the last cause
    is certain to come.
    """
    old = before.fingerprint
    new = now.fingerprint
    passed = now.sent_at - before.begun_at
    lives = [mark.ttl_seconds for mark in old.marks]
    if before.model != now.model:
        yield Change("model", f"the model changed from {before.model} to {now.model}")
    if credential(before) != credential(now):
        yield Change("account", f"{paid(now)} paid instead of {paid(before)}")
    end = max((mark.message for mark in old.marks), default=0)
    of_messages = change_of_messages(old, new, end)
    is_new_text = of_messages is not None and of_messages.is_new_text
    # Nothing at all was read, so all of the cache had ended before anything else mattered.
    if lives and not now.read and passed > max(lives) and not is_new_text:
        yield idle(passed, max(lives))
    changes = (
        change_of_tools(old, new),
        change_of_system(old, new),
        of_messages,
        change_of_settings(old, new),
    )
    yield from (change for change in changes if change is not None)
    # Nothing of the prompt changed, so it is a matter of time or of the marks.
    if lives and passed > lives[-1]:
        yield idle(passed, lives[-1])
    if now.sent_at < before.begun_at:
        yield Change("parallel", "it was sent before the reply to the request before it had begun")
    if (of_marks := change_of_marks(old.marks, new.marks)) is not None:
        yield of_marks
    yield Change("dropped", "the prompt did not change, but the provider no longer had it")


def credential(prompt: SentPrompt) -> str:
    """Return the credential of a prompt: extra usage is paid on the same login."""
    return "api_key" if prompt.billed_to == "api_key" else "subscription"


def paid(prompt: SentPrompt) -> str:
    return "the API key" if prompt.billed_to == "api_key" else "the subscription"


def idle(passed: float, lifetime: int) -> Change:
    kept = spoken(lifetime)
    waited = spoken(passed) if spoken(passed) != kept else f"a little more than {kept}"
    return Change(
        "idle",
        f"{waited} had passed since the request before; the cache keeps a prompt for {kept}",
    )


def change_of_marks(old: tuple[Mark, ...], new: tuple[Mark, ...]) -> Change | None:
    """Return how the marks kept an unchanged prompt from being found."""
    if not new:
        return Change("unmarked", "the request no longer marks anything for the cache")
    if not old:
        return None
    reached = old[-1].block
    if new[-1].block < reached:
        return Change(
            "marks", "the request marks less of the prompt for the cache than the one before"
        )
    if not any(mark.block - LOOKED_AT < reached <= mark.block for mark in new):
        added = min(mark.block for mark in new if mark.block >= reached) - reached
        return Change(
            "lookback",
            f"{added} blocks were added after the last marked one; the provider looks back over "
            f"{LOOKED_AT}",
        )
    return None


def spoken(seconds: float) -> str:
    """Return a length of time of minutes or more in words."""
    minutes = max(1, round(seconds / MINUTE_SECONDS))
    if minutes < SPOKEN_AS_HOURS and minutes % 60:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    hours = round(minutes / 60)
    return "1 hour" if hours == 1 else f"{hours} hours"


def best_before(prompts: list[SentPrompt], now: SentPrompt) -> SentPrompt | None:
    """Return the prompt that `now` continues, of prompts with the same session and agent: the
    prompt with the most in common, of equals the latest. None without a related prompt.
    """
    earlier = [each for each in prompts if each.sent_at <= now.sent_at]
    related = [
        each
        for each in earlier
        if each.request_id != now.request_id
        and are_related(each.fingerprint, now.fingerprint, each.model == now.model)
    ]
    return max(related, key=lambda each: closeness(each, now), default=None)


def closeness(before: SentPrompt, now: SentPrompt) -> tuple[int, int, bool, float]:
    old = before.fingerprint
    new = now.fingerprint
    group = max(old.group, new.group)
    pairs = zip(old.coarser(group).messages, new.coarser(group).messages, strict=False)
    equal = sum(one == other for one, other in pairs)
    same_parts = (old.tools == new.tools) + (old.system == new.system)
    return equal, same_parts, before.model == now.model, before.sent_at

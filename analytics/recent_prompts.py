"""The last prompts of each conversation, with which the next one is compared.

Records may come late or twice, from several gateways: a prompt is compared only with prompts that
were sent before it, and never with itself. What is kept is bounded in bytes; the conversation that
was silent for longest goes first. After a restart the prompts come back from the database.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from analytics.cache_insight import SentPrompt, best_before, explain_miss
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord
from shared.bus.fingerprints import read_fingerprint
from shared.runtime.errors import ClientError
from shared.runtime.log import get_log

MOST_BYTES = 8 * 1024 * 1024  # of written fingerprints
# Prompts of one conversation: an agent's own and those beside it, two of each.
MOST_OF_CONVERSATION = 8

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class KeptPrompt:
    """A prompt with the fingerprint as written, for a tenth of the memory."""

    fingerprint: str
    request_id: str
    model: str
    billed_to: str
    sent_at: float
    begun_at: float
    read: int
    written: int
    fresh: int

    def opened(self) -> SentPrompt:
        """Return the prompt with the fingerprint read. Raises ClientError."""
        return SentPrompt(
            self.request_id,
            read_fingerprint(self.fingerprint),
            self.model,
            self.billed_to,
            self.sent_at,
            self.begun_at,
            self.read,
            self.written,
            self.fresh,
        )


class RecentPrompts:
    """The last prompts of every conversation: `explain` compares a record's prompt with the kept
    prompts, and keeps the new prompt.
    """

    def __init__(self, prices: Prices, most_bytes: int = MOST_BYTES) -> None:
        self._prices = prices
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Key, list[KeptPrompt]] = OrderedDict()
        self._bytes = 0

    def explain(self, records: Iterable[AccessRecord]) -> None:
        """Put into every record with a fingerprint why the prompt was not read from the cache."""
        found = [record for record in records if record.fingerprint]
        for record in sorted(found, key=lambda each: each.timestamp):
            try:
                self._explain(record)
            except ClientError as error:
                # Of a gateway of another version; its record is stored all the same.
                get_log().debug("fingerprint_unreadable", reason=error.message)
                record.fingerprint = ""

    def restore(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep the prompts of the database that are not kept yet, the earliest first."""
        for row in rows:
            key = (row["caller"], row["provider"], row["session_id"], row["agent_id"])
            kept = self._kept.get(key, [])
            if all(each.request_id != row["request_id"] for each in kept):
                prompt = KeptPrompt(
                    row["fingerprint"],
                    row["request_id"],
                    row["model"],
                    row["billed_to"],
                    row["sent_at"],
                    row["begun_at"],
                    row["cache_read_tokens"],
                    row["cache_write_tokens"],
                    row["tokens_input"],
                )
                self._keep(key, [*kept, prompt])

    def forget(self) -> None:
        """Forget every prompt."""
        self._kept.clear()
        self._bytes = 0

    def _explain(self, record: AccessRecord) -> None:
        key = (record.caller, record.provider, record.session_id, record.agent_id)
        kept = self._kept.get(key, [])
        newest = kept_prompt(record)
        now = newest.opened()
        prompts = [each.opened() for each in kept]
        before = best_before(prompts, now)
        if (found := explain_miss(before, now, record.cache_miss_reason)) is not None:
            record.cache_cause = found.cause
            record.cache_explanation = found.explanation
            record.cache_missed_tokens = found.missed_tokens
            if found.missed_tokens:
                record.cache_miss_usd = self._prices.cost_of_miss(record, found.missed_tokens)
        ids = {now.request_id} | superseded(prompts, before)
        remaining = [each for each in kept if each.request_id not in ids]
        self._keep(key, [*remaining, newest][-MOST_OF_CONVERSATION:])

    def _keep(self, key: Key, prompts: list[KeptPrompt]) -> None:
        self._bytes += sum(len(each.fingerprint) for each in prompts)
        self._bytes -= sum(len(each.fingerprint) for each in self._kept.get(key, []))
        self._kept[key] = prompts
        self._kept.move_to_end(key)
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= sum(len(each.fingerprint) for each in gone)


def kept_prompt(record: AccessRecord) -> KeptPrompt:
    # The cache has a prompt from the moment at which the reply begins.
    waited_ms = record.duration_ms if record.first_byte_ms is None else record.first_byte_ms
    return KeptPrompt(
        record.fingerprint,
        record.request_id,
        record.model,
        record.billed_to,
        record.timestamp,
        record.timestamp + waited_ms / 1000,
        record.cache_read_tokens,
        record.cache_write_tokens,
        record.tokens_input,
    )


def superseded(prompts: list[SentPrompt], before: SentPrompt | None) -> set[str]:
    """Return the ids of the prompts that `before` continued: the next prompt continues `before`,
    or, if sent earlier than `before` and late to come, the prompt that `before` continued.
    """
    if before is None:
        return set()
    mine = before.fingerprint
    continued = [
        each
        for each in prompts
        if each.sent_at < before.sent_at
        and (each.model, each.fingerprint.tools, each.fingerprint.system)
        == (before.model, mine.tools, mine.system)
        and mine.messages[: len(each.fingerprint.messages)] == each.fingerprint.messages
    ]
    return {each.request_id for each in continued}

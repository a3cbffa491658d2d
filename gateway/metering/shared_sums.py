"""Sums in Redis to which several gateways add, each addition once, however often it is sent.

An addition has the id of its request. A script marks the id and adds to the sums in one step, and
Redis keeps the mark as long as a gateway may send the addition again. Redis may lose its last
second in a crash; its run has a new id then, and the additions of the last minutes are sent again.

Invariant: `sum` is never smaller than what this gateway added, and never shrinks while Redis does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.accounts.token_limits import SpentSums
from shared.bus import Bus

REPEATED_SECONDS = 300.0  # additions so old are sent again to a Redis that has started anew
COUNTED_SECONDS = 3600  # how long Redis knows a counted request; well above REPEATED_SECONDS
FORGET_SECONDS = 60.0  # between two looks for sums that have ended
KEPT_SECONDS = 86_400  # of a sum after its end, for the reader of yesterday's sums
MOST_ADDITIONS = 100_000  # about 40 MB; the pending sums stay complete beyond it

# A part of scripts: the id of this run of Redis, and the sums under the keys from `first` on.
ANSWER = """
local function answer(first)
  local found = {string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')}
  for place = first, #KEYS do
    found[#found + 1] = redis.call('HMGET', KEYS[place], 'usd', 'tokens', 'requests')
  end
  return found
end
"""
# KEYS: hashes of sums, or none.
READ = ANSWER + "return answer(1)"
# KEYS[1]: the mark of a counted request; KEYS[2 …]: hashes of sums. ARGV[1]: lifetime of the mark,
# [2]: millionths of a dollar, [3]: tokens, [4 …]: the end of each hash, UTC seconds.
COUNT = (
    ANSWER
    + """
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
  for place = 2, #KEYS do
    redis.call('HINCRBY', KEYS[place], 'usd', ARGV[2])
    redis.call('HINCRBY', KEYS[place], 'tokens', ARGV[3])
    redis.call('HINCRBY', KEYS[place], 'requests', 1)
    redis.call('EXPIREAT', KEYS[place], ARGV[place + 2])
  end
end
return answer(2)
"""
)

# Hashes of sums in Redis, with the UTC seconds at which each sum ends.
Keys = Mapping[str, float]


@dataclass(slots=True)
class Addition:
    """The sums of a request on their way to Redis. The stored sums include a repeated addition
    already.
    """

    request_id: str
    spent: SpentSums
    keys: Keys
    made_at: float
    is_sent: bool = False
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class StoredSum:
    """The sum under a key in the last answer of Redis."""

    spent: SpentSums
    ends_at: float


class SharedSums:
    """The sums as known to a gateway. `clock` returns UTC seconds."""

    def __init__(self, bus: Bus, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._clock = clock
        self._stored: dict[str, StoredSum] = {}
        self._additions: deque[Addition] = deque()  # of the last minutes, sent ones included
        self._unsent: deque[Addition] = deque()  # a sent one leaves once it is the oldest
        self._pending: dict[str, SpentSums] = {}  # sums of the additions that Redis has not heard
        self._run_id = b""
        self._forget_at = 0.0

    @property
    def unsent(self) -> int:
        """Return the number of additions still unknown to Redis."""
        return sum(not each.is_sent for each in self._unsent)

    def sum(self, key: str) -> SpentSums:
        """Return the sum under `key`: the last answer of Redis, and the additions still unknown to
        Redis.
        """
        return self._stored_sum(key).plus(self._pending.get(key, SpentSums()))

    def stored_sum(self, key: str) -> SpentSums | None:
        """Return the sum under `key` in the last answer of Redis; None before any answer."""
        stored = self._stored.get(key)
        return stored.spent if stored else None

    def unheard_sum(self, key: str) -> SpentSums:
        """Return the sum of this gateway's additions under `key` still unknown to Redis."""
        return self._pending.get(key, SpentSums())

    def knows(self, key: str) -> bool:
        """Return True until the sum under `key` has ended and is forgotten."""
        return key in self._stored or key in self._pending

    def add(self, request_id: str, spent: SpentSums, keys: Keys) -> None:
        """Add the amount spent by a request to the sums under `keys`; `send` tells Redis."""
        addition = Addition(request_id, spent, keys, self._clock())
        self._additions.append(addition)
        self._unsent.append(addition)
        for key in keys:
            self._pending[key] = self._pending.get(key, SpentSums()).plus(spent)

    def learn(self, keys: Keys, answer: list[bytes | list[bytes | None]]) -> None:
        """Take over `answer`, the end of a script's answer: a run id, then the sums."""
        run_id, *sums = answer
        for (key, ends_at), stored in zip(keys.items(), sums, strict=True):
            micro_usd, tokens, requests = (int(value or 0) for value in stored)
            # A sum only grows: a smaller one comes from a Redis that has lost its last second.
            known = self._stored_sum(key).at_least(SpentSums(micro_usd, tokens, requests))
            self._stored[key] = StoredSum(known, ends_at)
        if self._run_id and run_id != self._run_id:
            for each in self._additions:
                each.is_repeated = each.is_repeated or each.is_sent
                each.is_sent = False
            self._unsent = deque(self._additions)
        self._run_id = bytes(run_id)  # type: ignore[arg-type]

    async def read(self, keys: Keys) -> None:
        """Read the sums under `keys` from Redis. Raises BusUnavailable."""
        self.learn(keys, await self._bus.run_script(READ, list(keys)))

    async def send(self) -> None:
        """Send the additions still unknown to Redis, oldest first. Raises BusUnavailable; the next
        call sends the rest.
        """
        # As many as there are now: while more come all the time, the caller has other things to do.
        for _ in range(len(self._unsent)):
            # It stays in the queue until Redis has answered: a new run of Redis may refill the
            # queue meanwhile, and then the oldest is another one.
            addition = self._unsent[0]
            answer = await self._bus.run_script(
                COUNT,
                [mark_key(addition.request_id), *addition.keys],
                COUNTED_SECONDS,
                addition.spent.micro_usd,
                addition.spent.tokens,
                *(math.ceil(end + KEPT_SECONDS) for end in addition.keys.values()),
            )
            addition.is_sent = True
            if not addition.is_repeated:
                self._end_pending(addition)
            self.learn(addition.keys, answer)
            while self._unsent and self._unsent[0].is_sent:
                self._unsent.popleft()
            if not self._unsent:
                return

    async def look_at_run(self) -> None:
        """Ask for the run of Redis while an addition may have to be repeated. Raises
        BusUnavailable.
        """
        if self._additions:
            await self.read({})

    def forget_old(self) -> list[str]:
        """Forget sent additions too old to be repeated, and now and then the ended sums, whose keys
        are returned.
        """
        now = self._clock()
        while self._additions:
            oldest = self._additions[0]
            is_settled = oldest.is_sent and now - oldest.made_at > REPEATED_SECONDS
            if not is_settled and len(self._additions) <= MOST_ADDITIONS:
                break
            self._additions.popleft()
            if self._unsent and self._unsent[0] is oldest:
                self._unsent.popleft()
        # Every sum is looked at: at each request that would cost the more, the more tokens there
        # are.
        if now < self._forget_at:
            return []
        self._forget_at = now + FORGET_SECONDS
        ended = [key for key, each in self._stored.items() if each.ends_at + KEPT_SECONDS < now]
        for key in ended:
            del self._stored[key]
        return ended

    def _stored_sum(self, key: str) -> SpentSums:
        stored = self._stored.get(key)
        return stored.spent if stored else SpentSums()

    def _end_pending(self, addition: Addition) -> None:
        """Take an addition known to Redis out of the pending sums."""
        for key in addition.keys:
            self._pending[key] = self._pending[key].minus(addition.spent)
            if not self._pending[key].requests:
                del self._pending[key]


def mark_key(request_id: str) -> str:
    """Return Redis' key for the mark of a counted request."""
    return f"counted:{request_id}"

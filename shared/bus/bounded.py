"""Values kept in Redis for their owners, within a lifetime and a number of bytes per owner.

Every value is used or forgotten: reading a value renews its lifetime, and when an owner's values
pass the limit, the values unused for longest go first. A value may have aliases, further names that
lead to it and end with it. All of an owner's keys change in one step (Lua), so two gateways never
lose count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

# Functions every script begins with. KEYS[1]: sorted set of an owner's ids by last use (ms);
# KEYS[2]: hash of their sizes in bytes, whose field '' is the sum; ARGV[1]: prefix of the owner's
# values; ARGV[2]: prefix of the aliases; ARGV[3]: lifetime (ms); ARGV[4]: now (ms).
_FUNCTIONS = """
local function forget(id)
  local value = ARGV[1] .. id
  for alias in string.gmatch(redis.call('HGET', value, 'aliases') or '', '[^%z]+') do
    redis.call('DEL', ARGV[2] .. alias)
  end
  local size = redis.call('HGET', KEYS[2], id)
  if size then
    redis.call('HINCRBY', KEYS[2], '', -size)
    redis.call('HDEL', KEYS[2], id)
  end
  redis.call('ZREM', KEYS[1], id)
  return redis.call('DEL', value)
end
local function expire()
  local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[4] - ARGV[3])
  for _, id in ipairs(old) do forget(id) end
end
local function renew(id)
  local value = ARGV[1] .. id
  for alias in string.gmatch(redis.call('HGET', value, 'aliases') or '', '[^%z]+') do
    redis.call('PEXPIRE', ARGV[2] .. alias, ARGV[3])
  end
  redis.call('PEXPIRE', value, ARGV[3])
  redis.call('ZADD', KEYS[1], ARGV[4], id)
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
local function grow(id, added, limit)
  redis.call('HINCRBY', KEYS[2], id, added)
  redis.call('HINCRBY', KEYS[2], '', added)
  renew(id)
  while tonumber(redis.call('HGET', KEYS[2], '')) > limit do
    local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
    forget(oldest)
    if oldest == id then break end
  end
end
"""

# ARGV[5]: id, [6]: data, [7]: limit in bytes, [8]: size to count, [9 …]: aliases. Answers 1, or 0
# when the value alone passes the limit. The oldest values make room; an id that is there is
# replaced.
_PUT = (
    _FUNCTIONS
    + """
local id, limit, size = ARGV[5], tonumber(ARGV[7]), tonumber(ARGV[8])
expire()
forget(id)
if size > limit then return 0 end
while tonumber(redis.call('HGET', KEYS[2], '') or '0') + size > limit do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not oldest then break end
  forget(oldest)
end
local aliases = {}
for place = 9, #ARGV do
  aliases[#aliases + 1] = ARGV[place]
  redis.call('SET', ARGV[2] .. ARGV[place], id)
end
redis.call('HSET', ARGV[1] .. id, 'data', ARGV[6], 'aliases', table.concat(aliases, '\\0'))
redis.call('HSET', KEYS[2], id, size)
redis.call('HINCRBY', KEYS[2], '', size)
renew(id)
return 1
"""
)

# ARGV[5 …]: ids. Answers their values in order, false for an id that is not there.
_GET = (
    _FUNCTIONS
    + """
expire()
local found = {}
for place = 5, #ARGV do
  local data = redis.call('HGET', ARGV[1] .. ARGV[place], 'data')
  if data then renew(ARGV[place]) end
  found[#found + 1] = data
end
return found
"""
)

# ARGV[5 …]: aliases. Answers the ids they lead to.
_FIND = (
    _FUNCTIONS
    + """
local found = {}
for place = 5, #ARGV do found[#found + 1] = redis.call('GET', ARGV[2] .. ARGV[place]) end
return found
"""
)

# ARGV[5]: id, [6]: data, [7]: limit, [8]: bytes a new value costs beside its data. Answers the
# value's length.
_APPEND = (
    _FUNCTIONS
    + """
expire()
local id, value = ARGV[5], ARGV[1] .. ARGV[5]
local known = redis.call('HGET', value, 'data')
local added = known and #ARGV[6] or #ARGV[6] + tonumber(ARGV[8])
redis.call('HSET', value, 'data', (known or '') .. ARGV[6])
grow(id, added, tonumber(ARGV[7]))
return redis.call('HSTRLEN', value, 'data')
"""
)

# ARGV[5]: id, [6]: data, [7]: limit, [8]: the data that it replaces. Answers 1, or 0 when the value
# has other data by now.
_REPLACE = (
    _FUNCTIONS
    + """
expire()
local id, value = ARGV[5], ARGV[1] .. ARGV[5]
if redis.call('HGET', value, 'data') ~= ARGV[8] then return 0 end
redis.call('HSET', value, 'data', ARGV[6])
grow(id, #ARGV[6] - #ARGV[8], tonumber(ARGV[7]))
return 1
"""
)

_DELETE = _FUNCTIONS + "return forget(ARGV[5])"
# KEYS: the two keys of each owner in turn; ARGV[5 …]: the two prefixes of each owner in turn.
# Answers the number and the bytes of each owner's values, in turn.
_USES = (
    _FUNCTIONS
    + """
local keys, prefixes, found = {}, {}, {}
for place = 1, #KEYS do
  keys[place] = KEYS[place]
  prefixes[place] = ARGV[4 + place]
end
for place = 1, #keys, 2 do
  KEYS[1], KEYS[2] = keys[place], keys[place + 1]
  ARGV[1], ARGV[2] = prefixes[place], prefixes[place + 1]
  expire()
  found[place] = redis.call('ZCARD', KEYS[1])
  found[place + 1] = tonumber(redis.call('HGET', KEYS[2], '') or '0')
end
return found
"""
)

ENTRY_BYTES = 300  # what Redis spends on a value beside its data: keys, index, size
ALIAS_BYTES = 150


class Scripts(Protocol):
    """The part of the bus used by a BoundedStore."""

    async def run_script(self, script: str, keys: Sequence[str], *arguments: object) -> object:
        """Run a Lua script in one step and return the script's answer. Raises BusUnavailable."""


@dataclass(frozen=True, slots=True)
class Use:
    """An owner's share of a store."""

    values: int
    bytes: int


class BoundedStore:
    """The values called `name`: a value lives `lifetime` seconds after the last use, an owner's
    values have `limit` bytes.

    An owner's name must not contain a colon. Every method raises BusUnavailable.
    """

    def __init__(
        self,
        bus: Scripts,
        name: str,
        *,
        lifetime: float,
        limit: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._name = name
        self._lifetime_ms = int(lifetime * 1000)
        self._limit = limit

    async def put(self, owner: str, entry: str, data: bytes, aliases: Sequence[str] = ()) -> bool:
        """Store `data` under `entry` and the `aliases`. Return False, and store no byte, when
        `data` alone passes the limit.
        """
        size = len(data) + ENTRY_BYTES + ALIAS_BYTES * len(aliases)
        return bool(await self._run(_PUT, owner, entry, data, self._limit, size, *aliases))

    async def append(self, owner: str, entry: str, data: bytes) -> int:
        """Add `data` to the end of a value, which begins empty; the additions of two writers both
        stay. Return the bytes of the value's data; 0 when the value alone passes the limit, and is
        gone.
        """
        length = await self._run(_APPEND, owner, entry, data, self._limit, ENTRY_BYTES)
        assert isinstance(length, int)
        return length

    async def replace(self, owner: str, entry: str, before: bytes, data: bytes) -> bool:
        """Replace the data `before` of `entry` with `data`. Return False, and change no byte, when
        another writer was quicker, or the entry is gone.
        """
        return bool(await self._run(_REPLACE, owner, entry, data, self._limit, before))

    async def get(self, owner: str, entries: Sequence[str]) -> list[bytes | None]:
        """Return the data of `entries` in their order, None for an absent entry; renew the
        lifetimes.
        """
        if not entries:
            return []
        found = await self._run(_GET, owner, *entries)
        assert isinstance(found, list)
        return found

    async def find(self, owner: str, aliases: Sequence[str]) -> list[str | None]:
        """Return the entry of every alias in order, None for an alias without an entry."""
        if not aliases:
            return []
        found = await self._run(_FIND, owner, *aliases)
        assert isinstance(found, list)
        return [entry.decode() if entry else None for entry in found]

    async def delete(self, owner: str, entry: str) -> bool:
        """Delete `entry` and the aliases of `entry`. Return False when there was no such entry."""
        return bool(await self._run(_DELETE, owner, entry))

    async def uses(self, owners: Sequence[str]) -> dict[str, Use]:
        """Return the number and the bytes of the values of every owner, by a single question."""
        if not owners:
            return {}
        keys = [key for owner in owners for key in self._keys(owner)]
        prefixes = [prefix for owner in owners for prefix in self._prefixes(owner)]
        fixed = (*prefixes[:2], self._lifetime_ms, self._now_ms())
        found = await self._bus.run_script(_USES, keys, *fixed, *prefixes)
        assert isinstance(found, list)
        pairs = zip(found[::2], found[1::2], strict=True)
        return {owner: Use(*pair) for owner, pair in zip(owners, pairs, strict=True)}

    async def _run(self, script: str, owner: str, *arguments: object) -> object:
        fixed = (*self._prefixes(owner), self._lifetime_ms, self._now_ms())
        return await self._bus.run_script(script, self._keys(owner), *fixed, *arguments)

    def _keys(self, owner: str) -> tuple[str, str]:
        return f"{self._name}:{owner}:index", f"{self._name}:{owner}:sizes"

    def _prefixes(self, owner: str) -> tuple[str, str]:
        return f"{self._name}:{owner}:value:", f"{self._name}:{owner}:alias:"

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

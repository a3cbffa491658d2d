"""The store of managed agents, environments and sessions: JSON objects in Redis, in collections of
one owner each.

Invariants: an object changes only from the very bytes that its writer has read, so of two writers
one begins again. All of an owner's objects share one limit of bytes, and no object is dropped to
make room: a write beyond the limit fails. An object unused for its lifetime ends.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.runtime.errors import ClientError, Conflict, NotFound, TooLarge
from shared.runtime.exact_json import dump_json, load_json

DAY_SECONDS = 86_400
# Claude Code keeps transcripts for 30 days: an older session could not be continued.
SESSION_SECONDS = 30 * DAY_SECONDS
LONG_SECONDS = 366 * DAY_SECONDS  # of agents and environments, from their last use
BATCH = 100  # objects read from Redis at once while a page is filled
CREATED = re.compile("[0-9]{1,20}")  # the time of an object's creation, in a cursor
OWNERS = "managed:owners"
TRIES = 20  # of a change that other writers come before

# KEYS[1]: hash of an owner's sizes, whose field '' is the sum; then two keys for each object: the
# value, the index of its collection. ARGV[1]: limit in bytes, [2]: lifetime of the sizes (ms); then
# seven for each object: id, score, lifetime (ms), most objects of the collection, `any`, `none` or
# `is`, the data before, the new data. Answers 1 done, 0 changed by another writer, -1 the
# collection is full, -2 the owner's bytes are used up.
WRITE = """
local objects = (#KEYS - 1) / 2
local grown = 0
for number = 1, objects do
  local value, index, at = KEYS[number * 2], KEYS[number * 2 + 1], number * 7 - 4
  local known = redis.call('GET', value)
  if ARGV[at + 4] == 'none' and known then return 0 end
  if ARGV[at + 4] == 'is' and known ~= ARGV[at + 5] then return 0 end
  if not known and redis.call('ZCARD', index) >= tonumber(ARGV[at + 3]) then return -1 end
  grown = grown + #ARGV[at + 6] - (known and #known or 0)
end
local sum = tonumber(redis.call('HGET', KEYS[1], '') or '0')
if grown > 0 and sum + grown > tonumber(ARGV[1]) then return -2 end
for number = 1, objects do
  local value, index, at = KEYS[number * 2], KEYS[number * 2 + 1], number * 7 - 4
  redis.call('SET', value, ARGV[at + 6], 'PX', ARGV[at + 2])
  redis.call('ZADD', index, 'NX', ARGV[at + 1], ARGV[at])
  redis.call('PEXPIRE', index, ARGV[2])
  redis.call('HSET', KEYS[1], value, #ARGV[at + 6])
end
redis.call('HINCRBY', KEYS[1], '', grown)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
# KEYS[1]: value. ARGV[1]: lifetime (ms). Answers the value, and renews its lifetime.
READ = """
local found = redis.call('GET', KEYS[1])
if found then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return found
"""
# KEYS[1]: sizes, [2]: index. ARGV[1]: prefix of the values, [2]: 1 for the oldest first, [3]: the
# bound of the scores, [4]: most objects. Answers id, score and value in turn. An object that has
# ended leaves the index and the sizes here.
PAGE = """
local found, bound = {}, ARGV[3]
local ids = ARGV[2] == '1'
  and redis.call('ZRANGEBYSCORE', KEYS[2], bound, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
  or redis.call('ZREVRANGEBYSCORE', KEYS[2], bound, '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
for place = 1, #ids, 2 do
  local value = ARGV[1] .. ids[place]
  local data = redis.call('GET', value)
  if not data then
    redis.call('ZREM', KEYS[2], ids[place])
    local size = redis.call('HGET', KEYS[1], value)
    if size then
      redis.call('HINCRBY', KEYS[1], '', -size)
      redis.call('HDEL', KEYS[1], value)
    end
  end
  found[#found + 1] = ids[place]
  found[#found + 1] = ids[place + 1]
  found[#found + 1] = data
end
return found
"""
# KEYS[1]: sizes, [2]: value, [3]: index, [4 …]: further keys that end with the object. ARGV[1]: id,
# [2]: the data before. Answers 1, or 0 when the object has changed.
DELETE = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[3], ARGV[1])
for place = 2, #KEYS do
  if place ~= 3 then
    redis.call('DEL', KEYS[place])
    local size = redis.call('HGET', KEYS[1], KEYS[place])
    if size then
      redis.call('HINCRBY', KEYS[1], '', -size)
      redis.call('HDEL', KEYS[1], KEYS[place])
    end
  end
end
return 1
"""
# KEYS[1]: owners. ARGV[1]: an owner, [2]: lifetime (ms) from the last one.
ADD_OWNER = """
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""


class RedisScripts(Protocol):
    """The part of the bus used to store managed agents."""

    async def run_script(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a Lua script in one step and return the script's answer. Raises BusUnavailable."""


@dataclass(frozen=True, slots=True)
class Collection:
    """The objects of a kind: `what` names an object for people, `most` is the largest number of
    objects per owner, `lifetime` counts in seconds from the last use.
    """

    name: str
    what: str
    most: int
    lifetime: float


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, open to changes, and its bytes as stored in Redis."""

    object: dict[str, Any]
    data: bytes


@dataclass(frozen=True, slots=True)
class Put:
    """A new value of an object. `before` is the replaced value; None for a new object."""

    collection: Collection
    object_id: str
    value: dict[str, Any]
    before: bytes | None = None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object of a page, with the cursor for the page behind the object."""

    object: dict[str, Any]
    cursor: str


class ManagedObjects:
    """The collections of every owner. An owner may store `limit` bytes, events of sessions
    included.
    """

    def __init__(self, bus: RedisScripts, *, limit: int) -> None:
        self.bus = bus
        self.limit = limit

    async def create(self, owner: str, *puts: Put) -> None:
        """Store new objects in a single step. Raises TooLarge, ClientError past a limit."""
        if not await self.write(owner, *puts):
            raise Conflict("An object with this id exists already.")

    async def add_owner(self, owner: str) -> None:
        """Note that `owner` has sessions, for the list of all of them."""
        await self.bus.run_script(ADD_OWNER, [OWNERS], owner, SESSION_SECONDS * 1000)

    async def owners(self) -> list[str]:
        """Return everybody who has sessions, or had some."""
        found = await self.bus.run_script("return redis.call('SMEMBERS', KEYS[1])", [OWNERS])
        return sorted(owner.decode() for owner in found)

    async def write(self, owner: str, *puts: Put) -> bool:
        """Store `puts` in a single step. Return False, and store none, if an object has changed
        since the last read. Raises TooLarge past the owner's bytes, ClientError for a full
        collection.
        """
        keys = [sizes_key(owner)]
        arguments: list[Any] = []
        for put in puts:
            keys += [
                value_key(owner, put.collection, put.object_id),
                index_key(owner, put.collection),
            ]
            arguments += [
                put.object_id,
                time.time_ns() // 1000,
                int(put.collection.lifetime * 1000),
                put.collection.most,
                "none" if put.before is None else "is",
                put.before or b"",
                dump_json(put.value),
            ]
        done = await self.bus.run_script(WRITE, keys, self.limit, LONG_SECONDS * 1000, *arguments)
        if done == -1:
            full = puts[0].collection
            raise ClientError(
                f"There are {full.most} {full.what}s of this token already, the most that are "
                "kept here; delete some first."
            )
        if done == -2:
            raise TooLarge(storage_full(self.limit))
        return bool(done)

    async def find(self, owner: str, collection: Collection, object_id: str) -> StoredObject | None:
        """Return an object, and renew the object's lifetime; None for an unknown id."""
        data = await self.bus.run_script(
            READ, [value_key(owner, collection, object_id)], int(collection.lifetime * 1000)
        )
        return StoredObject(load_json(data), data) if data else None

    async def stored(self, owner: str, collection: Collection, object_id: str) -> StoredObject:
        """Return an object as `find` does. Raises NotFound for an unknown id."""
        found = await self.find(owner, collection, object_id)
        if found is None:
            raise NotFound(f"No {collection.what} has the id {object_id!r}.")
        return found

    async def delete(
        self,
        owner: str,
        collection: Collection,
        object_id: str,
        before: bytes,
        also: Sequence[str] = (),
    ) -> bool:
        """Delete an object and the keys `also`. Return False if the object has changed since the
        last read.
        """
        keys = [
            sizes_key(owner),
            value_key(owner, collection, object_id),
            index_key(owner, collection),
            *also,
        ]
        return bool(await self.bus.run_script(DELETE, keys, object_id, before))

    async def walk(
        self, owner: str, collection: Collection, *, after: str | None, oldest_first: bool
    ) -> AsyncIterator[ListedObject]:
        """Yield the objects behind the cursor `after`, in the order of creation. Raises ClientError
        for an invalid cursor.
        """
        score, last = "-inf" if oldest_first else "+inf", ""
        if after:
            score, last = read_cursor(after, CREATED)
        prefix = value_key(owner, collection, "")
        while True:
            # One more than a batch: the object of the cursor itself is found again.
            answer = await self.bus.run_script(
                PAGE,
                [sizes_key(owner), index_key(owner, collection)],
                prefix,
                int(oldest_first),
                score,
                BATCH + 1,
            )
            rows = [
                (answer[place].decode(), answer[place + 1].decode(), answer[place + 2])
                for place in range(0, len(answer), 3)
            ]
            for name, at, data in rows:
                if name == last:
                    continue
                if data:
                    yield ListedObject(load_json(data), write_cursor(at, name))
            if len(rows) <= BATCH:
                return
            last, score, _ = rows[-1]


def storage_full(limit: int) -> str:
    return (
        f"The managed agents and sessions of this token use the {limit:,} bytes that are kept for "
        "them (SDK__MAX_MANAGED_BYTES); delete sessions that are no longer needed."
    )


def sizes_key(owner: str) -> str:
    return f"managed:{owner}:sizes"


def value_key(owner: str, collection: Collection, object_id: str) -> str:
    return f"managed:{owner}:{collection.name}:value:{object_id}"


def index_key(owner: str, collection: Collection) -> str:
    return f"managed:{owner}:{collection.name}:index"


def write_cursor(*parts: str) -> str:
    """Return the place of an object in a list as an opaque text."""
    return base64.urlsafe_b64encode(" ".join(parts).encode()).decode().rstrip("=")


def read_cursor(cursor: str, place: re.Pattern[str]) -> tuple[str, str]:
    """Return the two parts of a cursor, the first in the form `place`. Raises ClientError."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        first, name = text.split(" ")
    except (binascii.Error, ValueError):
        first = name = ""
    if not place.fullmatch(first):
        raise ClientError("page: this is no cursor of this list.", param="page")
    return first, name

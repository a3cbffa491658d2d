"""Pages of stored objects, in the vendor's shape: `data`, and `next_page` behind a page that is not
the last.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from fastapi import Query

from gateway.managed.objects import ListedObject
from shared.formats.ir import Json
from shared.runtime.errors import ClientError

LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ID_LENGTH = 22  # 128 bits and more, in base 58
USUAL_PAGE = 20
LARGEST_PAGE = 100

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
Cursor = Annotated[str | None, Query(max_length=512)]
Time = Annotated[str | None, Query(max_length=64)]


def new_id(prefix: str) -> str:
    """Return a new unguessable id, such as `agent_3kTMd…`."""
    return prefix + "_" + "".join(secrets.choice(LETTERS) for _ in range(ID_LENGTH))


def time_now() -> str:
    """Return the present as in the vendor's objects, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_time(name: str, text: str | None) -> datetime | None:
    """Return the time in the query parameter `name`. Raises ClientError."""
    if text is None:
        return None
    try:
        # A `+` of an offset that was not escaped arrives as a space.
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise ClientError(f"{name}: {text!r} is no time in ISO 8601.", param=name) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def time_filter(
    *,
    gt: str | None = None,
    gte: str | None = None,
    lt: str | None = None,
    lte: str | None = None,
    field: str = "created_at",
) -> Callable[[Json], bool]:
    """Return a filter of objects by the time in `field`. Raises ClientError for an invalid time."""
    after, from_ = read_time("created_at[gt]", gt), read_time("created_at[gte]", gte)
    before, until = read_time("created_at[lt]", lt), read_time("created_at[lte]", lte)
    if (after or from_ or before or until) is None:
        return lambda _: True

    def fits(found: Json) -> bool:
        if not found.get(field):
            return False
        at = datetime.fromisoformat(found[field])
        return (
            (after is None or at > after)
            and (from_ is None or at >= from_)
            and (before is None or at < before)
            and (until is None or at <= until)
        )

    return fits


async def page_of_found(
    found: AsyncIterator[ListedObject], limit: int, wanted: Callable[[Json], bool]
) -> Json:
    """Return the first `limit` of the `wanted` objects, and the cursor of the next page."""
    data: list[Json] = []
    last = ""
    generator = cast("Any", found)
    async with aclosing(generator):
        async for each in found:
            if not wanted(each.object):
                continue
            # One object beyond the page shows that there is a page behind it.
            if len(data) == limit:
                return {"data": data, "next_page": last}
            data.append(each.object)
            last = each.cursor
    return {"data": data, "next_page": None}

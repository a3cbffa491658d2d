"""The download of a published price list. Loaded by the first download, because few owners ever ask
for one.
"""

from __future__ import annotations

from typing import Any

import httpx

FETCH_SECONDS = 30.0


async def download(url: str) -> Any:
    """Return the JSON document at `url`. Raises OSError when there is none, ValueError for another
    content.
    """
    try:
        async with httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=True) as client:
            answer = await client.get(url)
            return answer.raise_for_status().json()
    except httpx.HTTPError as error:
        raise ConnectionError(str(error) or type(error).__name__) from error

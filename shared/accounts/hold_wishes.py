"""How the requests of a token wait: their wish to be held, and their priority in a queue.

A wish to be held says how long a request may wait until a limit that refuses it is reset. It is
one of three texts: `until-reset`, `no`, or the longest wait as a span such as `30m`. The
same texts stand in the header of a request and in the file of named tokens. Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator

from shared.runtime.times import read_span

UNTIL_RESET = "until-reset"
NO_HOLD = "no"
HOLD_EXAMPLES = f"write {UNTIL_RESET}, {NO_HOLD}, or the longest wait as 90s, 30m or 5h"


def hold_seconds(text: str) -> float:
    """Return the longest wait that the wish `text` asks for: infinite for `until-reset`, 0 for no
    wait. Raises ValueError with examples for any other text.
    """
    wish = text.strip().lower()
    if wish == UNTIL_RESET:
        return math.inf
    if wish in ("", NO_HOLD):
        return 0.0
    seconds = float(wish[:-1]) if wish.endswith("s") and wish[:-1].isdecimal() else read_span(wish)
    if not seconds:
        raise ValueError(f"{text!r} is no wish to be held: {HOLD_EXAMPLES}.")
    return seconds


def usable_hold(text: str) -> str:
    """Return a token's wish in the form kept in the file of tokens; an empty text for no wish.
    Raises ValueError for a text that is no wish.
    """
    return text.strip().lower() if hold_seconds(text) else ""


TokenHold = Annotated[str, AfterValidator(usable_hold)]
TokenPriority = Literal["person", "ordinary", "background"]

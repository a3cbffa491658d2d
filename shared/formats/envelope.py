"""One vendor's sealed reasoning, carried through another vendor's field and back unchanged.

An envelope is `ccpx1:` and the base64 of a JSON list. It is no signature: writers for the vendor
that sealed the reasoning unwrap it, writers for any other leave foreign reasoning out.
"""

from __future__ import annotations

import base64
import binascii
import json

from shared.formats.ir import Thinking

MARK = "ccpx1"
PREFIX = f"{MARK}:"
OWN_SEARCH = f"srvtoolu_{MARK}_"
"""How the id of a search begins that another vendor ran and we show to Anthropic's clients."""


def wrap(thinking: Thinking) -> str:
    """Return all of `thinking` as a line of ASCII; `unwrap` is the inverse."""
    fields = [thinking.vendor, thinking.id, thinking.signature, thinking.redacted, thinking.text]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return PREFIX + base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


def unwrap(sealed: str) -> Thinking | None:
    """Return the thinking inside `sealed`, or None if `sealed` is no envelope of `wrap`."""
    if not sealed.startswith(PREFIX):
        return None
    try:
        fields = json.loads(
            base64.b64decode(sealed[len(PREFIX) :], validate=True).decode("utf-8", "surrogatepass")
        )
    except (binascii.Error, ValueError):
        return None
    # Anybody can write an envelope, so its content is checked like any other input.
    match fields:
        case [
            "anthropic" | "openai" as vendor,
            str(id_),
            str(signature),
            bool(redacted),
            str(text),
        ]:
            return Thinking(text, signature, vendor, id_, redacted)
    return None

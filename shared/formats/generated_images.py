"""Images that a model made: OpenAI's `image_generation_call`, and the `images` in which Chat
clients know them.

Chat Completions has no field for an image in a reply. OpenRouter and LiteLLM put them into `images`
of the message, as `image_url` parts with `data:` URLs, and clients read them there.
"""

from __future__ import annotations

import re
from hashlib import sha256

from shared.formats import ir

IMAGE_TOOL = "image_generation"
IMAGE_CALL = "image_generation_call"
_TYPES = {"jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif", "svg": "image/svg+xml"}
_BEGINNINGS = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,(?P<data>[A-Za-z0-9+/=]+)")


def image_url_of(part: ir.ReplyPart) -> str:
    """Return the `data:` URL of an image made by a model; "" for any other part."""
    if (
        not isinstance(part, ir.Opaque)
        or part.vendor != "openai"
        or part.data.get("type") != IMAGE_CALL
    ):
        return ""
    data = part.data.get("result")
    if not isinstance(data, str) or not data:
        return ""
    told = _TYPES.get(str(part.data.get("output_format")), "image/png")
    kind = next(
        (kind for beginning, kind in _BEGINNINGS.items() if data.startswith(beginning)), told
    )
    return f"data:{kind};base64,{data}"


def image_call_of(url: str) -> ir.Opaque | None:
    """Return the call for the image at a `data:` URL, in the form accepted by the image's maker;
    None for any other URL.

    The same image is always the same call: a longer conversation begins as the shorter one did.
    """
    found = _DATA_URL.fullmatch(url)
    if found is None:
        return None
    data = found["data"]
    name = f"ig_{sha256(data.encode()).hexdigest()[:32]}"
    return ir.Opaque(
        "openai", {"type": IMAGE_CALL, "id": name, "status": "completed", "result": data}
    )

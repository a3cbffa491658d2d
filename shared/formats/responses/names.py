"""Names and ids as OpenAI takes them. The same name always becomes the same, and two names never
become one.
"""

from __future__ import annotations

import re
from hashlib import sha256

LONGEST_NAME = 64
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def short_name(name: str) -> str:
    """A name or id no longer than OpenAI takes: always the same one, and another for
    another name.
    """
    if len(name) <= LONGEST_NAME:
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}_{digest}"


def openai_name(name: str) -> str:
    """Return a tool's name as allowed by OpenAI's pattern; a changed name stays distinct by a hash
    of the old name.
    """
    if _NAME.fullmatch(name):
        return short_name(name)
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^a-zA-Z0-9_-]', '_', name)[: LONGEST_NAME - len(digest) - 1]}_{digest}"

"""Every target of the search, by its name."""

from __future__ import annotations

from tests.fuzz.targets.asking import ASKING, PROGRAM
from tests.fuzz.targets.bus import BUS
from tests.fuzz.targets.event_streams import EVENT_STREAMS
from tests.fuzz.targets.files import FILES
from tests.fuzz.targets.replies import CLAUDE_REPLIES, CODEX_REPLIES
from tests.fuzz.targets.requests import REQUESTS
from tests.fuzz.targets.rules import PERMISSION_RULES

EVERY = (
    EVENT_STREAMS,
    CLAUDE_REPLIES,
    CODEX_REPLIES,
    BUS,
    PERMISSION_RULES,
    REQUESTS,
    ASKING,
    PROGRAM,
    FILES,
)
TARGETS = {target.name: target for target in EVERY}

"""The channel of the news that a managed session has become idle: its turn is done or has failed,
or it waits for an answer.

A report is written to the channel by the very step that logs its event
(gateway/managed/journal.py), so an end is never without its report, whichever process dies. The
permission service makes notifications of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.bus.channels import Channel
from shared.bus.wire import channel_key

SESSION_REPORTS = Channel("session:report", "when_done", max_length=10_000)
REPORTS_KEY = channel_key(SESSION_REPORTS)  # for the step, which is a script of Redis

SessionOutcome = Literal["done", "failed", "waits"]


@dataclass(frozen=True, slots=True)
class SessionReport:
    """The news of a managed session. `id` is the id of the event in the session's log, and the same
    in every repetition. `caller` is the name of the session's token, or "" without tokens. `agent`,
    `title` and `folder` describe the session; `text` has the agent's last words or the error. `at`
    is in UTC seconds.

    `is_for_person` is False for news that concerns programs alone: a client follows the session
    or has stopped the turn, more messages wait for their turn, or a permission request tells the
    person already.
    """

    id: str
    session_id: str
    caller: str
    outcome: SessionOutcome
    at: float
    agent: str = ""
    title: str = ""
    folder: str = ""
    text: str = ""
    is_for_person: bool = True

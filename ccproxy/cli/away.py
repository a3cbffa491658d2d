"""`ccproxy away`: shows and changes the owner's presence, which decides if the hooks of agents wait
for a person.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, USAGE
from ccproxy.cli.gateway import checked, connection
from ccproxy.cli.output import show_json, show_line
from shared.runtime.times import read_span
from shared.settings.tree import load_settings

FORMS = "Write `on`, `off`, `for 2h`, `daily 22:00-07:00` or `daily off`."


def show_presence(words: list[str], *, as_json: bool) -> int:
    """Change the presence as `words` say, if there are any, show it, and return the exit code.

    Raises Unanswered.
    """
    change = read_change(words)
    if words and change is None:
        say(f"{' '.join(words)!r} is not understood. {FORMS}")
        return USAGE
    with connection(load_settings()) as client:
        if change is None:
            answer = checked(client.get("/permissions/away")).json()
        else:
            answer = checked(client.post("/permissions/away", json=change)).json()
    if as_json:
        show_json(answer)
    else:
        show_line(in_words(answer))
    return DONE


def read_change(words: list[str]) -> dict[str, Any] | None:
    """Return the change for `POST /permissions/away`; None for words that mean none."""
    match words:
        case ["on" | "off" as state]:
            return {"state": state}
        case ["for", span] if (seconds := read_span(span)) is not None:
            return {"state": "for", "seconds": seconds}
        case ["daily", "off"]:
            return {"state": "daily", "window": ""}
        case ["daily", window]:
            return {"state": "daily", "window": window}
    return None


def in_words(state: dict[str, Any]) -> str:
    """Return the presence as a sentence, with times of this machine's clock."""
    until = f" until {local_time(state['until'])}" if state["until"] else ""
    if state["away"]:
        sentence = f"Away{until}: hooks of Claude Code and Codex wait for your answer here."
    elif state["asks"] == "watched":
        sentence = f"At the desk{until}: hooks wait for your answer while somebody watches."
    else:
        sentence = f"At the desk{until}: Claude Code and Codex ask in their own terminals."
    if state["window"]:
        sentence += f" Away every day {state['window']}."
    return sentence


def local_time(iso: str) -> str:
    """Return an ISO 8601 time for a person, in this machine's local time."""
    return datetime.fromisoformat(iso).astimezone().strftime("%a %H:%M")

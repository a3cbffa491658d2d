"""News beside permission requests, as sentences: alerts, agents that wait or are done, and the
owner's presence and profiles. Pure.
"""

from __future__ import annotations

from typing import Any

from ccproxy.cli.away import in_words
from ccproxy.cli.permissions.feed import FeedEvent

WAITING = "Waiting for prompts."
DOES = {"done": "is done", "failed": "has failed"}


def sentence_of(event: FeedEvent) -> str:
    """Return an `alert`, a `notice`, a `presence` or a change of `profiles` as a sentence."""
    if event.name == "presence":
        return in_words(event.data)
    if event.name == "profiles":
        names = ", ".join(event.data["in_force"]) or "none"
        return f"Profiles in force: {names} (by {event.data.get('by') or 'the rules file'})."
    data = event.data
    if event.name == "alert":
        return " ".join(part for part in (f"{data['title']}.", data.get("text")) if part)
    program = data.get("program") or "An agent"
    places = [data.get("machine") and f"on {data['machine']}", data.get("folder")]
    where = ", ".join(place for place in places if place)
    does = DOES.get(data.get("kind", ""), "waits for you")
    text = f": {data['text']}" if data.get("text") else "."
    return f"{program} {does}" + (f" ({where})" if where else "") + text


def idle_status(presence: dict[str, Any] | None, profiles: dict[str, Any] | None) -> str:
    """Return the line for a terminal without a request. `presence` and `profiles` are None until
    they are known.
    """
    status = WAITING
    if presence is not None and presence["away"]:
        status += " Away: hooks wait for you (w: back)."
    elif presence is not None:
        status += " At the desk (w: away)."
    if profiles is not None:
        status += f" {profiles_in_words(profiles)} (p: switch)."
    return status


def profiles_in_words(state: dict[str, Any]) -> str:
    """Return the profiles in force, as `Profiles: coding`."""
    names = [profile["name"] for profile in state["profiles"] if profile["in_force"]]
    return f"Profiles: {', '.join(names) or 'none'}"

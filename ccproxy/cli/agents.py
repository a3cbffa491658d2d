"""`ccproxy agents`: managed agents at work. Starts sessions, lists, follows and stops them.

A session works on its own: a command that ends, or is ended by Ctrl-C, leaves it at work. A token
with the scope `admin` sees the sessions of every token, and may follow and stop them; any other
token its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Annotated, Any

import httpx
import typer

from ccproxy.cli.agents_view import (
    AGENT_COLUMNS_STORED,
    SESSION_COLUMNS_OF_AGENTS,
    SPARE_OF_MANAGED,
    end_of_turn,
    session_event_line,
    session_rows_of_agents,
    stored_agent_rows,
)
from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.found_stack import FoundStack, find_stack
from ccproxy.cli.gateway import Unanswered, checked, connection_to
from ccproxy.cli.output import show_json, show_line, show_table
from ccproxy.cli.permissions.feed import EventFeed
from ccproxy.cli.stack_options import with_stack
from shared.settings.tree import load_settings

app = command_group("agents")

Facts = dict[str, Any]

CALLER_HEADER = "x-ccproxy-caller"
BEGINNING = "0-0"  # the id before the first event of a session
PAGE = 100  # the most that one page has
MOST_SESSIONS_LISTED = 1000
COST_HOURS = 30 * 24  # a session ends 30 days after its last use
SessionId = Annotated[
    str, typer.Argument(help="The session's id, or its beginning.", show_default=False)
]


@app.callback()
def agents_group() -> None:
    """Run managed agents, and follow or stop their sessions."""


@app.command("list")
@with_stack
def list_managed_sessions(
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST_SESSIONS_LISTED, help="Most sessions.")
    ] = 20,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the sessions of managed agents, the newest first.

    With the scope admin those of every token, else your own.
    """
    with connection_to(find_stack(load_settings())) as client:
        sessions = ask_managed_sessions(client, limit, archived=archived)
        costs = ask_costs(client) if sessions else {}
    if as_json:
        show_json([session | {"cost_usd": costs.get(session["id"])} for session in sessions])
    elif not sessions:
        say("There is no session; `ccproxy agents run AGENT` begins one.")
    else:
        rows = session_rows_of_agents(sessions, costs, time.time())
        show_table(
            SESSION_COLUMNS_OF_AGENTS, rows, titled=True, spare=SPARE_OF_MANAGED, cut=("SESSION",)
        )


@app.command("stored")
@with_stack
def list_stored_agents(as_json: AsJson = False) -> None:
    """List the agents that your token has stored."""
    with connection_to(find_stack(load_settings())) as client:
        agents = all_pages(client, "/sdk/v1/agents")
    if as_json:
        show_json(agents)
    elif not agents:
        say("There is no stored agent; `client.beta.agents.create` of the SDK makes one.")
    else:
        rows = stored_agent_rows(agents, time.time())
        show_table(AGENT_COLUMNS_STORED, rows, titled=True, spare=("CHANGED", "VERSION"))


@app.command("run")
@with_stack
def run_agent(
    agent: Annotated[str, typer.Argument(help="The agent's id or name.", show_default=False)],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="The first message.")],
    folder: Annotated[
        str | None,
        typer.Option("--folder", help="Where tools act; default: the product's own folder."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="A title for the session.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not follow it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin a session, and follow it to the end of its turn.

    The exit code is 1 if the turn fails. Ctrl-C leaves it at work.
    """
    stack = find_stack(load_settings())
    with connection_to(stack) as client:
        session = begin_session(client, agent, prompt, folder, title)
    if detach:
        if as_json:
            show_json(session)
        else:
            show_line(session["id"])
            say("It works; `ccproxy agents follow` shows it.")
        return
    say(f"Session {session['id']}")
    raise typer.Exit(follow(stack, session, as_json=as_json, until_done=True))


@app.command("follow")
@with_stack
def follow_session(
    session_id: SessionId,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End with the turn: 1 if it failed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a session's events, those so far and the next.

    It goes on after a cut connection. Ctrl-C leaves the session at work.
    """
    stack = find_stack(load_settings())
    with connection_to(stack) as client:
        session = found_session(client, session_id)
    raise typer.Exit(follow(stack, session, as_json=as_json, until_done=until_done))


@app.command("stop")
@with_stack
def stop_session(session_id: SessionId) -> None:
    """Interrupt the turn of a session.

    The session stays usable. A message that waits has its turn next.
    """
    with connection_to(find_stack(load_settings())) as client:
        session = found_session(client, session_id)
        if session["status"] == "idle" and not session.get("waits", True):
            say(f"The session {session['id']} is idle: nothing runs.")
            return
        body = {"events": [{"type": "user.interrupt"}]}
        address = f"/sdk/v1/sessions/{session['id']}/events"
        checked(client.post(address, json=body, headers=caller_header(session)))
    say(f"The turn of the session {session['id']} ends.")


def ask_managed_sessions(client: httpx.Client, limit: int, *, archived: bool) -> list[Facts]:
    """Return the newest sessions of every token, or, without the right to see these, the newest
    of the caller's own. Raises Unanswered.
    """
    wanted: Facts = {"limit": limit, "include_archived": archived}
    answer = client.get("/sdk/sessions/managed", params=wanted)
    if answer.status_code == httpx.codes.FORBIDDEN:
        return all_pages(client, "/sdk/v1/sessions", limit, include_archived=archived)
    sessions: list[Facts] = checked(answer).json()["sessions"]
    return sessions


def all_pages(
    client: httpx.Client, address: str, most: int = MOST_SESSIONS_LISTED, **wanted: Any
) -> list[Facts]:
    """Return up to `most` objects of a list of managed agents. Raises Unanswered."""
    found: list[Facts] = []
    cursor: Facts = {}
    while len(found) < most:
        asked = wanted | cursor | {"limit": min(PAGE, most - len(found))}
        page = checked(client.get(address, params=asked)).json()
        found += page["data"]
        if not page.get("next_page"):
            break
        cursor = {"page": page["next_page"]}
    return found


def ask_costs(client: httpx.Client) -> dict[str, float | None]:
    """Return the dollars by list price of each session in the records; nothing where these cannot
    be had.
    """
    wanted = {"hours": COST_HOURS, "limit": MOST_SESSIONS_LISTED}
    answer = client.get("/logs/sessions", params=wanted)
    if answer.is_error:
        return {}
    return {each["session_id"]: each["cost_usd"] for each in answer.json()["results"]}


def found_session(client: httpx.Client, beginning: str) -> Facts:
    """Return the only session whose id is or begins with `beginning`. Raises Unanswered."""
    beginning = beginning.rstrip("…")
    sessions = ask_managed_sessions(client, MOST_SESSIONS_LISTED, archived=True)
    found = [each for each in sessions if each["id"].startswith(beginning)]
    whole = [each for each in found if each["id"] == beginning] or found
    if len(whole) > 1:
        raise Unanswered(f"{len(whole)} sessions begin with {beginning!r}; give more of the id.")
    if not whole:
        raise Unanswered(f"No session is {beginning!r}; `ccproxy agents list` shows them.")
    return whole[0]


def caller_header(session: Facts) -> dict[str, str]:
    """Return the header that names the token of a session, in a list of every token's."""
    return {CALLER_HEADER: session["caller"]} if "caller" in session else {}


def begin_session(
    client: httpx.Client, agent: str, prompt: str, folder: str | None, title: str | None
) -> Facts:
    """Begin a session with a first message, and return it. Raises Unanswered."""
    body = {
        "agent": found_agent(client, agent)["id"],
        "environment_id": environment_of(client, folder)["id"],
        "initial_events": [{"type": "user.message", "content": [{"type": "text", "text": prompt}]}],
    }
    named = {"title": title} if title else {}
    session: Facts = checked(client.post("/sdk/v1/sessions", json=body | named)).json()
    return session


def found_agent(client: httpx.Client, named: str) -> Facts:
    """Return the only stored agent with this id or name. Raises Unanswered."""
    agents = all_pages(client, "/sdk/v1/agents")
    found = [each for each in agents if named in (each["id"], each["name"])]
    if len(found) > 1:
        ids = ", ".join(each["id"] for each in found)
        raise Unanswered(f"{len(found)} agents have the name {named!r}; give an id: {ids}.")
    if not found:
        raise Unanswered(f"No agent is {named!r}; `ccproxy agents stored` shows them.")
    return found[0]


def environment_of(client: httpx.Client, folder: str | None) -> Facts:
    """Return the environment with this folder, a new one if there is none. Raises Unanswered for a
    folder that the stack does not allow.
    """
    cwd = None if folder is None else os.path.abspath(os.path.expanduser(folder))
    for known in all_pages(client, "/sdk/v1/environments"):
        if known["metadata"].get("cwd") == cwd:
            return known
    name = "workspace" if cwd is None else cwd[-200:]
    body = {"name": name, "metadata": {} if cwd is None else {"cwd": cwd}}
    environment: Facts = checked(client.post("/sdk/v1/environments", json=body)).json()
    return environment


def follow(stack: FoundStack, session: Facts, *, as_json: bool, until_done: bool) -> int:
    """Print the events of a session until it is deleted, or, with `until_done`, until the turn of
    its last message has ended; return the exit code. Raises Unanswered.
    """
    try:
        return asyncio.run(print_events(stack, session, as_json=as_json, until_done=until_done))
    except KeyboardInterrupt:
        say(f"The session goes on; `ccproxy agents follow {session['id']}` shows it again.")
        return DONE


async def print_events(
    stack: FoundStack, session: Facts, *, as_json: bool, until_done: bool
) -> int:
    """Print the events as `follow` does."""
    headers = caller_header(session)
    if stack.token:
        headers["authorization"] = f"Bearer {stack.token}"
    address = f"/sdk/v1/sessions/{session['id']}/events"
    async with httpx.AsyncClient(
        base_url=stack.url, headers=headers, timeout=30, trust_env=False
    ) as client:
        last = await last_word(client, address) if until_done else None
        async for event in EventFeed(client, f"{address}/stream", BEGINNING).events():
            if event.name == "lost":
                say(f"The connection is lost ({event.data['why']}); trying again.")
            if "type" not in event.data:
                continue
            print_event(event.data, as_json=as_json)
            if event.data["type"] == "session.deleted":
                return DONE
            # Ends of the turns before the last message, or before the last end, are of the past.
            if event.data.get("id") == last:
                last = None
            reason = end_of_turn(event.data)
            if until_done and last is None and reason is not None:
                return DONE if reason == "end_turn" else FAILED
    return DONE


async def last_word(client: httpx.AsyncClient, address: str) -> str | None:
    """Return the id of a session's newest message or end of a turn, which may be a message that
    still waits; None without any. Raises Unanswered.
    """
    types = ["user.message", "session.status_idle"]
    try:
        answer = await client.get(address, params={"order": "desc", "limit": 1, "types": types})
    except httpx.HTTPError as error:
        raise Unanswered(str(error) or type(error).__name__) from error
    newest = checked(answer).json()["data"]
    return str(newest[0]["id"]) if newest else None


def print_event(event: Facts, *, as_json: bool) -> None:
    """Print an event as a line of JSON, or for a person."""
    if as_json:
        show_json(event, indent=None)
    elif line := session_event_line(event):
        show_line(line)

"""`ccproxy capture`: keeps requests and replies with their bodies for a time, shows them, compares
them, sends them again, and packs them into a bundle.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from ccproxy.cli.capture_view import (
    BLOCK_COLUMNS,
    LIST_COLUMNS,
    answer_text,
    capture_facts,
    capture_row,
    captured_block_rows,
    difference_lines,
    switches_in_words,
)
from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.console import say
from ccproxy.cli.exits import FAILED, USAGE
from ccproxy.cli.gateway import Unanswered, checked, connection
from ccproxy.cli.output import show_json, show_line, show_table
from ccproxy.cli.stack_options import with_stack
from shared.runtime.errors import ClientError
from shared.runtime.files import replace_private
from shared.runtime.times import read_span
from shared.settings.tree import load_settings

app = command_group("capture")

SWITCHES = "/captures/switches"
SENDING = httpx.Timeout(600.0, connect=5.0)
FIND_SECONDS = 20.0  # another gateway of the stack may still write the capture
ID = typer.Argument(help="The id of a captured request.", show_default=False)
CallerName = Annotated[
    str | None, typer.Option("--caller", help="Only requests of this token, by its name.")
]
Session = Annotated[str | None, typer.Option("--session", help="Only requests of this session.")]


@app.callback()
def capture_group() -> None:
    """Keep requests with their bodies for a time, and look at them."""


@app.command("on")
@with_stack
def turn_on(
    caller: CallerName = None,
    session: Session = None,
    span: Annotated[str, typer.Option("--for", help="How long: 10m, 2h or 1d.")] = "1h",
    as_json: AsJson = False,
) -> None:
    """Capture a token, a session, or every request."""
    seconds = read_span(span)
    if seconds is None:
        raise typer.BadParameter("write a time as 10m, 2h or 1d.", param_hint="--for")
    if caller and session:
        raise typer.BadParameter("choose --caller or --session.")
    kind = "token" if caller else "session" if session else "everything"
    wanted = {"kind": kind, "name": caller or session or "", "seconds": seconds}
    with connection(load_settings()) as client:
        show_switches(checked(client.post(SWITCHES, json=wanted)).json(), as_json=as_json)


@app.command("off")
@with_stack
def turn_off(caller: CallerName = None, session: Session = None, as_json: AsJson = False) -> None:
    """Switch capture off; what was captured stays."""
    named = {"kind": "token", "name": caller} if caller else {}
    named = {"kind": "session", "name": session} if session else named
    with connection(load_settings()) as client:
        show_switches(checked(client.delete(SWITCHES, params=named)).json(), as_json=as_json)


@app.command("status")
@with_stack
def show_capture_state(as_json: AsJson = False) -> None:
    """Show what is being captured, and until when."""
    with connection(load_settings()) as client:
        show_switches(checked(client.get(SWITCHES)).json(), as_json=as_json)


def show_switches(state: dict[str, Any], *, as_json: bool) -> None:
    """Print the state of the switches."""
    if as_json:
        show_json(state)
    else:
        show_line(switches_in_words(state))


@app.command("list")
@with_stack
def list_captures(
    caller: CallerName = None,
    session: Session = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Most requests.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List captured requests, latest first."""
    asked = {"limit": str(limit)}
    asked |= {"token": caller} if caller else {}
    asked |= {"session": session} if session else {}
    with connection(load_settings()) as client:
        answer = checked(client.get("/captures", params=asked)).json()
    if as_json:
        show_json(answer)
    elif not answer["captures"]:
        say("No captured request is kept; `ccproxy capture on` begins.")
    else:
        show_table(LIST_COLUMNS, [capture_row(each) for each in answer["captures"]])
        say(f"{answer['count']:,} captured requests on disk, {answer['bytes']:,} bytes.")


@app.command("show")
@with_stack
def show_capture(
    request_id: Annotated[str, ID],
    block: Annotated[
        int | None, typer.Option("--block", min=1, help="Print the text of one block.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a captured request: blocks by tokens, and reply."""
    with connection(load_settings()) as client:
        capture = look_at(client, request_id)
    if as_json:
        show_json(capture)
    elif block is not None:
        if block > len(capture["blocks"]):
            raise ClientError(f"The request has {len(capture['blocks'])} blocks.")
        show_line(capture["blocks"][block - 1]["text"])
    else:
        for line in capture_facts(capture):
            show_line(line)
        show_table(BLOCK_COLUMNS, captured_block_rows(capture))
        show_line(f"Reply:\n{answer_text(capture)}")


@app.command("diff")
@with_stack
def show_difference(request_id: Annotated[str, ID], as_json: AsJson = False) -> None:
    """Compare it with the request before of its session."""
    with connection(load_settings()) as client:
        compared = checked(client.get(f"/captures/{request_id}/difference")).json()
    if as_json:
        show_json(compared)
    else:
        for line in difference_lines(compared):
            show_line(line)


@app.command("curl")
@with_stack
def show_curl(request_id: Annotated[str, ID]) -> None:
    """Print the command that sends it; $CCPROXY_TOKEN is yours."""
    with connection(load_settings()) as client:
        command = look_at(client, request_id)["curl"]
    if not command:
        raise ClientError("The body of this request was not kept whole, so there is no command.")
    show_line(command)


@app.command("send")
@with_stack
def send_again(
    request_id: Annotated[str, ID],
    model: Annotated[str, typer.Option("--model", "-m", help="Another model.")] = "",
    route: Annotated[
        str, typer.Option("--route", help="Another route: /api, /codex, /sdk, or an address.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; it costs tokens.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send it again, and show both replies side by side."""
    raise typer.Exit(
        send_and_compare(request_id, {"model": model, "route": route}, yes=yes, as_json=as_json)
    )


def send_and_compare(request_id: str, wanted: dict[str, str], *, yes: bool, as_json: bool) -> int:
    """Send a captured request again, show both replies, and return the exit code. Raises
    Unanswered.
    """
    with connection(load_settings()) as client:
        before = look_at(client, request_id)
        if not yes:
            if not sys.stdin.isatty():
                say("Sending again costs tokens of your account; --yes says that you mean it.")
                return USAGE
            cost = f"This sends about {before['tokens']:,} tokens on your account. Send?"
            if not typer.confirm(cost, err=True):
                return FAILED
        with client.stream(
            "POST", f"/captures/{request_id}/send", json=wanted, timeout=SENDING
        ) as answer:
            new_id = answer.headers.get("x-request-id", "")
            answer.read()
        if answer.is_error:
            checked(answer)
        after = look_at(client, new_id, until=time.monotonic() + FIND_SECONDS)
    if as_json:
        show_json({"before": before, "after": after})
    else:
        heads = [
            f"{name}: {each['summary']['model']} by {each['summary']['provider']}"
            for name, each in (("BEFORE", before), ("NOW", after))
        ]
        show_table(heads, [[answer_text(before), answer_text(after)]], titled=True)
        say(f"The new request is captured as {new_id}.")
    return FAILED if after["summary"]["status"] >= httpx.codes.BAD_REQUEST else 0


def look_at(client: httpx.Client, request_id: str, until: float = 0.0) -> dict[str, Any]:
    """Return a captured request; until the time `until` one that is not written yet is waited for.
    Raises Unanswered.
    """
    while True:
        answer = client.get(f"/captures/{request_id}")
        if answer.status_code != httpx.codes.NOT_FOUND or time.monotonic() >= until:
            captured: dict[str, Any] = checked(answer).json()
            return captured
        time.sleep(0.2)


@app.command("bundle")
@with_stack
def make_bundle(
    request_ids: Annotated[list[str], ID],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
) -> None:
    """Pack captured requests into a file for a bug report."""
    with connection(load_settings()) as client:
        answer = checked(client.get("/captures/bundle", params={"id": request_ids}))
    try:
        replace_private(output, answer.content)
    except OSError as error:
        raise Unanswered(f"{output} cannot be written: {error.strerror}.") from error
    say(
        f"{output}: {len(request_ids):,} captured, {len(answer.content):,} bytes. Secrets of known "
        "forms are removed, and the words of the conversation are not: read it before you give it "
        f"away. `ccproxy simulator --replay {os.path.relpath(output)}` plays it."
    )


@app.command("delete")
@with_stack
def delete_captures(
    request_ids: Annotated[
        list[str] | None, typer.Argument(help="Captured requests.", show_default=False)
    ] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Delete every capture.")] = False,
) -> None:
    """Delete captured requests from the disk."""
    if bool(request_ids) == all_of_them:
        raise typer.BadParameter("name captured requests, or give --all.")
    with connection(load_settings()) as client:
        if all_of_them:
            deleted = checked(client.delete("/captures")).json()["deleted"]
        else:
            for request_id in request_ids or []:
                checked(client.delete(f"/captures/{request_id}"))
            deleted = len(request_ids or [])
    say(f"{deleted:,} captured requests are deleted.")

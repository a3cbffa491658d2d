"""`ccproxy logs`: requests as they end, a question in SQL, and everything as one Parquet file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from ccproxy.cli.console import say, say_to_a_person
from ccproxy.cli.gateway import Unanswered, checked, connection
from ccproxy.cli.output import show_json, show_line, show_table
from shared.formats.sse import Parser
from shared.runtime.visible_text import visible_line
from shared.settings.tree import load_settings

app = typer.Typer(name="logs", add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Model = Annotated[str | None, typer.Option("--model", help="Only this model.")]
Program = Annotated[
    str | None, typer.Option("--client", help="Only this client program, as `claude-code`.")
]
Session = Annotated[str | None, typer.Option("--session", help="Only this session.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Facts = dict[str, Any]


@app.callback()
def logs_group() -> None:
    """See requests live, query the records, or export them."""


@app.command()
def tail(
    model: Model = None,
    client_program: Program = None,
    session: Session = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only what failed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show each request at its end, until Ctrl-C."""
    wanted = filters(model=model, client_program=client_program, session_id=session)
    with connection(load_settings()) as client:
        live = httpx.Timeout(10.0, read=None)
        with client.stream("GET", "/logs/stream", params=wanted, timeout=live) as answer:
            for event in events_of(checked(answer)):
                if errors and event["type"] == "request_complete":
                    continue
                if as_json:
                    show_json(event, indent=None)
                else:
                    show_line(visible_line(event_line(event)))


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over `requests` and `hours`.")],
    as_json: AsJson = False,
) -> None:
    """Answer a question in SQL."""
    with connection(load_settings()) as client:
        answer = checked(client.get("/logs/query", params={"sql": sql})).json()
    rows: list[Facts] = answer["results"] if answer["count"] else []
    if as_json:
        show_json(rows)
        return
    if rows:
        show_table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows])
    if answer["cut"]:
        say(f"There are more than {answer['limit']} rows.")


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    model: Model = None,
    client_program: Program = None,
    session: Session = None,
    days: Annotated[
        float | None, typer.Option("--days", help="Only the last so many days.")
    ] = None,
) -> None:
    """Write every record to one Parquet file."""
    wanted: Facts = filters(model=model, client_program=client_program, session_id=session)
    if days is not None:
        wanted["start_time"] = max(0.0, datetime.now().astimezone().timestamp() - days * 86_400)
    unfinished = to.with_name(to.name + ".unfinished")
    say_to_a_person(f"Writing {to}.")
    try:
        with (
            connection(load_settings()) as client,
            client.stream("GET", "/logs/export", params=wanted) as answer,
            unfinished.open("wb") as file,
        ):
            for piece in checked(answer).iter_bytes():
                file.write(piece)
        # Every whole Parquet file ends with these bytes. An HTTP stream that breaks off may look
        # complete.
        if unfinished.read_bytes()[-4:] != b"PAR1":
            raise Unanswered("The export broke off; try again.")
        os.replace(unfinished, to)
    except OSError as error:
        raise Unanswered(f"{to} cannot be written: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"{to}: {to.stat().st_size:,} bytes.")


def filters(**given: str | None) -> dict[str, str]:
    """Return the given filters, by the names of their columns."""
    return {name: value for name, value in given.items() if value}


def model_of(event: Facts) -> str:
    """Return the served model of a request, after the requested model where the two differ."""
    asked = event.get("asked_model", "")
    served = event["model"]
    return f"{asked} → {served}" if asked and served and asked != served else str(served)


def events_of(answer: httpx.Response) -> Iterator[Facts]:
    """Yield the requests of an event stream. Raises Unanswered for the error at the end of a
    stream.
    """
    parser = Parser()
    for chunk in answer.iter_bytes():
        for found in parser.feed(chunk):
            event: Facts = json.loads(found.data)
            if event["type"] == "error":
                raise Unanswered(event["message"])
            if event["type"] not in {"connection", "request_start"}:
                yield event


def event_line(event: Facts) -> str:
    """Return a request as a line for people."""
    if event["type"] == "overflow":
        return f"… {event['missed']} more"
    when = datetime.fromtimestamp(event["timestamp"]).astimezone().strftime("%H:%M:%S")
    cost = "" if event["cost_usd"] is None else f"  ${event['cost_usd']:.4f}"
    tokens = (
        f"{event['tokens_input'] + event['cache_read_tokens'] + event['cache_write_tokens']} → "
    )
    parts = [
        when,
        str(event["status_code"]),
        f"{event['duration_ms'] / 1000:.2f} s".rjust(9),
        event["endpoint"],
        model_of(event),
        tokens + str(event["tokens_output"]) + cost if event["model"] else "",
        event["error_kind"] and f"{event['error_kind']}: {event['error_message']}",
    ]
    return "  ".join(part for part in parts if part)

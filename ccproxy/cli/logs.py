"""`ccproxy logs`: requests as they end, a question in SQL, and everything as one Parquet file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.console import columns_of, say, say_to_a_person
from ccproxy.cli.figures import dollars_of_one, second_of_day, time_taken
from ccproxy.cli.gateway import Unanswered, checked, connection
from ccproxy.cli.log_lines import request_line
from ccproxy.cli.output import show_json, show_line, show_request_line, show_table
from ccproxy.cli.stack_options import with_stack
from shared.formats.sse import Parser
from shared.runtime.files import replacement
from shared.runtime.visible_text import visible_line
from shared.settings.tree import load_settings

app = command_group("logs")

Model = Annotated[str | None, typer.Option("--model", help="Only this model.")]
Program = Annotated[
    str | None, typer.Option("--client", help="Only this client program, as `claude-code`.")
]
Session = Annotated[str | None, typer.Option("--session", help="Only this session.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Facts = dict[str, Any]
# By the format: the last bytes of every whole file.
ENDS = {"parquet": b"PAR1", "csv": b"\n"}


@app.callback()
def logs_group() -> None:
    """Show requests live, query the records, or export them."""


@app.command()
@with_stack
def tail(
    model: Model = None,
    client_program: Program = None,
    session: Session = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only failed requests.")] = False,
    as_json: AsJsonLines = False,
) -> None:
    """Print each request when it ends, until Ctrl-C."""
    wanted = filters(model=model, client_program=client_program, session_id=session)
    with connection(load_settings()) as client:
        live = httpx.Timeout(10.0, read=None)
        with client.stream("GET", "/logs/stream", params=wanted, timeout=live) as answer:
            say_to_a_person("Each request appears here when it ends; Ctrl-C ends this.")
            for event in events_of(checked(answer)):
                if errors and event["type"] == "request_complete":
                    continue
                if as_json:
                    show_json(event, indent=None)
                elif event["type"] != "overflow" and sys.stdout.isatty():
                    show_request_line(coloured_line(event, columns_of(sys.stdout.fileno())))
                else:
                    show_line(visible_line(event_line(event)))


@app.command()
@with_stack
def query(
    sql: Annotated[
        str,
        typer.Argument(help="One SELECT; the tables are `requests`, `own_requests` and `hours`."),
    ],
    as_json: AsJson = False,
) -> None:
    """Run an SQL query over the records.

    `requests` has a row for each request of a client, `own_requests` for each that the stack
    answered itself (pages, health, metrics), and `hours` the sums of older requests.
    """
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
@with_stack
def export(
    to: Annotated[
        Path, typer.Argument(help="The file to write: CSV if its name ends in .csv, else Parquet.")
    ],
    model: Model = None,
    client_program: Program = None,
    session: Session = None,
    days: Annotated[float | None, typer.Option("--days", help="Only the last N days.")] = None,
) -> None:
    """Write every request of a client to one Parquet or CSV file."""
    wanted: Facts = filters(model=model, client_program=client_program, session_id=session)
    wanted |= {"format": export_format(to), "leave_out_own": True}
    if days is not None:
        wanted["start_time"] = max(0.0, datetime.now().astimezone().timestamp() - days * 86_400)
    say_to_a_person(f"Writing {to}.")
    try:
        with (
            connection(load_settings()) as client,
            client.stream("GET", "/logs/export", params=wanted) as answer,
            replacement(to) as file,
        ):
            tail = b""
            end = ENDS[wanted["format"]]
            for piece in checked(answer).iter_bytes():
                file.write(piece)
                tail = (tail + piece)[-len(end) :]
            # An HTTP stream that breaks off may look complete.
            if tail != end:
                raise Unanswered("The export broke off; try again.")
    except OSError as error:
        raise Unanswered(f"{to} cannot be written: {error.strerror}.") from error
    say(f"{to}: {to.stat().st_size:,} bytes.")


def export_format(to: Path) -> str:
    """Return the format of an export by the end of the file's name."""
    return "csv" if to.suffix.lower() == ".csv" else "parquet"


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


def coloured_line(event: Facts, columns: int) -> str:
    """Return a request as the stack's own terminal shows it, for a terminal with `columns`."""
    into = event["tokens_input"] + event["cache_read_tokens"] + event["cache_write_tokens"]
    facts = event | {
        "status": event["status_code"],
        "client": event.get("client_program"),
        "tokens_input": into,
    }
    return request_line(facts, second_of_day(event["timestamp"]), columns)


def event_line(event: Facts) -> str:
    """Return a request as a line of a pipe."""
    if event["type"] == "overflow":
        return f"… {event['missed']} more"
    cost = "" if event["cost_usd"] is None else f"  {dollars_of_one(event['cost_usd'])}"
    tokens = (
        f"{event['tokens_input'] + event['cache_read_tokens'] + event['cache_write_tokens']} → "
    )
    parts = [
        second_of_day(event["timestamp"]),
        str(event["status_code"]),
        time_taken(event["duration_ms"]).rjust(9),
        event.get("caller") or event.get("client_program"),
        event["path"],
        model_of(event),
        tokens + str(event["tokens_output"]) + cost if event["model"] else "",
        event["error_kind"] and f"{event['error_kind']}: {event['error_message']}",
    ]
    return "  ".join(part for part in parts if part)

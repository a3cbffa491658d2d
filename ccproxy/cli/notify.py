"""`ccproxy notify`: sends a test message by every way and shows what came back, or lists the latest
notices, or the browsers that have subscribed.
"""

from __future__ import annotations

import typer

from ccproxy.cli.command_group import AsJson, command_group
from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.gateway import checked, connection
from ccproxy.cli.output import show_json, show_line, show_table
from ccproxy.cli.permissions.feed import FeedEvent
from ccproxy.cli.permissions.news import sentence_of
from ccproxy.cli.stack_options import with_stack
from shared.runtime.times import local_minute
from shared.settings.tree import load_settings

app = command_group("notify")

NO_WAY = (
    "No way is configured: switch notifications on at /permissions/ui in a browser; or set "
    "NOTIFY__NTFY_TOPIC, or NOTIFY__WEBHOOK_URL and NOTIFY__WEBHOOK_SECRET, and restart the stack."
)
NO_NOTICE = "There is no notice: nothing has alerted, and no agent has waited or finished."
NO_BROWSER = "No browser has subscribed; the button is at /permissions/ui."
BROWSER_COLUMNS = ("TOKEN", "BROWSER", "PUSH SERVICE", "LAST SEEN")
TRY_SECONDS = 60.0  # each way takes up to ten


@app.callback()
def notify_group() -> None:
    """Reach your phone when something waits for you."""


@app.command("test")
@with_stack
def send_test_messages(as_json: AsJson = False) -> None:
    """Send a test message by each way, and show the replies."""
    raise typer.Exit(send_tests(as_json=as_json))


@app.command("list")
@with_stack
def list_notices(as_json: AsJson = False) -> None:
    """List the latest notices: alerts, and news of agents."""
    show_notices(as_json=as_json)


def show_notices(*, as_json: bool) -> None:
    """Show the notices of the running stack, latest first. Raises Unanswered."""
    with connection(load_settings()) as client:
        notices = checked(client.get("/permissions/notices")).json()["notices"]
    if as_json:
        show_json(notices)
    elif not notices:
        say(NO_NOTICE)
    else:
        for notice in notices:
            sentence = sentence_of(FeedEvent(notice["type"], notice))
            show_line(f"{local_minute(notice['at'])}  {sentence}")


def send_tests(*, as_json: bool) -> int:
    """Have the running stack send the messages, show the outcomes, and return the exit code.

    Raises Unanswered.
    """
    with connection(load_settings()) as client:
        answer = client.post("/permissions/notifications/test", json={}, timeout=TRY_SECONDS)
        ways = checked(answer).json()["ways"]
    if as_json:
        show_json(ways)
    elif not ways:
        say(NO_WAY)
    else:
        for way in ways:
            outcome = "sent" if way["sent"] else "failed"
            show_line(f"{way['way']}: {outcome} ({way['answer']})")
    return DONE if ways and all(way["sent"] for way in ways) else FAILED


@app.command("browsers")
@with_stack
def list_browsers(as_json: AsJson = False) -> None:
    """List the browsers that have subscribed to messages."""
    raise typer.Exit(show_browsers(as_json=as_json))


def show_browsers(*, as_json: bool) -> int:
    """Show the browsers that the running stack sends messages to, and return the exit code.

    Raises Unanswered.
    """
    with connection(load_settings()) as client:
        answer = client.get("/permissions/notifications/browsers")
        browsers = checked(answer).json()["browsers"]
    if as_json:
        show_json(browsers)
    elif not browsers:
        say(NO_BROWSER)
    else:
        rows = [
            (each["token"], each["program"], each["service"], each["renewed_at"])
            for each in browsers
        ]
        show_table(BROWSER_COLUMNS, rows)
        say("`ccproxy token revoke NAME` ends the messages to the browsers of a token.")
    return DONE

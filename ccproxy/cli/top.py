"""`ccproxy top`: the overview of the dashboard in a terminal, from the same addresses.

A terminal shows frames until a key or a signal ends them; a pipe and a dumb terminal get one.
A question that fails is shown in place of the frame, and asked again: the view outlives a restart.

Invariant: the terminal is as it was before after every end of this process but SIGKILL, and while
the process is stopped by Ctrl-Z: the screen and the keys are held by context managers, and no end
waits for a question to the stack.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live

from ccproxy.cli.exits import DONE, KILLED
from ccproxy.cli.gateway import Unanswered, checked, connection
from ccproxy.cli.permissions.keyboard import Keyboard
from ccproxy.cli.top_view import Overview, TopView, overview_frame
from ccproxy.cli.usage import ask_groups
from shared.settings.tree import Settings, load_settings

REFRESH_SECONDS = 2.0
ANSWER_SECONDS = 10.0
RECENT = 100  # more than a terminal has rows
GROUPS = 5  # in a pipe: the whole tables are those of `ccproxy usage`
RECENT_IN_PIPE = 10
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Facts = dict[str, Any]
Ask = Callable[[], Overview]


def show_overview() -> int:
    """Show frames until the end, one frame in a pipe or a dumb terminal; return the exit code.
    Raises NotRunning, SeveralStacks or Unanswered if the first question fails.
    """
    settings = load_settings()
    console = Console(highlight=False)
    first = ask_overview(settings)
    # A dumb terminal cannot be drawn anew.
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        console.print(overview_frame(first, time.time(), groups=GROUPS, recent=RECENT_IN_PIPE))
        return DONE
    return asyncio.run(show_frames(console, TopView(first), lambda: ask_overview(settings)))


def ask_overview(settings: Settings) -> Overview:
    """Ask the stack for everything that a frame shows. Raises Unanswered."""
    with connection(settings) as client:
        client.timeout = httpx.Timeout(ANSWER_SECONDS)
        try:
            usage = checked(client.get("/usage")).json()
            waiting = checked(client.get("/usage/waiting")).json()["requests"]
            if usage["problem"]:
                return Overview(usage, [], [], [], waiting)
            models = ask_groups(client, "model")
            clients = ask_groups(client, "client_program")
            return Overview(usage, models, clients, ask_recent(client), waiting)
        except (ValueError, KeyError, TypeError) as error:
            raise Unanswered(f"{client.base_url} answers, but not as CCProxy does.") from error


def ask_recent(client: httpx.Client) -> list[Facts]:
    wanted: Facts = {"limit": RECENT, "service_type": "!gateway"}
    entries: list[Facts] = checked(client.get("/logs/entries", params=wanted)).json()["entries"]
    return entries


async def show_frames(console: Console, view: TopView, ask: Ask) -> int:
    """Show `view` on the terminal until a key or a signal ends it, with the answers of `ask`, and
    return the exit code.
    """
    loop = asyncio.get_running_loop()
    keyboard = Keyboard() if sys.stdin.isatty() else None
    held = keyboard.held() if keyboard else contextlib.nullcontext()
    # The signals first: one that comes while the terminal is changed must not end the process.
    with (
        stop_signal() as stopped,
        held,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):

        def draw() -> None:
            live.update(view.frame(time.time(), console.height), refresh=True)

        def suspend() -> None:
            """Give the terminal back, stop this process as Ctrl-Z asks, and go on after `fg`."""
            live.stop()
            with keyboard.lent() if keyboard else contextlib.nullcontext():
                os.kill(os.getpid(), signal.SIGSTOP)
            live.start()
            draw()

        loop.add_signal_handler(signal.SIGWINCH, draw)
        loop.add_signal_handler(signal.SIGTSTP, suspend)
        draw()
        work: list[Coroutine[Any, Any, None]] = [keep_asking(view, ask, draw)]
        if keyboard:
            work.append(read_keys(view, keyboard, draw))
        tasks = [asyncio.create_task(each) for each in work]
        try:
            ends: list[asyncio.Future[Any]] = [*tasks, stopped]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
            loop.remove_signal_handler(signal.SIGTSTP)
            for task in tasks:
                task.cancel()
        for ended in done - {stopped}:
            ended.result()  # raises the error of a task that failed
    # Ctrl-C is the usual end of this command, as the key q is.
    if not stopped.done() or stopped.result() == signal.SIGINT:
        return DONE
    return KILLED + stopped.result()


@contextlib.contextmanager
def stop_signal() -> Iterator[asyncio.Future[int]]:
    """Yield a future whose result is the first signal that stops the process."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for number in STOPS:
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in STOPS:
            loop.remove_signal_handler(number)


async def keep_asking(view: TopView, ask: Ask, draw: Callable[[], None]) -> None:
    """Show the answers of `ask` in `view` again and again; a paused view asks nothing."""
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        if not view.is_paused:
            try:
                view.show(await answer_in_thread(ask))
            except Unanswered as error:
                view.show_problem(error.message)
        draw()


async def answer_in_thread(ask: Ask) -> Overview:
    """Return the answer of `ask`, which runs in a thread of its own. The end of the process does
    not wait for the thread: a stack that does not answer holds nobody.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Overview] = loop.create_future()

    def deliver(found: Overview | None, error: Exception | None) -> None:
        if answer.done():  # cancelled
            return
        if found is not None:
            answer.set_result(found)
        elif error is not None:
            answer.set_exception(error)

    def work() -> None:
        found = None
        failed = None
        try:
            found = ask()
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(deliver, found, failed)

    threading.Thread(target=work, daemon=True).start()
    return await answer


async def read_keys(view: TopView, keyboard: Keyboard, draw: Callable[[], None]) -> None:
    """Hand each key to `view`, and return after the key that ends it."""
    while view.press(await keyboard.pressed()):
        draw()

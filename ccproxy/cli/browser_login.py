"""A login in the owner's browser: opened here and returning to a loopback address, or done anywhere
and pasted.

Whichever way its answer comes first completes it: the browser's return, a pasted line, or a
gateway's `/oauth/callback`. The page the browser ends at shows how it really went.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from shared.accounts.oauth import Issuer, PendingLogin
from shared.accounts.pending import (
    LIFETIME_SECONDS,
    PAGE_HEADERS,
    PendingLogins,
    complete,
    login_page,
    read_answer,
)
from shared.accounts.store import CredentialFile
from shared.runtime.errors import CCProxyError, ClientError
from shared.settings.tree import Settings

Say = Callable[[str], None]

POLL_SECONDS = 0.2
HEAD_SECONDS = 5.0
MOST_HEAD_BYTES = 16 * 1024
ELSEWHERE_SECONDS = 60.0  # longer than an exchange may take
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found"}


class LoginAttempt:
    """A login in progress. `done` is the login file, or the error at the end of the attempt."""

    def __init__(self, settings: Settings, pending: PendingLogin) -> None:
        self.pending = pending
        self.logins = PendingLogins(settings.server.run_dir)
        self.done: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        self.taken = False
        self._settings = settings

    async def finish(self, answer: str) -> None:
        """Complete the login with `code#state` or an address.

        Raises ClientError for an answer to another login, which changes nothing, and every error
        that ends this login.
        """
        code, state = read_answer(answer)
        if not hmac.compare_digest(state.encode(), self.pending.state.encode()):
            raise ClientError("This answer belongs to another login than the one that waits here.")
        # Set before the exchange: `wait_elsewhere` sees the pending login disappear and must not
        # blame a gateway.
        self.taken = True
        try:
            # `take` gives the login to one answer only, so the browser and a pasted line cannot
            # both spend the code.
            path = await complete(self._settings, self.logins.take(state), code)
            # The attempt may have reached its time limit during the exchange.
            if not self.done.done():
                self.done.set_result(path)
        except CCProxyError as error:
            if not self.done.done():
                self.done.set_exception(error)
            raise


class Callback:
    """The local page to which the browser returns. `listening` is False if another program has the
    port.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._host, self._port, self._path = issuer.redirect
        self._servers: list[asyncio.Server] = []
        self._attempt: asyncio.Future[LoginAttempt] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Callback:
        # A port in use is no reason to fail: the answer can be pasted.
        with contextlib.suppress(OSError):
            await self._listen("127.0.0.1")
            if self._host == "localhost":  # a browser may try either address of that name
                await self._listen("::1")
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()

    @property
    def listening(self) -> bool:
        return bool(self._servers)

    @property
    def address(self) -> str:
        return f"http://{self._host}:{self._port}{self._path}"

    def serve(self, attempt: LoginAttempt) -> None:
        self._attempt.set_result(attempt)

    async def _listen(self, host: str) -> None:
        server = await asyncio.start_server(self._converse, host, self._port, limit=MOST_HEAD_BYTES)
        self._port = server.sockets[0].getsockname()[1]
        self._servers.append(server)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
            status, text = await self._answer(head.decode("latin-1"))
            body = text.encode()
            headers = "".join(f"{name}: {value}\r\n" for name, value in PAGE_HEADERS.items())
            first = (
                f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-length: "
                f"{len(body)}\r\nconnection: close\r\n"
            )
            writer.write((first + headers + "\r\n").encode() + body)
            await writer.drain()
        writer.close()

    async def _answer(self, head: str) -> tuple[int, str]:
        method, _, rest = head.partition(" ")
        target = rest.partition(" ")[0]
        if method != "GET" or target.partition("?")[0] != self._path:
            return 404, login_page("Not found", "There is nothing at this address.")
        # A browser may come back before the attempt is ready, from the tab of an earlier one; it
        # waits here.
        attempt = await self._attempt
        try:
            await attempt.finish(f"http://{self._host}{target}")
        except CCProxyError as error:
            return 400, login_page("Not logged in", error.message)
        return 200, login_page("Logged in", "You can close this page and go back to the terminal.")


async def log_in(settings: Settings, issuer: Issuer, *, browser: bool, say: Say) -> Path:
    """Returns the login's file. Raises ClientError, GrantRefused or UpstreamError."""
    async with Callback(issuer) as callback:
        redirect = (
            callback.address if browser or not issuer.manual_redirect else issuer.manual_redirect
        )
        attempt = LoginAttempt(settings, PendingLogin.begin(issuer.name, redirect))
        attempt.logins.add(attempt.pending)
        callback.serve(attempt)
        opened = (
            browser and callback.listening and open_browser(issuer.authorize_url(attempt.pending))
        )
        say(f"{'If no page has opened, open' if opened else 'Open'} this address in a browser:\n")
        say(issuer.authorize_url(attempt.pending) + "\n")
        ways = [asyncio.create_task(wait_elsewhere(attempt, issuer))]
        if not opened or sys.stdin.isatty():
            say(
                "After approving, paste the code, or the whole address the browser ended at, and "
                "press Enter."
            )
            ways.append(asyncio.create_task(take_pasted(attempt, say)))
        try:
            return await asyncio.wait_for(attempt.done, LIFETIME_SECONDS)
        except TimeoutError:
            raise ClientError("Nobody approved the login within ten minutes.") from None
        finally:
            for way in ways:
                way.cancel()
            attempt.logins.forget(attempt.pending.state)


def open_browser(url: str) -> bool:
    """Open `url` in a browser outside this terminal. Return False if there is none.

    Some browsers return only when they are closed, so the function does not wait.
    """
    places = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform != "darwin" and not any(os.environ.get(place) for place in places):
        return False
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    return True


async def take_pasted(attempt: LoginAttempt, say: Say) -> None:
    """Read lines from standard input until a line completes the login; a wrong line is
    explained.
    """
    while not attempt.done.done():
        try:
            await attempt.finish(await read_line())
        except EOFError:
            return
        except CCProxyError as error:
            if not attempt.done.done():
                say(error.message)


async def read_line() -> str:
    """Return the line typed up to Enter, without a thread that would outlive the command. Raises
    EOFError.
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    with contextlib.suppress(PermissionError):  # a plain file or /dev/null: always readable
        loop.add_reader(0, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(0)
    # Read past Python's buffers, which would hold back what `add_reader` has announced.
    line = os.read(0, MOST_HEAD_BYTES)
    if not line:
        raise EOFError
    return line.decode("utf-8", "replace")


async def wait_elsewhere(attempt: LoginAttempt, issuer: Issuer) -> None:
    """Return when a gateway's `/oauth/callback` has completed the login."""
    file = CredentialFile(issuer.files[0])
    # Read first: the comparison below needs the content from before the gateway's exchange.
    before = file.read()
    while attempt.logins.holds(attempt.pending.state):  # noqa: ASYNC110 - another process takes it
        await asyncio.sleep(POLL_SECONDS)
    # The pending login was taken, so an exchange is under way somewhere. Its end shows in the login
    # file, or not at all.
    give_up = asyncio.get_running_loop().time() + ELSEWHERE_SECONDS
    while not attempt.taken and asyncio.get_running_loop().time() < give_up:
        if file.read(fresh=True) != before:
            attempt.done.set_result(file.path)
            return
        await asyncio.sleep(POLL_SECONDS)
    if not attempt.taken:
        attempt.done.set_exception(
            ClientError("A gateway took the answer but no login came of it; see its page.")
        )

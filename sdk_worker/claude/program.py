"""One `claude` process: its lines, its control requests, its end.

It is the transport the SDK talks over, so that both SDKs read lines of any length whole and neither
can leave a process behind: the program leads a process group of its own. Control lines go to the
SDK or to our own requests, every other line waits for whoever runs the turn. After `stop` nothing
of the group is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from shared.formats.fields import MISFITS, inner_object
from shared.runtime.errors import UpstreamError
from shared.runtime.exact_json import dump_json, load_json
from shared.runtime.log import get_log
from shared.runtime.process import end_with_parent

Line = dict[str, Any]
Answer = Callable[[Line], Awaitable[Line | None]]

LINE_LIMIT = 64 * 1024 * 1024  # a line holds a whole tool result; images come to several MiB
CONTROL_SECONDS = 60.0  # the SDKs' own limit for an answer to a control request
# An idle program ends 0.04 s after SIGTERM, a program with a running tool within 0.5 s.
TERM_SECONDS = 0.7
# What a program may tell of its transcript between two savings. Beyond it everything is dropped:
# then the copy is made anew from the file when the conversation is resumed.
UNTOLD_BYTES = 64 * 1024 * 1024
OUR_REQUESTS = "ccproxy-"


class Program:
    """One `claude` process. Start with `spawn`, end with `stop`.

    `on_mcp` answers the program's calls to the tools of the hosted MCP servers, by the servers'
    names; `on_hook` answers the calls of registered hooks.
    """

    def __init__(self, command: list[str], *, env: Mapping[str, str], cwd: str | None) -> None:
        self.command = command
        self.on_mcp: dict[str, Answer] = {}
        self.on_hook: Answer | None = None
        self.started_at = time.monotonic()
        self.initialize: Line = {}  # added to the SDK's first request, which has no field for it
        self.initialized: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._env = dict(env)
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None
        self.untold: list[Line] = []  # of the transcript, for whoever keeps a copy of it
        self._untold_bytes = 0
        self._lines: deque[Line] = deque()
        self._news = asyncio.Event()  # a line, or the end of all lines
        self._hung_up = False
        self._for_sdk: asyncio.Queue[Line | None] = asyncio.Queue()
        self._requests: dict[str, asyncio.Future[Line]] = {}
        self._answers: dict[str, asyncio.Task[None]] = {}  # by the program's own request
        self._numbers = itertools.count()
        self._first_request = ""
        self._complaints: deque[str] = deque(maxlen=20)
        self._readers: list[asyncio.Task[None]] = []
        self._write_lock = asyncio.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None and not self._hung_up

    async def spawn(self) -> None:
        """Raises UpstreamError when the program cannot be started."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._env,
                cwd=self._cwd,
                limit=LINE_LIMIT,
                # A process group of its own, so that `stop` also reaches the tools that the program
                # runs.
                start_new_session=True,
                # The turn of a killed worker must not go on acting, and the program would notice
                # the end of its input only after the turn.
                preexec_fn=end_with_parent,
            )
        except OSError as error:
            raise UpstreamError(f"The claude program cannot be started: {error}.") from error
        # Both channels are read all the time: a program that fills an unread pipe stands still.
        self._readers = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._read_complaints()),
        ]

    # What the SDK calls: `Transport` of either package.

    async def connect(self) -> None:
        """The program runs already."""

    async def write(self, data: str) -> None:
        # The SDK's first line is its `initialize` request. The fields the SDK has no option for are
        # added here, because the program takes only one such request.
        if not self._first_request:
            request = load_json(data.encode())
            self._first_request = request["request_id"]
            request["request"] |= self.initialize
            await self._write(dump_json(request) + b"\n")
        else:
            await self._write(data.encode())

    async def read_messages(self) -> AsyncIterator[Line]:
        while (line := await self._for_sdk.get()) is not None:
            yield line

    async def end_input(self) -> None:
        """Close the program's input, so the program ends on its own and the last lines are still
        read.
        """

    async def close(self) -> None:
        """The SDK is done; `stop` ends the program."""

    def is_ready(self) -> bool:
        return self.alive

    # What the worker calls.

    async def read(self) -> Line:
        """The next line. Raises UpstreamError when the program has ended."""
        # Lines that came before the end are handed out first; only then is the end an error.
        while not self._lines:
            if self._hung_up:
                raise self.last_words()
            await self._wait_for_news()
        return self._lines.popleft()

    def read_now(self) -> Line | None:
        return self._lines.popleft() if self._lines else None

    async def has_line(self, *, within: float) -> bool:
        """Return True once `read` will return, or raise, at once; wait up to `within` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not self._lines and not self._hung_up:
                    await self._wait_for_news()
        return bool(self._lines) or self._hung_up

    async def _wait_for_news(self) -> None:
        # No await lies between the caller's look at the lines and this call, so no line is missed.
        self._news.clear()
        await self._news.wait()

    async def control(self, subtype: str, **request: Any) -> Line:
        """Send the program a control request and return the answer. Raises UpstreamError after a
        refusal or the program's end.
        """
        request_id = f"{OUR_REQUESTS}{next(self._numbers)}"
        # Registered before the line leaves: the answer may be read before `_write` returns.
        answer = self._requests[request_id] = asyncio.get_running_loop().create_future()
        line = {
            "type": "control_request",
            "request_id": request_id,
            "request": {"subtype": subtype, **request},
        }
        try:
            await self._write(dump_json(line) + b"\n")
            async with asyncio.timeout(CONTROL_SECONDS):
                response = await answer
        except TimeoutError:
            raise UpstreamError(f"The claude program did not answer to {subtype}.") from None
        finally:
            self._requests.pop(request_id, None)
        if response.get("subtype") == "error":
            raise UpstreamError(f"The claude program refused {subtype}: {response.get('error')}.")
        content: Line = response.get("response") or {}
        return content

    def last_words(self) -> UpstreamError:
        """Return the reason for the program's end, as far as the program printed a reason."""
        code = self._process.returncode if self._process else None
        said = next((text for text in reversed(self._complaints) if text), "it said nothing")
        return UpstreamError(f"The claude program ended (exit code {code}): {said}")

    def resident_bytes(self) -> int:
        """Memory the program holds now; 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def stop(self) -> None:
        """Send SIGTERM to the process group, running tools included, then SIGKILL to survivors.
        Safe to call twice.
        """
        if self._process is None:
            return
        # SIGTERM first: the program may be writing, for instance to a transcript.
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TERM_SECONDS):
                    await self._process.wait()
        # Sent to the group also after the program has ended: a tool may have outlived it.
        self._signal(signal.SIGKILL)
        await self._process.wait()
        # The readers are cancelled last, so that the reason the program printed is still read.
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        # A cancelled reader does not reach its own `hang_up`.
        self.hang_up()

    def _signal(self, number: signal.Signals) -> None:
        # The group may be gone; macOS refuses to signal the group of a zombie.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _write(self, data: bytes) -> None:
        if self._process is None or self._process.stdin is None or not self.alive:
            raise self.last_words()
        # The SDK, turns and hooks write at the same time. The lock sends whole lines in the order
        # in which their writers came.
        async with self._write_lock:
            try:
                self._process.stdin.write(data)
                await self._process.stdin.drain()
            except (
                ConnectionError,
                RuntimeError,
            ) as error:
                # uvloop reports a closed pipe as RuntimeError.
                raise self.last_words() from error

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async for raw in self._process.stdout:
                await self._route(raw)
        except ValueError as error:  # longer than LINE_LIMIT, or no JSON
            self._complaints.append(f"a line that cannot be read: {error}")
            # The unreadable line may have been the answer of the turn, so the turn cannot go on.
            self._signal(signal.SIGKILL)
        # The output ends a moment before the process does, and the exit code belongs into the
        # error. A process that closes its output and runs on must not hold up its turn for longer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_SECONDS):
                await self._process.wait()
        self.hang_up()

    async def _route(self, raw: bytes) -> None:
        """Hand a line to whoever waits for it. Raises ValueError for a line of another form."""
        line = load_json(raw)
        try:
            await self._hand_on(line, len(raw))
        except MISFITS as error:
            raise ValueError(f"{error!r:.200}") from error

    async def _hand_on(self, line: Line, size: int) -> None:
        match line.get("type"):
            case "control_response":
                # An answer belongs to one of our own requests, else to the SDK.
                response = line["response"]
                if request := self._requests.get(response["request_id"]):
                    if not request.done():
                        request.set_result(response)
                    return
                if response["request_id"] == self._first_request and not self.initialized.done():
                    self._initialize_answered(response)
                self._for_sdk.put_nowait(line)
            case "control_request" if line["request"]["subtype"] == "mcp_message" and (
                give := self.on_mcp.get(line["request"].get("server_name", ""))
            ):
                request_id = line["request_id"]
                message = inner_object(line["request"], "message")
                answering = self._answer(give, request_id, message, "mcp_response")
                # A task of its own: a person may think for an hour, and the program's next lines
                # must not wait.
                self._answers[request_id] = asyncio.create_task(answering)
            case "control_request" if (
                self.on_hook and line["request"]["subtype"] == "hook_callback"
            ):
                request_id = line["request_id"]
                given = inner_object(line["request"], "input")
                answering = self._answer(self.on_hook, request_id, given)
                self._answers[request_id] = asyncio.create_task(answering)
            case "control_cancel_request" if answer := self._answers.get(line["request_id"]):
                # The program withdraws its question; the cancellation withdraws the permission
                # request.
                answer.cancel()
            case "control_request" | "control_cancel_request":
                self._for_sdk.put_nowait(line)
            case "transcript_mirror":
                self._note_transcript(line, size)
            case _:
                self._lines.append(line)
                self._news.set()

    def _note_transcript(self, line: Line, size: int) -> None:
        if not self.untold:
            self._untold_bytes = 0
        self._untold_bytes += size
        if self._untold_bytes <= UNTOLD_BYTES:
            self.untold.append(line)
        else:
            self.untold.clear()

    def _initialize_answered(self, response: Line) -> None:
        if response.get("subtype") == "error":
            self.initialized.set_exception(
                UpstreamError(f"The claude program refused: {response.get('error')}.")
            )
        else:
            self.initialized.set_result(response.get("response") or {})

    async def _answer(
        self, give: Answer, request_id: str, message: Line, wrapped_in: str = ""
    ) -> None:
        """Send the program the answer to the program's own request, unless `give` returns no
        answer.
        """
        try:
            answer = await give(message)
            if answer is None:
                return
            content = {wrapped_in: answer} if wrapped_in else answer
            response = {"subtype": "success", "request_id": request_id, "response": content}
            # A program that has ended needs no answer.
            with contextlib.suppress(UpstreamError):
                await self._write(
                    dump_json({"type": "control_response", "response": response}) + b"\n"
                )
        finally:
            del self._answers[request_id]

    async def _read_complaints(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):
            async for raw in self._process.stderr:
                text = raw.decode("utf-8", "replace").strip()
                self._complaints.append(text)
                get_log().debug("claude_said", pid=self.pid, text=text)

    def hang_up(self) -> None:
        """Wake every task waiting for a line of the program."""
        self._hung_up = True
        self._news.set()
        self._for_sdk.put_nowait(None)
        # No program is left to act on an answer, so the questions to a person are withdrawn.
        for answer in self._answers.values():
            answer.cancel()
        waiting: list[asyncio.Future[Any]] = [self.initialized, *self._requests.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(self.last_words())
                # Read once, because asyncio reports an exception that no task has read.
                future.exception()

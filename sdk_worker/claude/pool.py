"""Warm `claude` processes: started ahead, used once, replaced in the background.

A process that served a request is never given to another; that is the whole protection against one
conversation reaching the next. Most spares are blank and are told a turn's options when they are
taken; what was asked for again and again gets a spare that has been told already. Nobody waits for
the filling, and a fault in it is no request's fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sdk_worker.claude.launch import Binding, Launch
from shared.runtime.errors import CCProxyError, UpstreamError
from shared.runtime.log import get_log

REMEMBERED = 16  # the checkouts that decide what is kept ready
REMEMBERED_SECONDS = 600.0
SPARE_SECONDS = 1800.0  # an older spare is replaced: logins and the program itself change on disk
IDLE_SECONDS = 1800.0  # without a checkout: then spares are memory for nothing
LOOK_SECONDS = 30.0
# A replacement started at once would take the core that the turn needs for its first word.
LULL_SECONDS = 0.3
RETRY_SECONDS = 5.0  # after a start that failed; doubled at each further one
RETRY_LIMIT_SECONDS = 300.0


class Process(Protocol):
    """A process of the pool. `begun` returns once the process accepts lines, and raises
    CCProxyError if the process ended.
    """

    @property
    def alive(self) -> bool: ...

    async def begun(self) -> None: ...

    async def close(self) -> None: ...


S = TypeVar("S", bound=Process)


class Readiness(NamedTuple):
    """The launch and binding of a spare; a spare without a binding is blank and can take any
    binding.
    """

    launch: Launch
    binding: Binding | None = None


@dataclass(slots=True)
class Spare(Generic[S]):
    """`since` is the pool's clock at the start, `login` the state of the login files before the
    start.
    """

    session: S
    since: float
    login: object


class Pool(Generic[S]):
    """`make` starts a blank process, `bind` tells it a turn's options; both raise CCProxyError and
    clean up then.
    """

    def __init__(
        self,
        make: Callable[[Launch], Awaitable[S]],
        bind: Callable[[S, Binding], Awaitable[None]],
        *,
        size: int,
        launch: Launch,
        lull: float = LULL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        login_state: Callable[[], object] = lambda: None,
        warm_at_start: bool = True,
    ) -> None:
        self.problem: str | None = None
        # Checkouts that met a spare, checkouts that waited for a start, and all starts.
        self.warm = self.cold = self.starts = 0
        self.owned: set[S] = set()  # every process that lives, until its end
        self._waiting = 0
        self._taken: set[S] = set()
        self._make = make
        self._bind = bind
        self._size = size
        self._launch = launch
        self._clock = clock
        self._lull = lull
        self._login_state = login_state
        self._warm_at_start = warm_at_start
        self._last_asked: float | None = None  # the clock at the last checkout
        self._spares: dict[Readiness, list[Spare[S]]] = {}
        self._recent: deque[tuple[Readiness, float]] = deque(maxlen=REMEMBERED)
        self._starts = asyncio.Semaphore(os.cpu_count() or 1)  # a start costs 1.2 s of one core
        self._changed = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()

    async def take(self, launch: Launch, binding: Binding) -> S:
        """Return a process for a turn, with `binding` sent. The caller owns the process, and passes
        the process to `retire` afterwards.
        """
        readiness = Readiness(launch, binding)
        self._last_asked = self._clock()
        self._recent.append((readiness, self._clock()))
        # The filling learns of the checkout at once, and starts the replacement after the lull.
        self._changed.set()
        with self._checkout():
            # The quickest first: a spare that was told these very options; a blank spare, which
            # must still be told; a start, which takes seconds.
            if ready := self._pop(readiness):
                self.warm += 1
                return self._note_taken(ready)
            if blank := self._pop(Readiness(launch)):
                # A spare that died while it waited is no fault of the turn: a fresh process will
                # do.
                with contextlib.suppress(UpstreamError):
                    await self._bound(blank, binding)
                    self.warm += 1
                    return self._note_taken(blank)
        # Outside of `_checkout`, because `start` counts the waiting itself.
        return await self.start(launch, binding)

    async def start(self, launch: Launch, binding: Binding) -> S:
        """Return a process for a turn from a fresh start, for a launch that no spare can have."""
        self.cold += 1
        self._last_asked = self._clock()
        with self._checkout():
            return self._note_taken(await self._bound(await self._started(launch), binding))

    def retire(self, session: S) -> asyncio.Task[None]:
        """End a process in a task of the pool; a caller may await the returned task."""
        self._taken.discard(session)
        return self._in_background(self._end(session))

    def counts(self) -> dict[str, int]:
        """Return the pool's figures under the names of PoolMetrics. `busy` counts processes taken
        and not retired.
        """
        return {
            "size": self._warm_size(),
            "idle": sum(len(spares) for spares in self._spares.values()),
            "busy": len(self._taken),
            "waiting": self._waiting,
            "starts": self.starts,
            "hits": self.warm,
            "misses": self.cold,
        }

    async def keep_filled(self) -> None:
        """Start missing spares and end surplus, old and dead spares, until cancelled."""
        pause = RETRY_SECONDS
        while True:
            # Cleared before the filling looks: a checkout during `_fill` must cause one more look.
            self._changed.clear()
            try:
                await self._fill()
                self.problem = None
                pause = RETRY_SECONDS
            except CCProxyError as error:
                # One line of the log for each reason: the same failure comes with every retry.
                if error.message != self.problem:
                    get_log().warning("spare_not_started", reason=error.message)
                self.problem = error.message
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_LIMIT_SECONDS)
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`, which may swallow a cancellation in Python 3.11.
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
                    await asyncio.sleep(self._lull)

    async def drain(self) -> None:
        """End every process, also a starting one, and wait for the end of all. Only when no process
        is taken.
        """
        # `retire` only creates a task, so the set does not change under the loop.
        for session in self.owned:
            self.retire(session)
        self._spares.clear()
        # A process that is being made is not in `owned` yet: once the start is over, a callback
        # retires the process in a task of its own. So the loop looks until no task is left.
        while self._background:
            ended = set(self._background)
            await asyncio.gather(*ended, return_exceptions=True)
            # From Python 3.12 on `gather` may return before the callbacks have discarded the ended
            # tasks.
            self._background -= ended

    def wanted(self) -> Counter[Readiness]:
        """Return the spares to keep: readiness asked for repeatedly of late, and at least one blank
        spare.
        """
        size = self._warm_size()
        if size == 0:
            return Counter()
        asked: Counter[Readiness] = Counter()
        for readiness, at in self._recent:
            if self._clock() - at < REMEMBERED_SECONDS:
                asked[readiness] += 1
                # A launch of its own, such as a working folder, is also a wish for a blank spare
                # there: the next request of the folder may bring another binding.
                if readiness.launch != self._launch:
                    asked[Readiness(readiness.launch)] += 1
        repeated = [readiness for readiness, times in asked.most_common() if times > 1][: size - 1]
        return Counter(repeated) + Counter({Readiness(self._launch): size - len(repeated)})

    def _warm_size(self) -> int:
        """Return the number of spares to keep: none before the first checkout, and fewer after a
        long rest.
        """
        if self._last_asked is None:
            return self._size if self._warm_at_start else 0
        if self._clock() - self._last_asked < IDLE_SECONDS:
            return self._size
        return min(self._size, 1) if self._warm_at_start else 0

    async def _fill(self) -> None:
        self._drop_unfit()
        while missing := next(iter(self.wanted() - self._kept()), None):
            # Read before the start: a login that changes during the start makes the spare unfit.
            # Read afterwards, the new state would be noted for a process with the old login.
            login = self._login_state()
            try:
                session = await self._started(missing.launch)
                if missing.binding is not None:
                    await self._bound(session, missing.binding)
            except CCProxyError:
                self._forget(missing)
                raise
            self._spares.setdefault(missing, []).append(Spare(session, self._clock(), login))
            # The wishes may have changed during the start.
            self._drop_unfit()

    def _forget(self, readiness: Readiness) -> None:
        """Drop an impossible readiness, for example in a removed directory, so the remaining spares
        go on.
        """
        kept = [
            (asked, at)
            for asked, at in self._recent
            if readiness not in (asked, Readiness(asked.launch))
        ]
        self._recent.clear()
        self._recent.extend(kept)

    def _kept(self) -> Counter[Readiness]:
        return Counter({readiness: len(spares) for readiness, spares in self._spares.items()})

    def _drop_unfit(self) -> None:
        wanted = self.wanted()
        login = self._login_state()
        for readiness, spares in list(self._spares.items()):
            fit = [spare for spare in spares if self._is_fit(spare, login)]
            kept = fit[: wanted[readiness]]
            for spare in spares:
                if spare not in kept:
                    self.retire(spare.session)
            if kept:
                self._spares[readiness] = kept
            else:
                del self._spares[readiness]

    def _pop(self, readiness: Readiness) -> S | None:
        """Return the oldest fit spare for `readiness`, or None."""
        spares = self._spares.get(readiness, [])
        login = self._login_state()
        while spares:
            spare = spares.pop(0)
            if self._is_fit(spare, login):
                return spare.session
            self.retire(spare.session)
        return None

    def _is_fit(self, spare: Spare[S], login: object) -> bool:
        """Return True if `spare` lives, is young, and was started with the present state of the
        login files.
        """
        return (
            spare.session.alive
            and self._clock() - spare.since < SPARE_SECONDS
            and spare.login == login
        )

    def drop_spares(self) -> None:
        """End every spare after the provider refused the login of a process."""
        for spares in self._spares.values():
            for spare in spares:
                self.retire(spare.session)
        self._spares.clear()
        self._changed.set()

    @contextlib.contextmanager
    def _checkout(self) -> Iterator[None]:
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _note_taken(self, session: S) -> S:
        self._taken.add(session)
        return session

    async def _end(self, session: S) -> None:
        try:
            await session.close()
        finally:
            self.owned.discard(session)

    async def _bound(self, session: S, binding: Binding) -> S:
        try:
            await self._bind(session, binding)
        except BaseException:
            # Also after a cancellation: a process that heard half of the options can serve no turn.
            self.retire(session)
            raise
        return session

    async def _started(self, launch: Launch) -> S:
        """Return a started process. A cancelled taker cuts no start short: the process is ended
        once it has started.
        """
        # A start that is cut short could leave a process that no part of the worker knows yet.
        starting = self._in_background(self._start_one(launch))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._retire_unwanted)
            raise

    def _retire_unwanted(self, starting: asyncio.Task[S]) -> None:
        if not starting.cancelled() and starting.exception() is None:
            self.retire(starting.result())

    async def _start_one(self, launch: Launch) -> S:
        async with self._starts:
            session = await self._make(launch)
            # Owned before the first wait, so that `drain` also finds a process that never answers.
            self.owned.add(session)
            try:
                await session.begun()
            except BaseException:
                self.retire(session)
                raise
        self.starts += 1
        return session

    def _in_background(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        # The event loop holds a task weakly: without the set an unawaited task could vanish.
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

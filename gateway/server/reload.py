"""New settings without a restart: a second gateway is opened beside the first, and takes every
request from then on.

Active requests end on the gateway they began on, which is then closed; counters and known quotas go
on. Only settings that no other program reads are taken over (`RELOADABLE`); all other changes are
named in the log and wait for a restart. An invalid configuration is refused. A guarded setting is
taken over from the owner's own file alone, and only with values that the owner has trusted: an
agent can write the other files (`shared/settings/trust.py`).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.server.app import Gateway
from gateway.server.asgi import Receive, Scope, Send
from shared.bus import Bus
from shared.runtime.files import identity_or_none
from shared.runtime.log import get_log
from shared.runtime.metric_snapshots import publish_snapshots
from shared.settings.files import ENV_FILE, read_files, toml_candidates
from shared.settings.problems import ConfigurationError
from shared.settings.security import SecuritySettings, TokenSettings
from shared.settings.snapshot import write_snapshot
from shared.settings.tree import Settings, refuse_open_bind, resolve_settings
from shared.settings.trust import advance_pinned, pin_settings, trust_file, waiting_changes

LOOK_SECONDS = 1.0
REQUEST = "reload"  # a file in the run directory, touched by the launcher to request a reload

# Sections, and settings of sections, that the gateway alone reads.
RELOADABLE = frozenset(
    {
        "claude.monthly_usd",
        "codex",
        "models",
        "queue",
        "quota",
        "sdk.max_body_bytes",
        "responses",
        "security.auth_token",
        "security.tokens",
        "security.allowed_hosts",
        "server.body_timeout_seconds",
        "server.connect_timeout_seconds",
        "server.first_byte_timeout_seconds",
        "server.idle_timeout_seconds",
        "server.max_bodies_bytes",
        "server.max_body_bytes",
        "server.max_upload_bytes",
    }
)

NEEDED = {
    "folder": "trust the file with `ccproxy config trust` in its folder, then restart",
    "own": "trust the file with `ccproxy config trust` and its path, or restart",
}

Open = Callable[[Settings, Bus, Gateway | None], AbstractAsyncContextManager[Gateway]]


class Generation:
    """A gateway with the settings of its opening, and the number of its open requests."""

    def __init__(self, gateway: Gateway, resources: AsyncExitStack) -> None:
        self.gateway = gateway
        self.resources = resources
        self.requests = 0
        self.retired = asyncio.Event()
        self.unused = asyncio.Event()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        try:
            await self.gateway.app(scope, receive, send)
        finally:
            self.requests -= 1
            if self.retired.is_set() and not self.requests:
                self.unused.set()

    def retire(self) -> None:
        """Let the last requests end. Held ones end now: the new settings may let them go on."""
        self.retired.set()
        self.gateway.active_requests.end_holds()
        if not self.requests:
            self.unused.set()


class Reloading:
    """The only ASGI application of the process, in front of the current gateway."""

    def __init__(self, settings: Settings, bus: Bus, *, instance: str, open_gateway: Open) -> None:
        self.settings = settings
        self._bus = bus
        self._instance = instance
        self._open_gateway = open_gateway
        self._pinned = pin_settings(Settings)
        self._old: dict[Generation, asyncio.Task[None]] = {}
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._current = await self._open(self.settings, None)
        metrics = self._current.gateway.metrics  # shared by all later gateways
        publishing = publish_snapshots(
            self._bus, metrics, service="gateway", instance=self._instance, stop=self._ended
        )
        self._publishing = asyncio.create_task(publishing)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        await self._publishing
        # The task of every old gateway closes the gateway, also one that is in use, and none twice.
        closing = list(self._old.values())
        for generation in self._old:
            generation.unused.set()
        try:
            if closing:
                await asyncio.wait(closing)
        finally:
            await self._current.resources.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._current.serve(scope, receive, send)

    async def stop(self, grace: float) -> None:
        """Give the active requests of all gateways `grace` seconds, then end the rest."""
        gateways = [generation.gateway for generation in (self._current, *self._old)]
        await asyncio.gather(*(gateway.active_requests.stop(grace) for gateway in gateways))

    def end_holds(self) -> None:
        """End the held requests of all gateways."""
        for generation in (self._current, *self._old):
            generation.gateway.active_requests.end_holds()

    async def reload(self) -> None:
        """Read the settings again and take over the reloadable settings. Never raises for a faulty
        configuration.
        """
        try:
            found, layers = resolve_settings(self._pinned)
            files = read_files(Settings)
            untaken = waiting_changes(Settings, files, self._pinned)
            settings, taken, waiting = adopt(self.settings, found)
            # Checked on the settings that would hold from now on, because some changes wait.
            refuse_open_bind(settings)
        except ConfigurationError as error:
            get_log().error(
                "configuration_refused", reason=error.message, kept="the settings from before"
            )
            return
        try:
            # Before any gateway is opened: after a failed write the settings from before still
            # hold.
            pinned = advance_pinned(files, self._pinned)
            write_snapshot(layers)
        except OSError as error:
            get_log().error(
                "configuration_refused", reason=str(error), kept="the settings from before"
            )
            return
        self._pinned = pinned
        for whose, names in untaken.items():
            get_log().warning(
                "guarded_settings_kept", file=whose, settings=names, to_change=NEEDED[whose]
            )
        if waiting:
            get_log().warning("restart_needed", settings=waiting)
        if taken:
            loosened = loosened_settings(self.settings.security, settings.security)
            old = self._current
            # The old gateway serves until the new one is open, and the assignment switches all
            # later requests at once.
            self._current = await self._open(settings, self._current.gateway)
            self.settings = settings
            # Only after the switch: no further request can begin on the old gateway.
            old.retire()
            self._old[old] = asyncio.create_task(self._close_unused(old))
            get_log().info("configuration_reloaded", settings=taken)
            if loosened:
                get_log().warning("security_loosened", settings=loosened)

    async def _open(self, settings: Settings, before: Gateway | None) -> Generation:
        resources = AsyncExitStack()
        gateway = await resources.enter_async_context(
            self._open_gateway(settings, self._bus, before)
        )
        return Generation(gateway, resources)

    async def _close_unused(self, generation: Generation) -> None:
        await generation.unused.wait()
        try:
            await generation.resources.aclose()
        finally:
            # Only now: a shutdown waits for every gateway that is still being closed.
            del self._old[generation]


def adopt(old: Settings, new: Settings) -> tuple[Settings, list[str], list[str]]:
    """Return `old` with the reloadable changes of `new`; the names of taken changes, and of changes
    that need a restart.
    """
    taken: list[str] = []
    waiting: list[str] = []
    sections: dict[str, Any] = {}
    for section in Settings.model_fields:
        before = getattr(old, section)
        after = getattr(new, section)
        changed = [
            name
            for name in type(before).model_fields
            if getattr(before, name) != getattr(after, name)
        ]
        can = [
            name for name in changed if section in RELOADABLE or f"{section}.{name}" in RELOADABLE
        ]
        sections[section] = before.model_copy(update={name: getattr(after, name) for name in can})
        for name in changed:
            (taken if name in can else waiting).append(f"{section}__{name}".upper())
    return old.model_copy(update=sections), taken, waiting


def loosened_settings(old: SecuritySettings, new: SecuritySettings) -> list[str]:
    """Return the names of the reloadable security settings that admit more callers, or allow
    callers more, than before.
    """
    before = {token.name: token for token in old.tokens}
    found = []
    if old.auth_token is not None and new.auth_token is None:
        found.append("SECURITY__AUTH_TOKEN")
    if any(allows_more(token, before.get(token.name)) for token in new.tokens):
        found.append("SECURITY__TOKENS")
    if set(new.allowed_hosts) - set(old.allowed_hosts):
        found.append("SECURITY__ALLOWED_HOSTS")
    return found


def allows_more(token: TokenSettings, before: TokenSettings | None) -> bool:
    """Return True if `token` has a scope, or lacks a limit, unlike the same token `before`."""
    if before is None:
        return bool(token.scopes)
    is_freer = before.at_once > 0 and not 0 < token.at_once <= before.at_once
    lost = set(before.limits) - set(token.limits)
    return bool(set(token.scopes) - set(before.scopes) or lost) or is_freer


def watched_files(settings: Settings) -> list[Path]:
    return [Path(ENV_FILE), *toml_candidates(), trust_file(), settings.server.run_dir / REQUEST]


async def reload_on_demand(reloading: Reloading) -> None:
    """Reload at SIGHUP and after a change of a settings file, until cancelled. A reload that fails
    is logged, and the gateway goes on with the settings from before.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    seen = look(watched_files(reloading.settings))
    try:
        while True:
            try:
                await asyncio.wait_for(asked.wait(), LOOK_SECONDS)
            except TimeoutError:
                now = look(watched_files(reloading.settings))
                if now == seen:
                    continue
                seen = now
            asked.clear()
            try:
                await reloading.reload()
            except Exception:  # noqa: BLE001 - one failed reload must not be the last one
                get_log().exception("reload_failed", kept="the settings from before")
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def look(files: Iterable[Path]) -> list[tuple[int, ...] | None]:
    """Return the facts that differ between versions of a file, for every file; None for a missing
    file.
    """
    return [identity_or_none(file) for file in files]

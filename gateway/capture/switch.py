"""The switches of capture, in a file that all gateways of a stack share.

A switch is for one token, one session, or every request, and ends by itself. The file lies beside
the captures, so switches survive a restart, and need no Redis. It is replaced as a whole under a
lock, and has mode 0600.

Invariant: a file that cannot be read switches nothing on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from shared.runtime.errors import ClientError
from shared.runtime.files import identity_or_none, replace_private
from shared.runtime.times import iso_time

SWITCHES = "switches.json"
USUAL_SECONDS = 3600.0
MAX_SECONDS = 7 * 86_400.0
MOST_SWITCHES = 32

Kind = Literal["token", "session", "everything"]


@dataclass(frozen=True)
class CaptureSwitch:
    """Capture of the requests of the token or session `name` until `until`, in UTC seconds since
    1970. `by` is the caller who switched it on.
    """

    kind: Kind
    name: str
    until: float
    by: str = ""

    def wants(self, caller: str, session: str) -> bool:
        match self.kind:
            case "token":
                return self.name == caller
            case "session":
                return self.name == session
            case "everything":
                return True

    def __str__(self) -> str:
        return self.kind if self.kind == "everything" else f"{self.kind} {self.name}"

    def shown(self) -> dict[str, Any]:
        """Return the switch for people and programs."""
        return {"kind": self.kind, "name": self.name, "until": iso_time(self.until), "by": self.by}


class SwitchOn(BaseModel):
    """The wish to capture the requests of the token or session `name`, or `everything`, for
    `seconds`.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    name: str = Field("", max_length=256)
    seconds: float = Field(USUAL_SECONDS, gt=0, le=MAX_SECONDS, allow_inf_nan=False)

    @model_validator(mode="after")
    def check_name(self) -> Self:
        if bool(self.name) == (self.kind == "everything"):
            raise ValueError("name: a token or a session has one, and everything has none")
        return self

    def switch(self, by: str) -> CaptureSwitch:
        """Return the switch for this wish of the caller `by`, from now on."""
        return CaptureSwitch(self.kind, self.name, time.time() + self.seconds, by)


STORED = TypeAdapter(list[CaptureSwitch])


class SwitchFile:
    """The switches in the directory of captures. All I/O blocks: call the methods from a thread."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / SWITCHES

    def identity(self) -> tuple[int, ...] | None:
        return identity_or_none(self.path)

    def read(self) -> tuple[CaptureSwitch, ...]:
        """Return the switches still on. Raises OSError, ValueError."""
        try:
            stored = STORED.validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return ()
        now = time.time()
        return tuple(switch for switch in stored if switch.until > now)

    def add(self, switch: CaptureSwitch) -> tuple[CaptureSwitch, ...]:
        """Switch capture on, in place of a switch for the same; return all switches. Raises
        ClientError, OSError.
        """
        with self._locked():
            kept = [each for each in self._known() if (each.kind, each.name) != _key(switch)]
            if len(kept) >= MOST_SWITCHES:
                raise ClientError(
                    f"There are {MOST_SWITCHES} switches already; switch one off first."
                )
            return self._write([*kept, switch])

    def remove(self, kind: Kind | None = None, name: str = "") -> tuple[CaptureSwitch, ...]:
        """Switch off one switch, or all without `kind`; return the remaining switches. Raises
        OSError.
        """
        with self._locked():
            if kind is None:
                return self._write([])
            return self._write(
                [each for each in self._known() if (each.kind, each.name) != (kind, name)]
            )

    def _known(self) -> tuple[CaptureSwitch, ...]:
        # A damaged file is replaced by the change: it switches nothing on.
        with contextlib.suppress(ValidationError):
            return self.read()
        return ()

    def _write(self, switches: list[CaptureSwitch]) -> tuple[CaptureSwitch, ...]:
        replace_private(self.path, STORED.dump_json(switches))
        return tuple(switches)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path.with_name(".switches.lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _key(switch: CaptureSwitch) -> tuple[str, str]:
    return switch.kind, switch.name

"""The workers that a request chooses by the header `x-ccproxy-worker`: labels, or a worker's name.

A chosen turn waits in a queue of its own, which only workers with all of the labels serve. So the
gateway looks at the workers once, to refuse what nobody could ever run; who runs the turn is
decided where every other turn is decided, by who is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shared.bus.channels import Channel, labelled_turns
from shared.runtime.errors import ClientError, NoWorker
from shared.settings.labels import MOST_LABELS, check_label

WORKER_HEADER = b"x-ccproxy-worker"


class WorkerSource(Protocol):
    """The verb of the bus needed by the module."""

    async def processes(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class WorkerChoice:
    """The queue of a choice, and the names of the workers that serve it now."""

    queue: Channel
    names: frozenset[str]


def read_choice(headers: Mapping[bytes, bytes]) -> frozenset[str]:
    """Return the labels that the headers ask for; none when they do not choose. Raises
    ClientError.
    """
    value = headers.get(WORKER_HEADER, b"").decode("utf-8", "replace")
    return parse_choice(value, "x-ccproxy-worker")


def parse_choice(text: str, where: str) -> frozenset[str]:
    """Return the labels in `label, label`. Raises ClientError that names `where`."""
    words = [word for part in text.split(",") if (word := part.strip())]
    try:
        chosen = frozenset(map(check_label, words))
    except ValueError as error:
        raise ClientError(f"{where}: {error}.") from error
    # A worker has at most so many labels; one more may be its name.
    if len(chosen) > MOST_LABELS + 1:
        raise ClientError(f"{where}: {len(chosen)} labels, but a worker has at most {MOST_LABELS}.")
    return chosen


async def choose_workers(bus: WorkerSource, wanted: frozenset[str]) -> WorkerChoice:
    """Return the choice of `wanted` labels. Raises NoWorker that names what there is, when no
    worker that takes turns has all of them, and BusUnavailable.
    """
    workers = [each for each in await bus.processes() if each["service"] == "sdk_worker"]
    taking = [worker for worker in workers if not worker.get("draining")]
    fitting = {worker["instance"] for worker in taking if wanted <= names_of(worker)}
    if not fitting:
        raise NoWorker(f"x-ccproxy-worker: {missing_words(wanted, taking)}")
    # A worker that is chosen by its name serves a queue for the name alone.
    named = wanted & fitting
    return WorkerChoice(labelled_turns(named or wanted), frozenset(named or fitting))


def names_of(worker: Mapping[str, Any]) -> frozenset[str]:
    """Return everything by which a worker can be chosen."""
    return frozenset({worker["instance"], *worker.get("labels", [])})


def missing_words(wanted: Iterable[str], workers: list[dict[str, Any]]) -> str:
    """Return a sentence about labels that no worker has, and what there is instead."""
    words = sorted(wanted)
    asked = ", ".join(words)
    if not workers:
        return f"no worker is there to take {asked}; `ccproxy status` shows the missing one."
    labels = sorted({label for worker in workers for label in worker.get("labels", [])})
    told = f"the labels are {', '.join(labels)}" if labels else "no worker has a label"
    names = ", ".join(sorted(worker["instance"] for worker in workers))
    together = " together" if len(words) > 1 else ""
    return f"no worker has {asked}{together}; {told}, and the workers are {names}."

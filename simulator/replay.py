"""Captured requests played again: the provider's answers of a bundle, for the requests that got
them.

An answer has the status, the headers and the pieces of the captured one, in their order and at
once. A request gets the answer of the first captured request at its address that has its body, once
both are without secrets, and has not answered yet; else of the first that has not answered yet; and
after the last, the first again. So the same requests in the same order always get the same answers.
Addresses that are not in the bundle are the simulator's own.

A captured answer that broke off breaks off again, and a request that got none gets none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from shared.captures.capture import Capture, Part
from shared.captures.redaction import redact
from simulator.exchange import SimulatedExchange

# The server writes these itself, or they were those of a connection.
OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "date", "server"})
WITHOUT_ANSWER = Part(is_whole=False)

Place = tuple[str, str]


@dataclass(slots=True)
class Scene:
    """A captured request and the answer."""

    digest: str
    answer: Part
    has_played: bool = False


class Replay:
    """The provider that plays `captures`; `others` answers at all other addresses."""

    def __init__(
        self,
        captures: list[Capture],
        others: Callable[[SimulatedExchange], Coroutine[Any, Any, None]],
    ) -> None:
        self._others = others
        self._scenes: dict[Place, list[Scene]] = {}
        for capture in captures:
            if capture.sent is not None:
                scene = Scene(
                    body_digest(capture.sent.body.encode()), capture.answer or WITHOUT_ANSWER
                )
                self._scenes.setdefault(place_of_sent(capture.sent), []).append(scene)

    async def __call__(self, exchange: SimulatedExchange) -> None:
        scenes = self._scenes.get((exchange.record.method, exchange.path))
        if not scenes:
            await self._others(exchange)
            return
        scene = chosen(scenes, body_digest(exchange.record.body))
        await play_answer(exchange, scene.answer)


def place_of_sent(sent: Part) -> Place:
    """Return the method and the path of a request to a provider."""
    return sent.method or "POST", urlsplit(sent.address).path


def played_places(captures: list[Capture]) -> list[str]:
    """Return the addresses in a replay, with the number of answers at every address."""
    counted = Counter(
        place_of_sent(capture.sent) for capture in captures if capture.sent is not None
    )
    return [f"{method} {path}: {number}" for (method, path), number in counted.items()]


def chosen(scenes: list[Scene], digest: str) -> Scene:
    """Return the scene for a request, and mark it as played."""
    waiting = [scene for scene in scenes if not scene.has_played]
    if not waiting:
        for scene in scenes:
            scene.has_played = False
        waiting = scenes
    scene = next((scene for scene in waiting if scene.digest == digest), waiting[0])
    scene.has_played = True
    return scene


def body_digest(body: bytes) -> str:
    """Return the digest of `body` without secrets: the same text for the same body with any
    secrets.
    """
    return sha256(redact(body).body).hexdigest()


async def play_answer(exchange: SimulatedExchange, answer: Part) -> None:
    """Send a captured answer; an incomplete answer ends with the connection."""
    if not answer.status:
        return
    body = answer.body.encode()
    headers = {name: value for name, value in answer.headers if name not in OWN_HEADERS}
    ends = [int(end) for end, _ in answer.chunks]
    if answer.is_whole and not answer.is_cut and len(ends) <= 1:
        await exchange.send(answer.status, body, headers)
        return
    await exchange.open(answer.status, headers)
    start = 0
    for end in ends:
        await exchange.write(body[start:end])
        start = end
    if answer.is_whole and not answer.is_cut:
        await exchange.close(body[start:])

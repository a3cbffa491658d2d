"""The simulator for tests: one process per test session, and a client for what it really received
and sent.

Loaded as a pytest plugin. `simulator_url` is the address; `simulator` is the ground truth, emptied
before each test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

API_KEY = "sk-ant-api03-simulated-owner-key-0001"
OAUTH_TOKEN = "sk-ant-oat01-simulated-owner-token-0001"
KEY_HEADERS = {"x-api-key": API_KEY, "anthropic-version": "2023-06-01"}
OAUTH_HEADERS = {
    "authorization": f"Bearer {OAUTH_TOKEN}",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "oauth-2025-04-20",
}


def chatgpt_token(
    account: str = "acct-simulated", plan: str = "plus", lasts: float = 3600.0
) -> str:
    """A login's access token; its signature is nobody's."""
    auth = {"chatgpt_account_id": account, "chatgpt_plan_type": plan}
    claims = {"exp": int(time.time() + lasts), "https://api.openai.com/auth": auth}
    middle = base64.urlsafe_b64encode(orjson.dumps(claims)).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{middle}.unsigned"


OPENAI_KEY = "sk-proj-simulated-owner-key-0001"
CHATGPT_HEADERS = {
    "authorization": f"Bearer {chatgpt_token()}",
    "chatgpt-account-id": "acct-simulated",
    "originator": "tests",
    "user-agent": "tests/1",
}
DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Seen:
    """One request as it arrived at the simulator. `status` is None and `ended_after_ms` is None
    while it runs.
    """

    id: int
    method: str
    path: str
    headers: list[tuple[str, str]]
    raw: bytes
    status: int | None
    sent: bytes
    sent_bytes: int
    model: str
    credential: str
    usage: dict[str, Any]
    cancelled: bool
    ended_after_ms: float | None

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw)

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name.lower()), None)


def _seen(shape: dict[str, Any]) -> Seen:
    body = shape.pop("body")
    raw = body.encode() if shape.pop("body_encoding") == "utf-8" else base64.b64decode(body)
    sent, size = base64.b64decode(shape.pop("response_base64")), shape.pop("response_bytes")
    headers = [(name, value) for name, value in shape.pop("headers")]
    return Seen(raw=raw, sent=sent, sent_bytes=size, headers=headers, **shape)


class GroundTruth:
    """What the simulator at `url` really received and sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(
            base_url=url, trust_env=False, verify=False
        )  # no certificates to load: it is http

    def requests(self, path: str = "") -> list[Seen]:
        """Requests in order of arrival; `path` keeps those whose path starts with it."""
        found = [_seen(shape) for shape in self._client.get("/simulator/requests").json()]
        return [seen for seen in found if seen.path.startswith(path)]

    def last(self, path: str = "") -> Seen:
        return self.requests(path)[-1]

    def totals(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get("/simulator/totals").json()
        return found

    def clear(self) -> None:
        self._client.delete("/simulator/requests")

    async def until(self, found: Callable[[list[Seen]], Any]) -> Any:
        """The first truthy `found(requests)`; fails the test when there is none within the
        deadline.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            requests = self.requests()
            if result := found(requests):
                return result
            assert time.monotonic() < deadline, f"not seen in time among {requests}"
            await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        self._client.close()


@contextmanager
def running_simulator() -> Iterator[str]:
    """A simulator process on a free port; yields its address."""
    program = Path(sys.executable).with_name("ccproxy-simulator")
    with subprocess.Popen([program, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    with running_simulator() as url:
        yield url


@pytest.fixture
def simulator(simulator_url: str) -> Iterator[GroundTruth]:
    truth = GroundTruth(simulator_url)
    truth.clear()
    yield truth
    truth.close()

"""Stand-ins for the receivers of notifications on loopback: an ntfy server, and a receiver of
signed webhooks. `answers` are the statuses of the next requests, then 200.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
from dataclasses import dataclass
from typing import Any, Self

from tests.support.loopback import LoopbackHandler, serving, url_of

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@dataclass
class Received:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)

    def is_signed(self, key: bytes = b"k" * 32) -> bool:
        """Return True if the signature is right, as a receiver of Standard Webhooks computes it."""
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode()
        digest = hmac.new(key, signed + self.body, hashlib.sha256).digest()
        return self.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"

    def button(self, label: str) -> str:
        """Return the address behind a button of an ntfy message."""
        actions = self.document["actions"]
        (url,) = [action["url"] for action in actions if action["label"] == label]
        return url


class Receiver:
    """`with Receiver() as receiver`: `url` is its address, `arrived` the requests in order."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.arrived: queue.Queue[Received] = queue.Queue()

    def __enter__(self) -> Self:
        receiver = self

        class Handler(LoopbackHandler):
            def do_POST(self) -> None:
                body = self.body()
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver.answers.pop(0) if receiver.answers else 200
                # Before the answer, so that a test that has the answer finds the request.
                receiver.arrived.put(Received(self.path, headers, body))
                self.send_response(status)
                self.send_header("content-length", "2")
                if 300 <= status < 400:
                    self.send_header("location", f"{receiver.url}/elsewhere")
                self.end_headers()
                self.wfile.write(b"{}")

        self._serving = serving(Handler)
        self.url = url_of(self._serving.__enter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    def next(self, seconds: float = 30) -> Received:
        """Return the next request. Raises queue.Empty."""
        return self.arrived.get(timeout=seconds)

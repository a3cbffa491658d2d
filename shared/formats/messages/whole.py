"""A Messages stream as the whole message it spells out, block by block and without interpretation.

Nothing is translated, so nothing can be lost: blocks, deltas and fields of kinds unknown here are
kept as they came.
"""

from __future__ import annotations

from typing import Any

from shared.formats.fields import MISFITS
from shared.formats.json_text import load_text
from shared.runtime.errors import UpstreamError

Json = dict[str, Any]

# Where a delta's value goes: appended to this field of its block.
TEXT_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class WholeMessage:
    """Feed every payload of the stream. `message` is the result once `stopped`; `error` is an error
    event's payload.
    """

    def __init__(self) -> None:
        self.message: Json = {}
        self.error: Json | None = None
        self.stopped = False
        self._blocks: dict[int, Json] = {}
        self._inputs: dict[int, list[str]] = {}

    def feed(self, payload: Json) -> None:
        """Take the next payload. Raises UpstreamError for a payload that does not fit the ones
        before.
        """
        try:
            self._take(payload)
        except MISFITS as error:
            raise UpstreamError(f"The stream is no message ({error!r:.200}).") from error

    def _take(self, payload: Json) -> None:
        match payload.get("type"):
            case "message_start":
                self.message = dict(payload["message"])
            case "content_block_start":
                self._blocks[payload["index"]] = dict(payload["content_block"])
            case "content_block_delta":
                self._add(payload["index"], payload["delta"])
            case "message_delta":
                self.message |= payload["delta"]
                self.message["usage"] = self.message.get("usage", {}) | payload.get("usage", {})
            case "message_stop":
                self._finish()
            case "error":
                self.error = payload

    def _add(self, index: int, delta: Json) -> None:
        block = self._blocks[index]
        kind = delta["type"]
        if kind == "input_json_delta":
            self._inputs.setdefault(index, []).append(delta["partial_json"])
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        elif field := TEXT_FIELDS.get(kind):
            block[field] = block.get(field, "") + delta[field]

    def _finish(self) -> None:
        # Only at the end: a piece of JSON cannot be read.
        for index, pieces in self._inputs.items():
            if text := "".join(pieces):
                self._blocks[index]["input"] = load_text(text)
        self.message["content"] = [self._blocks[index] for index in sorted(self._blocks)]
        self.stopped = True

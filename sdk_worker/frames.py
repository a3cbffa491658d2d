"""One agent run as one Anthropic message stream. Pure: lines of the program in, SSE frames out.

A run asks the model several times; the client sees one message. Its blocks are numbered through,
the inner messages' own start and end are held back, usage is summed, and the end carries the stop
reason of the last one. What a run is made of besides the answer is shown as
CLAUDE__SDK_MESSAGE_MODE says. Nothing is sent twice: an attempt the program gave up after a word of
it had left ends the stream with an error.
"""

from __future__ import annotations

import html
import json
import math
import re
from typing import Any, Literal

import orjson

from sdk_worker.client_tools import PREFIX, client_name
from shared.formats.fields import MISFITS
from shared.formats.messages.errors import error_type
from shared.runtime.errors import CCProxyError, CredentialsMissing, UpstreamError, UpstreamRefused
from shared.runtime.exact_json import dump_json

Line = dict[str, Any]
Mode = Literal["forward", "formatted", "ignore"]

SOURCE = "claude_code_sdk"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
COUNTED = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)
# After these reasons the program would ask again, but the client asked for one answer.
FINAL_REASONS = frozenset({"max_tokens", "refusal", "model_context_window_exceeded"})
INIT_SHOWN = (
    "session_id",
    "cwd",
    "model",
    "tools",
    "mcp_servers",
    "permissionMode",
    "claude_code_version",
)
RESULT_SHOWN = (
    "subtype",
    "duration_ms",
    "duration_api_ms",
    "is_error",
    "num_turns",
    "session_id",
    "total_cost_usd",
)
LONGEST_RETRY_SECONDS = 2
PREFACE = re.compile(r"^API Error: (\d{3} )?")  # the program's own words before the provider's
# The program's names for failures that it reports without a status.
ERROR_STATUSES = {
    "authentication_failed": 401,
    "rate_limit": 429,
    "overloaded": 529,
    "invalid_request": 400,
}


def frame(event: Line) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), dump_json(event))


def error_envelope(status: int, message: str) -> bytes:
    return orjson.dumps(
        {"type": "error", "error": {"type": error_type(status), "message": message}}
    )


def turn_error_frame(error: CCProxyError) -> bytes:
    """Return `error` as the last event of a stream that has begun."""
    body = error.body if isinstance(error, UpstreamRefused) else b""
    return b"event: error\ndata: %s\n\n" % (body or error_envelope(error.status, error.message))


def failed_result(result: Line, said: str | None) -> CCProxyError:
    """A failed run as the provider's own refusal. `said` is the program's name for the failure."""
    told = (
        result.get("result")
        or "; ".join(map(str, result.get("errors") or []))
        or result.get("subtype")
    )
    message = PREFACE.sub("", str(told))
    status = result.get("api_error_status") or ERROR_STATUSES.get(said or "")
    # Without a provider's status the advice to log in is Claude Code's own.
    if "/login" in message and not result.get("api_error_status"):
        return CredentialsMissing(
            "Claude Code is not logged in: run `ccproxy auth login`, or set CLAUDE__API_KEY."
        )
    if status is None:
        return UpstreamError(message)
    return UpstreamRefused(message, status=int(status), body=error_envelope(int(status), message))


def refuse_long_wait(retry: Line) -> None:
    """Raise the refusal of a wait longer than an open connection, with the time after which the
    client may retry.
    """
    seconds = math.ceil(retry.get("retry_delay_ms", 0) / 1000)
    status = retry.get("error_status")
    if status is not None and seconds > LONGEST_RETRY_SECONDS:
        message = (
            f"The provider refuses for now ({retry.get('error')}) and asks to wait {seconds} "
            "seconds."
        )
        headers = {"retry-after": str(seconds)}
        raise UpstreamRefused(
            message, status=status, body=error_envelope(status, message), headers=headers
        )


# The states of a run. For every request to the model the program writes one inner message,
#
#     message_start  (content_block_start, _delta, _stop)…  message_delta  message_stop
#
# with a line for every finished block (`assistant`), lines of tool results (`user`), and at the
# end of the run one `result`. The client sees one message: `started` with the first inner start,
# `finished` with `_end`. An inner message is an attempt: `_attempt_shown` once a block of the
# attempt has left, `_attempt_done` once its `message_delta` came. An attempt that was shown but not
# done cannot be taken back when the program begins another one.
class Splice:
    """Turns the lines of a run into frames. `started` is set by the first frame, `finished` by the
    last frame.

    Thinking that must return with the results of the client's own tools (`client_tools`) is passed
    on in every mode.
    """

    def __init__(self, mode: Mode, *, pretty: bool = True, client_tools: bool = False) -> None:
        self.started = self.finished = False
        self._thinking_passes = client_tools or mode == "forward"
        self.result: Line = {}
        self.limits: Line | None = None  # what is left of the owner's subscription
        self._mode = mode
        self._pretty = pretty
        self._next_block = 0
        self._blocks: dict[int, int] = {}  # the inner message's block index → ours
        self._message_id: str | None = None  # the inner message the stream is in
        self._attempt_shown = self._attempt_done = self._client_called = False
        self._inner_usage: Line = {}
        self._usage = dict.fromkeys(COUNTED, 0)
        self._stop: Line = {"stop_reason": "end_turn", "stop_sequence": None}
        self._init: Line | None = None
        self._failure: str | None = None

    @property
    def transcript(self) -> str:
        """Return the program's own id of this conversation."""
        return self._init["session_id"] if self._init else ""

    def feed(self, line: Line) -> bytes:
        """Return the frames of this line. Raises CCProxyError when the run failed, and
        UpstreamError for a line of another form.
        """
        try:
            return self._frames_of(line)
        except MISFITS as error:
            raise UpstreamError(
                f"The claude program wrote a line that cannot be read ({error!r:.200})."
            ) from error

    def _frames_of(self, line: Line) -> bytes:
        if line.get("parent_tool_use_id"):
            return b""  # a conversation of a subagent with itself
        match line.get("type"):
            case "stream_event":
                return self._stream_event(line["event"])
            case "assistant":
                return self._assistant(line)
            case "user":
                return self._user(line["message"])
            case "result":
                return self._result(line)
            case "rate_limit_event":
                self.limits = line.get("rate_limit_info")
            case "system" if line.get("subtype") == "init":
                self._init = line
            case "system" if line.get("subtype") == "api_retry" and not self.started:
                # Only before the first frame: until then the refusal has a status of its own.
                refuse_long_wait(line)
        return b""

    def _stream_event(self, event: Line) -> bytes:
        match event["type"]:
            case "message_start":
                return self._inner_start(event["message"])
            case "content_block_start":
                return self._block_start(event["index"], event["content_block"])
            case "content_block_delta" | "content_block_stop" if event["index"] in self._blocks:
                return frame(event | {"index": self._blocks[event["index"]]})
            case "message_delta":
                return self._inner_delta(event)
            case "message_stop":
                # A stop without a delta before is the end of a stream that broke off.
                self._refuse_to_repeat()
        return b""

    def _refuse_to_repeat(self) -> None:
        """Raise when the program starts a second attempt after frames of the first attempt were
        sent.
        """
        if self._attempt_shown and not self._attempt_done:
            raise UpstreamError(
                "The provider's stream broke off; what was sent so far is not the whole answer."
            )

    def _inner_start(self, message: Line) -> bytes:
        self._refuse_to_repeat()
        self._message_id = message.get("id")
        self._inner_usage = message.get("usage") or {}
        # The indexes begin at 0 again in every inner message.
        self._blocks.clear()
        self._attempt_shown = self._attempt_done = False
        return self._open(message)

    def _open(self, message: Line) -> bytes:
        if self.started:
            return b""
        self.started = True
        shown: Line = {"content": [], "stop_reason": None, "stop_sequence": None}
        return frame({"type": "message_start", "message": message | shown})

    def _block_start(self, index: int, block: Line) -> bytes:
        kind = block.get("type")
        if kind == "tool_use":
            if not block["name"].startswith(PREFIX):
                return b""  # shown whole once it is complete
            block = block | {"name": client_name(block["name"])}
            self._client_called = True
        elif not self._thinking_passes and kind in {"thinking", "redacted_thinking"}:
            return b""
        self._attempt_shown = True
        self._blocks[index] = self._number()
        return frame(
            {"type": "content_block_start", "index": self._blocks[index], "content_block": block}
        )

    def _number(self) -> int:
        self._next_block += 1
        return self._next_block - 1

    def _inner_delta(self, event: Line) -> bytes:
        self._attempt_done = True
        self._stop = {name: event["delta"].get(name) for name in self._stop}
        # The delta repeats those counts of the start that changed. A count that is absent or null
        # stays as the start said.
        told = {
            name: count for name, count in (event.get("usage") or {}).items() if count is not None
        }
        self._count(self._inner_usage | told)
        return self._end() if self._is_last() else b""

    def _is_last(self) -> bool:
        """Return True when the run is over for the client: the client has to act, or asked for no
        more.
        """
        return self._client_called or self._stop["stop_reason"] in FINAL_REASONS

    def _count(self, usage: Line) -> None:
        for name in COUNTED:
            self._usage[name] += usage.get(name) or 0

    def _assistant(self, line: Line) -> bytes:
        """One line a finished block; the whole message when the stream was given up for a plain
        request.
        """
        message = line["message"]
        # The program's own words about a failed request. The `result` line behind ends the run.
        if message.get("model") == "<synthetic>":
            self._failure = line.get("error")
            return b""
        streamed = message.get("id") == self._message_id
        if not streamed:
            self._refuse_to_repeat()
            self._message_id = message.get("id")
            self._attempt_done = True
            self._stop = {
                "stop_reason": message.get("stop_reason"),
                "stop_sequence": message.get("stop_sequence"),
            }
            self._count(message.get("usage") or {})
        frames = b"".join(
            self._finished_block(message, block, streamed) for block in message["content"]
        )
        # A streamed message was ended by its own delta already.
        return frames if streamed or not self._is_last() else frames + self._end()

    def _finished_block(self, message: Line, block: Line, streamed: bool) -> bytes:
        kind = block["type"]
        if kind == "tool_use" and not block["name"].startswith(PREFIX):
            shown = {
                "type": "tool_use_sdk",
                "id": block["id"],
                "name": block["name"],
                "input": block["input"],
            }
            return self._show(shown, block)
        if kind in {"thinking", "redacted_thinking"} and not self._thinking_passes:
            return self._show_thinking(block) if self._mode == "formatted" else b""
        # The client has had a streamed block piece by piece.
        if streamed:
            return b""
        self._client_called = self._client_called or kind == "tool_use"
        return self._open(message) + self._whole(block)

    def _user(self, message: Line) -> bytes:
        content = message.get("content")
        results = (
            [block for block in content if block.get("type") == "tool_result"]
            if isinstance(content, list)
            else []
        )
        return b"".join(self._tool_result(block) for block in results)

    def _tool_result(self, block: Line) -> bytes:
        shown = {"type": "tool_result_sdk", "tool_use_id": block["tool_use_id"]}
        shown |= {"content": block.get("content"), "is_error": block.get("is_error")}
        return self._show(shown, shown | {"type": "tool_result"})

    def _result(self, line: Line) -> bytes:
        self.result = line
        out_of_turns = line.get("subtype") == "error_max_turns"
        if not out_of_turns and (line.get("is_error") or line.get("subtype") != "success"):
            raise failed_result(line, self._failure)
        # An empty run has no message that could be ended.
        if not self.started:
            raise UpstreamError("The claude program ended the turn without an answer.")
        if out_of_turns:
            self._stop["stop_reason"] = "pause_turn"  # cut short of its end, and can be continued
        return self._about_the_run(line) + self._end()

    def _about_the_run(self, line: Line) -> bytes:
        frames = b""
        if self._init is not None:
            data = {name: self._init[name] for name in INIT_SHOWN if name in self._init}
            frames = self._show({"type": "system_message", "subtype": "init", "data": data})
        shown = {name: line.get(name) for name in (*RESULT_SHOWN, "usage", "result")}
        return frames + self._show({"type": "result_message", **shown})

    def _end(self) -> bytes:
        self.finished = True
        stop = {"type": "message_delta", "delta": self._stop, "usage": self._usage}
        return frame(stop) + frame({"type": "message_stop"})

    def _show(self, block: Line, inside: Line | None = None) -> bytes:
        """Return a block of the product's own, either as the block or as tagged text of
        `inside`.
        """
        if self._mode == "ignore":
            return b""
        if self._mode == "forward":
            return self._whole(block | {"source": SOURCE})
        return self._tagged(block["type"], self._as_json(inside or block))

    def _as_json(self, value: Line) -> str:
        if self._pretty:
            return json.dumps(value, indent=2, ensure_ascii=False)
        return html.escape(dump_json(value).decode(), quote=False)

    def _tagged(self, tag: str, inside: str, attributes: str = "") -> bytes:
        newline = "\n" if self._pretty else ""
        text = f"<{tag}{attributes}>{newline}{inside}{newline}</{tag}>{newline}"
        return self._whole({"type": "text", "text": text})

    def _show_thinking(self, block: Line) -> bytes:
        signature = (
            f' signature="{html.escape(block["signature"])}"' if block.get("signature") else ""
        )
        return self._tagged("thinking", block.get("thinking", ""), signature)

    def _whole(self, block: Line) -> bytes:
        """Return the frames of a finished block as in a stream: start, deltas, stop."""
        self._attempt_shown = True
        index = self._number()
        empty, deltas = unfilled(block)
        frames = frame({"type": "content_block_start", "index": index, "content_block": empty})
        for delta in deltas:
            frames += frame({"type": "content_block_delta", "index": index, "delta": delta})
        return frames + frame({"type": "content_block_stop", "index": index})


def unfilled(block: Line) -> tuple[Line, list[Line]]:
    """Return a finished block as the empty block at the start of a stream, and the deltas to fill
    the block.
    """
    match block["type"]:
        case "text":
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": block["text"]}]
        case "thinking":
            signature = {"type": "signature_delta", "signature": block.get("signature", "")}
            delta = {"type": "thinking_delta", "thinking": block["thinking"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [delta, signature]
        case "tool_use":
            written = {
                "type": "input_json_delta",
                "partial_json": dump_json(block["input"]).decode(),
            }
            return block | {"name": client_name(block["name"]), "input": {}}, [written]
    return block, []

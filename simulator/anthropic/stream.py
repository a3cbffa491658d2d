"""A scripted reply as server-sent events. `frames` is pure, so a stream and a whole message say the
same by construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any

import orjson

from simulator.anthropic.request import Block
from simulator.script import ScriptedReply, compact, pieces

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
JSON_PIECE = 12


def stream_event(kind: str, **data: Any) -> bytes:
    """Return an event; the JSON has a few spaces before the last brace, as in the service."""
    line = orjson.dumps({"type": kind, **data})
    return b"event: %b\ndata: %b%b}\n\n" % (kind.encode(), line[:-1], b" " * (len(line) % 4))


def message_frames(message: dict[str, Any], reply: ScriptedReply) -> Iterator[bytes]:
    """`message` is the whole message the events add up to."""
    head: dict[str, Any] = {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
    }
    usage = message["usage"]
    yield stream_event(
        "message_start", message={**message, **head, "usage": {**usage, "output_tokens": 1}}
    )
    tracks = [
        list(_block_events(index, block, reply.piece)) for index, block in enumerate(reply.parts)
    ]
    # Interleaved, the blocks take turns event by event; else each block ends before the next
    # begins.
    ordered = chain.from_iterable(zip_longest(*tracks) if reply.interleaved else tracks)
    for number, frame in enumerate(filter(None, ordered)):
        yield frame
        # The service sends one ping soon after the beginning of every stream.
        if number == 0 or reply.pings:
            yield PING
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    # The counts of the last event are totals, without the part by lifetime.
    final = {name: value for name, value in usage.items() if name != "cache_creation"}
    yield stream_event("message_delta", delta=delta, usage=final)
    yield stream_event("message_stop")


def _block_events(index: int, block: Block, piece: int) -> Iterator[bytes]:
    bare, deltas = _open(block, piece)
    yield stream_event("content_block_start", index=index, content_block=bare)
    for delta in deltas:
        yield stream_event("content_block_delta", index=index, delta=delta)
    yield stream_event("content_block_stop", index=index)


def _open(block: Block, piece: int) -> tuple[Block, Iterator[dict[str, Any]]]:
    """Return the block as announced, and the deltas of the block's content."""
    match block["type"]:
        case "text":
            cited = (
                {"type": "citations_delta", "citation": citation}
                for citation in block.get("citations", [])
            )
            text = ({"type": "text_delta", "text": part} for part in pieces(block["text"], piece))
            bare = {**block, "text": ""} | ({"citations": []} if "citations" in block else {})
            return bare, chain(cited, text)
        case "thinking":
            thought = (
                {"type": "thinking_delta", "thinking": part}
                for part in pieces(block["thinking"], piece)
            )
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, chain(thought, [signed])
        case "tool_use" | "server_tool_use":
            # The first delta is always empty, as in the service: a reader must not take it for a
            # whole input.
            parts = pieces(compact(block["input"]), JSON_PIECE) if block["input"] else []
            deltas = ({"type": "input_json_delta", "partial_json": part} for part in ("", *parts))
            return {**block, "input": {}}, deltas
        case _:
            return block, iter(())

"""What travels on the bus: entries of streams, payloads of channels, tables of records."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from shared.accounts.login import LoginFacts
from shared.accounts.quota import Quota, Window
from shared.bus.alerts import LimitReport
from shared.bus.channels import (
    LOGS_QUERY,
    AccessRecord,
    CustomCallNote,
    CustomResult,
    KnownSession,
    LogsQuery,
    ManagedTurn,
    PermissionAudit,
    PermissionDecision,
    PermissionNote,
    PermissionQuery,
    PermissionRequest,
    PermissionWaiting,
    Turn,
    TurnHead,
    TurnTail,
    decode_payload,
    encode_payload,
)
from shared.bus.deliveries import Delivery, Served, Slots
from shared.bus.fingerprints import Mark, PromptFingerprint, read_fingerprint
from shared.bus.records import pack, pack_begun, split_batch, unpack, unpack_begun
from shared.bus.session_reports import SessionReport
from shared.bus.wire import WireMessage
from shared.permissions.reach import Reach, ReachedPath
from shared.runtime.errors import CCProxyError, ClientError, UpstreamRefused, error_from_dict
from shared.runtime.exact_json import load_json
from tests.fuzz.targets.target import Target, chosen, hold, seed

PATH = ReachedPath("/a/b", "/a/c", writes=True)
EXAMPLES: tuple[Any, ...] = (
    Turn("r", {"model": "m", "messages": []}, "alice", "s", managed=ManagedTurn(["Read"])),
    TurnHead("w", 1.5, ["top_k"], "s", "subscription"),
    TurnTail(0.5, 2, 7.5, {"status": "allowed"}),
    PermissionNote("t", "p", "denied", "rule", "no"),
    CustomCallNote("t", "over", "w:1", "late"),
    CustomResult("r", "t", [{"type": "text", "text": "x"}]),
    KnownSession("t", 2, 0.5, "s", "alice"),
    PermissionRequest("p", "Bash", {"command": "ls"}, reach=Reach([PATH], ["a.test"], True)),
    PermissionDecision("p", "allowed", updated_input={"command": "ls -l"}),
    PermissionWaiting(True),
    PermissionQuery("list", {"limit": 5}, "alice"),
    PermissionAudit("p", 1.0, "Bash", "{}", "alice", "s", "/w", "allowed"),
    LogsQuery("requests", {"limit": 5}),
    LimitReport("alice", "$5 a day", 0.9, 7.0),
    SessionReport("e", "s", "alice", "done", 7.0),
    Quota("claude", 7.0, [Window("5h", 0.5, 18000, 9.0)]),
    LoginFacts("claude", "ours", 9.0),
)
RECORD = AccessRecord("req_1", 7.0, model="m", tokens_input=3, cost_usd=0.5, path="/api")
ERRORS = (
    ClientError("no", param="model"),
    UpstreamRefused("busy", status=529, body=b'{"type":"error"}'),
)
NOT_FINITE = re.compile(r"\b(nan|inf)\b")
ENTRY = {"id": "r", "data": "{}", "inbox": "gateway:g:1-a", "call": "7"}
FINGERPRINT = PromptFingerprint(
    "messages", {"model": 7}, (("Bash", 5),), (1,), (2, 3), (Mark(1, 2, 300),), 2
)


def read_payload(shape: type, number: int, data: bytes) -> None:
    try:
        found = decode_payload(shape, data)
    except ClientError:
        return
    # pydantic reads NaN and infinity, which no JSON has and nothing of ours writes.
    if NOT_FINITE.search(repr(found)):
        return
    written = encode_payload(found)
    again = decode_payload(shape, written)
    hold(encode_payload(again) == written, "a payload that was read is read again as itself")


def read_records(_: int, data: bytes) -> None:
    batch = split_batch(data)
    try:
        records = unpack(data)
    except ClientError:
        return
    if NOT_FINITE.search(repr(records)):
        return
    packed = encode_payload(pack(records))
    hold(encode_payload(pack(unpack(packed))) == packed, "records are read as they were written")
    hold(len(batch) == len(records), "a batch is split into its records")
    hold(
        encode_payload(pack(record for part in batch for record in unpack(part))) == packed,
        "the parts of a batch are its records",
    )


def read_begun(_: int, data: bytes) -> None:
    unpack_begun(encode_payload(pack_begun([RECORD])))
    if unpack_begun(data) is None:
        read_records(0, data)


def read_message(_: int, data: bytes) -> None:
    """Check a message of an inbox: whatever it holds, the reader of the inbox goes on."""
    fields = entry_in(data)
    try:
        message = WireMessage.read(fields)
    except ClientError:
        return
    written = [str(each).encode() if isinstance(each, int) else each for each in message.fields()]
    again = WireMessage.read(dict(zip(written[::2], written[1::2], strict=True)))
    hold(again == message, "a message is read as it was written")


def read_entry(_: int, data: bytes) -> None:
    """Check an entry of a channel: whatever it holds, its server can take and end it."""
    fields = entry_in(data)
    served = Served(LOGS_QUERY, Slots(4), None, unposted, "analytics:a:1-b")
    for delivery in served.hold([(b"1-0", fields)]):
        hold(isinstance(delivery, Delivery), "an entry becomes a delivery")
        read_payload(LogsQuery, 0, delivery.payload)


def unposted(*command: Any, patient: bool = False) -> asyncio.Future[Any]:
    raise AssertionError("nothing is written")


def entry_in(data: bytes) -> dict[bytes, bytes]:
    """Return the fields of an entry: a JSON object of texts, or names and values between NULs."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return {text_of(name): text_of(value) for name, value in document.items()}
    parts = data.split(b"\0")
    return dict(zip(parts[::2], parts[1::2], strict=False))


def text_of(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def read_error(_: int, data: bytes) -> None:
    try:
        error = error_from_dict(load_json(data))
    except json.JSONDecodeError:
        return
    hold(isinstance(error, CCProxyError), "an error is an error")
    again = error_from_dict(load_json(encode_payload(error.as_dict())))
    hold(again.as_dict() == error.as_dict(), "an error is read as it was written")


def read_prompt_fingerprint(_: int, data: bytes) -> None:
    try:
        found = read_fingerprint(data.decode("utf-8", "replace"))
    except ClientError:
        return
    hold(read_fingerprint(found.written()) == found, "a fingerprint is read as it was written")
    hold(len(found.bounded().messages) <= 1024, "a fingerprint is bounded")


KINDS: tuple[Callable[[int, bytes], None], ...] = (
    *(partial(read_payload, type(example)) for example in EXAMPLES),
    read_records,
    read_begun,
    read_message,
    read_entry,
    read_error,
    read_prompt_fingerprint,
)


def check(data: bytes) -> None:
    kind, number, body = chosen(data, KINDS)
    kind(number, body)


def seeds() -> list[bytes]:
    bodies: list[list[bytes]] = [[encode_payload(example)] for example in EXAMPLES]
    table = pack([RECORD, RECORD])
    older = {"columns": ["request_id", "timestamp", "new"], "rows": [["r", 1.0, True]]}
    begun = encode_payload(pack_begun([RECORD]))
    message = {"k": "reply", "c": "7", "a": "0a", "n": "3", "d": "{}"}
    bodies += [
        [encode_payload(table), encode_payload(older)],
        [begun, encode_payload(table)],
        [encode_payload(message), b"k\0accepted\0c\x007\0n\x000\0d\0worker:w:1-a"],
        [encode_payload(ENTRY), b"data\0{}\0id\0r"],
        [encode_payload(error.as_dict()) for error in ERRORS],
        [FINGERPRINT.written().encode()],
    ]
    return [seed(kind, body) for kind, each in enumerate(bodies) for body in each]


BUS = Target("bus", "entries, payloads and records on the bus", check, seeds)

"""The counts of all processes in one text: each process keeps the text of its counts in Redis, and
`/metrics` of any gateway merges the texts.

A series keeps the name of its process, so no sum of two processes is ever made here. The text of a
process that ends stays for `SNAPSHOT_TTL_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Protocol

from shared.runtime.errors import BusUnavailable
from shared.runtime.metrics import Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SNAPSHOT_PREFIX = "metrics:"
SNAPSHOT_TTL_SECONDS = 15.0
SNAPSHOT_EVERY_SECONDS = 5.0
RETRY_SECONDS = 0.5


class SnapshotStore(Protocol):
    """The single method of the bus needed by this module."""

    async def put(self, key: str, value: bytes, *, ttl: float) -> None: ...


def snapshot_key(service: str, instance: str) -> str:
    return f"{SNAPSHOT_PREFIX}{service}:{instance}"


async def publish_snapshots(
    store: SnapshotStore, metrics: Metrics, *, service: str, instance: str, stop: asyncio.Event
) -> None:
    """Keep this process's snapshot in Redis until `stop`, and leave a last snapshot. An absent
    Redis does no harm.
    """
    key = snapshot_key(service, instance)
    while True:
        pause = SNAPSHOT_EVERY_SECONDS
        # Read before the snapshot: if `stop` is set while the snapshot is written, one more round
        # stores the final counts.
        last = stop.is_set()
        try:
            await store.put(
                key, await asyncio.to_thread(metrics.snapshot), ttl=SNAPSHOT_TTL_SECONDS
            )
        except BusUnavailable:
            pause = RETRY_SECONDS
        if last:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)


def render_metrics(snapshots: Mapping[str, bytes]) -> bytes:
    """Merge snapshots (by `snapshot_key`) into a Prometheus text; every series is marked with the
    origin.
    """
    families: dict[bytes, list[bytes]] = {}
    for key, text in sorted(snapshots.items()):
        component, _, instance = key.removeprefix(SNAPSHOT_PREFIX).partition(":")
        origin = f'component="{_escape(component)}",instance_id="{_escape(instance)}"'.encode()
        _merge(families, text, origin)
    return b"".join(line + b"\n" for lines in families.values() for line in lines)


def _merge(families: dict[bytes, list[bytes]], text: bytes, origin: bytes) -> None:
    """Add the samples of `text` to their families. HELP and TYPE of a family are kept once."""
    family: list[bytes] = []
    fresh = False
    for line in text.split(b"\n"):
        # A HELP line opens a family, and every line up to the next HELP belongs to it.
        if line.startswith(b"# HELP "):
            name = line.split(b" ", 3)[2]
            fresh = name not in families
            family = families.setdefault(name, [])
        if line.startswith(b"#"):
            if fresh:
                family.append(line)
        elif line:
            family.append(_with_origin(line, origin))


def _with_origin(sample: bytes, origin: bytes) -> bytes:
    name, brace, labelled = sample.partition(b"{")
    if brace:
        return name + b"{" + origin + b"," + labelled
    name, _, value = sample.partition(b" ")
    return name + b"{" + origin + b"} " + value


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

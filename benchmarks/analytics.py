"""Measure analytics: `make bench BENCH_ARGS="--only analytics"`.

Rows in per CPU-second of the real program, from Redis to a commit; then the dashboard's queries
over a million and ten million records of ninety days, by the real server with the memory it really
has, and how many times longer they take over ten times the records. No time is a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson

from analytics.consumer import Progress
from analytics.price_updates import PriceUpdates
from analytics.schedule import sum_up
from analytics.server import QueryServer
from analytics.store import Store
from benchmarks.charts import bar_chart
from benchmarks.gateways import BIN, QUIET, cpu_seconds
from benchmarks.report import Section, Table
from ccproxy.launcher.redis_server import find_server, render_config, socket_url
from shared.accounts.prices import Prices
from shared.bus import Bus
from shared.bus.channels import ACCESS_RECORD, LOGS_QUERY, AccessRecord, LogsQuery, encode_payload
from shared.bus.records import pack
from shared.runtime.errors import CCProxyError
from shared.settings.servers import RedisSettings

IN_A_MESSAGE, MESSAGES_AHEAD = 256, 200
ROUNDS = 5
DAYS = 90
DAY = 86_400
ONE = {"model": "model-3"}
# Records arrive at random microseconds: at even distances, the sample of the latencies, one record
# in so many by its microsecond, could be every record.
FILL = """
INSERT INTO access_records BY NAME
SELECT 'req_' || md5(i::VARCHAR) AS request_id,
    make_timestamp(
        ($now::DOUBLE * 1e6 - $days * 86400e6 * (1 - (i + random()) / $rows))::BIGINT
    ) AS timestamp,
    'POST' AS method, '/api/v1/messages' AS path, '/api/v1/messages' AS endpoint, '' AS query,
    '127.0.0.1' AS client_ip, 'claude-cli/2.1' AS user_agent, 'token-' || (i % 5) AS caller,
    ['claude', 'codex', 'sdk'][i % 3 + 1] AS service_type,
    ['claude', 'codex', 'sdk'][i % 3 + 1] AS provider,
    'anthropic' AS client_format, 'model-' || (hash(i) % 12) AS model, i % 2 = 0 AS streaming,
    if(hash(i) % 50 = 0, 529, 200) AS status_code, random() * 5000 AS duration_ms,
    random() * 900 AS first_byte_ms,
    (random() * 3000)::BIGINT AS tokens_input, (random() * 900)::BIGINT AS tokens_output,
    (random() * 9000)::BIGINT AS cache_read_tokens, (random() * 900)::BIGINT AS cache_write_tokens,
    0 AS reasoning_tokens, random() / 10 AS cost_usd, 'session-' || (hash(i) % 5000) AS session_id,
    'end_turn' AS stop_reason, if(hash(i) % 50 = 0, 'overloaded', '') AS error_kind,
    '' AS error_message,
    0 AS retries, '' AS worker, 'subscription' AS billed_to, 1600 AS bytes_in, 26000 AS bytes_out,
    '' AS client_request_id, 'req_' || i AS upstream_request_id, '' AS ignored
FROM range($rows) AS numbers (i)
"""


def a_record(number: int) -> AccessRecord:
    return AccessRecord(
        request_id=f"req_{number:024x}",
        timestamp=time.time(),
        method="POST",
        path="/api/v1/messages",
        endpoint="/api/v1/messages",
        client_ip="127.0.0.1",
        user_agent="claude-cli/2.1 (external)",
        caller="laptop",
        service_type="claude",
        provider="claude",
        client_format="anthropic",
        model="claude-sonnet-4-5",
        streaming=True,
        status_code=200,
        duration_ms=1234.5,
        first_byte_ms=312.5,
        tokens_input=412,
        tokens_output=200,
        cache_read_tokens=9000,
        billed_to="subscription",
        bytes_in=1600,
        bytes_out=26_000,
        upstream_request_id="req_bench",
    )


@contextlib.contextmanager
def storing(folder: Path) -> Iterator[tuple[str, int]]:
    """The program on a Redis of its own: the address of that, and its pid."""
    config, redis_socket = render_config(folder, folder / "redis")
    (folder / "redis.conf").write_text(config)
    redis = subprocess.Popen(
        [str(find_server(RedisSettings())), str(folder / "redis.conf")], **QUIET
    )
    url = socket_url(redis_socket)
    environment = {
        "REDIS__URL": url,
        "OBSERVABILITY__DUCKDB_PATH": str(folder / "in/metrics.duckdb"),
    }
    program = subprocess.Popen(
        [str(BIN / "ccproxy-analytics")], env=os.environ | environment, **QUIET
    )
    try:
        yield url, program.pid
    finally:
        for each in (program, redis):
            each.terminate()
            each.wait(20)


async def insert(url: str, pid: int, rows: int) -> tuple[float, float]:
    """Rows per CPU-second of the analytics process, and per second."""
    async with Bus(url, service="gateway", instance="bench") as bus:
        await until(bus, 0)
        before, began = cpu_seconds([pid]), time.perf_counter()
        for start in range(0, rows, IN_A_MESSAGE):
            await bus.publish(
                ACCESS_RECORD, pack(map(a_record, range(start, min(rows, start + IN_A_MESSAGE))))
            )
            while (  # noqa: ASYNC110
                start % (IN_A_MESSAGE * 50) == 0
                and await bus.waiting(ACCESS_RECORD) > MESSAGES_AHEAD
            ):
                await asyncio.sleep(0.02)
        await until(bus, rows)
        return rows / (cpu_seconds([pid]) - before), rows / (time.perf_counter() - began)


async def until(bus: Bus, rows: int) -> None:
    """The file is open and holds so many."""
    while True:
        try:
            async with bus.call(LOGS_QUERY, LogsQuery("status")) as replies:
                if orjson.loads(await anext(replies)).get("rows", -1) >= rows:
                    return
        except CCProxyError:
            pass
        await asyncio.sleep(0.05)


class Asked:
    """A delivery from nowhere."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    async def send(self, data: bytes) -> None: ...


async def query(folder: Path, rows: int) -> list[tuple[str, float, float]]:
    """Each question of the dashboard, with its milliseconds and those of CPU (two threads)."""
    store, now = Store(folder / f"{rows}.duckdb"), time.time()
    await store.open()
    await store.close()
    with duckdb.connect(store.path) as connection:
        connection.execute(FILL, {"now": now, "days": DAYS, "rows": rows})
    await store.open()
    await sum_up(store, now)
    server = QueryServer(store, Progress(), PriceUpdates(Prices(folder / "prices.json"), ""))
    try:
        return [(label, *await timed(server, name, asked)) for label, name, asked in questions(now)]
    finally:
        await store.close()


def questions(now: float) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what the dashboard asks at the second `now`: each question's label, name and
    parameters.
    """
    return [
        ("sums of a day", "analytics", {"hours": 24}),
        ("sums of everything", "analytics", {"hours": 24 * DAYS}),
        ("a day in steps", "timeline", {"hours": 24}),
        ("a week in steps", "timeline", {"hours": 24 * 7}),
        ("everything in steps", "timeline", {"hours": 24 * DAYS}),
        ("what was spent in a day, a week, a month", "usage", {}),
        ("the last fifty", "entries", {"limit": 50}),
        ("the last fifty failures", "entries", {"limit": 50, "status_min": 400}),
        ("a page of a day, one model", "entries", {"limit": 50, "start_time": now - DAY, **ONE}),
        ("a page of a day, by free text", "entries", {"start_time": now - DAY, "search": "aff"}),
        ("everything by free text", "entries", {"search": "aff"}),
        ("sums of one caller", "analytics", {"hours": 24 * DAYS, "caller": "token-1"}),
        ("sums of one session", "analytics", {"hours": 24 * DAYS, "session_id": "session-7"}),
        ("programs of everything", "groups", {"by": "client_program", "hours": 24 * DAYS}),
        ("the dearest of everything", "entries", {"limit": 50, "order_by": "cost_usd"}),
        ("one request by its id", "entries", {"request_id": "req_none", "start_time": now - DAY}),
        ("models of a day", "groups", {"by": "model", "hours": 24}),
        ("models of everything", "groups", {"by": "model", "hours": 24 * DAYS}),
        ("sessions of a day", "sessions", {"hours": 24}),
        ("sessions of everything", "sessions", {"hours": 24 * DAYS}),
        ("agents of a session", "agents", {"session_id": "session-7", "hours": 24 * DAYS}),
        ("how the last sixty of each provider ended", "outcomes", {}),
    ]


async def timed(server: QueryServer, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    seen = []
    for _ in range(ROUNDS):
        question = Asked(encode_payload(LogsQuery(name, parameters)))
        began, cpu = time.perf_counter(), time.process_time()
        await server.answer(question)  # type: ignore[arg-type]
        seen.append((1000 * (time.perf_counter() - began), 1000 * (time.process_time() - cpu)))
    return statistics.median(wall for wall, _ in seen), statistics.median(cpu for _, cpu in seen)


def run(*, quick: bool) -> Section:
    """Return the rate of rows in, and the cost of each question over few and many records."""
    few, many = (100_000, 1_000_000) if quick else (1_000_000, 10_000_000)
    with tempfile.TemporaryDirectory(prefix="ccbench") as made:
        folder = Path(made)
        with storing(folder) as program:
            per_cpu, per_second = asyncio.run(insert(*program, 50_000 if quick else 200_000))
        of_few, of_many = (asyncio.run(query(folder, rows)) for rows in (few, many))
    rates = Table(
        ["", "per CPU-second", "per second"], [["rows in", f"{per_cpu:,.0f}", f"{per_second:,.0f}"]]
    )
    rows = [
        [name, f"{wall:.0f} ({cpu:.0f})", f"{longer:.0f} ({more:.0f})", f"{more / cpu:.1f}"]
        for (name, wall, cpu), (_, longer, more) in zip(of_few, of_many, strict=True)
    ]
    head = [
        f"ms, median of {ROUNDS} (CPU-ms)",
        f"{few:,} records",
        f"{many:,} records",
        "CPU ratio",
    ]
    title = f"Questions over {many:,} records"
    costs = {name: cpu for name, _, cpu in of_many}
    return Section(
        "analytics",
        "Analytics",
        'make bench BENCH_ARGS="--only analytics"',
        TEXT,
        [("", rates), ("", Table(head, rows))],
        [(f"{title}, CPU-ms each", bar_chart(title, "CPU-ms", costs, log=True))],
        {"DuckDB": duckdb.__version__},
    )


TEXT = f"""Rows in, from Redis to a commit, by the real program; then what the dashboard asks, by
the real server with the memory it really has, over records of {DAYS} days."""

"""Questions by name; every answer whole, or a sentence why not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from analytics.consumer import Progress
from analytics.pricing import Prices
from analytics.server import QueryServer
from analytics.store import Store
from shared.bus.channels import AccessRecord, LogsQuery, encode_payload
from shared.runtime.errors import CCProxyError, ClientError, NotFound, StoreUnavailable

NOON = 1_700_000_000.0
PRICES = Prices(Path("nowhere/prices.json"), "http://127.0.0.1:9/")


class Asked:
    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.replies: list[dict[str, Any]] = []

    async def send(self, data: bytes) -> None:
        self.replies.append(orjson.loads(data))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "metrics.duckdb")
    await store.open()
    await store.insert(
        [
            AccessRecord(
                "a",
                NOON,
                model="opus",
                service_type="proxy",
                status_code=200,
                duration_ms=100,
                cost_usd=0.25,
            ),
            AccessRecord(
                "b", NOON + 1, model="opus", service_type="sdk", status_code=200, tokens_output=5
            ),
            AccessRecord(
                "c",
                NOON + 2,
                model="gpt",
                service_type="proxy",
                status_code=200,
                error_kind="upstream",
            ),
        ]
    )
    yield store
    await store.close()


async def ask(store: Store, name: str, **parameters: Any) -> dict[str, Any]:
    asked = Asked(encode_payload(LogsQuery(name, parameters)))
    await QueryServer(store, Progress(committed=3), PRICES).answer(asked)  # type: ignore[arg-type]
    (reply,) = asked.replies
    return reply


async def test_entries_come_newest_first_unless_asked_otherwise(store: Store) -> None:
    assert [row["request_id"] for row in (await ask(store, "entries"))["results"]] == [
        "c",
        "b",
        "a",
    ]
    oldest = await ask(store, "entries", order="asc", limit=2)
    assert [row["request_id"] for row in oldest["results"]] == ["a", "b"]
    assert (oldest["count"], oldest["total_count"]) == (2, 3)


async def test_analytics_counts_a_stream_that_broke_as_an_error(store: Store) -> None:
    answer = await ask(store, "analytics", start_time=NOON)
    assert answer["summary"]["total_requests"] == 3
    assert answer["summary"]["total_error_requests"] == 1
    assert answer["summary"]["total_cost_usd"] == 0.25
    assert answer["model_breakdown"]["opus"]["successful_requests"] == 2
    assert answer["service_type_breakdown"]["sdk"]["output_tokens"] == 5


async def test_analytics_looks_a_day_back_unless_asked_otherwise(store: Store) -> None:
    assert (await ask(store, "analytics"))["summary"]["total_requests"] == 0
    assert (await ask(store, "analytics", end_time=NOON + 2, hours=1))["summary"][
        "total_requests"
    ] == 2


async def test_status_says_how_much_there_is(store: Store) -> None:
    status = await ask(store, "status")
    assert status["status"] == "healthy"
    assert (status["rows"], status["committed"], status["oldest"], status["newest"]) == (
        3,
        3,
        NOON,
        NOON + 2,
    )
    assert status["bytes"] > 0


async def test_status_answers_even_while_the_file_cannot_be_used(store: Store) -> None:
    await store.close("Another program holds it.")
    status = await ask(store, "status")
    assert (status["status"], status["problem"]) == ("waiting", "Another program holds it.")
    with pytest.raises(StoreUnavailable, match="Another program holds it"):
        await ask(store, "entries")


@pytest.mark.parametrize(
    ("payload", "error", "words"),
    [
        (encode_payload(LogsQuery("drop_everything")), NotFound, "drop_everything"),
        (encode_payload(LogsQuery("newest")), NotFound, "entries, analytics, timeline"),
        (encode_payload(LogsQuery("entries", {"limit": "many"})), ClientError, "limit"),
        (encode_payload(LogsQuery("status", {"limit": 1})), ClientError, "limit"),
        (b"{}", ClientError, "name"),
        (b"\x00", ClientError, "JSON"),
    ],
)
async def test_what_cannot_be_answered_is_refused_in_words(
    store: Store, payload: bytes, error: type[CCProxyError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await QueryServer(store, Progress(), PRICES).answer(Asked(payload))  # type: ignore[arg-type]


async def test_a_parameter_is_a_value_and_never_sql(store: Store) -> None:
    answer = await ask(store, "entries", model="opus' OR '1'='1")
    assert answer["results"] == []

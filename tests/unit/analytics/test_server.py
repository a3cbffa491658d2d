"""Questions by name; every answer whole, or a sentence why not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from analytics.audit import AuditTrail
from analytics.consumer import Progress
from analytics.price_updates import PriceUpdates
from analytics.server import QueryServer
from analytics.store import Store
from shared.accounts.prices import Prices
from shared.bus.channels import AccessRecord, LogsQuery, PermissionAudit, encode_payload
from shared.runtime.errors import CCProxyError, ClientError, NotFound, StoreUnavailable

NOON = 1_700_000_000.0
UPDATES = PriceUpdates(Prices(Path("nowhere/price-list.json")), "http://127.0.0.1:9/")


class Asked:
    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.replies: list[dict[str, Any]] = []

    async def ack(self) -> None: ...

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
    await QueryServer(store, Progress(committed=3), UPDATES).answer(asked)  # type: ignore[arg-type]
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


async def test_the_values_of_a_column_are_compared_with_latencies_of_their_own(
    store: Store,
) -> None:
    answer = await ask(store, "groups", by="model", start_time=NOON)
    opus, gpt = answer["results"]
    assert (opus["name"], opus["requests"], opus["succeeded"], opus["cost_usd"]) == (
        "opus",
        2,
        2,
        0.25,
    )
    assert opus["duration_p95_ms"] == 100
    assert (gpt["name"], gpt["succeeded"], gpt["newest"]) == ("gpt", 0, NOON + 2)
    with pytest.raises(ClientError, match=r"^by: "):
        await ask(store, "groups", by="error_message")


def of_session(number: int, session: str, **facts: Any) -> AccessRecord:
    return AccessRecord(f"s{number}", NOON + 10 + number, session_id=session, **facts)


async def test_a_session_is_summed_over_its_requests_and_its_agents(store: Store) -> None:
    await store.insert(
        [
            of_session(1, "one", model="opus", tokens_input=10, client_program="claude-code"),
            of_session(2, "one", model="haiku", tokens_input=5, agent_id="a1"),
            of_session(3, "one", agent_id="a2", parent_agent_id="a1", status_code=500),
            of_session(4, "two", status_code=200),
        ]
    )
    answer = await ask(store, "sessions", start_time=NOON)
    assert (answer["total_count"], answer["limit"], answer["offset"]) == (2, 50, 0)
    two, one = answer["results"]
    assert (two["session_id"], two["agents"], two["requests"]) == ("two", 0, 1)
    assert (one["requests"], one["agents"], one["tokens_input"]) == (3, 2, 15)
    assert (one["client_program"], one["models"]) == ("claude-code", ["", "haiku", "opus"])
    assert (one["oldest"], one["newest"]) == (NOON + 11, NOON + 13)
    assert [
        row["session_id"]
        for row in (await ask(store, "sessions", start_time=NOON, limit=1))["results"]
    ] == ["two"]
    agents = (await ask(store, "agents", session_id="one", start_time=NOON))["results"]
    assert [(each["agent_id"], each["parent_agent_id"]) for each in agents] == [
        ("", ""),
        ("a1", ""),
        ("a2", "a1"),
    ]


def missed(number: int, cause: str, usd: float | None, **facts: Any) -> AccessRecord:
    return of_session(
        number, "one", cache_cause=cause, cache_missed_tokens=1000, cache_miss_usd=usd, **facts
    )


async def test_misses_of_the_cache_are_summed_by_cause(store: Store) -> None:
    await store.insert(
        [
            missed(1, "idle", 0.5),
            missed(2, "idle", None, agent_id="a1"),
            missed(3, "tools", 0.75),
            of_session(4, "one", cache_cause="first"),
        ]
    )
    answer = await ask(store, "misses", start_time=NOON)
    assert [
        (row["cache_cause"], row["cache_misses"], row["cache_missed_tokens"], row["cache_miss_usd"])
        for row in answer["results"]
    ] == [("tools", 1, 1000, 0.75), ("idle", 2, 2000, 0.5)]
    (one,) = (await ask(store, "sessions", start_time=NOON))["results"]
    assert (one["cache_misses"], one["cache_miss_usd"]) == (3, 1.25)
    agents = (await ask(store, "agents", session_id="one", start_time=NOON))["results"]
    assert [each["cache_misses"] for each in agents] == [2, 1]
    found = await ask(store, "entries", cache_missed=True, cache_cause="idle")
    assert [row["request_id"] for row in found["results"]] == ["s2", "s1"]
    assert (await ask(store, "entries", cache_missed=False))["total_count"] == 4


async def test_misses_are_those_of_a_week_unless_asked_otherwise(store: Store) -> None:
    now = time.time()
    for number, days in enumerate((6, 8)):
        record = missed(number, "idle", 1.0)
        record.timestamp = now - days * 86_400
        await store.insert([record])
    (week,) = (await ask(store, "misses"))["results"]
    assert week["cache_misses"] == 1
    assert (await ask(store, "usage"))["cache_misses"] == [week]
    assert (await ask(store, "misses", hours=720))["results"][0]["cache_misses"] == 2


async def test_the_folder_of_a_session_is_the_last_that_a_request_or_a_hook_named(
    store: Store,
) -> None:
    await store.insert(
        [
            of_session(1, "one", working_directory="/srv/a"),
            of_session(2, "one", working_directory="/srv/b"),
            of_session(3, "one"),
            of_session(4, "two"),
            of_session(5, "three"),
        ]
    )
    for session in ("one", "two"):
        await AuditTrail(store).keep(
            Asked(
                encode_payload(
                    PermissionAudit(
                        request_id=session,
                        asked_at=NOON,
                        tool_name="Bash",
                        input="{}",
                        caller="me",
                        session_id=session,
                        working_directory="/srv/hook",
                        outcome="allowed",
                    )
                )
            )  # type: ignore[arg-type]
        )
    rows = (await ask(store, "sessions", start_time=NOON))["results"]
    assert {row["session_id"]: row["working_directory"] for row in rows} == {
        "one": "/srv/b",
        "two": "/srv/hook",
        "three": "",
    }


async def test_a_reset_forgets_the_fingerprints_too(store: Store) -> None:
    forgotten: list[bool] = []
    await store.insert([of_session(1, "one", fingerprint="f")])
    asked = Asked(encode_payload(LogsQuery("reset", {"confirm": "forget every record"})))
    server = QueryServer(store, Progress(), UPDATES, lambda: forgotten.append(True))
    await server.answer(asked)  # type: ignore[arg-type]
    assert asked.replies[0]["message"].startswith("4 records")
    assert forgotten == [True]
    assert (await ask(store, "sql", sql="SELECT 1 AS one"))["results"] == [{"one": 1}]


async def test_no_sessions_are_an_empty_page(store: Store) -> None:
    answer = await ask(store, "sessions", start_time=NOON)
    assert answer == {"results": [], "total_count": 0, "limit": 50, "offset": 0}


async def test_a_clients_mistake_is_no_failure_of_the_provider(store: Store) -> None:
    now = time.time()

    def recent(number: int, **facts: Any) -> AccessRecord:
        known: dict[str, Any] = {"provider": "claude", "model": "opus"}
        return AccessRecord(f"o{number}", now - 100 + number, **(known | facts))

    await store.insert(
        [
            recent(1, status_code=502, error_kind="upstream", error_message="older"),
            recent(2, status_code=200),
            recent(3, status_code=400, error_kind="invalid_request"),
            recent(4, status_code=502, error_kind="upstream", error_message="could not be reached"),
            recent(5, status_code=499, error_kind="cancelled"),
            recent(6, status_code=200, provider="codex"),
        ]
    )
    claude, codex = (await ask(store, "outcomes"))["results"]
    assert (claude["provider"], claude["requests"], claude["failed"]) == ("claude", 4, 2)
    assert (claude["error_kind"], claude["error_message"]) == ("upstream", "could not be reached")
    assert claude["last_failure"] > claude["last_success"]
    assert (claude["failed_in_a_row"], claude["level"], codex["level"]) == (1, "pass", "pass")
    assert (codex["failed"], codex["error_kind"], codex["last_failure"]) == (0, "", None)
    (last, _) = (await ask(store, "outcomes", limit=1))["results"]
    assert (last["requests"], last["failed"]) == (1, 1)


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
        await QueryServer(store, Progress(), UPDATES).answer(Asked(payload))  # type: ignore[arg-type]


async def test_a_parameter_is_a_value_and_never_sql(store: Store) -> None:
    answer = await ask(store, "entries", model="opus' OR '1'='1")
    assert answer["results"] == []

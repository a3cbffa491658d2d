"""Questions about the log go to analytics as parameters and come back joined."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from shared.bus.channels import LogsQuery
from shared.runtime.errors import WorkerLost
from tests.unit.gateway.conftest import KeepingBus, Start


class AnsweringBus(KeepingBus):
    def __init__(self, *pieces: dict[str, Any]) -> None:
        super().__init__()
        self.pieces = pieces
        self.asked: list[LogsQuery] = []

    @contextlib.asynccontextmanager
    async def call(
        self, _channel: Any, question: LogsQuery, **_: Any
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(question)
        yield self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield orjson.dumps(piece)


async def test_pieces_of_rows_are_joined_in_order(start_gateway: Start) -> None:
    bus = AnsweringBus({"results": [1, 2]}, {"results": [3], "count": 3})
    running = await start_gateway(bus)
    response = await running.client.get("/logs/query?limit=5&model=claude-x")
    assert response.json() == {"results": [1, 2, 3], "count": 3}
    assert bus.asked == [
        LogsQuery("entries", {"model": "claude-x", "limit": 5, "offset": 0, "order": "desc"})
    ]


async def test_a_bad_parameter_is_named(start_gateway: Start) -> None:
    running = await start_gateway(AnsweringBus())
    response = await running.client.get("/logs/query?limit=0")
    assert response.status_code == 400
    assert "limit: " in response.json()["error"]["message"]


async def test_the_log_can_be_switched_off(start_gateway: Start) -> None:
    running = await start_gateway(AnsweringBus(), observability={"logs_endpoints_enabled": False})
    assert (await running.client.get("/logs/status")).status_code == 404


async def test_pages_are_numbered_and_the_largest_come_first_when_asked(
    start_gateway: Start,
) -> None:
    bus = AnsweringBus({"results": [{"request_id": "a"}], "total_count": 45})
    running = await start_gateway(bus)
    page = (
        await running.client.get(
            "/logs/entries?limit=10&offset=20&order_by=cost_usd&order_desc=false"
        )
    ).json()
    assert (page["entries"], page["page"], page["total_pages"]) == ([{"request_id": "a"}], 3, 5)
    assert bus.asked[0].parameters == {
        "limit": 10,
        "offset": 20,
        "order_by": "cost_usd",
        "order": "asc",
    }


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/logs/status", LogsQuery("status")),
        (
            "/logs/query?sql=FROM+requests&limit=5",
            LogsQuery("sql", {"sql": "FROM requests", "limit": 5}),
        ),
        (
            "/logs/analytics?hours=48&caller=ann",
            LogsQuery("analytics", {"caller": "ann", "hours": 48}),
        ),
        ("/logs/timeline?bucket=60", LogsQuery("timeline", {"bucket": 60})),
        (
            "/logs/groups?by=model&leave_out_own=true",
            LogsQuery("groups", {"by": "model", "limit": 100, "leave_out_own": True}),
        ),
        (
            "/logs/sessions?hours=2&offset=50",
            LogsQuery("sessions", {"hours": 2, "limit": 50, "offset": 50}),
        ),
        ("/logs/agents?session_id=s", LogsQuery("agents", {"session_id": "s"})),
        ("/logs/outcomes", LogsQuery("outcomes", {"hours": 1, "limit": 60})),
    ],
)
async def test_each_question_reaches_analytics_by_its_name(
    start_gateway: Start, path: str, asked: LogsQuery
) -> None:
    bus = AnsweringBus({"results": []})
    running = await start_gateway(bus)
    assert (await running.client.get(path)).status_code == 200
    assert bus.asked == [asked]


async def test_forgetting_everything_must_be_said(start_gateway: Start) -> None:
    bus = AnsweringBus({"status": "success"})
    running = await start_gateway(bus)
    for unsaid in ({}, {"confirm": True}, {"confirm": "yes"}):
        assert (await running.client.post("/logs/reset", json=unsaid)).status_code == 400
    assert not bus.asked
    said = await running.client.post("/logs/reset", json={"confirm": "forget every record"})
    assert said.json() == {"status": "success"}


def events(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]


async def test_the_stream_shows_what_it_was_asked_for_and_says_why_it_ends(
    start_gateway: Start,
) -> None:
    seen = {
        "type": "request_complete",
        "service_type": "claude",
        "duration_ms": 5.0,
        "status_code": 200,
    }
    begun = {"type": "request_start", "service_type": "claude"}
    batch = [
        begun | {"model": "a"},
        begun | {"model": "b"},
        seen | {"model": "a"},
        seen | {"model": "b"},
        seen | {"model": "a", "duration_ms": 900},
    ]

    class Watched(AnsweringBus):
        async def _read(self) -> AsyncIterator[bytes]:
            yield orjson.dumps(batch)
            yield orjson.dumps([{"type": "overflow", "missed": 2}])
            raise WorkerLost

    running = await start_gateway(Watched())
    answer = await running.client.get("/logs/stream?model=a&max_duration_ms=100")
    assert answer.headers["content-type"].startswith("text/event-stream")
    shown = [event["type"] for event in events(answer.text)]
    assert shown == ["connection", "request_start", "request_complete", "overflow", "error"]


async def test_an_export_is_handed_on_as_it_comes(start_gateway: Start) -> None:
    class Exporting(AnsweringBus):
        async def _read(self) -> AsyncIterator[bytes]:
            yield b"PAR1..."
            yield b"...PAR1"

    bus = Exporting()
    answer = await (await start_gateway(bus)).client.get("/logs/export?model=a")
    assert answer.content == b"PAR1......PAR1"
    assert answer.headers["content-disposition"].endswith('"ccproxy-logs.parquet"')
    assert bus.asked == [LogsQuery("export", {"model": "a", "format": "parquet"})]


async def test_an_export_as_csv_has_the_type_and_name_of_a_csv_file(start_gateway: Start) -> None:
    class Exporting(AnsweringBus):
        async def _read(self) -> AsyncIterator[bytes]:
            yield b"request_id\n"

    answer = await (await start_gateway(Exporting())).client.get("/logs/export?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].endswith('"ccproxy-logs.csv"')


async def test_an_export_nobody_can_make_is_refused_with_its_status(start_gateway: Start) -> None:
    assert (await (await start_gateway()).client.get("/logs/export")).status_code == 503


@pytest.mark.parametrize("switches", [{"enabled": False}, {"logs_endpoints_enabled": False}])
@pytest.mark.parametrize(
    "path",
    [
        "status",
        "query",
        "analytics",
        "timeline",
        "entries",
        "export",
        "stream",
        "groups?by=model",
        "sessions",
        "agents?session_id=s",
        "outcomes",
    ],
)
async def test_every_door_is_closed_by_the_switch(
    start_gateway: Start, switches: dict[str, bool], path: str
) -> None:
    running = await start_gateway(AnsweringBus(), observability=switches)
    assert (await running.client.get(f"/logs/{path}")).status_code == 404

"""Health and metrics tell what works, also while the bus is away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from shared.runtime.metrics import Metrics
from tests.unit.gateway.conftest import KeepingBus, Start


class LivelyBus(KeepingBus):
    """A bus on which the named services are alive."""

    def __init__(self, *services: str, **facts: Any) -> None:
        super().__init__()
        self.alive = [
            {"service": service, "instance": f"{service}-1", "pid": 7, **facts}
            for service in services
        ]

    async def processes(self) -> list[dict[str, Any]]:
        return self.alive

    async def waiting(self, _channel: Any) -> int:
        return 2

    async def scan(self, _prefix: str) -> dict[str, bytes]:
        return {"metrics:analytics:a-1": Metrics().snapshot()}


EVERYTHING = ("sdk_worker", "permission_service", "analytics")


async def test_live_answers_without_anything_else(start_gateway: Start) -> None:
    running = await start_gateway(security={"auth_token": "t"})
    response = await running.client.get("/health/live")
    assert (response.status_code, response.json()["status"]) == (200, "pass")


NAMED = [
    {"name": "monitor", "token": "monitor-token", "scopes": ["admin"]},
    {"name": "tool", "token": "tool-token", "scopes": ["use", "agent", "ask", "approve"]},
]


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
@pytest.mark.parametrize("token", ["", "wrong-token", "tool-token"])
async def test_without_the_scope_admin_health_is_a_status_and_nothing_else(
    start_gateway: Start, path: str, token: str
) -> None:
    running = await start_gateway(LivelyBus(*EVERYTHING), security={"tokens": NAMED})
    response = await running.client.get(path, headers={"x-api-key": token})
    assert response.status_code == 200
    assert response.json() in ({"status": "pass"}, {"status": "warn"})
    assert response.headers["content-type"] == "application/health+json"


async def test_not_ready_is_a_503_for_everybody_and_named_for_the_scope_admin(
    start_gateway: Start,
) -> None:
    running = await start_gateway(LivelyBus("analytics"), security={"tokens": NAMED})
    response = await running.client.get("/health/ready")
    assert (response.status_code, response.json()) == (503, {"status": "fail"})
    told = await running.client.get("/health/ready", headers={"x-api-key": "monitor-token"})
    assert told.status_code == 503
    assert "No permission_service is running." in told.json()["output"]


async def test_ready_once_every_service_is_there(start_gateway: Start) -> None:
    running = await start_gateway(LivelyBus(*EVERYTHING))
    assert (await running.client.get("/health/ready")).status_code == 200


async def test_ready_names_what_is_missing(start_gateway: Start) -> None:
    running = await start_gateway(LivelyBus("sdk_worker", "analytics"))
    response = await running.client.get("/health/ready")
    assert response.status_code == 503
    assert "No permission_service is running." in response.json()["output"]


async def test_while_the_bus_is_away_health_says_so(start_gateway: Start) -> None:
    running = await start_gateway()
    body = (await running.client.get("/health")).json()
    assert body["status"] == "fail"
    assert "Redis" in body["checks"]["bus"][0]["output"]
    assert body["serviceId"] == "claude-code-proxy"


async def test_health_names_the_credential_in_use_and_never_shows_it(start_gateway: Start) -> None:
    running = await start_gateway(LivelyBus(*EVERYTHING), claude={"api_key": "sk-very-secret"})
    response = await running.client.get("/health")
    checks = response.json()["checks"]["oauth2_credentials"]
    assert [(check["route"], check["credentials_path"]) for check in checks] == [
        ("/api", "CLAUDE__API_KEY"),
        ("/sdk", "CLAUDE__API_KEY"),
    ]
    assert {check["billed_to"] for check in checks} == {"api_key"}
    assert "sk-very-secret" not in response.text


async def test_one_login_of_two_is_no_fault_and_none_at_all_is(
    start_gateway: Start, tmp_path: Path
) -> None:
    nowhere = {"codex": {"auth_file": str(tmp_path / "none.json")}}
    running = await start_gateway(LivelyBus(*EVERYTHING), **nowhere)
    body = (await running.client.get("/health")).json()
    assert body["status"] == "pass"
    assert "auth login-openai" in body["checks"]["codex_credentials"][0]["output"]
    without = {"api_key": None, "credentials_file": str(tmp_path / "none.json")}
    running = await start_gateway(LivelyBus(*EVERYTHING), claude=without, **nowhere)
    assert (await running.client.get("/health")).json()["status"] == "warn"


async def test_a_worker_s_own_trouble_is_a_warning(start_gateway: Start) -> None:
    running = await start_gateway(LivelyBus(*EVERYTHING, problem="No claude program was found."))
    body = (await running.client.get("/health")).json()
    assert body["status"] == "warn"
    assert "No claude program" in body["checks"]["sdk_worker"][0]["output"]


async def test_metrics_merge_every_process_and_count_this_one(start_gateway: Start) -> None:
    running = await start_gateway(LivelyBus(*EVERYTHING))
    await running.client.get("/health/live")
    text = (await running.client.get("/metrics")).text
    assert 'component="gateway"' in text
    assert 'component="analytics",instance_id="a-1"' in text
    assert 'endpoint="/health/live"' in text


async def test_metrics_go_on_without_the_bus(start_gateway: Start) -> None:
    running = await start_gateway()
    text = (await running.client.get("/metrics")).text
    assert "ccproxy_active_requests" in text
    assert re.search(r"^ccproxy_bus_connected\{.*\} 0.0$", text, re.MULTILINE)


@pytest.mark.parametrize("switch", ["enabled", "metrics_endpoint_enabled"])
async def test_metrics_can_be_switched_off(start_gateway: Start, switch: str) -> None:
    running = await start_gateway(observability={switch: False})
    assert (await running.client.get("/metrics")).status_code == 404

"""People see what is asked, answer it once, and make rules of their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from shared.bus import Bus, Delivery
from shared.bus.channels import LOGS_QUERY, PermissionAudit, encode_payload
from shared.bus.serving import serve_each
from tests.conftest import QUICK
from tests.support.permission_stack import Front, running_desk, running_front


@pytest.fixture
async def front(redis_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with (
        running_desk(redis_url, tmp_path / "rules.toml", max_open_requests=20),
        running_front(redis_url, server={"ping_interval_seconds": 0.2}) as front,
    ):
        yield front


async def asked(front: Front, **body: object) -> tuple[asyncio.Task[dict[str, object]], str]:
    checking = asyncio.create_task(front.check(**body))
    (pending,) = await front.pending(1)
    return checking, pending["request_id"]


async def test_a_request_can_be_seen_answered_and_looked_up_later(front: Front) -> None:
    checking, request_id = await asked(front)
    shown = (await front.client.get(f"/permissions/{request_id}")).json()
    assert shown["status"] == "pending"
    assert 290 < shown["time_remaining"] <= 300
    answer = (await front.respond(request_id)).json()
    assert answer == {"status": "success", "permission_id": request_id, "allowed": True}
    await checking
    everything = (await front.client.get("/permissions")).json()
    assert [case["status"] for case in everything["recent"]] == ["allowed"]
    assert everything["recent"][0]["decided_by"] == "local"


async def test_a_late_answer_is_told_what_happened(front: Front) -> None:
    checking, request_id = await asked(front)
    await front.respond(request_id, False)
    late = await front.respond(request_id, True)
    assert late.status_code == 409
    assert late.json()["error"]["message"] == "local denied this already; the first answer counts."
    assert (await checking)["behavior"] == "deny"


async def test_two_answer_at_once_again_and_again_and_one_wins(front: Front) -> None:
    async with front.watch() as watching:
        for number in range(20):
            checking = asyncio.create_task(front.check())
            request_id = (await watching.until("permission_request", number + 1))[-1].data[
                "request_id"
            ]
            answers = await asyncio.gather(
                front.respond(request_id, True), front.respond(request_id, False)
            )
            assert sorted(answer.status_code for answer in answers) == [200, 409]
            winner = next(answer for answer in answers if answer.status_code == 200)
            assert (await checking)["behavior"] == ("allow" if winner.json()["allowed"] else "deny")


@pytest.mark.parametrize(
    "body", [{}, {"allowed": "true"}, {"allowed": 1}, {"allowed": True, "always": True}]
)
async def test_an_answer_must_be_unmistakable(front: Front, body: dict[str, object]) -> None:
    checking, request_id = await asked(front)
    assert (
        await front.client.post(f"/permissions/{request_id}/respond", json=body)
    ).status_code == 400
    checking.cancel()


async def test_what_nobody_asked_is_not_found(front: Front) -> None:
    assert (await front.client.get("/permissions/nothing")).status_code == 404
    assert (await front.respond("nothing")).status_code == 404


async def test_the_stream_begins_with_what_is_pending_and_goes_on(front: Front) -> None:
    checking, request_id = await asked(front)
    async with front.watch() as watching:
        await watching.until("permission_request")
        assert watching.events[0].data == {"message": "Connected to permission stream"}
        await front.respond(request_id)
        (resolved,) = await watching.until("permission_resolved")
    assert resolved.data["request_id"] == request_id
    await checking


async def test_the_stream_resumes_without_gap_or_repeat(front: Front) -> None:
    async with front.watch() as watching:
        await watching.until("ping", 2)
        for number in range(6):
            checking = asyncio.create_task(front.check(session_id=str(number)))
            (*_, latest) = await watching.until("permission_request", number + 1)
            await front.respond(latest.data["request_id"])
            await checking
        await watching.until("permission_resolved", 6)
        everything = [event for event in watching.events if event.name != "ping"]
    for place in range(0, len(everything), 3):
        async with front.watch(everything[place].id) as resumed:
            await resumed.until("permission_resolved", 6 - (place + 1) // 2)
            assert [event for event in resumed.events if event.name != "ping"] == everything[
                place + 1 :
            ]


async def test_a_quiet_stream_is_kept_alive(front: Front) -> None:
    async with front.watch() as watching:
        *_, last = await watching.until("ping", 4)
    assert last.data == {"message": "keepalive"}


async def test_a_stream_lives_through_the_end_of_a_desk(redis_url: str, tmp_path: Path) -> None:
    async with running_front(redis_url) as front, front.watch() as watching:
        async with running_desk(redis_url, tmp_path / "rules.toml"):
            checking = asyncio.create_task(front.check())
            (request,) = await watching.until("permission_request")
        async with running_desk(redis_url, tmp_path / "rules.toml"):
            await front.respond(request.data["request_id"])
            await watching.until("permission_resolved")
            assert (await checking)["behavior"] == "allow"
        assert len(await watching.until("permission_request")) == 1


async def test_a_stopping_gateway_ends_its_streams(redis_url: str, tmp_path: Path) -> None:
    async with (
        running_front(redis_url) as front,
        front.client.stream("GET", "/permissions/stream") as response,
    ):
        front.stop()
        assert (await response.aread()).startswith(b"event: ping")


async def test_an_answer_remembered_becomes_a_rule_that_can_be_seen_explained_and_revoked(
    front: Front,
) -> None:
    checking, request_id = await asked(front, session_id="s1")
    answer = (await front.respond(request_id, remember={"scope": "always"})).json()
    await checking
    assert (await front.check(session_id="s2"))["behavior"] == "allow"
    rules = (await front.client.get("/permissions/rules")).json()["rules"]
    made, *built_in = [(rule["id"], rule["text"]) for rule in rules]
    assert made == (answer["rule"], "allow Bash: exactly touch x")
    assert [rule_id for rule_id, _ in built_in] == ["rule_reading", "rule_conversation"]
    outcomes = {}
    for command in ("touch x", "touch z"):
        asked_about = {"tool_name": "Bash", "input": {"command": command}}
        explained = (await front.client.post("/permissions/rules/explain", json=asked_about)).json()
        outcomes[command] = (explained["outcome"], explained["why"], explained["rule"])
    assert outcomes == {
        "touch x": ("allow", "allow Bash: exactly touch x", answer["rule"]),
        "touch z": ("ask", "no rule covers it", ""),
    }
    headers = {"content-type": "application/json"}
    revoked = await front.client.delete(f"/permissions/rules/{answer['rule']}", headers=headers)
    assert revoked.json()["status"] == "removed"
    left = (await front.client.get("/permissions/rules")).json()
    assert [(rule["id"], rule["text"]) for rule in left["rules"]] == built_in
    assert (left["problem"], left["notes"]) == ("", [])


async def test_a_rule_that_never_applies_is_told_in_notes(front: Front) -> None:
    await front.client.post(
        "/permissions/rules", json={"tool": "TodoWrite", "effect": "deny", "under": "/srv"}
    )
    told = (await front.client.get("/permissions/rules")).json()
    assert told["problem"] == ""
    assert told["notes"] == [
        "The rule `deny TodoWrite: under /srv` never applies: TodoWrite touches no folder."
    ]


async def test_a_rule_can_be_made_outright_and_a_bad_one_is_refused(front: Front) -> None:
    made = await front.client.post(
        "/permissions/rules", json={"tool": "Bash", "effect": "deny", "command_prefix": "touch"}
    )
    assert made.status_code == 200
    assert (await front.check())["behavior"] == "deny"
    bad = await front.client.post(
        "/permissions/rules", json={"tool": "Bash", "command_prefix": "a; b", "by": "x"}
    )
    assert bad.status_code == 400
    assert "rule.by" in bad.json()["error"]["message"]


async def test_twenty_prompts_of_five_sessions_keep_their_order(front: Front) -> None:
    checks = []
    async with front.watch() as watching:
        for number in range(20):
            checks.append(
                asyncio.create_task(
                    front.check(session_id=f"s{number % 5}", tool_use_id=str(number))
                )
            )
            await watching.until("permission_request", number + 1)
        order = [
            event.data["session_id"] for event in await watching.until("permission_request", 20)
        ]
    assert order == [f"s{number % 5}" for number in range(20)]
    pending = (await front.client.get("/permissions")).json()["pending"]
    assert [case["session_id"] for case in pending] == order
    await asyncio.gather(*(front.respond(case["request_id"], False) for case in pending))
    assert {check["behavior"] for check in await asyncio.gather(*checks)} == {"deny"}


async def test_the_page_brings_everything_and_lets_nothing_else_in(front: Front) -> None:
    page = await front.client.get("/permissions/ui")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (await front.client.get("/permissions/ui/requests.js")).status_code == 200
    for part in ("permissions.js", "permissions.css", "requests.css"):
        assert f"/permissions/ui/{part}" in page.text
        assert (await front.client.get(f"/permissions/ui/{part}")).status_code == 200
    for outside in ("../process.py", "other.js"):
        assert (await front.client.get(f"/permissions/ui/{outside}")).status_code == 404


async def served(redis_url: str, record: PermissionAudit, stop: asyncio.Event) -> None:
    """Answer questions about past requests with `record`, as analytics does."""

    async def answer(delivery: Delivery) -> None:
        row = asdict(record) | {"asked_at": "2026-01-02T03:04:05.000000Z"}
        await delivery.send(encode_payload({"results": [row]}))

    async with Bus(redis_url, service="analytics", instance="one", timings=QUICK) as bus:
        await serve_each(bus, LOGS_QUERY, answer, slots=4, stop=stop)


PAST = PermissionAudit(
    "past", 1.0, "Bash", '{"command":"touch x"}', "", "", "/work", "denied", "ann",
    circumstances="{}",
)  # fmt: skip


async def test_past_requests_are_decided_again(front: Front, redis_url: str) -> None:
    stop = asyncio.Event()
    analytics = asyncio.create_task(served(redis_url, PAST, stop))
    rule = '[[rules]]\ntool = "Bash"\ncommand = "touch x"\n'
    answer = (await front.client.post("/permissions/rules/replay", json={"rules": rule})).json()
    assert [row["becomes"] for row in answer["differences"]] == ["allow"]
    checking, request_id = await asked(front, tool_name="Bash", input={"command": "touch x"})
    preview = await front.client.post(
        f"/permissions/{request_id}/preview", json={"remember": {"scope": "always"}}
    )
    assert (preview.json()["count"], preview.json()["rule"]) == (1, "allow Bash: exactly touch x")
    # A preview makes no rule and settles nothing.
    assert len((await front.client.get("/permissions")).json()["pending"]) == 1
    checking.cancel()
    stop.set()
    await analytics


@pytest.mark.parametrize(
    "body", [{}, {"rules": "x"}, {"rules": "", "days": 0}, {"rules": 1}, {"rules": "", "by": 1}]
)
async def test_rules_that_cannot_be_tried_are_refused(
    front: Front, body: dict[str, object]
) -> None:
    refused = await front.client.post("/permissions/rules/replay", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"]


async def test_without_analytics_there_is_no_past(front: Front) -> None:
    refused = await front.client.post("/permissions/rules/replay", json={"rules": ""})
    assert refused.status_code == 503
    assert "analytics" in refused.json()["error"]["message"]

"""Capture end to end: off by default, on every route, clean on disk, shared by two gateways, looked
at, sent again, packed, and played by the simulator.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.cli.capture import app
from ccproxy.cli.console import say
from ccproxy.launcher.programs import find_script
from shared.bus.channels import SDK_TURN, TurnHead, TurnTail, encode_payload
from shared.captures.bundle import read_bundle
from shared.runtime.errors import CCProxyError
from tests.conftest import BusFactory
from tests.contract.conftest import OpenGateway
from tests.support.codex import codex_settings
from tests.support.secret_corpus import by_vendor, corpus
from tests.support.simulator_fixture import GroundTruth

OWNER = "the-owner-s-secret-token"
MODEL = "claude-sonnet-5-5"
SECRET = by_vendor()["github"]
FRAME = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def ask(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


@pytest.fixture
async def client(
    open_gateway_at: OpenGateway, simulator: GroundTruth, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    url = await open_gateway_at(
        codex=codex_settings(simulator.url, tmp_path),
        capture={"directory": tmp_path / "captures"},
        security={
            "auth_token": OWNER,
            "tokens": [
                {"name": "tool", "token": "the-tool-s-secret", "scopes": ["use"]},
                {"name": "looker", "token": "the-looker-s-secret", "scopes": ["admin"]},
            ],
            "tokens_file": tmp_path / "tokens.json",
        },
    )
    headers = {"x-api-key": OWNER}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=30, trust_env=False
    ) as http:
        yield http


async def switch_on(http: httpx.AsyncClient, kind: str = "everything", name: str = "") -> None:
    answer = await http.post("/captures/switches", json={"kind": kind, "name": name})
    assert answer.status_code == 200, answer.text
    assert answer.json()["on"]


async def captured(http: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    answer = await http.get("/captures", params=filters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["captures"]
    return found


async def looked_at(http: httpx.AsyncClient, request_id: str) -> dict[str, Any]:
    answer = await http.get(f"/captures/{request_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def stored(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "captures").glob("*.capture"))


async def test_nothing_is_kept_unless_the_owner_wants_it(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    assert (await client.post("/api/v1/messages", json=ask())).status_code == 200
    assert await captured(client) == []
    assert not (tmp_path / "captures").exists()


@pytest.mark.parametrize(
    ("path", "body", "address"),
    [
        ("/api/v1/messages", ask(), "/v1/messages"),
        ("/api/v1/messages", ask(stream=True), "/v1/messages"),
        ("/api/v1/chat/completions", ask(), "/v1/messages"),
        ("/api/v1/responses", {"model": MODEL, "input": "hello", "stream": True}, "/v1/messages"),
        (
            "/codex/v1/chat/completions",
            ask() | {"model": "gpt-5.5"},
            "/backend-api/codex/responses",
        ),
        (
            "/codex/responses",
            {"model": "gpt-5.5", "input": "hello"},
            "/backend-api/codex/responses",
        ),
    ],
)
async def test_both_sides_of_a_request_are_kept_and_the_client_gets_the_same_bytes(
    client: httpx.AsyncClient, simulator: GroundTruth, path: str, body: Any, address: str
) -> None:
    await switch_on(client)
    reply = await client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    [summary] = await captured(client)
    assert (summary["path"], summary["status"], summary["caller"]) == (path, 200, "owner")
    bundle = await client.get("/captures/bundle", params={"id": summary["id"]})
    [found] = read_bundle(bundle.content)
    assert json.loads(found.request.body) == body
    assert found.sent is not None
    assert found.sent.address == simulator.url + address
    assert json.loads(found.sent.body) == simulator.last(address).body
    assert found.answer is not None
    assert found.answer.is_whole
    assert found.reply is not None
    assert found.reply.body.encode() == reply.content
    assert ["x-api-key", "[removed:credential]"] in found.request.headers
    assert OWNER not in bundle.text
    view = await looked_at(client, summary["id"])
    assert view["blocks"][0]["label"] == "1. user"
    assert view["answer"][0]["kind"] == "text"
    assert view["sent_unchanged"] is (path == "/api/v1/messages")


@pytest.mark.long
async def test_a_turn_of_the_workers_is_kept(
    client: httpx.AsyncClient, bus_factory: BusFactory
) -> None:
    bus = await bus_factory("sdk_worker")

    async def worker() -> None:
        async for delivery in bus.serve(SDK_TURN, slots=1):
            await delivery.accept()
            for reply in (encode_payload(TurnHead("w1")), FRAME, encode_payload(TurnTail())):
                await delivery.send(reply)
            await delivery.finish()

    working = asyncio.create_task(worker())
    await switch_on(client)
    reply = await client.post("/sdk/v1/messages", json=ask(stream=True))
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert reply.status_code == 200, reply.text
    [summary] = await captured(client)
    view = await looked_at(client, summary["id"])
    assert view["sent"]["address"] == "sdk:/v1/messages"
    assert view["provider_answer"]["size"] == len(FRAME)


async def test_no_secret_of_the_corpus_is_on_disk_or_in_a_bundle(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await switch_on(client)
    texts = [text for text, _ in corpus()]
    # The simulator repeats what it is told, in deltas of a few characters.
    for start in range(0, len(texts), 10):
        body = ask("\n\n".join(texts[start : start + 10]), stream=True)
        assert (await client.post("/api/v1/messages", json=body)).status_code == 200
    ids = [each["id"] for each in await captured(client)]
    bundle = (await client.get("/captures/bundle", params={"id": ids})).text
    assert [secret for _, secret in corpus() if secret in bundle] == []
    for path in stored(tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "captures").stat().st_mode) == 0o700


@pytest.mark.long
async def test_a_session_or_a_token_is_captured_and_nothing_else(
    client: httpx.AsyncClient,
) -> None:
    await switch_on(client, "session", "mine")
    await switch_on(client, "token", "tool")
    for headers in ({}, {"x-session-id": "mine"}, {"x-api-key": "the-tool-s-secret"}):
        assert (await client.post("/api/v1/messages", json=ask(), headers=headers)).is_success
    found = await captured(client)
    assert [(each["caller"], each["session"]) for each in found] == [
        ("tool", ""),
        ("owner", "mine"),
    ]
    assert len(await captured(client, session="mine")) == 1
    assert len(await captured(client, token="tool")) == 1
    unknown = await client.post("/captures/switches", json={"kind": "token", "name": "nobody"})
    assert unknown.status_code == 404
    off = await client.request(
        "DELETE", "/captures/switches", params={"kind": "session", "name": "mine"}
    )
    assert [each["kind"] for each in off.json()["switches"]] == ["token"]


async def test_looking_needs_the_scope_admin_and_sending_that_of_the_model(
    client: httpx.AsyncClient,
) -> None:
    await switch_on(client)
    await client.post("/api/v1/messages", json=ask())
    [summary] = await captured(client)
    for path in ("/captures", "/captures/switches", f"/captures/{summary['id']}"):
        refused = await client.get(path, headers={"x-api-key": "the-tool-s-secret"})
        assert refused.status_code == 403
    looker = {"x-api-key": "the-looker-s-secret"}
    assert (await client.get(f"/captures/{summary['id']}", headers=looker)).status_code == 200
    sending = await client.post(f"/captures/{summary['id']}/send", json={}, headers=looker)
    assert sending.status_code == 403
    assert "'use'" in sending.text


@pytest.mark.long
async def test_a_request_is_compared_with_the_one_before_of_its_session(
    client: httpx.AsyncClient,
) -> None:
    await switch_on(client)
    headers = {"x-claude-code-session-id": "s1"}
    first = ask("one")
    second = ask("one") | {
        "messages": [
            *first["messages"],
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ]
    }
    for body in (first, second):
        await client.post("/api/v1/messages", json=body, headers=headers)
    latest, oldest = await captured(client)
    compared = (await client.get(f"/captures/{latest['id']}/difference")).json()
    assert compared["before"]["id"] == oldest["id"]
    assert [each["change"] for each in compared["changes"]] == ["same", "added", "added"]
    alone = (await client.get(f"/captures/{oldest['id']}/difference")).json()
    assert alone == {"before": None, "changes": []}


@pytest.mark.long
async def test_a_captured_request_is_sent_again_to_another_model_and_route(
    client: httpx.AsyncClient, simulator: GroundTruth
) -> None:
    await switch_on(client)
    await client.post("/api/v1/messages", json=ask(f"say {SECRET}", stream=True))
    [first] = await captured(client)
    await client.delete("/captures/switches")
    sent = await client.post(
        f"/captures/{first['id']}/send", json={"model": "gpt-5.5", "route": "/codex"}
    )
    assert sent.status_code == 200, sent.text
    again = await looked_at(client, sent.headers["x-request-id"])
    assert again["summary"]["repeats"] == first["id"]
    assert (again["summary"]["path"], again["summary"]["model"]) == (
        "/codex/v1/messages",
        "gpt-5.5",
    )
    assert again["answer"][0]["kind"] == "text"
    assert "[removed:github_token]" in json.dumps(simulator.last().body)
    refused = await client.post(f"/captures/{first['id']}/send", json={"route": "/nowhere"})
    assert (refused.status_code, refused.json()["error"]["message"][:6]) == (400, "route:")
    missing = await client.post(f"/captures/req_{'0' * 24}/send", json={})
    assert missing.status_code == 404


@pytest.mark.long
async def test_captures_are_deleted_one_or_all(client: httpx.AsyncClient, tmp_path: Path) -> None:
    await switch_on(client)
    for _ in range(3):
        await client.post("/api/v1/messages", json=ask())
    first, *_ = await captured(client)
    assert (await client.delete(f"/captures/{first['id']}")).status_code == 200
    assert (await client.get(f"/captures/{first['id']}")).status_code == 404
    assert len(stored(tmp_path)) == 2
    assert (await client.delete("/captures")).json() == {"deleted": 2}
    assert stored(tmp_path) == []


async def test_a_full_disk_costs_captures_and_no_request(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await switch_on(client)
    # A directory in place of the store's own, where no file can be made by anybody.
    (tmp_path / "captures").rename(tmp_path / "aside")
    (tmp_path / "captures").write_text("in the way")
    for _ in range(2):
        assert (await client.post("/api/v1/messages", json=ask())).status_code == 200
    assert (await client.get("/captures/switches")).status_code == 200
    (tmp_path / "captures").unlink()
    (tmp_path / "aside").rename(tmp_path / "captures")


@pytest.mark.long
async def test_two_gateways_share_switches_and_captures(
    open_gateway_at: OpenGateway, tmp_path: Path
) -> None:
    shared = {"capture": {"directory": tmp_path / "captures"}}
    urls = [await open_gateway_at(**shared), await open_gateway_at(**shared)]
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        await http.post(f"{urls[0]}/captures/switches", json={"kind": "everything"})
        async with asyncio.timeout(30):
            while not (await http.get(f"{urls[1]}/captures/switches")).json()["on"]:  # noqa: ASYNC110 - of another gateway
                await asyncio.sleep(0.05)
        asking = [http.post(f"{url}/api/v1/messages", json=ask()) for url in urls * 5]
        assert all(reply.is_success for reply in await asyncio.gather(*asking))
        for url in urls:  # each has written its own before it lists
            await http.get(f"{url}/captures")
        for url in urls:
            assert (await http.get(f"{url}/captures")).json()["count"] == 10


Run = Callable[[str], Awaitable[tuple[int, str]]]


@pytest.fixture
def run(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`await run("list")`: the exit code and the output of a command of `ccproxy capture`."""
    monkeypatch.setenv("CCPROXY_STACK_URL", str(client.base_url))
    monkeypatch.setenv("CCPROXY_STACK_TOKEN", OWNER)

    def call(words: list[str]) -> int:
        try:
            return app(words, standalone_mode=False) or 0
        except CCProxyError as error:
            say(error.message)
            return error.exit_code

    async def running(command: str) -> tuple[int, str]:
        code = await asyncio.to_thread(call, shlex.split(command))
        return code, "".join(capsys.readouterr())

    return running


@pytest.mark.long
async def test_the_command_line_shows_sends_and_packs(
    client: httpx.AsyncClient, run: Run, tmp_path: Path
) -> None:
    code, output = await run("on --caller owner --for 10m")
    assert (code, output[:32]) == (0, "Capture is on: token owner until")
    hostile = "\x1b]52;c;aGk=\x07 and \u202e"
    await client.post("/api/v1/messages", json=ask(f"say {hostile}", stream=True))
    [summary] = await captured(client)
    name = summary["id"]
    assert name in (await run("list"))[1]
    code, shown = await run(f"show {name}")
    assert code == 0
    assert "1. user" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    code, output = await run(f"send {name}")
    assert (code, "costs tokens" in output) == (2, True)
    code, output = await run(f"send {name} --model claude-opus-5 --yes")
    assert code == 0, output
    assert "claude-opus-5" in output
    assert "\x1b" not in output
    bundle = tmp_path / "bundle.json"
    code, output = await run(f"bundle {name} -o {bundle}")
    assert code == 0, output
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    assert len(read_bundle(bundle.read_bytes())) == 1
    code, output = await run("off")
    assert output == "Capture is off.\n"
    code, output = await run("show req_1")
    assert (code, "There is no capture" in output) == (1, True)


@pytest.mark.long
async def test_the_simulator_plays_a_bundle(client: httpx.AsyncClient, tmp_path: Path) -> None:
    await switch_on(client)
    asked = [
        ask("first", stream=True),
        ask("second"),
        ask() | {"model": "claude-sim-cut", "stream": True},
    ]
    for body in asked:
        await client.post("/api/v1/messages", json=body)
    ids = [each["id"] for each in reversed(await captured(client))]
    bundle = tmp_path / "bundle.json"
    bundle.write_bytes((await client.get("/captures/bundle", params={"id": ids})).content)
    captures = read_bundle(bundle.read_bytes())
    process = await asyncio.create_subprocess_exec(
        *find_script("ccproxy-simulator"),
        *("serve", "--port", "0", "--replay", str(bundle)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        place = json.loads(await process.stdout.readline())
        assert place["replay"] == ["POST /v1/messages: 3"]
        async with httpx.AsyncClient(base_url=place["url"], timeout=30, trust_env=False) as http:
            # The second first: its body finds its answer.
            for number in (1, 0):
                answer = captures[number].answer
                assert answer is not None
                assert captures[number].sent is not None
                played = await http.post("/v1/messages", content=captures[number].sent.body)
                assert (played.status_code, played.text) == (answer.status, answer.body)
                assert played.headers["content-type"] == dict(answer.headers)["content-type"]
            with pytest.raises(httpx.RemoteProtocolError):
                await http.post("/v1/messages", json={"another": "body"})
            # After the last one the first is played again.
            assert (await http.post("/v1/messages", json={})).text == captures[0].answer.body  # type: ignore[union-attr]
            assert (await http.get("/v1/models", headers={"x-api-key": "k"})).status_code != 404
    finally:
        process.terminate()
        await process.wait()

"""The subscription first, then the API key: the switch is tried at each moment of a request, and
the simulator's ledger of each credential agrees with the records and with the daily limit.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.metering.billing_order import BillingOrder
from gateway.server.app import Gateway
from shared.bus import Bus
from shared.bus.channels import ACCESS_RECORD, AccessRecord
from shared.bus.records import unpack
from shared.runtime.background import end_task
from shared.runtime.errors import BusUnavailable
from shared.settings.tree import load_settings
from tests.conftest import BusFactory, RedisServer
from tests.support.codex import codex_settings
from tests.support.logins import claude_content, put
from tests.support.simulator_fixture import API_KEY, OAUTH_TOKEN, OPENAI_KEY, GroundTruth
from tests.unit.gateway.conftest import Connection, Running, ScriptedProvider, serve

MESSAGES = "/api/v1/messages"
RESPONSES = "/codex/responses"
BACKEND = "/backend-api/codex/responses"
USED_UP = {"claude": "[[login:429-3600]]", "codex": "[[login:usage-limit-3600]]"}
PATHS = {"claude": MESSAGES, "codex": RESPONSES}
EACH = pytest.mark.parametrize("provider", PATHS)
STREAMED = pytest.mark.parametrize("streamed", [True, False])


@dataclass
class Served:
    """A gateway with billing orders."""

    gateway: Gateway
    client: httpx.AsyncClient

    async def ask(self, provider: str, prompt: str, *, stream: bool = False) -> httpx.Response:
        """Send one request of one sentence."""
        return await self.client.post(PATHS[provider], json=body_of(provider, prompt, stream))

    def order(self, provider: str) -> BillingOrder:
        order = self.gateway.orders.of(provider)
        assert order is not None
        return order


def body_of(provider: str, prompt: str, stream: bool) -> dict[str, Any]:
    if provider == "claude":
        messages = [{"role": "user", "content": prompt}]
        model = "claude-sonnet-5-5"
        return {"model": model, "max_tokens": 99, "messages": messages, "stream": stream}
    return {"model": "gpt-5.5", "input": prompt, "instructions": "Be brief.", "stream": stream}


@dataclass
class Kept:
    """The records of requests to models, as analytics gets them."""

    records: list[AccessRecord] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def collect(self, bus: Bus) -> None:
        async for delivery in bus.serve(ACCESS_RECORD, slots=1):
            await delivery.accept()
            async with self.changed:
                self.records += [each for each in unpack(delivery.payload) if each.model]
                self.changed.notify_all()
            await delivery.finish()

    async def first(self, count: int) -> list[AccessRecord]:
        """Return the records once there are `count` of them."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: len(self.records) >= count)
        return self.records


@pytest.fixture
async def kept(bus_factory: BusFactory) -> AsyncIterator[Kept]:
    found = Kept()
    task = asyncio.create_task(found.collect(await bus_factory("analytics")))
    yield found
    await end_task(task)


Serve = Callable[..., Awaitable[Served]]


async def heard(gateway: Gateway) -> None:
    """Return once the gateway has heard today's sums; a busy machine may lose the bus meanwhile."""
    async with asyncio.timeout(20):
        while True:
            try:
                await gateway.orders.share()
            except BusUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


@pytest.fixture
async def serving(
    simulator: GroundTruth, bus_factory: BusFactory, tmp_path: Path
) -> AsyncIterator[Serve]:
    """`await serving(usd_per_day=5.0)`: a gateway with both orders before the simulator."""
    async with AsyncExitStack() as opened:

        async def start(
            usd_per_day: float = 5.0,
            bus: Any = None,
            claude: dict[str, Any] | None = None,
            codex: dict[str, Any] | None = None,
            **overrides: Any,
        ) -> Served:
            spare = {"api_key": API_KEY, "usd_per_day": usd_per_day}
            login = {"base_url": simulator.url, "oauth_token": OAUTH_TOKEN, "when_used_up": spare}
            chatgpt = codex_settings(simulator.url, tmp_path)
            chatgpt["when_used_up"] = {"api_key": OPENAI_KEY, "usd_per_day": usd_per_day}
            settings = load_settings(
                claude=login | (claude or {}), codex=chatgpt | (codex or {}), **overrides
            )
            running = await opened.enter_async_context(
                serve(settings, bus or await bus_factory(), None)  # type: ignore[arg-type]
            )
            if bus is None:
                await heard(running.gateway)
            return Served(running.gateway, running.client)

        yield start


def billed(simulator: GroundTruth) -> dict[str, Counter[str]]:
    """Return the simulator's own ledger: the requests that each credential was charged for."""
    return {
        name: Counter({kind: count for kind, count in counts.items() if count})
        for name, counts in simulator.totals()["by_credential"].items()
    }


@EACH
@STREAMED
async def test_the_key_pays_when_the_provider_calls_the_window_used_up(
    serving: Serve, simulator: GroundTruth, kept: Kept, provider: str, streamed: bool
) -> None:
    served = await serving()
    reply = await served.ask(provider, f"{USED_UP[provider]} hello", stream=streamed)
    assert (reply.status_code, reply.headers["x-ccproxy-billed-to"]) == (200, "api_key")
    assert "hello" in reply.text
    found = billed(simulator)
    assert (found["login"]["refused"], found["login"]["answered"]) == (1, 0)
    assert (found["api_key"]["refused"], found["api_key"]["answered"]) == (0, 1)
    (record,) = await kept.first(1)
    assert (record.billed_to, record.retries, record.status_code) == ("api_key", 1, 200)
    charged = found["api_key"]
    assert record.tokens_output == charged["output_tokens"] > 0
    assert served.order(provider).describe()["spent_today_usd"] > 0


@EACH
async def test_later_requests_go_to_the_key_without_a_wasted_refusal(
    serving: Serve, simulator: GroundTruth, kept: Kept, provider: str
) -> None:
    served = await serving()
    await served.ask(provider, USED_UP[provider])
    for _ in range(3):
        reply = await served.ask(provider, "hello")
        assert reply.headers["x-ccproxy-billed-to"] == "api_key"
    found = billed(simulator)
    assert (found["login"]["refused"], found["api_key"]["answered"]) == (1, 4)
    assert [record.retries for record in await kept.first(4)] == [1, 0, 0, 0]


async def test_another_gateway_hears_of_the_window_and_of_the_money(
    serving: Serve, simulator: GroundTruth
) -> None:
    first, second = await serving(), await serving()
    await first.ask("claude", USED_UP["claude"])
    await heard(first.gateway)
    await heard(second.gateway)
    reply = await second.ask("claude", "hello")
    assert reply.headers["x-ccproxy-billed-to"] == "api_key"
    await heard(second.gateway)
    await heard(first.gateway)
    spent = [each.order("claude").describe()["spent_today_usd"] for each in (first, second)]
    assert spent[0] == spent[1] > 0
    assert billed(simulator)["login"] == Counter(refused=1)


@pytest.mark.parametrize(
    ("provider", "prompt", "status"),
    [
        ("claude", "[[login:throttled-7]]", 429),
        ("claude", "[[login:529]]", 529),
        ("claude", "[[login:500]]", 500),
        ("claude", "[[login:400]]", 400),
        ("codex", "[[login:429-7]]", 429),
        ("codex", "[[login:503]]", 503),
        ("codex", "[[login:usage-not-included]]", 429),
    ],
)
async def test_throttling_overload_and_other_refusals_never_reach_the_key(
    serving: Serve, simulator: GroundTruth, provider: str, prompt: str, status: int
) -> None:
    served = await serving()
    reply = await served.ask(provider, prompt)
    assert (reply.status_code, reply.headers["x-ccproxy-billed-to"]) == (status, "subscription")
    assert billed(simulator) == {"login": Counter(refused=1)}
    assert served.order(provider).state.windows == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("provider", "refusal", "status"),
    [("claude", "429-7", 429), ("claude", "529", 529), ("codex", "429-7", 429)],
)
async def test_a_refusal_of_the_key_is_the_answer_and_nothing_is_tried_after_it(
    serving: Serve, simulator: GroundTruth, provider: str, refusal: str, status: int
) -> None:
    served = await serving()
    reply = await served.ask(provider, f"{USED_UP[provider]}[[api-key:{refusal}]]")
    assert (reply.status_code, reply.headers["x-ccproxy-billed-to"]) == (status, "api_key")
    assert billed(simulator) == {"login": Counter(refused=1), "api_key": Counter(refused=1)}
    assert served.order(provider).describe()["spent_today_usd"] == 0
    assert [window.key_paid_at for window in served.order(provider).state.windows] == [0]


@pytest.mark.parametrize(
    ("provider", "scenario"),
    [
        ("claude", "error-3"),
        ("claude", "cut-3"),
        ("codex", "used-up-3"),
        ("codex", "overloaded-3"),
        ("codex", "cut-3"),
    ],
)
async def test_a_failure_after_the_first_byte_never_reaches_the_key(
    serving: Serve, simulator: GroundTruth, provider: str, scenario: str
) -> None:
    served = await serving()
    reply = await served.ask(provider, f"[[login:{scenario}]]", stream=True)
    assert (reply.status_code, reply.headers["x-ccproxy-billed-to"]) == (200, "subscription")
    assert set(billed(simulator)) == {"login"}
    assert len([seen for seen in simulator.requests() if seen.credential]) == 1


@EACH
async def test_at_the_daily_limit_the_client_gets_the_refusal_of_the_window(
    serving: Serve, simulator: GroundTruth, provider: str
) -> None:
    served = await serving(usd_per_day=0.000_001)
    first = await served.ask(provider, USED_UP[provider])
    assert first.status_code == 200, first.text
    second = await served.ask(provider, USED_UP[provider])
    assert (second.status_code, second.headers["x-ccproxy-billed-to"]) == (429, "subscription")
    told = simulator.requests()[-1].sent
    assert second.json()["error"]["type"] in told.decode()
    assert "its limit is reached" in second.headers["x-ccproxy-api-key"]
    assert billed(simulator)["login"] == Counter(refused=2)
    assert billed(simulator)["api_key"]["answered"] == 1
    # What was given up is not lost: the subscription is asked, and may have begun anew.
    third = await served.ask(provider, "hello")
    assert (third.status_code, third.headers["x-ccproxy-billed-to"]) == (200, "subscription")


@pytest.mark.long
async def test_a_refusal_at_the_daily_limit_is_word_for_word_the_providers(
    serving: Serve, simulator: GroundTruth
) -> None:
    served = await serving(usd_per_day=0.000_001)
    await served.ask("claude", USED_UP["claude"])
    refused = await served.ask("claude", USED_UP["claude"])
    assert refused.content == simulator.last("/v1/messages").sent
    assert refused.headers["anthropic-ratelimit-unified-status"] == "rejected"


async def test_the_overshoot_of_the_daily_limit_is_what_was_in_flight(
    serving: Serve, simulator: GroundTruth
) -> None:
    served = await serving(usd_per_day=0.000_1)
    await served.ask("claude", f"{USED_UP['claude']}[[say:x]]")
    one = served.order("claude").describe()["spent_today_usd"]
    replies = await asyncio.gather(
        *(served.ask("claude", "[[login:429-3600]][[say:x]]") for _ in range(40))
    )
    paid = sum(reply.headers["x-ccproxy-billed-to"] == "api_key" for reply in replies)
    found = billed(simulator)["api_key"]["answered"]
    assert found == paid + 1
    spent = served.order("claude").describe()["spent_today_usd"]
    assert spent == pytest.approx(one * found, rel=0.2)
    # Requests that end bring the sum to the limit, and no request begins after it.
    late = await served.ask("claude", "[[login:429-3600]]")
    assert (late.headers["x-ccproxy-billed-to"] == "subscription") == (spent >= 0.000_1)


@pytest.mark.long
async def test_an_expired_login_is_not_helped_by_the_key(
    serving: Serve, simulator: GroundTruth, tmp_path: Path
) -> None:
    login = put(tmp_path / ".credentials.json", claude_content(refresh=""))
    served = await serving(claude={"oauth_token": None, "credentials_file": login})
    reply = await served.ask("claude", "hello")
    assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error")
    assert billed(simulator) == {}


@pytest.mark.long
async def test_a_revoked_login_is_not_helped_by_the_key(
    serving: Serve, simulator: GroundTruth
) -> None:
    served = await serving(claude={"oauth_token": "sk-ant-oat01-revoked"})
    reply = await served.ask("claude", "hello")
    assert (reply.status_code, reply.headers["x-ccproxy-billed-to"]) == (401, "subscription")
    assert billed(simulator) == {}


REJECTED = (
    b"anthropic-ratelimit-unified-status: rejected\r\n"
    b"anthropic-ratelimit-unified-reset: %d\r\n" % (time.time() + 3600)
)
LIMIT = b'{"error":{"type":"usage_limit_reached","message":"used up","resets_in_seconds":3600}}'


@asynccontextmanager
async def scripted(bus: Any, folder: Path, **claude: Any) -> AsyncIterator[Running]:
    """A gateway with both orders before a provider that plays scripts."""
    async with ScriptedProvider() as provider:
        spare = {"api_key": API_KEY, "usd_per_day": 5.0}
        login = {"base_url": provider.url, "oauth_token": OAUTH_TOKEN, "when_used_up": spare}
        codex = codex_settings(provider.url, folder) | {"when_used_up": spare}
        settings = load_settings(claude=login | claude, codex=codex)
        async with serve(settings, bus, provider) as running:
            await heard(running.gateway)
            yield running


async def wait_for_release(
    connection: Connection, body: bytes, headers: bytes, release: asyncio.Event
) -> None:
    """Answer 429 with the beginning of a body, and with its rest after `release`."""
    head = b"HTTP/1.1 429 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    await connection.send(head % len(body) + headers + b"\r\n" + body[:5])
    await release.wait()
    await connection.send(body[5:])


@pytest.mark.long
async def test_the_headers_of_claudes_refusal_decide_without_its_slow_body(
    bus_factory: BusFactory, tmp_path: Path
) -> None:
    never = asyncio.Event()
    async with scripted(await bus_factory(), tmp_path) as running:
        running.provider.scripts += [
            lambda connection: wait_for_release(connection, LIMIT, REJECTED, never),
            lambda connection: connection.answer(b"{}"),
        ]
        reply = await running.post(json=body_of("claude", "hello", stream=False))
        assert (reply.status_code, reply.headers["x-ccproxy-billed-to"]) == (200, "api_key")
        refused, paid = running.provider.received
        assert refused.headers["authorization"] == f"Bearer {OAUTH_TOKEN}"
        assert (paid.headers["x-api-key"], "authorization" in paid.headers) == (API_KEY, False)
        assert refused.body == paid.body, "the key gets the same request"
        # The rest of the refusal is given up.
        await asyncio.wait_for(refused.closed.wait(), 20)


@pytest.mark.long
async def test_the_slow_body_of_the_backends_refusal_is_read_before_the_key_is_asked(
    bus_factory: BusFactory, tmp_path: Path
) -> None:
    release = asyncio.Event()
    async with scripted(await bus_factory(), tmp_path) as running:
        running.provider.scripts += [
            lambda connection: wait_for_release(connection, LIMIT, b"", release),
            lambda connection: connection.answer(b'{"output": []}'),
        ]
        body = body_of("codex", "hello", stream=True)
        asking = asyncio.create_task(running.post(RESPONSES, json=body))
        async with asyncio.timeout(20):
            while not running.provider.received:  # noqa: ASYNC110 - nothing to wait on
                await asyncio.sleep(0)
        assert len(running.provider.received) == 1
        release.set()
        reply = await asking
        assert reply.headers["x-ccproxy-billed-to"] == "api_key"
        assert [each.head.split()[1] for each in running.provider.received] == [
            b"/backend-api/codex/responses",
            b"/v1/responses",
        ]
        assert "chatgpt-account-id" not in running.provider.received[1].headers


@pytest.mark.long
async def test_a_client_that_leaves_during_a_slow_refusal_never_reaches_the_key(
    bus_factory: BusFactory, tmp_path: Path
) -> None:
    never = asyncio.Event()
    async with scripted(await bus_factory(), tmp_path) as running:
        running.provider.scripts += [
            lambda connection: wait_for_release(connection, LIMIT, b"", never)
        ]
        asking = asyncio.create_task(running.post(RESPONSES, json=body_of("codex", "hi", False)))
        async with asyncio.timeout(20):
            while not running.provider.received:  # noqa: ASYNC110 - nothing to wait on
                await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        (refused,) = running.provider.received
        await asyncio.wait_for(refused.closed.wait(), 20)
        assert len(running.provider.received) == 1


@pytest.mark.long
async def test_a_login_that_was_renewed_after_a_401_may_be_used_up_and_then_the_key_pays(
    bus_factory: BusFactory, tmp_path: Path
) -> None:
    login = tmp_path / ".credentials.json"
    put(login, claude_content(expires_in=3600, token="sk-ant-oat01-first"))

    async def renew_elsewhere(connection: Connection) -> None:
        put(login, claude_content(expires_in=3600, token="sk-ant-oat01-second"))
        await connection.answer(b"{}", "401 Unauthorized")

    settings = {"oauth_token": None, "credentials_file": login}
    async with scripted(await bus_factory(), tmp_path, **settings) as running:
        running.provider.scripts += [
            renew_elsewhere,
            lambda connection: connection.answer(LIMIT, "429 No", REJECTED),
            lambda connection: connection.answer(b"{}"),
        ]
        reply = await running.post(json=body_of("claude", "hello", stream=False))
        assert (reply.status_code, reply.headers["x-ccproxy-billed-to"]) == (200, "api_key")
        sent = [
            each.headers.get("authorization") or each.headers["x-api-key"]
            for each in running.provider.received
        ]
        assert sent == ["Bearer sk-ant-oat01-first", "Bearer sk-ant-oat01-second", API_KEY]


@pytest.mark.long
async def test_a_key_that_cannot_be_sent_is_an_error_and_costs_nothing(
    bus_factory: BusFactory, tmp_path: Path
) -> None:
    async def hang_up(connection: Connection) -> None:
        connection.writer.close()

    async with scripted(await bus_factory(), tmp_path) as running:
        running.provider.scripts += [
            lambda connection: connection.answer(LIMIT, "429 No", REJECTED),
            hang_up,
        ]
        reply = await running.post(json=body_of("claude", "hello", stream=False))
        assert reply.status_code == 502
        order = running.gateway.orders.of("claude")
        assert order is not None
        assert order.describe()["spent_today_usd"] == 0
        assert len(running.provider.received) == 2


@pytest.mark.long
async def test_a_client_that_leaves_a_request_of_the_key_is_counted_once(
    serving: Serve, simulator: GroundTruth, kept: Kept
) -> None:
    served = await serving()
    prompt = f"{USED_UP['claude']}[[api-key:slow-50x100]]"
    async with served.client.stream(
        "POST", MESSAGES, json=body_of("claude", prompt, stream=True)
    ) as reply:
        assert reply.headers["x-ccproxy-billed-to"] == "api_key"
        async for _ in reply.aiter_raw():
            break
    await simulator.until(lambda seen: [each for each in seen if each.cancelled])
    (record,) = await kept.first(1)
    assert (record.billed_to, record.error_kind) == ("api_key", "cancelled")
    assert record.tokens_input == billed(simulator)["api_key"]["input_tokens"] > 0
    assert served.order("claude").describe()["spent_today_usd"] > 0


@pytest.mark.long
async def test_a_client_that_leaves_before_the_key_answers_costs_at_most_its_own_request(
    serving: Serve, simulator: GroundTruth
) -> None:
    served = await serving()
    prompt = f"{USED_UP['claude']}[[api-key:hang]]"
    asking = asyncio.create_task(served.ask("claude", prompt))
    await simulator.until(lambda seen: [each for each in seen if each.credential == "api_key"])
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await simulator.until(
        lambda seen: [each for each in seen if each.credential == "api_key" and each.cancelled]
    )
    reply = await served.ask("claude", "hello")
    assert reply.headers["x-ccproxy-billed-to"] == "api_key"
    sent = [seen.credential for seen in simulator.requests() if seen.credential]
    assert sent == ["login", "api_key", "api_key"]


@pytest.mark.long
async def test_without_redis_the_key_pays_nothing_that_nobody_can_count(
    serving: Serve, simulator: GroundTruth, own_redis: RedisServer, bus_factory: BusFactory
) -> None:
    served = await serving(bus=await bus_factory(url=own_redis.url))
    await heard(served.gateway)
    await served.ask("claude", USED_UP["claude"])
    await heard(served.gateway)
    own_redis.kill()
    # This gateway has heard today's sum, so it goes on within its share of what was left.
    reply = await served.ask("claude", "hello")
    assert reply.headers["x-ccproxy-billed-to"] == "api_key"
    # A gateway that has never heard it lets the key pay nothing.
    own_redis.forget()
    fresh = await serving(bus=await bus_factory(url=own_redis.url))
    refused = await fresh.ask("claude", USED_UP["claude"])
    assert (refused.status_code, refused.headers["x-ccproxy-billed-to"]) == (429, "subscription")


@pytest.mark.long
async def test_stop_at_percent_hands_over_to_the_key(
    serving: Serve, simulator: GroundTruth
) -> None:
    served = await serving(quota={"stop_at_percent": 1})
    await served.ask("claude", USED_UP["claude"])
    first = await served.ask("claude", "hello")
    assert first.headers["x-ccproxy-billed-to"] == "api_key"
    poor = await serving(usd_per_day=0.000_001, quota={"stop_at_percent": 1})
    await poor.ask("claude", USED_UP["claude"])
    refused = await poor.ask("claude", "hello")
    assert refused.status_code == 429
    assert "QUOTA__STOP_AT_PERCENT=1" in refused.json()["error"]["message"]
    assert "The API key does not pay: its limit is reached" in refused.json()["error"]["message"]


@pytest.mark.long
async def test_batches_and_counts_of_tokens_stay_with_the_subscription(
    serving: Serve, simulator: GroundTruth
) -> None:
    served = await serving()
    await served.ask("claude", USED_UP["claude"])
    counted = await served.client.post(
        f"{MESSAGES}/count_tokens",
        json={"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hi"}]},
    )
    assert (counted.status_code, counted.headers["x-ccproxy-billed-to"]) == (200, "subscription")
    listed = await served.client.get(f"{MESSAGES}/batches")
    assert (listed.status_code, listed.headers["x-ccproxy-billed-to"]) == (200, "subscription")


@pytest.mark.long
async def test_fast_mode_costs_more_than_its_tokens_and_stays_with_the_subscription(
    serving: Serve, simulator: GroundTruth
) -> None:
    served = await serving()
    body = body_of("claude", USED_UP["claude"], stream=False) | {"speed": "fast"}
    beta = {"anthropic-beta": "fast-mode-2026-02-01"}
    reply = await served.client.post(MESSAGES, json=body, headers=beta)
    assert reply.status_code == 429, reply.text
    assert "fast mode" in reply.headers["x-ccproxy-api-key"]
    assert set(billed(simulator)) == {"login"}


@pytest.mark.long
async def test_a_conversation_crosses_from_the_login_to_the_key_and_back(
    serving: Serve, simulator: GroundTruth
) -> None:
    served = await serving()
    thought = body_of("codex", "[[scenario:reasoning]] hello", stream=False)
    first = (await served.client.post(RESPONSES, json=thought)).json()
    assert first["output"][0]["encrypted_content"]
    said = [{"type": "message", "role": "user", "content": "[[scenario:reasoning]] hello"}]
    asked = {"type": "message", "role": "user"}
    more = [*said, *first["output"], asked | {"content": f"{USED_UP['codex']} and now?"}]
    second = await served.client.post(RESPONSES, json=thought | {"input": more})
    assert (second.status_code, second.headers["x-ccproxy-billed-to"]) == (200, "api_key")
    assert "input[].reasoning" in second.headers["x-ccproxy-ignored"]
    # The login pays again.
    last = [*more, *second.json()["output"], asked | {"content": "back?"}]
    again = await serving(codex={"when_used_up": {}})
    third = await again.client.post(RESPONSES, json=thought | {"input": last})
    assert third.headers["x-ccproxy-billed-to"] == "subscription", third.text
    assert third.status_code == 200, third.text


async def test_every_record_agrees_with_the_ledger_of_the_simulator(
    serving: Serve, simulator: GroundTruth, kept: Kept
) -> None:
    served = await serving(usd_per_day=0.002)
    prompts = ["hello", "[[login:429-3600]] more", "[[login:529]]", "[[login:throttled-3]]"]
    for place in range(24):
        await served.ask("claude", prompts[place % len(prompts)], stream=place % 3 == 0)
    found = billed(simulator)
    for credential, name in (("login", "subscription"), ("api_key", "api_key")):
        records = [record for record in await kept.first(24) if record.billed_to == name]
        answered = [record for record in records if record.status_code == 200]
        assert len(answered) == found.get(credential, Counter())["answered"]
        for fact, told in (("tokens_input", "input_tokens"), ("tokens_output", "output_tokens")):
            total = sum(getattr(record, fact) for record in answered)
            assert total == found.get(credential, Counter())[told]
    assert time.time() < served.order("claude").state.windows[0].until

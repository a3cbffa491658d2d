"""The dashboard in a real browser that has signed in, on the whole stack: what happens shows, what happened is found,
and a tool that waits gets its answer.
"""

from __future__ import annotations

import asyncio
import csv
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.launcher.programs import find_script
from ccproxy.launcher.redis_server import socket_url
from shared.bus import Bus
from shared.bus.channels import ACCESS_RECORD, AccessRecord
from shared.bus.records import pack
from tests.clients.environments import Pins, Unreachable, programs_of
from tests.support.browser import Browser, running_browser
from tests.support.stack import Stack, simulated, stacks

pytestmark = pytest.mark.timeout(240)

OWNER = "an-owner-token-of-enough-characters"
AIDER = "the-token-of-aider-of-enough-characters"
VIEWS = ["", "?view=requests", "?view=sessions", "?view=clients", "?view=models"]
VIEWS += ["?view=permissions", "?view=workers"]
AXE = Pins("axe-core", "npm", ("axe-core@4.14.1",))
REQUESTS = "/dashboard?view=requests&hours=1"


@pytest.fixture(scope="module")
def guarded(_homes: Callable[[], Path], simulator_url: str) -> Iterator[Stack]:
    tokens = json.dumps([{"name": "aider", "token": AIDER, "scopes": ["use"]}])
    settings = simulated(simulator_url) | {
        "SECURITY__AUTH_TOKEN": OWNER,
        "SECURITY__TOKENS": tokens,
    }
    for start in stacks(find_script("ccproxy"), _homes, settings):
        yield start().wait_ready()


@pytest.fixture(scope="module")
def signed_in(guarded: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        browser.dress(width=1280)
        browser.go(f"{guarded.url}/dashboard")
        browser.type("#token", OWNER)
        browser.click("form button")
        browser.until("return document.querySelector('#views a')")
        yield browser


@pytest.fixture
def page(signed_in: Browser) -> Browser:
    """The browser, signed in as the owner, at its usual size."""
    signed_in.dress(width=1280)
    signed_in.complaints()  # of the tests before
    return signed_in


def ask(
    stack: Stack, route: str, text: str, model: str = "claude-sonnet-5-5", **headers: str
) -> httpx.Response:
    body: dict[str, Any] = {"model": model, "max_tokens": 100}
    body["messages"] = [{"role": "user", "content": text}]
    return httpx.post(
        f"{stack.url}{route}/v1/messages",
        json=body,
        headers={"x-api-key": OWNER} | headers,
        timeout=90,
        trust_env=False,
    )


def publish(stack: Stack, *records: AccessRecord) -> None:
    """Publish records as a gateway does, and wait until analytics has stored the last."""

    async def send() -> None:
        async with Bus(
            socket_url(stack.run_dir / "redis.sock"), service="gateway", instance="test"
        ) as bus:
            await bus.publish(ACCESS_RECORD, pack(records))

    asyncio.run(send())
    late = time.monotonic() + 30
    while not read(stack, f"/logs/entries?request_id={records[-1].request_id}")["entries"]:
        assert time.monotonic() < late, "the records were not stored"


def read(stack: Stack, path: str) -> dict[str, Any]:
    answer = httpx.get(f"{stack.url}{path}", headers={"x-api-key": OWNER}, trust_env=False)
    return dict(answer.raise_for_status().json())


def past(name: str, minutes: float, **facts: Any) -> AccessRecord:
    known: dict[str, Any] = {
        "path": "/api/v1/messages", "endpoint": "/api/v1/messages", "method": "POST",
        "service_type": "claude", "provider": "claude", "client_format": "anthropic",
        "model": "claude-sonnet-5-5", "asked_model": "claude-sonnet-5-5", "status_code": 200,
        "duration_ms": 420.0, "first_byte_ms": 90.0, "tokens_input": 1000, "tokens_output": 50,
        "billed_to": "subscription",
    }  # fmt: skip
    return AccessRecord(name, time.time() - minutes * 60, **(known | facts))


def rows(page: Browser, table: str) -> list[str]:
    """The text of the table's rows, once the page shows its new view (it keeps it back at first)."""
    page.until(
        f"return getComputedStyle(document.getElementById('{table}')).visibility === 'visible'"
    )
    found: list[str] = page.run(
        f"return [...document.querySelectorAll('#{table} tbody tr')].map((row) => row.innerText)"
    )
    return found


def asking_slowly(stack: Stack) -> threading.Thread:
    """Begin three slow requests, one after the other, and return the thread that asks."""

    def ask_slowly() -> None:
        # A gateway may learn only a second after the first that somebody looks on.
        for _ in range(3):
            ask(stack, "/api", "Hello", model="claude-sim-slow-100x15")

    asking = threading.Thread(target=ask_slowly)
    asking.start()
    return asking


@pytest.mark.long
def test_a_request_shows_while_it_runs_and_as_it_ends(guarded: Stack, page: Browser) -> None:
    page.go(f"{guarded.url}{REQUESTS}")
    page.until("return document.getElementById('live-state')?.textContent === 'live'")
    asking = asking_slowly(guarded)
    slow = "?.textContent.includes('claude-sim-slow')"
    page.until(f"return document.querySelector('#log tr.running'){slow}")
    asking.join()
    page.until("return !document.querySelector('#log tr.running')")
    page.until(f"return document.querySelector('#log tbody tr'){slow}")
    # A new row is no failure, so its colour is not the one of a failure.
    fresh = "getComputedStyle(document.documentElement).getPropertyValue"
    assert page.run(f"return {fresh}('--fresh')") != page.run(f"return {fresh}('--bad')")
    assert page.complaints() == []


@pytest.mark.long
def test_a_running_request_shows_on_the_overview(guarded: Stack, page: Browser) -> None:
    page.go(f"{guarded.url}/dashboard")
    asking = asking_slowly(guarded)
    page.until(
        "return document.querySelector('#running tbody')?.textContent.includes('claude-sim-slow')"
    )
    page.go(f"{guarded.url}/dashboard")  # loaded again, the page still knows what runs
    page.until(
        "return document.querySelector('#running tbody')?.textContent.includes('claude-sim-slow')"
    )
    asking.join()
    page.until("return document.querySelectorAll('#running tbody tr').length === 0")


def test_a_request_of_ten_minutes_ago_is_found_in_three_clicks_and_explained(
    guarded: Stack, page: Browser
) -> None:
    failed = past(
        "req_ten_minutes", 10, status_code=502, error_kind="upstream", caller="aider",
        error_message="The provider could not be reached: connection refused.", ignored="seed",
        client_request_id="trace-of-the-client",
    )  # fmt: skip
    publish(guarded, failed, *(past(f"req_since_{number}", 5) for number in range(80)))
    page.go(f"{guarded.url}/dashboard")
    page.click("#views a[href*='view=requests']")
    page.until("return document.querySelectorAll('#log tbody tr').length === 50")
    page.run("window.loadedOnce = true")
    # Only failures: the value of a filter is one click.
    page.run(
        "const status = document.querySelector('.fields select'); status.value = 'failed';"
        "status.dispatchEvent(new Event('change'))"
    )
    page.until("return document.querySelector('[data-key=req_ten_minutes]')")
    page.click("[data-key=req_ten_minutes] a.open")
    shown = page.text("#detail")
    for words in (
        "The provider could not be reached.",
        "connection refused",
        "trace-of-the-client",
        "req_ten_minutes",
        "90 ms",
        "420 ms",
        "subscription",
        "The provider could not be told one field: seed.",
        "curl http://127.0.0.1:",
    ):
        assert words in shown, words
    assert page.run("return window.loadedOnce")  # all that without loading the page again
    link = page.run("return location.href")
    page.go(link)
    page.until("return document.querySelector('#detail[open] #explained')")
    assert page.complaints() == []


@pytest.mark.long
def test_a_click_on_a_value_filters_and_the_address_shows_the_same_again(
    guarded: Stack, page: Browser
) -> None:
    publish(guarded, past("req_of_aider", 1, caller="aider", client_program="aider"))
    publish(guarded, past("req_of_nobody", 1, model="gpt-5.5", asked_model="gpt-5.5"))
    page.go(f"{guarded.url}{REQUESTS}")
    page.until("return document.querySelector('[data-key=req_of_aider]')")
    page.run("document.querySelector('[data-key=req_of_aider] a[href*=token]').click()")
    page.until("return !document.querySelector('[data-key=req_of_nobody]')")
    assert "token=aider" in page.run("return location.search")
    page.go(page.run("return location.href"))
    page.until("return document.querySelector('[data-key=req_of_aider]')")
    assert page.text(".chips").startswith("token: aider")
    assert not page.run("return document.querySelector('[data-key=req_of_nobody]')")
    page.click(".chips a")
    page.until("return document.querySelector('[data-key=req_of_nobody]')")
    page.run("history.back()")
    page.until("return !document.querySelector('[data-key=req_of_nobody]')")


@pytest.mark.long
def test_free_text_finds_a_part_of_an_error(guarded: Stack, page: Browser) -> None:
    publish(guarded, past("req_text", 2, status_code=500, error_message="Zanzibar is closed"))
    page.go(f"{guarded.url}{REQUESTS}")
    page.type("#filters input[type=search]", "zanzibar")
    page.until("return document.querySelectorAll('#log tbody tr').length === 1")
    assert "text=zanzibar" in page.run("return location.search")
    page.type("#filters input[type=search]", "nowhere at all")
    page.until_text("No request matches")


@pytest.mark.long
def test_what_is_on_the_screen_comes_as_csv(guarded: Stack, page: Browser) -> None:
    publish(guarded, past("req_csv", 3, model="only-in-the-csv"), past("req_other", 3))
    page.go(f"{guarded.url}{REQUESTS}&model=only-in-the-csv")
    page.until("return document.querySelectorAll('#log tbody tr').length === 1")
    href = page.run("return document.getElementById('csv').href")
    answer = httpx.get(href, headers={"x-api-key": OWNER}, trust_env=False)
    assert [row["request_id"] for row in csv.DictReader(answer.text.splitlines())] == ["req_csv"]


def test_a_refused_request_shows_with_its_reason(guarded: Stack, page: Browser) -> None:
    refused = httpx.post(
        f"{guarded.url}/api/v1/messages", headers={"x-api-key": "wrong"}, json={}, trust_env=False
    )
    assert refused.status_code == 401
    page.go(f"{guarded.url}{REQUESTS}&status=refused")
    page.until(
        "return document.querySelector('#log tbody')?.textContent.includes('401 authentication')"
    )
    page.click("#log a.open")
    page.until_text("came without a valid credential", "#detail")


def test_text_from_outside_is_text(guarded: Stack, page: Browser) -> None:
    evil = "<img src=x onerror=document.title='taken'>"
    facts = {"model": evil, "asked_model": evil, "error_message": evil, "status_code": 400}
    publish(guarded, past("req_evil", 1, session_id=evil, client_program=evil, **facts))
    for view in VIEWS:
        page.go(f"{guarded.url}/dashboard{view}")
        page.until("return document.querySelector('#view').textContent.length > 50")
        assert page.run("return document.querySelectorAll('main img, dialog img').length") == 0
    page.go(f"{guarded.url}{REQUESTS}&request=req_evil")
    page.until("return document.querySelector('#detail[open]')?.textContent.includes('<img')")
    assert page.run("return document.title") == "Requests · CCProxy"


@pytest.mark.long
def test_names_of_the_language_are_no_views_filters_or_reasons(
    guarded: Stack, page: Browser
) -> None:
    publish(guarded, past("req_odd", 1, status_code=500, error_kind="constructor"))
    page.go(f"{guarded.url}/dashboard?view=constructor")
    page.until("return document.querySelector('#sums div')")
    for filters in ("&status=constructor", "&route=constructor"):
        page.go(f"{guarded.url}{REQUESTS}{filters}")
        page.until("return document.querySelector('.chips li')")
    page.go(f"{guarded.url}{REQUESTS}&request=req_odd")
    page.until_text("It failed with status 500 (constructor).", "#detail")
    assert page.complaints() == []


@pytest.mark.long
def test_the_keyboard_opens_a_request_and_gets_its_place_back(
    guarded: Stack, page: Browser
) -> None:
    publish(guarded, past("req_keys", 0.1))
    page.go(f"{guarded.url}{REQUESTS}")
    page.until("return document.querySelector('[data-key=req_keys]')")
    page.run("document.querySelector('[data-key=req_keys] a.open').focus()")
    page.command(
        "Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r",
        windowsVirtualKeyCode=13,
    )  # fmt: skip
    page.until("return document.activeElement.id === 'detail-title'")
    page.command(
        "Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape",
        windowsVirtualKeyCode=27,
    )  # fmt: skip
    page.until("return !document.querySelector('#detail[open]')")
    page.until("return document.activeElement.closest('tr')?.dataset.key === 'req_keys'")
    assert "request=" not in page.run("return location.search")


@pytest.mark.long
def test_the_drawer_opens_and_closes_without_a_new_question_about_the_list(
    guarded: Stack, page: Browser
) -> None:
    publish(guarded, past("req_drawer", 0.1))
    # A numbered page of the list is never asked again by itself: a late live event changes nothing.
    page.go(f"{guarded.url}{REQUESTS}&page=1")
    page.until("return document.querySelector('[data-key=req_drawer]')")
    page.run("performance.clearResourceTimings()")
    page.run("document.querySelector('[data-key=req_drawer] a.open').click()")
    page.until("return document.querySelector('#detail[open] #explained')")
    page.click("#detail button.close")
    page.until("return !document.querySelector('#detail[open]')")
    names = "performance.getEntriesByType('resource').map((each) => new URL(each.name).pathname)"
    assert "/logs/entries" not in page.run(f"return {names}")


@pytest.mark.long
def test_a_captured_request_is_looked_at_and_sent_again(guarded: Stack, page: Browser) -> None:
    headers = {"x-session-id": "looked-at"}
    plain = ask(guarded, "/api", "not kept", **headers).headers["x-request-id"]
    page.until(recorded(plain))
    page.go(f"{guarded.url}{REQUESTS}&request={plain}")
    page.until(
        "return document.querySelector('.capture button')?.textContent === 'Capture this session'"
    )
    page.click(".capture button")
    page.until(
        "return document.querySelector('#capture').textContent.includes('session looked-at')"
    )
    hostile = "<img src=x onerror=alert(1)> \u202e and"
    kept = ask(guarded, "/api", hostile, **headers).headers["x-request-id"]
    page.until(recorded(kept))
    page.go(f"{guarded.url}{REQUESTS}&request={kept}")
    page.until(
        "return document.querySelector('.capture button')?.textContent === 'Look at the request'"
    )
    page.click(".capture button")
    page.until("return document.querySelector('.blocks details')")
    assert page.run("return document.activeElement.id") == "capture-facts"
    page.run("document.querySelector('.blocks details').open = true")
    block = page.run("return document.querySelector('.blocks pre').textContent")
    assert block == "<img src=x onerror=alert(1)> \\u202e and"
    page.run("document.querySelector('.again input').value = 'claude-opus-5'")
    page.click(".again button")
    page.until("return document.querySelectorAll('.both pre').length === 2")
    assert page.run("return document.querySelector('.both div:last-child h4').textContent") == (
        "Now: claude-opus-5"
    )
    page.click("#detail button.close")
    page.click("#capture button")
    page.until("return document.querySelector('#capture').hidden")
    assert page.complaints() == []


def recorded(request_id: str) -> str:
    """Return the script that asks for the record of a request, which is stored a moment later."""
    return (
        f"return fetch('/logs/entries?limit=1&request_id={request_id}')"
        ".then((reply) => reply.json()).then(({entries}) => entries.length > 0)"
    )


@pytest.mark.long
def test_a_refresh_leaves_the_focus_where_it_is(guarded: Stack, page: Browser) -> None:
    publish(guarded, past("req_focus", 0.1))
    page.go(f"{guarded.url}{REQUESTS}")
    page.until("return document.querySelector('[data-key=req_focus]')")
    page.run("document.querySelector('[data-key=req_focus] a.open').focus()")
    ask(guarded, "/api", "Hello", model="claude-haiku-5-5")
    page.until("return document.querySelector('#log tbody tr').textContent.includes('haiku')")
    assert page.run("return document.activeElement.closest('tr').dataset.key") == "req_focus"


@pytest.mark.long
def test_a_column_sorts_and_says_so(guarded: Stack, page: Browser) -> None:
    publish(
        guarded,
        *(past(f"req_small_{number}", 2, model="sorted-small") for number in range(3)),
        past("req_costly", 2, model="sorted-costly", tokens_input=9_000_000),
    )
    page.go(f"{guarded.url}/dashboard?view=models&hours=1")
    page.until("return document.querySelector('#by-model tbody tr')")
    head = "[...document.querySelectorAll('#by-model th')].find((head) => head.innerText.startsWith('Tokens in'))"
    page.until(f"return {head}")  # a text once the page shows its new view
    page.run(f"{head}.querySelector('button').click()")
    page.until(f"return {head}.getAttribute('aria-sort') === 'descending'")
    page.until("return document.querySelector('#by-model tbody tr').innerText.includes('costly')")
    page.run(f"{head}.querySelector('button').click()")
    page.until(f"return {head}.getAttribute('aria-sort') === 'ascending'")
    assert "costly" in rows(page, "by-model")[-1]


@pytest.mark.long
def test_the_models_say_what_subscriptions_paid_for_and_are_saved_as_files(
    guarded: Stack, page: Browser
) -> None:
    facts = {"model": "=gpt-5.5", "cost_usd": 12.5, "billed_to": "subscription"}
    publish(guarded, past("req_saved", 1, **facts))
    page.go(f"{guarded.url}/dashboard?view=models&hours=1")
    page.until_text("your subscriptions paid for requests that would have cost $", "#included")
    page.until_text("=gpt-5.5", "#by-model")
    saved = """
        const blobs = [], made = URL.createObjectURL;
        URL.createObjectURL = (blob) => (blobs.push(blob), made.call(URL, blob));
        for (const button of document.querySelectorAll('#by-model ~ .downloads button')) button.click();
        URL.createObjectURL = made;
        return Promise.all(blobs.map((blob) => blob.text()));
    """
    as_csv, as_json = page.run(saved)
    (row,) = [row for row in csv.DictReader(as_csv.splitlines()) if row["name"] == "'=gpt-5.5"]
    assert (row["requests"], row["tokens"], row["cost_usd"]) == ("1", "1050", "12.5")
    assert [each["cost_usd"] for each in json.loads(as_json) if each["name"] == "=gpt-5.5"] == [
        12.5
    ]


@pytest.mark.long
def test_clients_are_compared_by_program_and_by_token(guarded: Stack, page: Browser) -> None:
    facts = {"client_program": "opencode", "caller": "aider", "cache_read_tokens": 3000}
    publish(guarded, past("req_compared", 1, **facts))
    page.go(f"{guarded.url}/dashboard?view=clients&hours=1")
    page.until("return document.querySelector('#by-client_program tbody tr')")
    (program,) = [row for row in rows(page, "by-client_program") if "opencode" in row]
    assert "75 %" in program
    assert "420 ms" in program
    page.run("document.querySelector('[data-key=opencode] a').click()")
    page.until("return document.querySelector('[data-key=req_compared]')")


@pytest.mark.long
def test_a_session_shows_its_agents_below_their_parents(guarded: Stack, page: Browser) -> None:
    session = {"session_id": "a-session-with-agents"}
    publish(
        guarded,
        past("req_main", 4, **session),
        past("req_child", 3, agent_id="the-child", **session),
        past("req_grandchild", 2, agent_id="grandchild", parent_agent_id="the-child", **session),
    )
    page.go(f"{guarded.url}/dashboard?view=sessions&hours=1")
    page.until("return document.querySelector('[data-key=a-session-with-agents]')")
    agents = "[data-key=a-session-with-agents] a[aria-label*='agents of session']"
    page.run(f'document.querySelector("{agents}").click()')
    page.until("return document.querySelectorAll('#agents tbody tr').length === 3")
    assert [row.split("\t")[0] for row in rows(page, "agents")] == [
        "main conversation",
        "– the-child",
        "– – grandchild",
    ]
    page.run("document.querySelector('[data-key=a-session-with-agents] a.open').click()")
    page.until("return document.querySelectorAll('#log tbody tr').length === 3")


@pytest.mark.long
def test_agents_that_name_each_other_as_parents_are_all_listed(page: Browser) -> None:
    agents = json.dumps(
        [
            {"agent_id": "a", "parent_agent_id": "b"},
            {"agent_id": "b", "parent_agent_id": "a"},
            {"agent_id": "c", "parent_agent_id": "gone"},
            {"agent_id": "d", "parent_agent_id": "d"},
        ]
    )
    found = page.run(
        f"return import('/dashboard/sessions.js').then((module) => module.inTree({agents})"
        ".map((each) => each.agent_id + each.depth))"
    )
    assert sorted(found) == ["a1", "b2", "c1", "d1"]


@pytest.mark.long
def test_ticks_are_round_times(page: Browser) -> None:
    def ticks(start: int, bucket: int, steps: int) -> list[str]:
        starts = json.dumps([start + bucket * step for step in range(steps)])
        found: list[str] = page.run(
            f"return import('/dashboard/charts.js').then((module) => module.ticks({starts}, "
            f"{bucket}, 600).map((tick) => tick.text))"
        )
        return found

    hour = ticks(1_795_964_940, 60, 60)  # from 15:09 UTC
    assert len(hour) >= 4
    assert {text[-1] for text in hour} <= {"0", "5"}
    assert all(":" not in text for text in ticks(1_795_964_940, 43_200, 60))


@pytest.mark.long
def test_a_time_without_requests_has_a_hint_in_place_of_empty_charts(
    guarded: Stack, page: Browser
) -> None:
    page.go(f"{guarded.url}/dashboard?from=2020-01-01T00:00&to=2020-01-01T01:00")
    page.until_text("ccproxy run -- claude", "#hint")
    assert page.run("return document.getElementById('requests').offsetHeight") == 0
    page.click("#views a[href*='view=sessions']")
    page.until_text("No session in this time.")
    assert page.run("return document.querySelector('.bar-row').offsetHeight") == 0


@pytest.mark.long
def test_a_line_of_a_chart_of_counts_is_a_whole_number(page: Browser) -> None:
    labels = (
        "const { Chart } = await import('/dashboard/charts.js');"
        "const chart = new Chart('Requests');"
        "const drawn = (most) => {"
        "  const series = [{ name: 'a', style: 's0', values: [most] }];"
        "  chart.draw({ starts: [0], bucket: 60, series, stacked: true, format: String });"
        "  return [...chart.element.querySelectorAll('text')].map((each) => each.textContent)"
        "    .filter((text) => /^[0-9.]+$/.test(text)); };"
        "return [drawn(5), drawn(4)]"
    )
    found = page.run(f"return (async () => {{ {labels} }})()")
    assert found == [["0", "5"], ["0", "2", "4"]]


@pytest.mark.long
def test_a_window_of_a_subscription_shows_its_end_and_its_pace(
    guarded: Stack, page: Browser
) -> None:
    now = time.time()
    window = {"window": "5h", "used_percent": 61.0, "resets_at": now + 7200, "readings": []}
    window["empty_at"] = now + 3600
    quota = json.dumps([{"provider": "codex", "windows": [window], "extra_usage": False}])
    page.go(f"{guarded.url}/dashboard")
    shown = page.run(
        "return import('/dashboard/overview.js').then(({Overview}) => {const view = new Overview();"
        f"view.showQuota({quota}); return view.quota.innerText || view.quota.textContent}})"
    )
    assert shown.startswith("Codex · 5h61 %Resets ")
    assert "at this pace" in shown


@pytest.mark.long
def test_a_click_on_a_step_of_a_chart_shows_its_requests(guarded: Stack, page: Browser) -> None:
    publish(guarded, past("req_step", 1))
    page.go(f"{guarded.url}/dashboard?hours=1")
    page.until("return document.querySelector('#requests svg rect')")
    page.run("document.querySelector('#requests svg').focus()")
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    page.press("Enter")
    page.until("return document.getElementById('title').textContent === 'Requests'")
    assert "from=" in page.run("return location.search")


@pytest.mark.long
def test_a_provider_in_trouble_is_named_with_its_reason(guarded: Stack, page: Browser) -> None:
    failing = {"provider": "codex", "service_type": "codex", "status_code": 502}
    failing |= {"error_kind": "upstream", "error_message": "no route"}
    publish(guarded, *(past(f"req_trouble_{number}", 0.01, **failing) for number in range(50)))
    page.go(f"{guarded.url}/dashboard")
    text = page.until("return document.querySelector('#troubles li')?.textContent")
    assert text.startswith("Codex: 50 of the last 5")
    assert "requests failed: could not be reached" in text
    page.until_text("Requests fail at a provider", "#health")
    page.click("#troubles a")
    page.until("return document.querySelector('[data-key^=req_trouble]')")


@pytest.mark.long
def test_a_chart_is_read_with_the_arrow_keys(guarded: Stack, page: Browser) -> None:
    ask(guarded, "/api", "Hello")
    page.go(f"{guarded.url}/dashboard?hours=1")
    page.until("return document.querySelector('#requests svg rect')")
    page.run("document.querySelector('#requests svg').focus()")
    page.press("ArrowLeft")
    assert "answered" in page.until(
        "return document.querySelector('#requests [aria-live]').textContent"
    )
    page.press("Escape")
    page.until("return document.querySelector('#requests [aria-live]').textContent === ''")


@pytest.mark.parametrize("view", ["", "?view=permissions"])
def test_a_tool_that_waits_is_allowed_by_a_click(guarded: Stack, page: Browser, view: str) -> None:
    page.go(f"{guarded.url}/dashboard{view}")
    answers: list[httpx.Response] = []
    tool = '[[tool:Bash {"command": "touch made-here", "description": "Say it"}]]'
    asking = threading.Thread(
        target=lambda: answers.append(ask(guarded, "/sdk", tool)), daemon=True
    )
    asking.start()
    page.until(
        "return document.querySelector('#prompts pre')?.textContent.includes('touch made-here')"
    )
    assert page.run("return document.title").startswith("(1)")
    page.click("#prompts .allow")
    asking.join(90)
    assert answers[0].status_code == 200
    page.until("return document.getElementById('permissions').hidden")
    if view:
        page.until("return document.querySelector('#rules tbody tr')")
        page.until("return document.querySelector('#decisions')?.innerText.includes('made-here')")
    assert page.complaints() == []


@pytest.mark.long
def test_a_page_that_is_opened_behind_another_counts_what_waits(
    guarded: Stack, page: Browser
) -> None:
    hidden = "Object.defineProperty(document, 'hidden', {get: () => true})"
    script = page.command("Page.addScriptToEvaluateOnNewDocument", source=hidden)
    page.go(f"{guarded.url}/dashboard")
    page.command("Page.removeScriptToEvaluateOnNewDocument", **script)
    tool = '[[tool:Bash {"command": "touch seen-later", "description": "Say it"}]]'
    asking = threading.Thread(target=lambda: ask(guarded, "/sdk", tool), daemon=True)
    asking.start()
    page.until("return document.title.startsWith('(1)')")
    page.until("return document.querySelector('#prompts .deny:enabled')")
    page.click("#prompts .deny")
    asking.join(90)
    assert not asking.is_alive()


@pytest.mark.long
def test_a_view_and_the_line_above_it_ask_a_question_once(guarded: Stack, page: Browser) -> None:
    for view, path in (("", "/logs/outcomes"), ("?view=workers", "/health")):
        page.go(f"{guarded.url}/dashboard{view}")
        page.until("return document.getElementById('version').textContent")
        asked = (
            "performance.getEntriesByType('resource').map((each) => new URL(each.name).pathname)"
        )
        assert page.run(f"return {asked}").count(path) == 1


def test_the_workers_and_the_parts_of_the_stack_are_listed(guarded: Stack, page: Browser) -> None:
    page.go(f"{guarded.url}/dashboard?view=workers")
    page.until("return document.querySelector('#pools tbody tr')")
    assert "sdk_worker_00" in rows(page, "pools")[0]
    assert any(row.startswith("analytics\tworks") for row in rows(page, "checks"))
    assert "requests wait for a worker" in page.text("#queue")
    assert len(rows(page, "processes")) == 3
    assert page.complaints() == []


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_cut_off_at_any_width(
    guarded: Stack, page: Browser, dark: bool, width: int
) -> None:
    publish(guarded, past("req_wide", 1, error_message="long " * 90, session_id="s" * 90))
    page.dress(dark=dark, width=width, height=844)
    for view in [*VIEWS, "?view=requests&request=req_wide"]:
        page.go(f"{guarded.url}/dashboard{view}")
        page.until("return document.querySelector('#view').textContent.length > 50")
        assert page.run("return document.documentElement.scrollWidth") <= width, view
    paper = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(22, 20, 15)") == dark


@contextmanager
def waiting_question(stack: Stack) -> Iterator[None]:
    """Keep a permission request waiting for the block, and deny it at the end."""
    question = {"tool_name": "Bash", "input": {"command": "git push origin main"}}
    owner = httpx.Client(
        base_url=stack.url, headers={"x-api-key": OWNER}, timeout=90, trust_env=False
    )
    asking = threading.Thread(
        target=owner.post, args=("/mcp/permission/check",), kwargs={"json": question}, daemon=True
    )
    asking.start()
    try:
        yield
    finally:
        for each in owner.get("/permissions").json()["pending"]:
            owner.post(f"/permissions/{each['request_id']}/respond", json={"allowed": False})
        asking.join(90)
        owner.close()


@pytest.mark.long
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_moves_while_a_page_loads(guarded: Stack, page: Browser, width: int) -> None:
    """The header, the navigation and the end of the page have their places from the beginning."""
    publish(guarded, *(past(f"req_still_{number}", 1) for number in range(60)))
    page.dress(width=width, height=844)
    observe = (
        "window.moved = []; new PerformanceObserver((list) => list.getEntries().forEach((entry) =>"
        " entry.sources.forEach(({node}) => moved.push(node?.id || node?.nodeName))))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    script = page.command("Page.addScriptToEvaluateOnNewDocument", source=observe)
    for view in VIEWS:
        page.go(f"{guarded.url}/dashboard{view}")
        page.until(
            "return document.querySelector('#view > *') && !document.querySelector('.loading')"
        )
        moved = set(page.run("return window.moved"))
        assert not moved & {"MAIN", "views", "FOOTER", "title", "log", "csv"}, (view, moved)
    page.command("Page.removeScriptToEvaluateOnNewDocument", **script)


def axe_script() -> str:
    try:
        room = programs_of(AXE).parent
    except Unreachable as error:
        pytest.skip(f"axe-core comes from the npm registry, which cannot be reached: {error}")
    return (room / "axe-core/axe.min.js").read_text()


def violations(page: Browser, axe: str) -> list[str]:
    page.command("Runtime.evaluate", expression=axe)
    found: list[str] = page.run(
        "return axe.run(document, {resultTypes: ['violations']}).then(({violations}) => "
        "violations.flatMap((each) => each.nodes.map((node) => `${each.id}: ${node.html}`)))"
    )
    return found


@pytest.mark.conformance
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_on_any_page(guarded: Stack, page: Browser, dark: bool) -> None:
    axe = axe_script()
    publish(guarded, past("req_axe", 1, status_code=502, error_kind="upstream"))
    drawer = "?view=requests&request=req_axe"
    views = [f"/dashboard{view}" for view in [*VIEWS, drawer]]
    views += ["/permissions/ui", "/docs", "/pair", "/signin"]
    for width in (1440, 390):
        page.dress(dark=dark, width=width, height=844)
        for path in views:
            page.go(f"{guarded.url}{path}")
            page.until("return document.body.innerText.length > 40")
            page.until("return !document.querySelector('.loading')")
            page.until(
                f"return {json.dumps(drawer not in path)} || document.querySelector('#detail[open]')"
            )
            assert violations(page, axe) == [], (path, width)
    with waiting_question(guarded):
        for path in ("/dashboard", "/permissions/ui"):
            page.go(f"{guarded.url}{path}")
            page.until("return document.querySelector('article pre')")
            assert violations(page, axe) == [], path
    page.run("document.documentElement.removeAttribute('lang')")
    assert [each.split(":")[0] for each in violations(page, axe)] == ["html-has-lang"]

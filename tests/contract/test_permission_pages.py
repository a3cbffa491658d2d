"""The phone page and the dashboard in a real browser: what is allowed there has been on the screen,
whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.bus import Delivery
from shared.bus.channels import (
    LOGS_QUERY,
    PERMISSION_REQUESTS,
    FileBefore,
    PermissionRequest,
)
from shared.bus.serving import serve_each
from shared.runtime.exact_json import dump_json
from tests.support.browser import Browser
from tests.support.permission_stack import Front, running_desk, running_front

PAGES = ["/permissions/ui", "/dashboard"]
LONG = "echo " + "a" * 5_000 + "; rm -rf ~/Documents"


@pytest.fixture
async def front(redis_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with running_desk(redis_url, tmp_path / "rules.toml"), running_front(redis_url) as front:
        yield front


class Page:
    """A page in the browser. The gateway runs in this process, so each step of the browser has a
    thread of its own.
    """

    def __init__(self, browser: Browser, front: Front) -> None:
        self._browser, self._front = browser, front

    async def open(
        self, path: str, *, width: int = 390, height: int = 844, dark: bool = False
    ) -> None:
        await asyncio.to_thread(self._browser.dress, width=width, height=height, dark=dark)
        await asyncio.to_thread(self._browser.go, f"{self._front.client.base_url}{path}")

    async def until(self, script: str) -> Any:
        return await asyncio.to_thread(self._browser.until, f"return {script}")

    async def run(self, script: str) -> Any:
        return await asyncio.to_thread(self._browser.run, f"return {script}")

    async def click(self, selector: str) -> None:
        await asyncio.to_thread(self._browser.click, selector)

    async def type(self, selector: str, text: str) -> None:
        await asyncio.to_thread(self._browser.type, selector, text)

    async def text(self, selector: str) -> str:
        return await asyncio.to_thread(self._browser.text, selector)

    async def shows(self, words: str) -> None:
        await asyncio.to_thread(self._browser.until_text, words, ".request")

    async def disabled(self, selector: str) -> bool:
        return bool(await self.run(f"document.querySelector('{selector}').disabled"))


@pytest.fixture
def page(browser: Browser, front: Front) -> Page:
    return Page(browser, front)


def asking(front: Front, command: str = "touch x", **fields: Any) -> asyncio.Task[dict[str, Any]]:
    body = {
        "input": {"command": command},
        "session_id": "session-1",
        "working_directory": "/srv/dir",
    } | fields
    return asyncio.create_task(front.check(**body))


@pytest.mark.long
@pytest.mark.parametrize("path", PAGES)
async def test_a_short_request_is_allowed_by_one_click(front: Front, page: Page, path: str) -> None:
    await page.open(path)
    checking = asking(front)
    await page.shows("touch x")
    await page.shows("Caller: local")
    await page.click(".request .allow")
    assert (await checking)["behavior"] == "allow"
    await page.until("!document.querySelector('.request')")


@pytest.mark.parametrize("path", PAGES)
async def test_allow_waits_until_a_long_request_was_shown_to_its_end(
    front: Front, page: Page, path: str
) -> None:
    await page.open(path)
    checking = asking(front, LONG)
    await page.shows("characters hidden. Show all (")
    await page.shows("; rm -rf ~/Documents")
    await page.until("!document.querySelector('.request .deny').disabled")
    assert await page.disabled(".request .allow")
    assert await page.text(".request .hint") == "Show all of it to allow it."
    await page.click(".request .show-all")
    await page.until(
        "document.querySelector('.hint').textContent === 'Scroll to the end to allow it.'"
    )
    assert await page.disabled(".request .allow")
    await page.run("document.querySelector('.request .body').scrollTo(0, 1e6)")
    await page.click(".request .allow")
    assert (await checking)["behavior"] == "allow"


@pytest.mark.long
@pytest.mark.parametrize("path", PAGES)
async def test_the_actions_keep_their_places_whatever_arrives(
    front: Front, page: Page, path: str
) -> None:
    buttons = "[...document.querySelectorAll('.request .actions button')]"
    places = f"JSON.stringify({buttons}.map((button) => button.getBoundingClientRect()))"
    await page.open(path)
    checks = [asking(front, "touch first")]
    await page.shows("touch first")
    before = await page.run(places)
    checks += [
        asking(front, f"touch {number} " + "x" * 40 * number, session_id=str(number))
        for number in range(15)
    ]
    await page.until("document.querySelector('.position').textContent === '1 of 16'")
    first = await page.run("document.querySelector('.request pre').textContent")
    assert first == "touch first"
    after_arrivals = await page.run(places)
    await page.click(".request .deny")
    await page.until("document.querySelector('.position').textContent === '1 of 15'")
    assert await page.run(places) == after_arrivals
    if path == "/permissions/ui":
        assert after_arrivals == before
    for check in checks:
        check.cancel()


@pytest.mark.long
async def test_a_tap_just_after_a_request_appeared_does_nothing(front: Front, page: Page) -> None:
    await page.open("/permissions/ui")
    checking = asking(front)
    press = (
        "(document.querySelector('.request .allow')?.click(), document.querySelector('.request "
        ".allow') !== null)"
    )
    await page.until(press)
    assert not checking.done()
    await page.click(".request .deny")
    assert (await checking)["behavior"] == "deny"


async def test_an_answer_for_the_future_is_confirmed_with_its_exact_scope(
    front: Front, page: Page
) -> None:
    await page.open("/permissions/ui")
    checking = asking(front, "git status")
    await page.click(".request .others")
    await page.click(".request .always")
    await page.shows("every plain Bash command that begins with the words “git status”")
    assert not checking.done()
    await page.click(".request .form [type=submit]")
    assert (await checking)["behavior"] == "allow"
    assert (await asking(front, "git status -s"))["behavior"] == "allow"


@pytest.mark.long
async def test_an_input_is_edited_and_a_denial_explained(front: Front, page: Page) -> None:
    await page.open("/permissions/ui")
    checking = asking(front)
    await page.click(".request .others")
    await page.click(".request .edit")
    await page.type(".request textarea", "touch edited")
    await page.click(".request .form [type=submit]")
    assert (await checking)["updatedInput"] == {"command": "touch edited"}
    checking = asking(front, "touch other")
    await page.shows("touch other")
    await page.click(".request .others")
    await page.click(".request .explain")
    await page.type(".request textarea", "Not today.")
    await page.click(".request .form [type=submit]")
    assert (await checking)["message"] == "Not today."


@pytest.mark.long
@pytest.mark.parametrize("path", PAGES)
async def test_questions_are_answered_by_choice_and_in_own_words(
    front: Front, page: Page, path: str
) -> None:
    questions = [
        {
            "question": "Which?",
            "options": [{"label": "this", "description": "the first"}, {"label": "that"}],
        },
        {
            "question": "How?",
            "multiSelect": True,
            "options": [{"label": "fast"}, {"label": "well"}],
        },
        {"question": "Why?"},
    ]
    await page.open(path, width=1280)
    checking = asking(front, tool_name="AskUserQuestion", input={"questions": questions})
    await page.shows("Which?")
    await page.click("[name=question-0][value='1']")
    for value in (0, 1):
        await page.click(f"[name=question-1][value='{value}']")
    assert await page.disabled(".request .allow")
    await page.type(".question:nth-of-type(3) .own", "Because.")
    await page.run("document.querySelector('.request .body').scrollTo(0, 1e6)")
    await page.click(".request .allow")
    assert (await checking)["updatedInput"]["answers"] == {
        "Which?": "that",
        "How?": "fast, well",
        "Why?": "Because.",
    }


@pytest.mark.long
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    ("tool_name", "given"),
    [
        ("MultiEdit", {"file_path": "/x", "edits": ["x"]}),
        ("AskUserQuestion", {"questions": 5}),
        ("mcp__a__b", {"x": {"y": "<img src=x onerror=document.title='taken'>\u202e"}}),
    ],
)
async def test_an_odd_input_is_shown_as_text_and_can_be_denied(
    front: Front, page: Page, browser: Browser, path: str, tool_name: str, given: dict[str, Any]
) -> None:
    await page.open(path)
    checking = asking(front, tool_name=tool_name, input=given)
    await page.shows(f'"{next(reversed(given))}"')
    assert "\u202e" not in await page.text(".request")
    assert await page.run("document.querySelectorAll('.request img').length") == 0
    await page.click(".request .deny")
    assert (await checking)["behavior"] == "deny"
    complaints = await asyncio.to_thread(browser.complaints)
    assert [
        each for each in complaints if "503" not in each
    ] == []  # no analytics runs here to answer the dashboard


@pytest.mark.long
async def test_a_change_is_shown_in_its_file(front: Front, page: Page) -> None:
    text = "".join(f"line {number}\n" for number in range(1, 30))
    given = {"file_path": "/srv/dir/a.py", "old_string": "line 12\n", "new_string": "line twelve\n"}
    ask = PermissionRequest("edit", "Edit", given, working_directory="/srv/dir")
    ask.file_before = FileBefore("/srv/dir/a.py", exists=True, text=text)
    await page.open("/permissions/ui")
    async with front.bus.call(PERMISSION_REQUESTS, ask):
        await page.shows("Edit a.py")
        rows = await page.run(
            "[...document.querySelectorAll('.row')].map((row) => row.textContent.trim())"
        )
        assert rows[3:5] == ["12- line 12", "12+ line twelve"]


@pytest.mark.long
async def test_the_page_is_used_with_the_keyboard_and_read_aloud(
    front: Front, page: Page, browser: Browser
) -> None:
    await page.open("/permissions/ui")
    checking = asking(front)
    await page.until("document.querySelector('.request .allow')?.disabled === false")
    buttons = "[...document.querySelectorAll('.queue button')]"
    assert await page.run(
        f"{buttons}.every((button) => button.ariaLabel || button.textContent.trim())"
    )
    assert await page.run("document.querySelector('.request .body').tabIndex") == 0
    assert (
        await page.run("document.querySelector('.request').getAttribute('aria-labelledby')")
        == "request-title"
    )
    await page.run("document.querySelector('.request .deny').focus()")
    await asyncio.to_thread(
        browser.command,
        "Input.dispatchKeyEvent",
        type="keyDown",
        key="Enter",
        code="Enter",
        text="\r",
    )
    assert (await checking)["behavior"] == "deny"


@pytest.mark.long
async def test_the_switch_of_the_page_says_that_the_owner_is_away(front: Front, page: Page) -> None:
    await page.open("/permissions/ui")
    await page.until("document.querySelector('#away:not([hidden])')")
    await page.click("#away")
    await page.until("document.querySelector('#away[aria-pressed=true]')")
    assert (await front.client.get("/permissions/away")).json()["away"] is True
    body = {"hook_event_name": "PermissionRequest", "tool_name": "Bash", "cwd": "/w"}
    body |= {"tool_input": {"command": "touch hooked"}}
    names = {"x-ccproxy-machine": "laptop", "x-ccproxy-agent": "claude"}
    asking = asyncio.create_task(
        front.client.post("/hooks/permission-request", json=body, headers=names)
    )
    await page.shows("touch hooked")
    await page.shows("Machine: laptop")
    await page.shows("Folder: /w")
    # Another view switches it off; the page follows, and the request is left to the agent.
    await front.client.post("/permissions/away", json={"state": "off"})
    await page.until("document.querySelector('#away[aria-pressed=false]')")
    assert (await asking).json() == {}
    await page.until('document.body.innerText.includes("left to the agent\'s terminal")')
    done = {"hook_event_name": "Stop", "cwd": "/w"}
    await front.client.post("/hooks/notice", json=done, headers=names)
    await page.until("document.querySelector('#news').innerText.includes('Claude Code is done')")


async def past_calls(front: Front, stop: asyncio.Event) -> None:
    """Answer questions for past requests as analytics does: two calls like `echo`, one other."""
    circumstances = '{"reach": null, "bypass": false, "insists": false}'
    records = [
        {
            "request_id": f"past-{number}",
            "asked_at": "2026-11-20T10:00:00.000000Z",
            "tool_name": "Bash",
            "input": dump_json({"command": command}).decode(),
            "caller": "alice",
            "session_id": "s",
            "working_directory": "/srv/dir",
            "program": "",
            "machine": "",
            "outcome": outcome,
            "decided_by": "alice",
            "rule": "",
            "waited_ms": 1.0,
            "circumstances": circumstances,
        }
        for number, (command, outcome) in enumerate(
            [("echo one\u202e", "allowed"), ("echo two", "denied"), ("make", "allowed")]
        )
    ]

    async def answer(delivery: Delivery) -> None:
        await delivery.send(dump_json({"results": records}))

    await serve_each(front.bus, LOGS_QUERY, answer, slots=1, stop=stop)


@pytest.mark.long
@pytest.mark.parametrize("path", PAGES)
async def test_a_rule_is_confirmed_once_the_page_has_shown_what_it_would_have_allowed(
    front: Front, page: Page, path: str
) -> None:
    stop = asyncio.Event()
    answering = asyncio.create_task(past_calls(front, stop))
    await page.open(path)
    checking = asking(front, "echo now")
    await page.until("document.querySelector('.request .allow')?.disabled === false")
    await page.click(".request .others")
    await page.click(".request .always")
    await page.until("document.querySelector('.past li')")
    assert (await page.text(".past")).split("\n") == [
        "In the last 30 days the rule would have allowed 1 call more:",
        "echo two (denied)",
    ]
    await page.until("!document.querySelector('.form .allow').disabled")
    await page.click(".form .allow")
    assert (await checking)["behavior"] == "allow"
    rules = (await front.client.get("/permissions/rules")).json()["rules"]
    assert rules[0]["text"] == "allow Bash: echo …"
    stop.set()
    await answering


@pytest.mark.long
async def test_without_records_the_page_says_so_and_the_rule_can_still_be_made(
    front: Front, page: Page
) -> None:
    await page.open("/permissions/ui")
    checking = asking(front, "echo now")
    await page.until("document.querySelector('.request .allow')?.disabled === false")
    await page.click(".request .others")
    await page.click(".request .always")
    await page.until(
        "document.querySelector('.past')?.innerText === 'Past requests cannot be looked at now.'"
    )
    await page.click(".form .allow")
    assert (await checking)["behavior"] == "allow"


@pytest.mark.long
async def test_profiles_are_switched_on_the_phone_page_and_followed_in_another_view(
    front: Front, page: Page
) -> None:
    await page.open("/permissions/ui")
    await page.until("document.querySelector('#profile')?.textContent === 'Profiles'")
    await page.click("#profile")
    assert await page.disabled("#profiles button")
    await page.click('[name="active"][value="read-only"]')
    await page.click('[name="while_away"][value="night"]')
    await page.click("#profiles button")
    await page.until("document.querySelector('#profile')?.textContent === 'read-only'")
    assert await page.run("document.querySelector('#profiles').hidden")
    shown = (await front.client.get("/permissions/profiles")).json()
    assert (shown["active"], shown["while_away"]) == (["read-only"], ["night"])
    assert (await front.check())["behavior"] == "deny"
    # Another view switches; the page follows, also when the owner leaves.
    await front.client.post("/permissions/profiles", json={"active": []})
    await page.until("document.querySelector('#profile').textContent === 'Profiles'")
    await page.click("#away")
    await page.until("document.querySelector('#profile').textContent === 'night'")
    width = await page.run("document.documentElement.scrollWidth")
    assert width <= 390


@pytest.mark.long
async def test_a_refused_switch_is_told_on_the_dashboard_and_the_choice_stays(
    front: Front, page: Page, tmp_path: Path
) -> None:
    await page.open("/dashboard?view=permissions")
    await page.until("document.querySelector('.profiles [name=active][value=coding]')")
    (tmp_path / "rules.toml").write_text("[[rules")
    await page.click('[name="active"][value="coding"]')
    await page.click(".profiles button")
    await page.until(
        "document.querySelector('.profiles .problem').innerText.includes('not valid TOML')"
    )
    assert await page.run("document.querySelector('[name=active][value=coding]').checked")
    (tmp_path / "rules.toml").unlink()
    await page.click(".profiles button")
    await page.until("document.querySelector('.profiles').innerText.includes('Last switched by')")
    assert (await front.client.get("/permissions/profiles")).json()["active"] == ["coding"]

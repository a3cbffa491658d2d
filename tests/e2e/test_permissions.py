"""A request waits for a person, through the whole stack: the real program asks, somebody answers,
the tool obeys.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx
import pytest

from ccproxy.launcher.programs import find_script
from sdk_worker.claude.driver import find_program
from tests.support.browser import Browser, running_browser
from tests.support.pseudo_terminal import in_terminal
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack, clean_environment, simulated, stacks, until

pytestmark = pytest.mark.claude

TURN_SECONDS = 50.0
MODEL = "claude-sonnet-5-5"


class Turn:
    """One streamed `/sdk` request, read in a thread of its own: a person has to answer
    meanwhile.
    """

    def __init__(self, stack: Stack, command: str) -> None:
        self.text = ""
        said = f"[[tool:Bash {json.dumps({'command': command})}]]"
        body = {"model": MODEL, "max_tokens": 200, "stream": True}
        address = urlsplit(stack.url)
        self._connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=TURN_SECONDS
        )
        self._connection.request(
            "POST",
            "/sdk/v1/messages",
            json.dumps(body | {"messages": [{"role": "user", "content": said}]}),
            {"content-type": "application/json", "x-ccproxy-sdk-messages": "forward"},
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        gone = contextlib.suppress(
            OSError, http.client.HTTPException
        )  # the gateway died, or we left
        with gone, self._connection.getresponse() as response:
            while line := response.readline():
                self.text += line.decode()
        self._connection.close()

    def wait(self) -> str:
        self._thread.join(TURN_SECONDS)
        assert not self._thread.is_alive(), self.text
        return self.text

    def leave(self) -> None:
        self._connection.sock.shutdown(socket.SHUT_RDWR)


class Person:
    """Somebody who answers prompts over HTTP, whatever restarts in between."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Once the gateway and the desk are there."""
        late = time.monotonic() + 30
        while True:
            try:
                response = httpx.request(method, self._stack.url + path, timeout=20, **options)
            except httpx.HTTPError:
                response = None
            if response is not None and response.status_code not in {502, 503}:
                return response
            assert time.monotonic() < late, response and response.text
            time.sleep(0.05)

    def pending(self, count: int = 1) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = self.request("GET", "/permissions").json()["pending"]
            return len(found) >= count

        until(look, f"{count} prompts", deadline=30)
        return found

    def answer(self, request_id: str, allowed: bool, **more: Any) -> httpx.Response:
        return self.request(
            "POST", f"/permissions/{request_id}/respond", json={"allowed": allowed, **more}
        )

    def status(self, request_id: str) -> str:
        return str(self.request("GET", f"/permissions/{request_id}").json()["status"])


@pytest.fixture
def person(stack: Stack) -> Iterator[Person]:
    person = Person(stack)
    yield person
    for left in person.request("GET", "/permissions").json()["pending"]:
        person.answer(left["request_id"], False)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "made-by-the-tool"


def test_an_allowed_tool_acts_and_the_turn_goes_on(
    stack: Stack, person: Person, target: Path
) -> None:
    turn = Turn(stack, f"touch {target}")
    (asked,) = person.pending()
    assert (asked["tool_name"], asked["input"]["command"]) == ("Bash", f"touch {target}")
    assert asked["working_directory"]
    assert not target.exists()
    assert person.answer(asked["request_id"], True).status_code == 200
    assert "message_stop" in turn.wait()
    assert target.exists()


def test_a_denied_tool_does_nothing_and_the_model_is_told(
    stack: Stack, person: Person, target: Path
) -> None:
    turn = Turn(stack, f"touch {target}")
    (asked,) = person.pending()
    person.answer(asked["request_id"], False, message="Not on my machine.")
    assert "Not on my machine." in turn.wait()
    assert "message_stop" in turn.text
    assert not target.exists()


@pytest.mark.long
def test_what_a_person_wrote_is_what_runs(stack: Stack, person: Person, target: Path) -> None:
    turn = Turn(stack, f"touch {target}")
    (asked,) = person.pending()
    other = target.with_name("written-by-a-person")
    person.answer(
        asked["request_id"], True, updated_input={**asked["input"], "command": f"touch {other}"}
    )
    turn.wait()
    assert other.exists()
    assert not target.exists()


async def test_it_is_allowed_and_denied_from_a_terminal(
    stack: Stack, person: Person, tmp_path: Path
) -> None:
    command = [*find_script("ccproxy"), "permission-handler"]
    async with in_terminal(*command, env=stack.environment, columns=200) as terminal:
        await terminal.until("Waiting for prompts.")
        turn = Turn(stack, f"touch {tmp_path}/yes")
        await terminal.until(f"touch {tmp_path}/yes"[:60])
        await asyncio.sleep(0.5)
        terminal.press("y")
        assert "message_stop" in await asyncio.to_thread(turn.wait)
        turn = Turn(stack, f"touch {tmp_path}/no")
        shown = await terminal.until("allowed once")
        await terminal.until("allow once", since=shown)
        await asyncio.sleep(0.5)
        terminal.press("n")
        assert "message_stop" in await asyncio.to_thread(turn.wait)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["yes"]  # noqa: ASYNC240


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.mark.long
def test_it_is_allowed_edited_and_denied_from_a_phone(
    stack: Stack, person: Person, browser: Browser, tmp_path: Path
) -> None:
    browser.go(f"{stack.url}/permissions/ui")
    browser.until_text("Nothing is waiting for you.")
    turn = Turn(stack, f"touch {tmp_path}/yes")
    browser.until_text(f"touch {tmp_path}/yes", "article pre")
    browser.click("article .allow")
    turn.wait()
    browser.until_text("allowed by local", "#settled")
    turn = Turn(stack, f"touch {tmp_path}/asked")
    browser.click("article .others")
    browser.click("article .edit")
    browser.type("article textarea", f"touch {tmp_path}/edited")
    browser.click("article [type=submit]")
    turn.wait()
    turn = Turn(stack, f"touch {tmp_path}/no")
    browser.click("article .others")
    browser.click("article .explain")
    browser.type("article textarea", "Not today.")
    browser.click("article [type=submit]")
    assert "Not today." in turn.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edited", "yes"]
    assert browser.complaints() == []


@pytest.mark.long
def test_the_page_shows_what_a_model_wrote_as_text_and_nothing_more(
    stack: Stack, person: Person, browser: Browser
) -> None:
    browser.go(f"{stack.url}/permissions/ui")
    script = "echo <img src=x onerror=document.title='taken'>\u202e"
    turn = Turn(stack, script)
    browser.until_text("echo <img src=x onerror=document.title='taken'>\\u202e", "article pre")
    assert browser.run("return document.querySelectorAll('article img').length") == 0
    browser.click("article .deny")
    turn.wait()


@pytest.mark.long
@pytest.mark.parametrize("service", ["permission_service", "redis"])
def test_the_answer_reaches_the_tool_through_a_crash(
    stack: Stack, person: Person, target: Path, service: str
) -> None:
    turn = Turn(stack, f"touch {target}")
    (asked,) = person.pending()
    stack.wait_replaced(service, stack.kill(service))
    until(lambda: person.answer(asked["request_id"], True).status_code in {200, 409}, "an answer")
    assert "message_stop" in turn.wait()
    assert target.exists()


def test_the_death_of_the_gateway_costs_nothing_but_the_clients_second_try(
    stack: Stack, person: Person, truth: GroundTruth, target: Path
) -> None:
    """The official client asks again by itself, as it does after any broken connection."""
    said = f"[[tool:Bash {json.dumps({'command': f'echo once >> {target}'})}]]"
    messages: Any = [{"role": "user", "content": said}]
    with anthropic.Anthropic(
        base_url=f"{stack.url}/sdk", api_key="unused", timeout=TURN_SECONDS
    ) as client:
        answers: list[Any] = []
        thread = threading.Thread(
            target=lambda: answers.append(
                client.messages.create(model=MODEL, max_tokens=200, messages=messages)
            )
        )
        thread.start()
        (asked,) = person.pending()
        stack.wait_replaced("gateway", stack.kill("gateway"))
        assert [still["request_id"] for still in person.pending()] == [asked["request_id"]]
        assert person.answer(asked["request_id"], True).status_code == 200
        thread.join(TURN_SECONDS)
    assert answers[0].stop_reason == "end_turn"
    assert target.read_text() == "once\n"
    assert (
        len(truth.requests("/v1/messages")) == 2
    )  # what the tool is for, and what it said: of one turn
    assert person.request("GET", "/permissions").json()["pending"] == []


@pytest.mark.long
def test_a_caller_that_leaves_withdraws_its_prompt(
    stack: Stack, person: Person, target: Path
) -> None:
    turn = Turn(stack, f"touch {target}")
    (asked,) = person.pending()
    turn.leave()
    until(lambda: person.status(asked["request_id"]) == "cancelled", "the withdrawal")
    assert not target.exists()


@pytest.mark.long
def test_a_session_is_allowed_once_for_all_its_like(
    stack: Stack, person: Person, tmp_path: Path
) -> None:
    made = [tmp_path / "one", tmp_path / "two"]
    calls = "".join(f"[[tool:Bash {json.dumps({'command': f'touch {path}'})}]]" for path in made)
    body = {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": calls}]}
    answers: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: answers.append(
            httpx.post(f"{stack.url}/sdk/v1/messages", json=body, timeout=TURN_SECONDS)
        )
    )
    thread.start()
    asked = person.pending()[0]
    remembered = person.answer(asked["request_id"], True, remember={"scope": "session"}).json()
    thread.join(TURN_SECONDS)
    assert remembered["remembered"] == f"allow Bash: touch …, under {tmp_path}, in this session"
    assert [path.exists() for path in made] == [True, True]


@pytest.mark.long
def test_what_was_asked_and_answered_is_on_record(
    stack: Stack, person: Person, target: Path
) -> None:
    turn = Turn(stack, f"touch {target}")
    (asked,) = person.pending()
    person.answer(asked["request_id"], False)
    turn.wait()

    def rows() -> list[dict[str, Any]]:
        found = person.request("GET", "/permissions/log").json()["results"]
        return [row for row in found if row["request_id"] == asked["request_id"]]

    until(rows, "the record")
    (row,) = rows()
    assert (row["outcome"], row["decided_by"], row["tool_name"]) == ("denied", "local", "Bash")
    assert row["waited_ms"] > 0


@pytest.fixture(scope="module")
def impatient(_homes: Callable[[], Path], simulator_url: str) -> Iterator[Stack]:
    """A stack whose clocks are shortened by configuration."""
    clocks = {"SECURITY__CONFIRMATION_TIMEOUT_SECONDS": "4", "SERVER__PING_INTERVAL_SECONDS": "0.3"}
    for start in stacks(find_script("ccproxy"), _homes, simulated(simulator_url) | clocks):
        yield start(SDK__POOL_SIZE="0").wait_ready()


@pytest.mark.long
class TestPatience:
    def test_it_ends_with_a_message_and_the_client_is_kept_alive_until_then(
        self, impatient: Stack, target: Path
    ) -> None:
        turn = Turn(impatient, f"touch {target}")
        assert "Nobody answered within 4 seconds" in turn.wait()
        assert turn.text.count("event: ping") >= 5
        assert not target.exists()

    def test_any_claude_code_can_ask_here(self, impatient: Stack, target: Path) -> None:
        person = Person(impatient)
        server = {"mcpServers": {"ccproxy": {"type": "http", "url": f"{impatient.url}/mcp"}}}
        said = f"[[tool:Bash {json.dumps({'command': f'touch {target}'})}]]"
        environment = {
            **clean_environment(impatient.home),
            "ANTHROPIC_BASE_URL": impatient.simulator_url,
            "ANTHROPIC_API_KEY": "sk-ant-made-up",
        }
        program = find_program(None)
        assert program is not None
        command = [program, "-p", said, f"--mcp-config={json.dumps(server)}"]
        command.append("--permission-prompt-tool=mcp__ccproxy__check_permission")
        with subprocess.Popen(
            command, cwd=impatient.home, env=environment, stdout=subprocess.DEVNULL
        ) as process:
            (asked,) = person.pending()
            assert person.answer(asked["request_id"], True).status_code == 200
            assert process.wait(TURN_SECONDS) == 0
        assert target.exists()

"""`ccproxy permission-handler` as a person uses it: in a real pseudo-terminal, against a gateway
and a desk.
"""

# ruff: noqa: ASYNC230, ASYNC240 - small files of the test itself

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.permission_stack import Front, running_desk, running_front
from tests.support.pseudo_terminal import PseudoTerminal, in_terminal

PROGRAM = str(Path(sys.executable).with_name("ccproxy"))
ARMED_SECONDS = 0.5  # a key pressed sooner is not meant for the prompt that just appeared

Handler = Callable[..., AbstractAsyncContextManager[PseudoTerminal]]


@pytest.fixture
async def front(redis_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    async with running_desk(redis_url, tmp_path / "rules.toml"), running_front(redis_url) as front:
        yield front


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "SERVER__RUN_DIR": str(tmp_path / "run"),
    }


@pytest.fixture
def handler(front: Front, environment: dict[str, str]) -> Handler:
    def start(*options: str, **more: str) -> AbstractAsyncContextManager[PseudoTerminal]:
        command = (PROGRAM, "permission-handler", "--host", str(front.client.base_url), *options)
        return in_terminal(*command, env=environment | more)

    return start


def asking(front: Front, command: str = "touch x", **fields: Any) -> asyncio.Task[dict[str, Any]]:
    body = {
        "input": {"command": command},
        "session_id": "session-1",
        "working_directory": "/srv/dir",
    } | fields
    return asyncio.create_task(front.check(**body))


async def press_when_armed(terminal: PseudoTerminal, keys: str) -> None:
    await asyncio.sleep(ARMED_SECONDS)
    terminal.press(keys)


async def test_a_person_sees_who_asks_for_what_and_allows_or_denies_it(
    front: Front, handler: Handler
) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting for prompts.")
        first = asking(front, "touch one")
        for words in ("Run a command", "session-1", "/srv/dir", "touch one", "1 of 1", "left"):
            await terminal.until(words)
        await press_when_armed(terminal, "y")
        assert (await first)["behavior"] == "allow"
        shown = await terminal.until("Bash touch one: allowed once")
        second = asking(front, "touch two")
        await terminal.until("touch two", since=shown)
        await press_when_armed(terminal, "n")
        assert (await second)["behavior"] == "deny"
        terminal.press("q")
        assert await terminal.end() == 0


async def test_enter_a_paste_and_a_key_pressed_too_early_answer_nothing(
    front: Front, handler: Handler
) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        terminal.press("y")
        checking = asking(front)
        await terminal.until("touch x")
        terminal.press("y")
        await asyncio.sleep(ARMED_SECONDS)
        terminal.press("\r")
        terminal.press("yyy")
        terminal.press(" ")
        await asyncio.sleep(0.3)
        assert not checking.done()
        terminal.press("n")
        assert (await checking)["behavior"] == "deny"


@pytest.mark.long
async def test_a_denial_can_say_why(front: Front, handler: Handler) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        checking = asking(front)
        await terminal.until("touch x")
        await press_when_armed(terminal, "m")
        await terminal.until("Why not")
        terminal.press("use mktempX\x7f")
        await terminal.until("use mktemp▏")
        terminal.press("\r")
        assert (await checking)["message"] == "use mktemp"


@pytest.mark.long
async def test_an_edit_in_the_users_editor_is_shown_and_still_has_to_be_allowed(
    front: Front, handler: Handler, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/touch x/touch edited/" "$1"\n')
    editor.chmod(0o755)
    async with handler(EDITOR=str(editor)) as terminal:
        await terminal.until("Waiting")
        checking = asking(front)
        await terminal.until("touch x")
        await press_when_armed(terminal, "e")
        await terminal.until("touch edited", since=await terminal.until("Edited here:"))
        assert not checking.done()
        await press_when_armed(terminal, "y")
        assert (await checking)["updatedInput"] == {"command": "touch edited"}


async def test_a_session_and_a_prefix_are_allowed_for_more_than_once(
    front: Front, handler: Handler
) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        checking = asking(front, "git status")
        await terminal.until("allow in this session")
        await press_when_armed(terminal, "s")
        await terminal.until("For a day, in this session, allow every plain Bash command")
        assert not checking.done()
        terminal.press("y")
        await terminal.until("allow Bash: git status …, in this session")
        assert (
            (await checking)["behavior"]
            == (await asking(front, "git status -s"))["behavior"]
            == "allow"
        )
        checking = asking(front, "git log", session_id="other")
        await terminal.until("git log")
        await press_when_armed(terminal, "a")
        await terminal.until(
            "From now on, for every caller, allow exactly this command of Bash: git"
        )
        terminal.press("\x1b")
        await terminal.until("always allow")
        await press_when_armed(terminal, "a")
        await asyncio.sleep(0.1)
        assert not checking.done()
        terminal.press("a")
        assert (await checking)["behavior"] == "allow"
        assert (await asking(front, "git log", session_id="third"))["behavior"] == "allow"


async def test_a_long_command_is_allowed_only_when_its_end_was_on_the_screen(
    front: Front, handler: Handler
) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        checking = asking(front, "echo " + "a" * 5_000 + "; rm -rf ~/Documents")
        await terminal.until("rows hidden (v: show all)")
        await terminal.until("allow once")
        await press_when_armed(terminal, "y")
        await terminal.until("A part has not been on the screen")
        assert not checking.done()
        terminal.press("v")
        await terminal.until("rows 1 to")
        for _ in range(12):
            terminal.press(" ")
            await asyncio.sleep(0.02)
        await press_when_armed(terminal, "y")
        assert (await checking)["behavior"] == "allow"


@pytest.mark.long
async def test_a_resized_terminal_is_drawn_anew(front: Front, handler: Handler) -> None:
    async with handler(COLUMNS="80", LINES="30") as terminal:
        await terminal.until("Waiting")
        checking = asking(front, "touch " + "x" * 200)
        await terminal.until("allow once")
        before = len(terminal.text)
        terminal.resize(24, 60)
        await terminal.until("╭─  Run a command  " + "─" * 40 + "╮", since=before)
        await press_when_armed(terminal, "n")
        await checking
        assert b"\x1b[2J" in terminal.raw


@pytest.mark.parametrize(
    ("tool_name", "given"),
    [
        ("MultiEdit", {"file_path": "/x", "edits": ["x"]}),
        ("AskUserQuestion", {"questions": 5}),
        ("AskUserQuestion", {"questions": [{"question": "a", "options": 5}]}),
        ("Bash", {"command": ["rm"]}),
    ],
)
async def test_an_odd_input_is_shown_and_can_be_denied(
    front: Front, handler: Handler, tool_name: str, given: dict[str, Any]
) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        checking = asking(front, tool_name=tool_name, input=given)
        await terminal.until(f'"{next(reversed(given))}"')
        await press_when_armed(terminal, "n")
        assert (await checking)["behavior"] == "deny"


@pytest.mark.long
async def test_the_bell_rings_for_a_new_request(front: Front, handler: Handler) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        assert b"\x07" not in terminal.raw
        checking = asking(front)
        await terminal.until("touch x")
        await press_when_armed(terminal, "n")
        await checking
        assert b"\x07" in terminal.raw


@pytest.mark.long
async def test_several_answers_to_one_question_are_chosen_and_sent(
    front: Front, handler: Handler
) -> None:
    question = {
        "question": "Which ones?",
        "multiSelect": True,
        "options": [{"label": "this"}, {"label": "that"}],
    }
    async with handler() as terminal:
        await terminal.until("Waiting")
        checking = asking(front, tool_name="AskUserQuestion", input={"questions": [question]})
        await terminal.until("[ ] that")
        await press_when_armed(terminal, "1")
        await terminal.until("[x] this")
        terminal.press("2")
        await terminal.until("[x] that")
        terminal.press("d")
        assert (await checking)["updatedInput"]["answers"] == {"Which ones?": "this, that"}


async def test_a_question_is_answered_by_its_number(front: Front, handler: Handler) -> None:
    question = {"question": "Which one?", "options": [{"label": "this"}, {"label": "that"}]}
    async with handler() as terminal:
        await terminal.until("Waiting")
        checking = asking(front, tool_name="AskUserQuestion", input={"questions": [question]})
        await terminal.until("Which one?")
        await press_when_armed(terminal, "2")
        assert (await checking)["updatedInput"]["answers"] == {"Which one?": "that"}


@pytest.mark.long
async def test_several_prompts_wait_in_order_and_can_be_looked_through(
    front: Front, handler: Handler
) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        first = asking(front, "touch first")
        await terminal.until("touch first")
        second = asking(front, "touch second", session_id="session-2")
        await terminal.until("1 of 2")
        terminal.press("j")
        await terminal.until("2 of 2")
        await press_when_armed(terminal, "n")
        assert (await second)["behavior"] == "deny"
        assert not first.done()
        await terminal.until("1 of 1")
        await press_when_armed(terminal, "y")
        assert (await first)["behavior"] == "allow"


async def test_an_answer_from_elsewhere_an_expiry_and_a_withdrawal_are_told(
    front: Front, handler: Handler
) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        checking = asking(front)
        (asked,) = await front.pending(1)
        await terminal.until("touch x")
        await front.respond(asked["request_id"])
        await terminal.until("Bash touch x: allowed by local elsewhere.")
        await checking
        await asking(front, "touch late", timeout_seconds=0.1)
        await terminal.until("Bash touch late: nobody answered in time")
        checking = asking(front, "touch gone")
        await terminal.until("touch gone")
        checking.cancel()
        await terminal.until("Bash touch gone: withdrawn")


async def test_a_model_cannot_draw_on_the_terminal(front: Front, handler: Handler) -> None:
    async with handler() as terminal:
        await terminal.until("Waiting")
        checking = asking(front, "echo \x1b[2J\x1b]0;title\x07 \u202egnp.exe")
        await terminal.until(r"\u001b[2J\u001b]0;title\u0007 \u202egnp.exe")
        assert b"\x1b[2J" not in terminal.raw
        checking.cancel()


@pytest.mark.long
async def test_without_colour_nothing_is_coloured_and_all_is_said(
    front: Front, handler: Handler
) -> None:
    async with handler(NO_COLOR="1") as terminal:
        await terminal.until("Waiting")
        checking = asking(front)
        await terminal.until("touch x")
        assert not any(b"\x1b[3%dm" % colour in terminal.raw for colour in range(8))
        await press_when_armed(terminal, "n")
        await checking


@pytest.mark.long
async def test_a_gateway_that_restarts_is_found_again(
    redis_url: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    async with running_desk(redis_url, tmp_path / "rules.toml"):
        async with running_front(redis_url) as front:
            port = front.client.base_url.port
            command = (PROGRAM, "permission-handler", "--port", str(port))
            terminal_context = in_terminal(*command, env=environment)
            terminal = await terminal_context.__aenter__()
            await terminal.until("Waiting for prompts.")
        shown = await terminal.until("The gateway is away")
        async with running_front(redis_url, port=port) as front:
            await terminal.until("Waiting for prompts.", since=shown)
            checking = asking(front)
            await terminal.until("touch x")
            await press_when_armed(terminal, "y")
            assert (await checking)["behavior"] == "allow"
        await terminal_context.__aexit__(None, None, None)


async def test_a_wrong_token_is_told_and_no_token_stands_in_the_process_list(
    redis_url: str, environment: dict[str, str]
) -> None:
    async with running_front(redis_url, security={"auth_token": "the-right-token"}) as front:
        options = (PROGRAM, "permission-handler", "--host", str(front.client.base_url), "--token")
        async with in_terminal(*options, "a-wrong-token", env=environment) as terminal:
            await terminal.until("HTTP 401")
            assert await terminal.end() == 1
        async with in_terminal(*options, "the-right-token", env=environment) as terminal:
            await terminal.until("Waiting")
            assert (
                b"the-right-token" not in Path(f"/proc/{terminal.process.pid}/cmdline").read_bytes()
            )


async def run_script(
    front: Front, environment: dict[str, str], *options: str
) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = (PROGRAM, "permission-handler", "--host", str(front.client.base_url), *options)
    return await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
    )


async def test_a_script_reads_events_and_writes_answers(
    front: Front, environment: dict[str, str]
) -> None:
    process = await run_script(front, environment, "--json", "--once")
    assert process.stdin is not None
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline()) == {"type": "connected"}
    checking = asking(front)
    asked = json.loads(await process.stdout.readline())
    assert (asked["type"], asked["input"]) == ("permission_request", {"command": "touch x"})
    process.stdin.write(
        b"nonsense\n"
        + json.dumps({"request_id": asked["request_id"], "allowed": True}).encode()
        + b"\n"
    )
    said, _ = await process.communicate()
    lines = {json.loads(line)["type"] for line in said.splitlines()}
    assert lines >= {"answer", "permission_resolved"}
    assert (await checking)["behavior"] == "allow"
    assert process.returncode == 0


@pytest.mark.long
async def test_rules_answer_unattended_and_leave_the_rest(
    front: Front, environment: dict[str, str], tmp_path: Path
) -> None:
    rules = tmp_path / "auto.toml"
    rules.write_text(
        '[[rules]]\ntool = "Bash"\ncommand_prefix = "touch"\n'
        '[[rules]]\ntool = "Bash"\ncommand_prefix = "rm"\neffect = "deny"\n'
    )
    process = await run_script(front, environment, "--auto", str(rules))
    assert (await asking(front, "touch y"))["behavior"] == "allow"
    denied = await asking(front, "rm y")
    assert denied["behavior"] == "deny"
    assert "deny Bash: rm …" in denied["message"]
    left = asking(front, "touch y; rm y")
    (asked,) = await front.pending(1)
    await asyncio.sleep(0.3)
    assert (await front.client.get(f"/permissions/{asked['request_id']}")).json()[
        "status"
    ] == "pending"
    await front.respond(asked["request_id"], False)
    await left
    process.terminate()
    await process.communicate()


@pytest.mark.long
@pytest.mark.parametrize(
    ("content", "complaint"), [("[[rules", b"not valid TOML"), (None, b"cannot be read")]
)
async def test_a_rules_file_that_cannot_be_used_is_refused_at_once(
    front: Front, environment: dict[str, str], tmp_path: Path, content: str | None, complaint: bytes
) -> None:
    if content is not None:
        (tmp_path / "auto.toml").write_text(content)
    process = await run_script(front, environment, "--auto", str(tmp_path / "auto.toml"))
    _, said = await process.communicate()
    assert process.returncode == 78
    assert complaint in said


@pytest.mark.long
async def test_without_a_terminal_it_says_what_to_do(
    front: Front, environment: dict[str, str]
) -> None:
    process = await run_script(front, environment)
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"--json" in said


@pytest.mark.long
@pytest.mark.parametrize("stdin", ["/dev/null", "file"])
async def test_a_script_without_a_pipe_reads_what_there_is(
    front: Front, environment: dict[str, str], tmp_path: Path, stdin: str
) -> None:
    answers = tmp_path / "answers"
    answers.write_text("nonsense\n")
    command = (
        PROGRAM,
        "permission-handler",
        "--host",
        str(front.client.base_url),
        "--json",
        "--once",
    )
    with open(answers if stdin == "file" else stdin, "rb") as given:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=given,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    assert process.stdout is not None
    while b"connected" not in await process.stdout.readline():
        pass
    checking = asking(front)
    (asked,) = await front.pending(1)
    await front.respond(asked["request_id"], False)
    await checking
    _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")


@pytest.mark.long
async def test_keys_switch_profiles_also_while_a_request_waits(
    front: Front, handler: Handler
) -> None:
    async with handler() as terminal:
        await terminal.until("Profiles: none (p: switch)")
        terminal.press("p")
        await terminal.until("2 [ ] read-only")
        terminal.press("2")
        shown = await terminal.until("2 [x] read-only")
        assert (await front.client.get("/permissions/profiles")).json()["active"] == ["read-only"]
        assert (await front.check())["behavior"] == "deny"
        terminal.press("2")
        shown = await terminal.until("2 [ ] read-only", since=shown)
        checking = asking(front)
        shown = await terminal.until("Run a command", since=shown)
        # The number is for the profiles, and the request is denied by the new rule.
        terminal.press("2")
        assert (await checking)["behavior"] == "deny"
        shown = await terminal.until("2 [x] read-only", since=shown)
        terminal.press("\x1b")
        await terminal.until("Profiles: read-only (p: switch)", since=shown)
        terminal.press("q")
        assert await terminal.end() == 0


@pytest.mark.long
async def test_a_key_says_that_the_owner_leaves_and_news_of_agents_are_shown(
    front: Front, handler: Handler
) -> None:
    async with handler() as terminal:
        await terminal.until("At the desk")
        terminal.press("w")
        await terminal.until("Away: hooks wait for you")
        assert (await front.client.get("/permissions/away")).json()["away"] is True
        done = {"hook_event_name": "Stop", "cwd": "/w"}
        await front.client.post("/hooks/notice", json=done, headers={"x-ccproxy-agent": "codex"})
        shown = await terminal.until("Codex is done (/w).")
        terminal.press("w")
        await terminal.until("At the desk", since=shown)
        terminal.press("q")
        assert await terminal.end() == 0

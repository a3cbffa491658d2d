"""The real `claude` program works against the simulator: prompts, tool loops, refusals, with a key
and with a login.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.claude_program import Claude, installed_claude
from tests.support.simulator_fixture import OAUTH_TOKEN, GroundTruth

pytestmark = [pytest.mark.claude, pytest.mark.timeout(120)]


@pytest.fixture(scope="session")
def program() -> Path:
    return installed_claude()


@pytest.fixture
def claude(program: Path, tmp_path: Path, simulator_url: str) -> Claude:
    return Claude(program, tmp_path, simulator_url)


@pytest.mark.long
@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-haiku-4-5"])
async def test_a_prompt_is_answered_at_the_first_attempt(
    claude: Claude, simulator: GroundTruth, model: str
) -> None:
    lines = await claude.ask("hello SECRET-xyz", "--model", model)
    assert lines[-1]["result"] == "You said: hello SECRET-xyz\nSeen: SECRET-xyz"
    (seen,) = simulator.requests("/v1/messages")
    assert seen.status == 200
    assert seen.path == "/v1/messages?beta=true"


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-haiku-4-5"])
async def test_a_tool_runs_and_its_result_is_quoted(
    claude: Claude, simulator: GroundTruth, model: str
) -> None:
    prompt = 'run it [[tool:Bash {"command":"echo $((40+2))"}]] [[say:That was all.]]'
    lines = await claude.ask(prompt, "--model", model)
    assert lines[-1]["result"] == "The tool answered: 42\nThat was all."
    assert [seen.status for seen in simulator.requests("/v1/messages")] == [200, 200]


@pytest.mark.long
async def test_an_oauth_login_sees_its_limits(claude: Claude, simulator: GroundTruth) -> None:
    lines = await claude.ask("hello", login={"CLAUDE_CODE_OAUTH_TOKEN": OAUTH_TOKEN})
    (event,) = [line for line in lines if line["type"] == "rate_limit_event"]
    assert event["rate_limit_info"]["rateLimitType"] == "five_hour"
    assert simulator.last("/v1/messages").header("authorization") == f"Bearer …{OAUTH_TOKEN[-4:]}"


@pytest.mark.long
async def test_a_refusal_reaches_the_user_in_the_services_words(claude: Claude) -> None:
    lines = await claude.ask("[[scenario:400]]")
    assert lines[-1]["is_error"] is True
    assert "The simulator refuses this request" in lines[-1]["result"]


@pytest.mark.long
async def test_partial_messages_stream(claude: Claude) -> None:
    lines = await claude.ask("[[scenario:long-30]]", "--include-partial-messages")
    deltas = [line["event"] for line in lines if line["type"] == "stream_event"]
    text = "".join(d["delta"].get("text", "") for d in deltas if d["type"] == "content_block_delta")
    assert text == lines[-1]["result"]
    assert len(text.split()) == 30

"""Conversations continued by name, on the real program with the owner's own login."""

from __future__ import annotations

import orjson
import pytest
import pytest_asyncio

from sdk_worker.claude.driver import drivers
from shared.bus.channels import KnownSession, Turn, encode_payload, session_key
from shared.runtime.errors import UpstreamRefused
from tests.support.sdk_stack import Delivered, body, running_stack, worker_settings
from tests.support.simulator_fixture import OAUTH_TOKEN

LOGIN = {
    "accessToken": OAUTH_TOKEN,
    "refreshToken": "simulated",
    "expiresAt": 4_102_444_800_000,
    "scopes": ["user:inference", "user:profile"],
    "subscriptionType": "max",
}

pytestmark = [pytest.mark.claude, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(simulator_url, tmp_path_factory):
    login = tmp_path_factory.mktemp("home") / ".credentials.json"
    login.write_bytes(orjson.dumps({"claudeAiOauth": LOGIN}))
    settings = worker_settings(simulator_url, tmp_path_factory.mktemp("cwd"), pool_size=1)
    owned = settings.claude.model_copy(update={"api_key": None, "credentials_file": login})
    frozen = drivers()[-1]  # an owner's login makes the program print lines that SDK does not know
    async with running_stack(settings.model_copy(update={"claude": owned}), frozen) as running:
        yield running


def named(name, prompt, caller="me", **more):
    return Delivered(body=body(prompt, **more), session_id=name, caller=caller)


def heard(simulator):
    """Everything said in the conversation of the last request, without what the program adds."""
    messages = simulator.last("/v1/messages").body["messages"]
    texts = []
    for message in messages:
        content = message["content"]
        blocks = [{"text": content}] if isinstance(content, str) else content
        texts += [
            block["text"]
            for block in blocks
            if "text" in block and not block["text"].startswith("<system-rem")
        ]
    return [text for text in texts if "# Environment" not in text]


async def test_a_session_remembers_what_was_said_and_by_whom(stack, simulator):
    first = await stack.deliver(named("a", "[[say:first answer]]"))
    turn = await stack.deliver(named("a", "[[say:second answer]]"))
    assert heard(simulator) == ["[[say:first answer]]", "first answer", "[[say:second answer]]"]
    assert turn.head["session_id"] == "a"
    assert first.tail["limits"]["unifiedWindows"].keys() == {
        "five_hour",
        "seven_day",
    }  # what the owner's login has left
    await stack.deliver(named("a", "[[say:other]]", caller="somebody else"))
    assert heard(simulator) == ["[[say:other]]"]


@pytest.mark.long
async def test_a_client_that_repeats_the_conversation_is_not_heard_twice(stack, simulator):
    await stack.deliver(named("b", "[[say:one]]"))
    told = [{"role": "user", "content": "[[say:one]]"}, {"role": "assistant", "content": "one"}]
    await stack.deliver(named("b", [*told, {"role": "user", "content": "[[say:two]]"}]))
    assert heard(simulator) == ["[[say:one]]", "one", "[[say:two]]"]


async def test_another_process_takes_the_conversation_up_where_it_was(stack, simulator):
    await stack.deliver(
        named(
            "c",
            [
                *[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
                *user("x"),
            ],
        )
    )
    stack.sessions.forget_all()
    turn = await stack.deliver(named("c", "[[say:resumed]]"))
    assert heard(simulator)[:2] == ["Q", "A"]
    assert heard(simulator)[-1] == "[[say:resumed]]"
    assert turn.tail["cost_usd"] > 0


def user(text):
    return [{"role": "user", "content": text}]


@pytest.mark.long
async def test_a_process_another_worker_has_overtaken_is_not_believed(stack, simulator):
    ours, theirs = stack.sessions, stack.open_sessions()
    await stack.deliver(named("d", "[[say:one]]"))
    stack.sessions = theirs
    await stack.deliver(named("d", "[[say:two]]"))
    theirs.forget_all()
    stack.sessions = ours
    await stack.deliver(named("d", "[[say:three]]"))
    assert heard(simulator) == ["[[say:one]]", "one", "[[say:two]]", "two", "[[say:three]]"]


@pytest.mark.long
async def test_a_turn_cut_at_max_tokens_is_part_of_the_conversation(stack, simulator):
    cut = await stack.deliver(named("e", "[[scenario:max-tokens]]"))
    assert cut.message["stop_reason"] == "max_tokens"
    await stack.deliver(named("e", "[[say:go on]]"))
    assert heard(simulator)[0] == "[[scenario:max-tokens]]"


@pytest.mark.long
async def test_without_its_transcript_a_session_starts_from_what_the_client_sent(stack, simulator):
    turn = Turn("r1", {}, caller="me", session_id="f")
    gone = KnownSession("00000000-0000-4000-8000-000000000000", turns=1)
    await stack.store.put(session_key(turn), encode_payload(gone), ttl=60)
    await stack.deliver(named("f", "[[say:fresh]]"))
    assert heard(simulator) == ["[[say:fresh]]"]


@pytest.mark.long
async def test_a_subscription_that_is_used_up_is_told_with_the_refusal(stack, simulator):
    refused = named("g", "[[scenario:429-3600]]")
    with pytest.raises(UpstreamRefused):
        await stack.deliver(refused)
    assert refused.tail["limits"]["status"] == "rejected"

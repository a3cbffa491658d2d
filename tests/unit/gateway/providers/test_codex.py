from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.metering.quota import QuotaWatch
from gateway.providers import Opened, Outgoing
from gateway.providers.codex import Codex
from shared.accounts.codex_profile import CLIENT_VERSION, Profile
from shared.accounts.login import Authorization
from shared.bus.channels import AccessRecord
from shared.formats.ir import Message, Prompt, Text
from shared.formats.written import Capabilities
from shared.runtime.errors import CCProxyError
from shared.runtime.version import USER_AGENT
from shared.settings.tree import load_settings

LOGIN = Authorization(
    {"authorization": "Bearer eyJ", "chatgpt-account-id": "acct"}, "subscription", "auth.json"
)
KEY = Authorization({"authorization": "Bearer sk-key"}, "api_key", "CODEX__API_KEY")
HELLO = {"type": "message", "role": "user", "content": "hello"}
FITTING = {
    "model": "gpt-x",
    "input": [HELLO],
    "instructions": "Be brief.",
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "key",
}


class FakeAccount:
    def __init__(self, *authorizations: Authorization) -> None:
        self.left = list(authorizations)

    async def authorize(self) -> Authorization:
        return self.left.pop(0)

    async def on_unauthorized(self, refused: Authorization) -> Authorization | None:
        return self.left.pop(0) if self.left else None


class FakeUpstream:
    """Answers with what is waiting, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, list[tuple[bytes, bytes]], bytes]] = []

    async def open(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Opened:
        self.asked.append((method, url, headers, body))
        status, found, data = self.answers.pop(0) if self.answers else (200, [], b"data: {}\n\n")

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        async def aclose() -> None:
            pass

        return Opened(status, list(found), chunks(), aclose)


class FakeProfile:
    def __init__(self, profile: Profile | None = None) -> None:
        self.profile = profile

    async def get(self) -> Profile | None:
        return self.profile


def make(
    *authorizations: Authorization, profile: Profile | None = None, **settings: Any
) -> tuple[Codex, FakeUpstream]:
    upstream = FakeUpstream()
    account: Any = FakeAccount(*(authorizations or (LOGIN,)))
    fakes: tuple[Any, Any] = (upstream, FakeProfile(profile))
    loaded = load_settings(
        codex={"base_url": "https://backend/codex/", "api_base_url": "https://api/v1", **settings}
    )
    return Codex(loaded, account, fakes[0], QuotaWatch("codex"), fakes[1]), upstream


def request(
    body: dict[str, Any], headers: dict[bytes, bytes] | None = None, session: str = ""
) -> Outgoing:
    data = orjson.dumps(body, option=orjson.OPT_INDENT_2)
    return Outgoing(
        "POST", "/responses", headers or {}, data, AccessRecord("req_1", 0.0), session=session
    )


async def body_of(opened: Opened) -> bytes:
    return b"".join([chunk async for chunk in opened.chunks])


async def test_bytes_that_fit_go_out_as_they_came() -> None:
    codex, upstream = make()
    asked = request(FITTING)
    await codex.open(asked)
    [(method, url, headers, body)] = upstream.asked
    assert (method, url, body) == ("POST", "https://backend/codex/responses", asked.body)
    assert headers["session-id"] == asked.record.session_id == "key"
    assert (headers["originator"], headers["user-agent"]) == ("ccproxy", USER_AGENT)
    assert headers["authorization"] == "Bearer eyJ"
    assert asked.record.ignored == ""


async def test_what_does_not_fit_is_made_to() -> None:
    codex, upstream = make()
    asked = request(
        {"model": "gpt-x", "messages": [HELLO], "temperature": 1, "user": "u"}, session="path"
    )
    await codex.open(asked)
    sent = orjson.loads(upstream.asked[0][3])
    assert (sent["input"], sent["prompt_cache_key"], sent["store"], sent["stream"]) == (
        [HELLO],
        "path",
        False,
        True,
    )
    assert asked.record.ignored == "temperature,user"


async def test_a_callers_own_credentials_and_account_never_go_on() -> None:
    codex, upstream = make()
    headers = {
        b"authorization": b"Bearer caller",
        b"chatgpt-account-id": b"callers",
        b"cookie": b"c",
    }
    await codex.open(request(FITTING, headers | {b"originator": b"codex_exec", b"version": b"1"}))
    sent = upstream.asked[0][2]
    assert (sent["authorization"], sent["chatgpt-account-id"]) == ("Bearer eyJ", "acct")
    assert (sent["originator"], sent["version"]) == ("codex_exec", "1")
    assert "cookie" not in sent


async def test_a_key_goes_without_an_account_whatever_the_caller_names() -> None:
    codex, upstream = make(KEY)
    await codex.open(
        request(FITTING, {b"originator": b"codex_exec", b"chatgpt-account-id": b"callers"})
    )
    assert "chatgpt-account-id" not in upstream.asked[0][2]


async def test_a_stream_without_a_label_gets_one() -> None:
    codex, _ = make()
    assert (await codex.open(request(FITTING))).is_stream


async def test_a_refusal_comes_in_openais_envelope() -> None:
    codex, upstream = make()
    upstream.answers.append((400, [], b'{"detail":"No."}'))
    opened = await codex.open(request(FITTING))
    assert opened.status == 400
    assert orjson.loads(await body_of(opened))["error"]["message"] == "No."


async def test_after_a_401_the_next_credential_has_a_body_of_its_own() -> None:
    """The login is gone and a key has come: its door takes what the backend refused."""
    codex, upstream = make(LOGIN, KEY)
    upstream.answers.append((401, [], b"{}"))
    asked = request(FITTING | {"temperature": 0.5})
    await codex.open(asked)
    (_, first_url, _, first), (_, second_url, headers, second) = upstream.asked
    assert (first_url, second_url) == (
        "https://backend/codex/responses",
        "https://api/v1/responses",
    )
    assert "temperature" not in orjson.loads(first)
    assert second == asked.body
    assert headers["authorization"] == "Bearer sk-key"
    assert (asked.record.billed_to, asked.record.retries) == ("api_key", 1)


async def test_both_doors_are_given_input_where_a_client_says_messages() -> None:
    codex, upstream = make(KEY)
    await codex.open(
        request({"model": "gpt-x", "messages": [HELLO], "prompt_cache_key": "k", "temperature": 0})
    )
    sent = orjson.loads(upstream.asked[0][3])
    assert sent == {"model": "gpt-x", "input": [HELLO], "prompt_cache_key": "k", "temperature": 0}


async def test_the_format_follows_the_door() -> None:
    prompt = Prompt(
        "gpt-x",
        (Message("user", (Text("hello"),)),),
        temperature=0.5,
        max_tokens=99,
        user="somebody",
    )
    takes = Capabilities(sampling=True)
    codex, _ = make(KEY)
    assert codex.speaks.write_prompt(prompt, takes).dropped == ("max_tokens", "temperature", "user")
    await codex.open(request(FITTING))
    written = codex.speaks.write_prompt(prompt, takes)
    assert (written.body["temperature"], written.body["max_output_tokens"], written.dropped) == (
        0.5,
        99,
        (),
    )


async def test_nobodys_name_becomes_a_conversations_key() -> None:
    """Two conversations of one user must not share a key, and instructions are added once, by the
    provider.
    """
    codex, _ = make()
    written = codex.speaks.write_prompt(
        Prompt("gpt-x", (Message("user", (Text("hello"),)),), user="somebody"), Capabilities()
    )
    assert not {"prompt_cache_key", "instructions"} & written.body.keys()
    kept = codex.speaks.write_prompt(
        Prompt("gpt-x", system=(Text("s"),), cache_key="k"), Capabilities()
    )
    assert (kept.body["prompt_cache_key"], kept.body["instructions"]) == ("k", "s")


@pytest.mark.parametrize(
    ("profile", "version"), [(None, CLIENT_VERSION), (Profile("0.170.0"), "0.170.0")]
)
async def test_models_are_asked_for_as_the_installed_codex_would(
    profile: Profile | None, version: str
) -> None:
    codex, upstream = make(profile=profile)
    upstream.answers.append((200, [], b'{"models":[{"slug":"gpt-x"}]}'))
    assert await codex.list_models() == [{"slug": "gpt-x"}]
    assert upstream.asked[0][:2] == (
        "GET",
        f"https://backend/codex/models?client_version={version}",
    )


async def test_the_public_list_is_read_by_its_ids() -> None:
    codex, upstream = make(KEY)
    upstream.answers.append((200, [], b'{"data":[{"id":"gpt-x","created":7}]}'))
    assert await codex.list_models() == [{"slug": "gpt-x", "id": "gpt-x", "created": 7}]
    assert upstream.asked[0][1] == "https://api/v1/models"


@pytest.mark.parametrize("answer", [(500, b""), (200, b"{}")])
async def test_a_list_that_is_none_is_an_error(answer: tuple[int, bytes]) -> None:
    codex, upstream = make()
    upstream.answers.append((answer[0], [], answer[1]))
    with pytest.raises(CCProxyError):
        await codex.list_models()


async def test_nobody_is_asked_when_the_owner_says_so() -> None:
    models = [{"slug": "gpt-built-in"}]
    codex, upstream = make(profile=Profile("1", models), enable_dynamic_model_info=False)
    assert await codex.list_models() == models
    assert not upstream.asked

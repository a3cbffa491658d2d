"""Admission, and the headers about limits."""

from __future__ import annotations

import pytest

from simulator.anthropic.access import AnthropicCaller, AnthropicLimits, admit, admit_account
from simulator.anthropic.problem import AnthropicProblem

KEY, TOKEN = "sk-ant-api03-good", "sk-ant-oat01-good"
VERSION = {"anthropic-version": "2023-06-01"}
OAUTH = {"anthropic-beta": "oauth-2025-04-20", **VERSION}


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        (VERSION, 401, "x-api-key header is required"),
        ({"x-api-key": "dummy", **VERSION}, 401, "invalid x-api-key"),
        ({"x-api-key": "sk-ant-api03-revoked", **VERSION}, 401, "invalid x-api-key"),
        ({"x-api-key": TOKEN, **OAUTH}, 401, "invalid x-api-key"),
        ({"authorization": "Bearer dummy", **VERSION}, 401, "Invalid bearer token"),
        ({"authorization": f"Basic {KEY}", **VERSION}, 401, "Invalid bearer token"),
        (
            {"authorization": f"Bearer {TOKEN}", **VERSION},
            401,
            "OAuth authentication is currently not supported.",
        ),
        ({"authorization": "Bearer sk-ant-oat01-expired", **OAUTH}, 401, "OAuth token has expired"),
        (
            {"authorization": f"Bearer {TOKEN}", "x-api-key": "stray", **OAUTH},
            401,
            "invalid x-api-key",
        ),
        ({"x-api-key": KEY}, 400, "anthropic-version: header is required"),
        (
            {"x-api-key": KEY, "anthropic-version": "2024-01-01"},
            400,
            '"2024-01-01" is not a valid version',
        ),
        (
            {"x-api-key": KEY, **VERSION, "anthropic-beta": "pdfs-2024-09-25, x-1"},
            400,
            "Unexpected value(s) `x-1`",
        ),
    ],
)
def test_who_may_not_come_in_is_told_why(headers: dict[str, str], status: int, words: str) -> None:
    with pytest.raises(AnthropicProblem) as caught:
        admit(headers)
    assert caught.value.status == status
    assert words in caught.value.message


def test_a_key_may_come_in_either_header() -> None:
    assert admit({"x-api-key": KEY, **VERSION}) == admit(
        {"authorization": f"Bearer {KEY}", **VERSION}
    )


def test_an_oauth_token_comes_in_with_its_beta() -> None:
    caller = admit({"authorization": f"Bearer {TOKEN}", **OAUTH})
    assert (caller.oauth, caller.version) == (True, "2023-06-01")


def test_account_pages_want_oauth_and_nothing_else() -> None:
    assert admit_account({"authorization": f"Bearer {TOKEN}"}).oauth
    with pytest.raises(AnthropicProblem, match="OAuth authentication is required"):
        admit_account({"x-api-key": KEY})


def caller(*, oauth: bool) -> AnthropicCaller:
    return AnthropicCaller(TOKEN if oauth else KEY, oauth, "2023-06-01", frozenset())


def test_a_key_sees_what_it_has_left() -> None:
    limits = AnthropicLimits()
    limits.spend(caller(oauth=False), 100, 10)
    headers = limits.headers(caller(oauth=False))
    assert headers["anthropic-ratelimit-requests-remaining"] == "3999"
    assert headers["anthropic-ratelimit-input-tokens-remaining"] == "1999900"
    assert headers["anthropic-ratelimit-tokens-remaining"] == "2399890"
    assert headers["anthropic-ratelimit-output-tokens-reset"].endswith("Z")
    assert not any("unified" in name for name in headers)


def test_a_subscription_sees_its_windows_fill() -> None:
    limits = AnthropicLimits()
    limits.spend(caller(oauth=True), 9_000_000, 0)
    headers = limits.headers(caller(oauth=True))
    assert headers["anthropic-ratelimit-unified-status"] == "allowed_warning"
    assert headers["anthropic-ratelimit-unified-5h-utilization"] == "0.9000"
    assert all(name.startswith("anthropic-ratelimit-unified-") for name in headers)


@pytest.mark.parametrize(
    ("oauth", "name", "value"),
    [
        (True, "anthropic-ratelimit-unified-status", "rejected"),
        (False, "anthropic-ratelimit-requests-remaining", "0"),
    ],
)
def test_an_exhausted_caller_sees_nothing_left(oauth: bool, name: str, value: str) -> None:
    assert AnthropicLimits().headers(caller(oauth=oauth), exhausted_for=30)[name] == value


CLAUDE_CODE, OTHER = {"user-agent": "claude-cli/2.1.330 (external, cli)"}, {"user-agent": "tool/1"}


@pytest.mark.parametrize("sent", [OTHER, {}])
def test_a_subscription_for_own_programs_refuses_others_in_the_vendors_words(
    sent: dict[str, str],
) -> None:
    headers = {"authorization": "Bearer sk-ant-oat01-own-apps", **OAUTH}
    assert admit(headers | CLAUDE_CODE).oauth
    with pytest.raises(
        AnthropicProblem, match="Third-party apps now draw from your extra usage"
    ) as caught:
        admit(headers | sent)
    assert caught.value.status == 400


def test_a_subscription_with_extra_usage_bills_other_programs_and_says_so() -> None:
    headers = {"authorization": "Bearer sk-ant-oat01-extra-usage", **OAUTH}
    billed = AnthropicLimits().headers(admit(headers | OTHER))
    assert billed["anthropic-ratelimit-unified-overage-in-use"] == "true"
    assert "anthropic-ratelimit-unified-overage-in-use" not in AnthropicLimits().headers(
        admit(headers | CLAUDE_CODE)
    )


def test_a_key_serves_every_program() -> None:
    assert not admit(
        {"x-api-key": "sk-ant-api03-own-apps-extra-usage", **VERSION} | OTHER
    ).pays_extra

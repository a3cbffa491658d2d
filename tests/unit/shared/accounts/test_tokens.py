"""Named tokens in a file that several processes change while gateways read it."""

from __future__ import annotations

import resource
import stat
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.accounts.tokens import (
    LOOK_SECONDS,
    LiveTokens,
    StoredToken,
    TokenFile,
    TokensUnusable,
    allows_model,
    token_digest,
)

AIDER = StoredToken(name="aider", sha256=token_digest("ccp_one"), scopes=("use",), models=("a*",))
PHONE = StoredToken(name="phone", sha256=token_digest("ccp_two"), scopes=("approve",))


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "config" / "tokens.json")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def put(file: TokenFile, *tokens: StoredToken) -> None:
    with file.changing() as kept:
        kept[:] = tokens


def test_tokens_are_read_back_and_the_file_is_the_owner_s_alone(file: TokenFile) -> None:
    assert file.read() == []
    put(file, AIDER, PHONE)
    assert file.read() == [AIDER, PHONE]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert "ccp_one" not in file.path.read_text()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"tokens": [{"name": "aider"}]}', '{"tokens": [{"sha256": "x"}]}']
)
def test_a_file_of_another_form_is_named_with_the_remedy(file: TokenFile, content: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(content)
    with pytest.raises(TokensUnusable, match=r"tokens\.json is not a file of named tokens"):
        file.read()
    with pytest.raises(TokensUnusable), file.changing():
        pass
    assert file.path.read_text() == content


def test_a_change_that_fails_leaves_the_file_as_it_was(file: TokenFile) -> None:
    put(file, AIDER)

    def fail() -> None:
        with file.changing() as tokens:
            tokens.clear()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert file.read() == [AIDER]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TokensUnusable, match="cannot be written"):
        put(TokenFile(tmp_path / "file" / "tokens.json"), AIDER)


def test_changes_of_several_processes_at_once_are_all_kept(file: TokenFile) -> None:
    def add(number: int) -> None:
        with file.changing() as tokens:
            tokens.append(StoredToken(name=f"tool-{number}", sha256=token_digest(str(number))))

    adding = [threading.Thread(target=add, args=[number]) for number in range(8)]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    assert len(file.read()) == 8


def test_a_running_gateway_sees_a_change_after_a_moment(file: TokenFile) -> None:
    clock = Clock()
    put(file, AIDER, PHONE)
    live = LiveTokens(file.path, clock)
    assert live.find(PHONE.sha256) == PHONE
    put(file, AIDER)
    assert live.find(PHONE.sha256) == PHONE
    clock.now += LOOK_SECONDS
    assert live.find(PHONE.sha256) is None


def test_a_token_just_made_is_known_at_once(file: TokenFile) -> None:
    live = LiveTokens(file.path, Clock())
    assert live.find(AIDER.sha256) is None
    put(file, AIDER)
    assert live.find(AIDER.sha256) == AIDER


def test_a_file_that_was_damaged_leaves_the_tokens_from_before(
    file: TokenFile, caplog: pytest.LogCaptureFixture
) -> None:
    put(file, AIDER)
    live = LiveTokens(file.path, Clock())
    assert live.all() == [AIDER]
    file.path.write_text("{")
    assert live.all() == [AIDER]


def test_a_file_that_could_not_be_read_is_read_again_though_it_is_the_same_file(
    file: TokenFile,
) -> None:
    put(file, AIDER)
    live = LiveTokens(file.path, Clock())
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))  # opening any file fails
    try:
        assert live.all() == []
        assert live.all() == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    assert live.all() == [AIDER]


def test_a_token_expires_at_its_time() -> None:
    token = AIDER.model_copy(update={"expires_at": 10.0})
    assert not token.has_expired(9.9)
    assert token.has_expired(10.0)
    assert not AIDER.has_expired(1e12)


@pytest.mark.parametrize("name", ["", "a b", "owner", "Local", "x" * 65, "é"])
def test_a_name_that_no_token_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        StoredToken(name=name, sha256=token_digest("x"))


@pytest.mark.parametrize(
    ("patterns", "model", "allowed"),
    [
        ((), "anything", True),
        (("claude-haiku-*",), "claude-haiku-5-5", True),
        (("claude-haiku-*", "gpt-5.5"), "gpt-5.5", True),
        (("claude-haiku-*",), "claude-opus-5", False),
        (("claude-haiku-*",), "", False),
    ],
)
def test_a_model_is_allowed_by_a_pattern(
    patterns: tuple[str, ...], model: str, allowed: bool
) -> None:
    assert allows_model(patterns, model) is allowed

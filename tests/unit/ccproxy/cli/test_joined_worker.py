"""The stored access of a joined machine."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from ccproxy.cli.join_token import JoinToken
from ccproxy.cli.joined_worker import (
    JoiningRefused,
    StoredAccess,
    join_stack,
    leave_stack,
    prepared_authority,
    required_access,
    sole_run,
    worker_dir,
)
from shared.runtime.files import replace_private
from shared.settings.places import state_dir

ACCESS = StoredAccess(
    name="attic",
    address="rediss://home.server:6379/0",
    user="ccproxy-worker-attic",
    password="s3cret",
    ca_file="/a b/ca.pem",
)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def store() -> None:
    worker_dir().mkdir(parents=True)
    replace_private(worker_dir() / "access.json", ACCESS.model_dump_json())


def token(**changes: object) -> JoinToken:
    facts = {
        "name": "attic",
        "address": "rediss://127.0.0.1:1",
        "user": "ccproxy-join-attic",
        "password": "p",
        "expires_at": time.time() + 60,
    }
    return JoinToken.model_validate(facts | changes)


def test_a_join_token_that_has_expired_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(JoiningRefused, match="has expired, at 1970-01-01 00:00 UTC"):
        join_stack(token(expires_at=1.0))


def test_a_machine_that_has_joined_uses_no_second_invitation() -> None:
    store()
    with pytest.raises(JoiningRefused, match="has joined as the worker attic"):
        join_stack(token())


def test_an_invitation_is_not_used_by_a_machine_that_could_not_store_the_access() -> None:
    (worker_dir() / "ca.pem").mkdir(parents=True)
    with pytest.raises(JoiningRefused, match="cannot be written"):
        join_stack(token())


def test_the_access_is_the_address_with_the_workers_login_and_the_stored_authority() -> None:
    path = Path(prepared_authority("certificate"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.is_relative_to(state_dir())
    assert ACCESS.url() == (
        "rediss://ccproxy-worker-attic:s3cret@home.server:6379/0?ssl_ca_certs=/a%20b/ca.pem"
    )
    assert "s3cret" not in repr(ACCESS)


def test_a_machine_that_has_not_joined_neither_runs_nor_leaves() -> None:
    for verb in (required_access, leave_stack):
        with pytest.raises(JoiningRefused, match="has joined no stack"):
            verb()


def test_a_machine_that_leaves_keeps_nothing_also_when_the_access_was_damaged() -> None:
    store()
    prepared_authority("certificate")
    assert leave_stack() == "attic"
    assert [each.name for each in worker_dir().iterdir()] == ["lock"]
    replace_private(worker_dir() / "access.json", "half")
    with pytest.raises(JoiningRefused, match="cannot be used; `ccproxy worker leave` removes it"):
        required_access()
    assert leave_stack() == ""


def test_one_worker_runs_with_one_access() -> None:
    store()
    with (
        sole_run(),
        pytest.raises(JoiningRefused, match=f"runs already \\(pid {os.getpid()}"),
        sole_run(),
    ):
        pass

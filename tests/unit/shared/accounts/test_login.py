from __future__ import annotations

from shared.accounts.login import Authorization, Login


def test_a_login_of_unknown_end_never_expires_by_itself() -> None:
    assert not Login("t").expires_within(10**9, 0)
    assert Login("t", expires_at=100).expires_within(300, 0)
    assert not Login("t", expires_at=100).expires_within(99, 0)


def test_no_secret_shows_in_a_representation() -> None:
    shown = repr(Login("access-secret", "refresh-secret")) + repr(
        Authorization({"a": "header-secret"}, "", "")
    )
    assert "secret" not in shown

"""Which Redis workers are invited to, and the sentences for one that they cannot reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.cli.invitations import (
    address_for_others,
    checked_name,
    owners_redis,
    print_invitation,
    read_authority,
)
from shared.bus.worker_access import AccessRefused
from shared.settings.tree import load_settings

ELSEWHERE = "rediss://:s3cret@home.server:6380/1?ssl_ca_certs=/ca.pem"


@pytest.mark.parametrize(
    ("url", "given", "address"),
    [
        (ELSEWHERE, None, "rediss://home.server:6380/1"),
        (ELSEWHERE, "rediss://other/7", "rediss://other:6379/1"),
        ("redis://:s3cret@127.0.0.1", "rediss://home.server:6380", "rediss://home.server:6380/0"),
        ("rediss://localhost", "rediss://localhost", "rediss://localhost:6379/0"),
    ],
)
def test_an_invitation_names_an_address_with_tls_and_without_the_owners_login(
    url: str, given: str | None, address: str
) -> None:
    assert address_for_others(url, given) == address


@pytest.mark.parametrize(
    ("url", "given", "problem"),
    [
        ("redis://:s3cret@home.server", None, "without TLS, or one of this machine alone"),
        ("rediss://:s3cret@localhost", None, "without TLS, or one of this machine alone"),
        (ELSEWHERE, "redis://home.server", "--address: expected an address with TLS"),
        (ELSEWHERE, "rediss://", "--address: expected an address with TLS"),
        (ELSEWHERE, "rediss://home.server:70000", "--address: "),
    ],
)
def test_an_address_without_tls_is_refused_with_the_remedy(
    url: str, given: str | None, problem: str
) -> None:
    with pytest.raises(AccessRefused, match=problem) as caught:
        address_for_others(url, given)
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "has no TLS. Run a Redis or Valkey with TLS and set REDIS__URL"),
        ("unix:///run/redis.sock", "has no TLS. Run a Redis or Valkey with TLS"),
        ("redis+sentinel://one,two,three/bus", "behind sentinels they are started with"),
    ],
)
def test_a_redis_that_no_worker_can_join_is_named(url: str | None, problem: str) -> None:
    with pytest.raises(AccessRefused, match=problem):
        owners_redis(load_settings(redis={"url": url}))


@pytest.mark.parametrize("name", ["", "-a", "a b", "a*", "a:b", "sdk_worker_00", "x" * 81])
def test_a_name_that_is_no_label_or_of_this_machine_is_refused(name: str) -> None:
    with pytest.raises(AccessRefused):
        checked_name(name)


def test_the_file_of_an_authority_holds_a_certificate_and_no_key(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    assert read_authority(None) == ""
    with pytest.raises(AccessRefused, match="cannot be read: No such file"):
        read_authority(file)
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    assert read_authority(file) == "-----BEGIN CERTIFICATE-----\n"
    for wrong in ("words", "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"):
        file.write_text(wrong)
        with pytest.raises(AccessRefused, match="and no key"):
            read_authority(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(AccessRefused, match="it is no text"):
        read_authority(file)


@pytest.mark.parametrize("seconds", [59.0, 8 * 86_400.0])
def test_an_invitation_holds_between_a_minute_and_a_week(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS__URL", "rediss://home.server")
    with pytest.raises(AccessRefused, match="one minute to 7 days"):
        print_invitation("attic", seconds, None, None)

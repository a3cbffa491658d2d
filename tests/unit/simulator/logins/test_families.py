"""Rotation, reuse and the made-up tokens of tests."""

from __future__ import annotations

import pytest

from simulator.logins.families import Families, Family, Spent, Unknown, has_ended, opaque_token


def test_each_refresh_token_is_good_once_and_a_second_use_ends_its_family() -> None:
    families = Families("rt")
    family = families.redeem("rt-first")
    second = families.issue(family)
    assert families.redeem(second) is family
    third = families.issue(family)
    with pytest.raises(Spent):
        families.redeem("rt-first")
    with pytest.raises(Unknown):
        families.redeem(third)


def test_words_in_a_made_up_token_are_its_family_s() -> None:
    families = Families("rt")
    assert families.redeem("rt-lives-5-slow") == Family(lifetime=5, delay=0.5)
    assert families.redeem("rt-slow-4-seconds") == Family(delay=4.0)
    for refused in ("rt-revoked", "other-prefix", ""):
        with pytest.raises(Unknown):
            families.redeem(refused)


def test_an_unavailable_family_s_token_is_not_spent() -> None:
    families = Families("rt")
    assert families.redeem("rt-unavailable").unavailable
    assert families.redeem("rt-unavailable").unavailable


def test_an_access_token_tells_when_it_ends() -> None:
    assert has_ended(opaque_token("sk-ant-oat01", Family(lifetime=-1)))
    assert not has_ended(opaque_token("sk-ant-oat01", Family()))
    assert not has_ended("sk-ant-oat01-made-up")

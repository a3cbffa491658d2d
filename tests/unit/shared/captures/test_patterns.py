"""The rules find a secret at its place, and nothing beside it."""

from __future__ import annotations

from shared.captures.patterns import RULES, FoundSecret, find_secrets, rules_for_known
from tests.support.secret_corpus import by_vendor


def found_in(text: str) -> list[str]:
    return [text[each.start : each.end] for each in find_secrets(text, RULES)]


def test_every_rule_finds_a_kind() -> None:
    assert all(rule.kind and rule.begins for rule in RULES)


def test_a_key_is_found_whole_with_its_vendor() -> None:
    key = by_vendor()["github"]
    assert FoundSecret(4, 4 + len(key), "github_token") in list(find_secrets(f"use {key}.", RULES))


def test_a_key_inside_of_a_word_is_none() -> None:
    assert found_in("desk-lamps-are-good-for-reading and mask-of-a-very-long-name") == []


def test_only_the_value_beside_a_name_is_found() -> None:
    assert found_in("my_api_key = 'abc12345' # rest") == ["abc12345"]


def test_a_letter_whose_small_form_is_two_moves_no_place() -> None:
    assert "abc12345" in found_in("İİİ PASSWORD=abc12345")


def test_the_longest_known_credential_is_tried_first() -> None:
    [rule] = rules_for_known(["credential-one", "credential-one-longer", "short"])
    assert rule.begins == ("credential-one-longer", "credential-one")
    assert rules_for_known(["short"]) == ()

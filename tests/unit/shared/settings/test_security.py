"""A token has a name that can stand in a file name, a metric and a decision, and is nobody else's."""

from __future__ import annotations

import pytest

from shared.settings.security import usable_name


@pytest.mark.parametrize("name", ["a", "Phone-2", "ci.main_1", "x" * 64])
def test_a_plain_name_is_usable(name: str) -> None:
    assert usable_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "x" * 65, "a\n"])
def test_a_name_of_other_characters_is_refused_with_the_ones_to_use(name: str) -> None:
    with pytest.raises(ValueError, match="use up to 64 letters, digits, dots, dashes"):
        usable_name(name)

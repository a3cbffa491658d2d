"""No token can bear a name that a decision without a person bears."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.permissions import deciders
from shared.permissions.deciders import BY_OWNER, RESERVED_NAMES
from shared.settings.security import TokenSettings


def test_every_decider_is_a_reserved_name() -> None:
    names = {
        value
        for name, value in vars(deciders).items()
        if isinstance(value, str) and name.startswith("BY_")
    }
    assert names == set(RESERVED_NAMES)


@pytest.mark.parametrize("name", [*RESERVED_NAMES, BY_OWNER.upper()])
def test_a_name_of_the_server_s_own_is_refused_in_any_case_of_its_letters(name: str) -> None:
    with pytest.raises(ValidationError, match="a name of the server's own"):
        TokenSettings(name=name, token="12345678")  # type: ignore[arg-type]

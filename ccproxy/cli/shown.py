"""Settings as a person may see them: secrets, and the passwords in addresses, are masked."""

from __future__ import annotations

import json
import operator
from functools import reduce
from typing import Any

from shared.settings.addresses import without_user_info
from shared.settings.problems import leaves, name_of
from shared.settings.tree import Settings


def values(settings: Settings) -> dict[str, Any]:
    """Return the settings' values by name, as JSON knows them; secrets and the passwords in
    addresses are masked.
    """
    dumped = settings.model_dump(mode="json")
    found: dict[str, Any] = {
        name_of(path): reduce(operator.getitem, path, dumped) for path, _ in leaves(Settings)
    }
    return {name: _masked(value) for name, value in found.items()}


def _masked(value: Any) -> Any:
    return without_user_info(value) if isinstance(value, str) else value


def value_text(value: Any) -> str:
    return (
        ""
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False)
    )

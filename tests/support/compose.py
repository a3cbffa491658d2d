"""docker-compose.yml as compose itself would see it: merged, with its variables filled in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")


def load(name: str, **variables: str) -> dict[str, Any]:
    """Raises ValueError for a variable that is required and not given."""
    return interpolate(yaml.safe_load((ROOT / name).read_text()), variables)


def interpolate(value: Any, variables: dict[str, str]) -> Any:
    """As compose does it: in every string, after parsing; what was not quoted stays a
    string then.
    """
    if isinstance(value, dict):
        return {key: interpolate(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolate(inner, variables) for inner in value]
    return fill_in(value, variables) if isinstance(value, str) else value


def fill_in(text: str, variables: dict[str, str]) -> str:
    def fill(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if name is None:
            return "$"
        if value := variables.get(name, ""):
            return value
        if operator == "?":
            raise ValueError(rest)
        return rest or ""

    return VARIABLE.sub(fill, text)


def stage_of(service: dict[str, Any]) -> dict[str, Any]:
    """Return the Dockerfile's stage of the service's image; a stage and its image's tag have the
    same name.
    """
    return dockerfile_stages()[service["image"].partition(":")[2]]


def dockerfile_stages() -> dict[str, dict[str, Any]]:
    """Each stage of the Dockerfile with the environment, entry point, command and health check it
    ends up with.
    """
    stages: dict[str, dict[str, Any]] = {}
    current: dict[str, Any] = {}
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            inherited = stages.get(base, {"ENV": {}})
            current = stages[name.strip()] = {
                **inherited,
                "ENV": dict(inherited["ENV"]),
                "FROM": base,
            }
        elif word == "ENV":
            current["ENV"] |= dict(pair.split("=", 1) for pair in rest.split())
        elif word == "USER":
            current[word] = rest.strip()
        elif word == "HEALTHCHECK":
            current[word] = yaml.safe_load(rest.partition("CMD ")[2])
        elif word in {"CMD", "ENTRYPOINT"}:
            current[word] = yaml.safe_load(rest)
    return stages

"""The models, as the backend lists them for a client's version, and the reasoning efforts each
takes.

Names, efforts and windows are those of the catalogue inside Codex 0.169.0. `gpt-sim-*` is one
permissive line of ours.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import orjson

from simulator.codex.problem import backend_error, detail

SIMULATED = "gpt-sim-"
TO_MAX = ("low", "medium", "high", "xhigh", "max")
INSTRUCTIONS = "You are {name}, a simulated coding agent."


@dataclass(frozen=True, slots=True)
class CodexModel:
    """A model of the backend. `since` is the first version of Codex with the model."""

    slug: str
    priority: int
    efforts: tuple[str, ...] = (*TO_MAX, "ultra")
    default_effort: str = "medium"
    context_window: int = 272_000
    since: tuple[int, ...] = (0, 160, 0)
    visibility: str = "list"

    def describe(self) -> dict[str, Any]:
        name = self.slug.replace("gpt-", "GPT-").replace("-", " ").title().replace("Gpt ", "GPT-")
        return {
            "slug": self.slug,
            "display_name": name,
            "description": "Simulated.",
            "default_reasoning_level": self.default_effort,
            "supported_reasoning_levels": [
                {"effort": effort, "description": effort} for effort in self.efforts
            ],
            "visibility": self.visibility,
            "supported_in_api": True,
            "priority": self.priority,
            "context_window": self.context_window,
            "max_context_window": self.context_window,
            "input_modalities": ["text", "image"],
            "supports_parallel_tool_calls": True,
            "base_instructions": INSTRUCTIONS.format(name=name),
            "use_responses_lite": self.slug.startswith("gpt-6"),
            "minimal_client_version": ".".join(map(str, self.since)),
        }


MODELS = [
    CodexModel("gpt-6.1-sol", 1, default_effort="low"),
    CodexModel("gpt-6-astra", 2, default_effort="low"),
    CodexModel("gpt-6-sol", 3),
    CodexModel("gpt-6-luna", 4, TO_MAX),
    CodexModel("gpt-5.6-sol", 5, default_effort="low", since=(0, 100, 0)),
    CodexModel("gpt-6.1-terra", 7, default_effort="low", context_window=500_000),
    CodexModel("gpt-5.6-terra", 8, since=(0, 100, 0)),
    CodexModel("gpt-5.6-luna", 9, TO_MAX, since=(0, 100, 0)),
    CodexModel("gpt-5.5", 13, TO_MAX[:4], since=(0, 100, 0)),
    CodexModel("codex-auto-review", 43, TO_MAX, visibility="hide"),
]
KNOWN = {model.slug: model for model in MODELS}


def find_codex_model(name: str, *, public: bool = False) -> CodexModel:
    """Return the model `name`. Raises the service's own refusal for an unknown name."""
    if name.startswith(SIMULATED):
        return CodexModel(name, 99, ("none", *TO_MAX), visibility="hide")
    if name not in KNOWN:
        if public:
            raise backend_error(
                404,
                f"The model '{name}' does not exist or you do not have access to it.",
                code="model_not_found",
            )
        raise detail(
            f"The '{name}' model is not supported when using Codex with a ChatGPT account."
        )
    return KNOWN[name]


def list_codex_models(client_version: str) -> tuple[bytes, str]:
    """Return the backend's list for a version of Codex, and its ETag. Raises the 400 for an invalid
    version.
    """
    if not re.fullmatch(r"\d+(\.\d+){1,3}", client_version):
        raise detail("client_version: Field required")  # unmeasured words
    version = tuple(map(int, client_version.split(".")))
    body = orjson.dumps(
        {"models": [model.describe() for model in MODELS if model.since <= version]}
    )
    return body, f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'


def list_public() -> bytes:
    data = [
        {"id": slug, "object": "model", "created": 1_790_000_000, "owned_by": "openai"}
        for slug in KNOWN
        if slug.startswith("gpt-")
    ]
    return orjson.dumps({"object": "list", "data": data})

"""Names of models that nobody answers to: aliases that lead nowhere, and what clients asked for of
late.

Only a running stack can tell, for it has the providers' lists and the records. A list that cannot
be had proves nothing against an alias.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx

from ccproxy.cli.checks import Finding, Machine
from shared.accounts.models import names_claude, resolve_model
from shared.accounts.unknown_models import is_unknown_model, unknown_model_hint

ANSWER_SECONDS = 8.0
LOOKS_BACK_SECONDS = 24 * 3600.0
MOST_RECORDS = 1000
MOST_NAMED = 5

Facts = dict[str, Any]


async def look_at_models(machine: Machine) -> list[Finding]:
    """Report aliases of unknown models, and the unknown models requested by clients
    within a day.
    """
    if machine.stack is None:
        return []
    settings = machine.settings
    token = machine.stack.token
    headers = {"anthropic-version": "2023-06-01"} | ({"x-api-key": token} if token else {})
    async with httpx.AsyncClient(
        base_url=machine.running, headers=headers, timeout=ANSWER_SECONDS, trust_env=False
    ) as client:
        findings: list[Finding] = []
        if aliases := settings.models.aliases:
            claude = await ask_for(client, "/api/v1/models", "data")
            codex = (
                await ask_for(client, "/codex/v1/models", "models")
                if settings.codex.enabled
                else []
            )
            findings += judge_aliases(aliases, claude, codex)
        span = {
            "status_min": 400,
            "status_max": 404,
            "start_time": time.time() - LOOKS_BACK_SECONDS,
        }
        records = await ask_for(client, "/logs/query", "results", span | {"limit": MOST_RECORDS})
    return [*findings, *judge_refusals(records)]


async def ask_for(
    client: httpx.AsyncClient, path: str, part: str, wanted: Facts | None = None
) -> list[Facts]:
    """Return the list called `part` in the gateway's answer; an empty one when there is none to be
    had.
    """
    try:
        answer = await client.get(path, params=wanted)
        found = answer.json().get(part) if answer.is_success else []
    except (httpx.HTTPError, ValueError, AttributeError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def judge_aliases(
    aliases: Mapping[str, str], claude: list[Facts], codex: list[Facts]
) -> Iterator[Finding]:
    """Yield a finding for every alias of a model missing in the provider's list, or one finding for
    a complete list.
    """
    own_names = {f"{alias} → {target}" for alias, target in aliases.items()}
    claude = [model for model in claude if model.get("display_name") not in own_names]
    lists = {"claude": known_names(claude, "id"), "codex": known_names(codex, "slug")}
    unknown = []
    for alias, target in aliases.items():
        provider = "claude" if names_claude(target) else "codex"
        served = resolve_model(target, {}, claude, "anthropic") if provider == "claude" else target
        if lists[provider] and served not in lists[provider]:
            unknown.append((alias, target, provider))
    for alias, target, provider in unknown:
        says = (
            f"the alias {alias!r} leads to {target!r}, which the list of {provider} does not have"
        )
        yield Finding(
            "models",
            "warn",
            says,
            f"Change MODELS__ALIASES: {unknown_model_hint(provider, target)}.",
        )
    if not unknown and any(lists.values()):
        yield Finding("models", "pass", f"the models of {len(aliases)} alias(es) exist")


def known_names(models: Iterable[Facts], field: str) -> set[str]:
    """Return the names of the models, with and without the date at the end."""
    names = {str(model[field]) for model in models if field in model}
    return names | {re.sub(r"-\d{8}$", "", name) for name in names}


def judge_refusals(records: Iterable[Facts]) -> Iterator[Finding]:
    """Yield a finding for every unknown model requested by clients, the most frequent first."""
    asked: Counter[tuple[str, str, str]] = Counter()
    for record in records:
        if is_unknown_model(
            int(record.get("status_code") or 0), str(record.get("error_message") or "")
        ):
            name = str(record.get("asked_model") or record.get("model") or "")
            asked[
                str(record.get("provider") or ""),
                name,
                str(record.get("client_program") or "a client"),
            ] += 1
    for (provider, name, program), count in asked.most_common(MOST_NAMED):
        says = (
            f"{count} request(s) of {program} within a day asked {provider} for {name!r}, and "
            "were refused"
        )
        yield Finding(
            "models",
            "warn",
            says,
            f"Tell the client another name: {unknown_model_hint(provider, name)}.",
        )

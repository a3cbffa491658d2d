"""Bodies made from the official SDKs' types, on every way from a client's format to a provider: no
failure of ours, no body that a strict provider refuses, no field lost in silence. `make fuzz` tries
ten thousand on each way.
"""

from __future__ import annotations

import os
import random
import re
from dataclasses import replace

import pytest

from shared.runtime.exact_json import dump_json
from tests.fuzz.lost_fields import STEPS, is_harmless, is_lost, places, says_nothing
from tests.fuzz.routes import PROBLEMS, REFUSALS, ROUTES, SHAPES, Carried, Json, Route
from tests.fuzz.settled import settle
from tests.fuzz.typed_values import Values

BODIES = int(os.environ.get("FUZZ_BODIES", "300"))
PLACES = 6
"""The fields of each body that are tried; another body has others."""


def typed_body(route: Route, number: int) -> tuple[Json, bool, random.Random]:
    """Return body `number` of a way, whether it was settled, and the chance that goes
    on deciding.
    """
    chance = random.Random(f"{route.client} {route.provider} {number}")
    body = Values(chance, route.models).body(SHAPES[route.client])
    is_settled = chance.random() < 0.97
    if is_settled:
        settle(route.client, body, chance)
    return body, is_settled, chance


def findings_of(
    route: Route, body: Json, chance: random.Random, *, is_settled: bool
) -> list[str] | None:
    """Return what is wrong with what became of a body; None for one that was refused."""
    before = dump_json(body)
    try:
        carried = route.carry(body)
    except REFUSALS:
        return None
    found = [] if dump_json(body) == before else ["the client's document was changed"]
    if is_settled:
        try:
            route.judge(carried.document)
        except PROBLEMS as problem:
            found.append(f"refused by the provider: {problem}")
    found += [
        f"named, but not the client's field: {name}" for name in misnamed(route, body, carried)
    ]
    everything = list(places(body))
    for place in chance.sample(everything, min(PLACES, len(everything))):
        if is_harmless(route.client, body, place) or says_nothing(body, place, carried):
            continue
        if is_lost(route, body, place, carried):
            found.append(f"lost: {re.sub(r'm[0-9]+m', 'm', '.'.join(place.steps))}")
    return found


def misnamed(route: Route, body: Json, carried: Carried) -> list[str]:
    """Return the names in `x-ccproxy-ignored` that begin with no field of the body."""
    if route.is_native:
        return []
    allowed = {
        *body,
        "cache_control",
        *(["tools"] if "input" in body else []),
    }  # tools may stand among the input
    return [name for name in carried.ignored if STEPS.findall(name)[0] not in allowed]


@pytest.mark.timeout(60 + BODIES // 10)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.client}-to-{route.provider}")
def test_a_typed_body_is_carried_or_refused_and_no_field_is_lost_in_silence(route: Route) -> None:
    found: dict[str, list[int]] = {}
    refused = 0
    for number in range(BODIES):
        body, is_settled, chance = typed_body(route, number)
        told = findings_of(route, body, chance, is_settled=is_settled)
        refused += told is None
        for finding in told or ():
            found.setdefault(finding, []).append(number)
    assert {finding: numbers[:3] for finding, numbers in found.items()} == {}
    assert refused < BODIES * 0.45, "most bodies must get as far as their fields"


@pytest.mark.parametrize("field", ["metadata", "system", "temperature"])
def test_the_search_finds_a_field_that_a_way_loses(field: str) -> None:
    route = next(
        route for route in ROUTES if (route.client, route.provider) == ("anthropic", "api")
    )

    def forget(body: Json) -> Carried:
        carried = route.carry(body)
        document = {name: value for name, value in carried.document.items() if name != field}
        return replace(carried, document=document)

    body: Json = {"model": "m", "metadata": {"user_id": "u"}, "system": "s", "temperature": 0.5}
    leaky = replace(route, carry=forget)
    lost = [place.steps for place in places(body) if is_lost(leaky, body, place, leaky.carry(body))]
    assert {steps[0] for steps in lost} == {field}

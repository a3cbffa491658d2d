"""Every operation of `/openapi.json` but those of the providers: odd values are refused or taken,
none is a failure, and what a parameter's schema allows and forbids is what its route takes and
refuses.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.analytics_process import Analytics
from tests.support.permission_stack import Front, running_desk, running_front

pytestmark = pytest.mark.timeout(240)  # a thousand requests, one after the other

Json = dict[str, Any]
STREAMS = ("/logs/stream", "/permissions/stream")
PROVIDERS = {"claude", "codex", "sdk", "responses", "conversations"}
"""The tags of what goes to a provider: `test_fuzz.py` and `test_typed_bodies.py` try those."""
FAILURE = 500
"""Ours. Other numbers say what is not there: this stack has no workers, no login, no provider
and no internet."""
AS_JSON = {"content-type": "application/json"}
HALF = "a\ud83d"
ODD: list[Any] = [
    None, True, -1, 0, 2**70, -(2**80), 1.5, 1e308, "", HALF, "x" * 3000, [], {}, {HALF: HALF},
    {"a": [2**70]}, "\0",
]  # fmt: skip
ODD_TEXTS = [
    "nan", "inf", "-inf", "1e400", "-1", "0", str(2**70), "9" * 400, "x", "%00", "\U0001f600",
    "253402300800", "",
]  # fmt: skip


@pytest.fixture
async def front(redis_url: str, tmp_path: Path, analytics: Analytics) -> AsyncIterator[Front]:
    await analytics.until(lambda status: True)
    async with (
        running_desk(redis_url, tmp_path / "rules.toml", timeout_seconds=0.05),
        running_front(redis_url) as front,
    ):
        yield front


def resolved(schema: Json, document: Json) -> Json:
    """Return the schema behind a reference, and of several the first that is not null."""
    if "$ref" in schema:
        return resolved(
            document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document
        )
    if "anyOf" in schema:
        return resolved(
            next(inner for inner in schema["anyOf"] if inner.get("type") != "null"), document
        )
    return schema


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path not in STREAMS and not PROVIDERS & set(operation.get("tags", [])):
                yield path, method, operation


def odd_body(schema: Json, document: Json, chance: random.Random) -> bytes:
    """Return a body with the fields of its schema, some of them missing, and odd values in them."""
    fields = resolved(schema, document).get("properties") or {
        "effect": {},
        "tool": {},
        "tool_name": {},
        "input": {},
    }
    body = {name: chance.choice(ODD) for name in fields if chance.random() < 0.8}
    for name, inner in fields.items():
        if chance.random() < 0.6 and (kind := resolved(inner, document).get("type", "object")):
            usual = {
                "string": HALF,
                "boolean": True,
                "object": {"command": 2**70, "scope": HALF},
                "number": 0.01,
            }
            body[name] = usual.get(kind, chance.choice(ODD))
    return json.dumps(body).encode()


async def test_no_operation_fails_on_odd_values(front: Front) -> None:
    document = (await front.client.get("/openapi.json")).json()
    chance = random.Random(20261129)
    failed: dict[str, str] = {}
    for path, method, operation in operations(document):
        for _ in range(8 if "requestBody" in operation else 4):
            address, query = path, {}
            for parameter in operation.get("parameters", []):
                value = chance.choice(ODD_TEXTS)
                if parameter["in"] == "path":
                    address = address.replace(
                        f"{{{parameter['name']}}}", quote(value or "x", safe="")
                    )
                elif parameter["in"] == "query" and chance.random() < 0.6:
                    query[parameter["name"]] = value
            content = None
            if "requestBody" in operation:
                (media,) = operation["requestBody"]["content"].values()
                content = odd_body(media["schema"], document, chance)
            reply = await front.client.request(
                method, address, params=query, content=content, headers=AS_JSON
            )
            if reply.status_code == FAILURE:
                failed[f"{method} {address} {query} {content!r}"] = reply.text[:200]
    assert failed == {}


async def test_a_tool_input_with_a_large_integer_can_be_asked_about_and_listed(
    redis_url: str, tmp_path: Path
) -> None:
    """Half of a character, which no file could keep, is refused by name."""
    async with (
        running_desk(redis_url, tmp_path / "rules.toml", timeout_seconds=0.01),
        running_front(redis_url) as front,
    ):
        for tool in ("Bash", "Write", "Edit", "AskUserQuestion", "Unknown"):
            asked = {
                "tool_name": tool,
                "input": {"command": 2**70, "file_path": "a", "deep": [2**70]},
            }
            answer = await front.client.post(
                "/mcp/permission/check", content=json.dumps(asked), headers=AS_JSON
            )
            assert answer.json().get("behavior") == "deny", answer.text
            listed = await front.client.get("/permissions")
            assert listed.status_code == 200
            assert answer.json()["permission_id"] in listed.text
        asked = {"tool_name": "Bash", "input": {"command": HALF}}
        answer = await front.client.post(
            "/mcp/permission/check", content=json.dumps(asked), headers=AS_JSON
        )
        assert answer.status_code == 400
        assert "surrogate" in answer.json()["error"]["message"]


def bounds_of(schema: Json) -> Iterator[tuple[str, bool]]:
    """Yield values at the bounds of a number or an enumeration, and whether the schema
    allows them.
    """
    if "enum" in schema:
        yield from ((str(value), True) for value in schema["enum"])
        yield "none-of-them", False
    elif schema.get("type") in ("integer", "number"):
        yield "not-a-number", False
        if "minimum" in schema:
            yield str(schema["minimum"]), True
            yield str(schema["minimum"] - 1), False
        if "maximum" in schema:
            yield str(schema["maximum"]), True
            yield str(schema["maximum"] * 2 + 1), False
        if schema["type"] == "number":
            yield "nan", False


def required_parameters(operation: Json, document: Json) -> Json:
    """Return a value for each required parameter of the query of `operation`: the first that its
    schema allows, else a letter.
    """
    return {
        parameter["name"]: next(
            (
                value
                for value, is_allowed in bounds_of(resolved(parameter["schema"], document))
                if is_allowed
            ),
            "a",
        )
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query" and parameter.get("required")
    }


@pytest.mark.long
async def test_a_parameter_takes_what_its_schema_allows_and_nothing_else(front: Front) -> None:
    document = (await front.client.get("/openapi.json")).json()
    wrong: list[str] = []
    for path, method, operation in operations(document):
        required = required_parameters(operation, document)
        for parameter in operation.get("parameters", []):
            if method != "get" or parameter["in"] != "query":
                continue
            for value, is_allowed in bounds_of(resolved(parameter["schema"], document)):
                reply: httpx.Response = await front.client.get(
                    path, params=required | {parameter["name"]: value}
                )
                if (reply.status_code != 400) is not is_allowed:
                    wrong.append(
                        f"{path}?{parameter['name']}={value}: {reply.status_code} "
                        f"{reply.text[:100]}"
                    )
    assert wrong == []

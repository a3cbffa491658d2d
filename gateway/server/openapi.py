"""The proxy routes in the OpenAPI document: the routes are plain ASGI, so FastAPI cannot describe
them by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from gateway.proxy.exchange import Exchange
from gateway.proxy.images import Images
from gateway.proxy.resources import Resource
from gateway.server.asgi import ASGIApp

PARAMETER = re.compile(r"{(\w+)}")
SPOKEN = {
    "anthropic": "Anthropic Messages",
    "openai_chat": "OpenAI Chat Completions",
    "openai_responses": "OpenAI Responses",
}
ANSWERING = {
    "claude": "Claude",
    "codex": "the Codex backend",
    "sdk": "Claude Code's workers",
}


def describe_endpoints(app: FastAPI, endpoints: Mapping[str, ASGIApp]) -> None:
    """Add every proxy route to the OpenAPI document of `app`."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        for path, endpoint in endpoints.items():
            if isinstance(endpoint, Resource):
                described = {
                    method.lower(): passed(path, method, does)
                    for method, does in endpoint.summaries.items()
                }
                schema["paths"].setdefault(path, {}).update(described)
            elif isinstance(endpoint, Exchange):
                schema["paths"].setdefault(path, {})["post"] = operation(path, endpoint)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def passed(path: str, method: str, summary: str) -> dict[str, Any]:
    """Return the description of one method of a resource. The provider's own documentation
    describes the bodies.
    """
    names = PARAMETER.findall(path)
    return {
        "tags": ["claude"],
        "summary": summary,
        "operationId": method.lower() + path.replace("/", "_").replace("{", "").replace("}", ""),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ],
        "responses": {
            "200": {"description": "The provider's answer."},
            "default": {
                "description": "An error in Anthropic's envelope, with the provider's status."
            },
        },
    }


def summary_of(path: str, endpoint: Exchange) -> str:
    """Return the sentence of a proxy route: the format of the request, and who answers it."""
    spoken = "OpenAI Images" if isinstance(endpoint, Images) else SPOKEN[endpoint.dialect]
    answering = ANSWERING[endpoint.provider.name]
    if path.endswith("/count_tokens"):
        return f"Count the input tokens of an {spoken} request to {answering}."
    return f"Send an {spoken} request to {answering}."


def operation(path: str, endpoint: Exchange) -> dict[str, Any]:
    needed = "prompt" if isinstance(endpoint, Images) else "model"
    body = {"type": "object", "required": [needed], "properties": {needed: {"type": "string"}}}
    answers = {
        kind: {"schema": {"type": "object"}} for kind in ("application/json", "text/event-stream")
    }
    return {
        "tags": [endpoint.provider.name],
        "summary": summary_of(path, endpoint),
        "operationId": "post" + path.replace("/", "_").replace("{", "").replace("}", ""),
        "parameters": [
            {"name": "session_id", "in": "path", "required": True, "schema": {"type": "string"}}
            for _ in range(path.count("{session_id}"))
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {
                "description": "The reply: whole, or as events when `stream` is true.",
                "content": answers,
            },
            "default": {
                "description": "An error in the client's own dialect, with the provider's status."
            },
        },
    }

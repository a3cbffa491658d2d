"""A captured request once more: as a command, or as a request to another model or route.

What capture left out is not made up: an image becomes a sentence that says so, and a request whose
body was cut cannot be sent.

Invariant: a command is one line of ASCII words for a shell, each quoted, and has no credential.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.capture.blocks import document_of
from shared.captures.capture import Capture
from shared.captures.patterns import MARK_START
from shared.formats.ir import Json
from shared.runtime.errors import ClientError
from shared.runtime.exact_json import dump_json

TOKEN = '"x-api-key: $CCPROXY_TOKEN"'
# Headers that belong to the request's content; those about the client stay away.
REPEATED_HEADERS = ("anthropic-version", "anthropic-beta")
FORMAT_PATHS = {
    "anthropic": "/v1/messages",
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
}
ROUTES = ("/api", "/codex", "/sdk")
LEFT_OUT = "[A file was here. It is not kept in a capture.]"
BLOB_MARK = f"{MARK_START}base64"
FILE_TYPES = frozenset({"image", "document", "image_url", "input_image", "input_file", "file"})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request to send: an address of the gateway, headers, and the body."""

    path: str
    headers: dict[bytes, bytes]
    body: bytes


def as_curl(capture: Capture, origin: str) -> str:
    """Return the command that sends the request again, with a placeholder for the token. Raises
    ClientError for a request with an incomplete body.
    """
    document = whole_document(capture)
    headers = {"content-type": "application/json", **kept_headers(capture)}
    words = ["curl", shlex.quote(f"{origin}{capture.summary.path}"), "-H", TOKEN]
    for name, value in headers.items():
        words += ["-H", shlex.quote(f"{name}: {json.dumps(value)[1:-1]}")]
    words += ["--data-binary", shlex.quote(json.dumps(document))]
    return " ".join(words)


def prepare_again(capture: Capture, model: str, route: str, formats: Mapping[str, str]) -> Prepared:
    """Return the request for `model` (empty: the same) on `route` (empty: the same; else `/codex`
    or a whole address). `formats` are the formats of the gateway's addresses.

    Raises ClientError.
    """
    document = without_files(whole_document(capture))
    own = capture.summary.client_format
    path = address_for(capture, route)
    if formats.get(path) != own:
        raise ClientError(
            f"route: {path} does not take the format of this request; its route may be "
            f"{', '.join(ROUTES)}.",
            param="route",
        )
    if model:
        document = document | {"model": model}
    metadata = document.get("metadata")
    if isinstance(metadata, dict) and "session_id" in metadata:
        # The answer to a repeated request must not become a turn of the client's conversation.
        kept = {name: value for name, value in metadata.items() if name != "session_id"}
        document = document | {"metadata": kept}
    headers = {b"content-type": b"application/json", b"user-agent": b"ccproxy-capture"}
    if own == "anthropic":
        headers |= {
            name.encode(): value.encode("latin-1", "replace")
            for name, value in kept_headers(capture).items()
        }
    return Prepared(path, headers, dump_json(document))


def address_for(capture: Capture, route: str) -> str:
    """Return the address of the gateway for the request on `route`. Raises ClientError."""
    below = FORMAT_PATHS.get(capture.summary.client_format)
    if below is None:
        raise ClientError("A request of this kind cannot be sent again.")
    wanted = route.rstrip("/") or "/" + capture.summary.path.lstrip("/").partition("/")[0]
    wanted = wanted if wanted.startswith("/") else f"/{wanted}"
    return f"{wanted}{below}" if wanted in ROUTES else wanted


def whole_document(capture: Capture) -> Json:
    """Return the client's request. Raises ClientError for a request with an incomplete body."""
    document = document_of(capture.request)
    if capture.request.is_cut or capture.request.left_out or document is None:
        raise ClientError(
            "The body of this request was not kept whole, so it cannot be sent again; see "
            "CAPTURE__BODY_BYTES."
        )
    return document


def kept_headers(capture: Capture) -> dict[str, str]:
    return {
        name: value
        for name, value in capture.request.headers
        if name in REPEATED_HEADERS and MARK_START not in value
    }


def without_files(value: Any) -> Any:
    """Return a document with a sentence in place of every left-out file."""
    if isinstance(value, list):
        return [without_files(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") in FILE_TYPES and BLOB_MARK in json.dumps(value):
        kind = "input_text" if str(value["type"]).startswith("input_") else "text"
        return {"type": kind, "text": LEFT_OUT}
    return {name: without_files(each) for name, each in value.items()}

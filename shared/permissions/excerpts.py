"""The part of a permission request that is kept when the whole of it is not needed.

The whole input matters while a person decides. After that, and of a request that nobody is asked
about, people only need to recognise the request: a large input is cut to an excerpt of at most
MAX_FIELDS fields and MAX_CHARS characters a field, so an excerpt has at most a few kilobytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.bus.channels import PermissionRequest
from shared.permissions.fair_use import MAX_INPUT_DEPTH, TEXT_FIELDS, input_size
from shared.runtime.exact_json import deeper_than, dump_json

WHOLE_BYTES = 4096  # an input up to this size is kept as it is
MAX_FIELDS = 16
MAX_CHARS = 256
NESTED = "… (nested too deeply to be shown)"


def excerpt(given: dict[str, Any]) -> dict[str, Any]:
    """Return `given`, or the beginning of `given` beyond WHOLE_BYTES bytes of JSON."""
    if not deeper_than(given, MAX_INPUT_DEPTH) and input_size(given) <= WHOLE_BYTES:
        return given
    fields = list(given.items())
    kept = {_cut(name): _short(value) for name, value in fields[:MAX_FIELDS]}
    if len(fields) > MAX_FIELDS:
        kept["…"] = f"{len(fields) - MAX_FIELDS} more fields"
    return kept


def refused_excerpt(request: PermissionRequest, problem: str) -> PermissionRequest:
    """Return `request` as an excerpt with `problem`, the reason for asking no person."""
    texts: dict[str, Any] = {name: _cut(getattr(request, name)) for name in TEXT_FIELDS}
    return replace(
        request,
        **texts,
        input=excerpt(request.input),
        reach=None,
        file_before=None,
        refused=problem,
    )


def _short(value: Any) -> Any:
    """Return `value`, or the beginning of a long text."""
    if isinstance(value, str):
        return _cut(value)
    if deeper_than(value, MAX_INPUT_DEPTH):
        return NESTED
    text = dump_json(value).decode()
    return value if len(text) <= MAX_CHARS else _cut(text)


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARS:
        return text
    return f"{text[:MAX_CHARS]}… ({len(text) - MAX_CHARS:,} more characters)"

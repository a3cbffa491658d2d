"""Every error crosses the bus as itself, and says something by itself."""

from __future__ import annotations

import inspect

import pytest

from shared.runtime import errors
from shared.runtime.errors import CCProxyError, UpstreamRefused, error_from_dict

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, CCProxyError) and cls is not UpstreamRefused
]


@pytest.mark.parametrize("cls", CLASSES)
def test_each_error_has_a_message_a_status_and_a_kind_of_its_own(cls: type[CCProxyError]) -> None:
    error = cls()
    assert error.message.endswith((".", "`"))
    assert 400 <= error.status < 600
    assert error.kind
    assert cls.__name__ in (errors.__doc__ or ""), "the tree in the docstring names every class"


@pytest.mark.parametrize("cls", CLASSES)
def test_each_error_crosses_the_bus_as_itself(cls: type[CCProxyError]) -> None:
    sent = cls("What happened.", headers={"retry-after": "3"})
    arrived = error_from_dict(sent.as_dict())
    assert type(arrived) is cls
    assert (arrived.message, arrived.status, arrived.headers) == (
        sent.message,
        sent.status,
        sent.headers,
    )


def test_a_refusal_keeps_the_provider_s_status_and_words() -> None:
    sent = UpstreamRefused(
        "Slow down.", status=429, body=b'{"type":"error"}', headers={"retry-after": "3"}
    )
    arrived = error_from_dict(sent.as_dict())
    assert isinstance(arrived, UpstreamRefused)
    assert (arrived.status, arrived.body, arrived.headers) == (429, sent.body, sent.headers)


def test_an_error_of_a_newer_process_is_still_an_error() -> None:
    arrived = error_from_dict(
        {"error": "InventedLater", "message": "odd", "status": 418, "kind": "teapot"}
    )
    assert type(arrived) is CCProxyError
    assert (arrived.message, arrived.status, arrived.kind) == ("odd", 418, "teapot")


def test_the_field_at_fault_crosses_the_bus() -> None:
    arrived = error_from_dict(errors.ClientError("No.", param="sql").as_dict())
    assert isinstance(arrived, errors.ClientError)
    assert arrived.param == "sql"


@pytest.mark.parametrize(
    "shape",
    [
        None,
        [],
        {"error": {}, "message": 7, "headers": []},
        {"error": "NotFound", "status": "busy", "kind": 7},
        {"error": "NotFound", "status": 200},
        {"error": "UpstreamRefused", "status": [], "body": 7},
        {"error": "ClientError", "param": {}, "headers": {"retry-after": 3}},
    ],
)
def test_an_error_of_another_form_is_an_error_with_a_status_and_words(shape: object) -> None:
    arrived = error_from_dict(shape)
    assert 400 <= arrived.status < 600
    assert arrived.message
    assert isinstance(arrived.kind, str)
    assert arrived.headers == {}

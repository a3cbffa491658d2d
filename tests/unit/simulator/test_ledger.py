"""What is kept, masked, counted and forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from simulator import ledger
from simulator.ledger import Ledger, Record, mask


def ended(book: Ledger, *, cancelled: bool = False, **fields: Any) -> Record:
    record = Record("POST", "/v1/messages", [("x-api-key", "sk-ant-api03-abcd1234")])
    for name, value in fields.items():
        setattr(record, name, value)
    book.open(record)
    book.end(record, cancelled=cancelled)
    return record


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("x-api-key", "sk-ant-api03-abcd1234", "…1234"),
        ("authorization", "Bearer sk-ant-oat01-wxyz", "Bearer …wxyz"),
        ("anthropic-beta", "oauth-2025-04-20", "oauth-2025-04-20"),
    ],
)
def test_only_the_end_of_a_credential_is_shown(name: str, value: str, shown: str) -> None:
    assert mask(name, value) == shown


def test_a_body_is_text_when_it_can_be_and_base64_when_not() -> None:
    book = Ledger()
    ended(book, body='{"ä": 1}'.encode())
    ended(book, body=b"\xff\x00")
    first, second = book.requests()
    assert (first["body"], first["body_encoding"]) == ('{"ä": 1}', "utf-8")
    assert (second["body"], second["body_encoding"]) == ("/wA=", "base64")


def test_a_running_request_is_listed_without_an_end() -> None:
    book = Ledger()
    book.open(Record("GET", "/", []))
    (shown,) = book.requests()
    assert (shown["status"], shown["ended_after_ms"], shown["cancelled"]) == (None, None, False)


def test_a_reply_that_has_ended_is_settled_once_it_is_counted() -> None:
    book, record = Ledger(), Record("GET", "/", [])
    book.open(record)
    assert book.is_settled
    record.finished = 1.0
    assert not book.is_settled
    book.end(record, cancelled=False)
    assert book.is_settled


def test_totals_add_up_by_status_and_model() -> None:
    book = Ledger()
    ended(book, status=200, model="m", usage={"input_tokens": 3, "output_tokens": 5})
    ended(book, status=200, model="m", usage={"input_tokens": 1, "cache_read_input_tokens": 7})
    ended(book, cancelled=True)
    totals = book.totals()
    assert (totals["requests"], totals["cancelled"], totals["by_status"]["200"]) == (3, 1, 2)
    assert totals["by_model"]["m"] == {
        "requests": 2,
        "input_tokens": 4,
        "output_tokens": 5,
        "cache_read_input_tokens": 7,
        "cache_creation_input_tokens": 0,
    }


def test_clearing_forgets_everything_but_never_reuses_an_id() -> None:
    book = Ledger()
    ended(book, status=200)
    book.clear()
    assert book.requests() == []
    assert book.totals()["requests"] == 0
    assert ended(book).id == 2


def test_the_oldest_records_give_way() -> None:
    book = Ledger()
    for _ in range(ledger.MOST_RECORDS + 5):
        ended(book)
    assert [record["id"] for record in book.requests()][:2] == [6, 7]


def test_the_sum_of_the_bodies_is_bounded() -> None:
    book = Ledger()
    half = bytes(ledger.MOST_BYTES // 2 + 1)
    ended(book, body=half)
    ended(book, body=half)
    assert [record.id for record in book._records] == [2]


def test_only_the_start_of_a_long_response_is_kept_but_all_of_it_counted() -> None:
    record = Record("GET", "/", [])
    record.note(bytes(ledger.KEPT_RESPONSE_BYTES - 1))
    record.note(b"abc")
    assert len(record.response) == ledger.KEPT_RESPONSE_BYTES
    assert record.response_bytes == ledger.KEPT_RESPONSE_BYTES + 2


def test_totals_add_up_what_each_credential_was_charged_for() -> None:
    book = Ledger()
    ended(book, credential="login", status=429)
    ended(book, credential="api_key", status=200, usage={"input_tokens": 3, "output_tokens": 4})
    ended(book, status=200)
    found = book.totals()["by_credential"]
    assert found["login"]["refused"] == 1
    assert "answered" not in found["login"]
    assert (found["api_key"]["answered"], found["api_key"]["output_tokens"]) == (1, 4)
    assert set(found) == {"login", "api_key"}

"""Records arrive as they were, also from a process that knows more or fewer of their columns."""

from __future__ import annotations

import pytest

from shared.bus.channels import AccessRecord, encode_payload
from shared.bus.records import pack, pack_begun, split_batch, unpack, unpack_begun
from shared.runtime.errors import ClientError

SOME = [
    AccessRecord("a", 1.5, model="é", cost_usd=None, streaming=True),
    AccessRecord("b", 2.0, num_turns=3),
]


def table(columns: object, *rows: object) -> bytes:
    return encode_payload({"columns": columns, "rows": rows})


def test_records_arrive_as_they_were() -> None:
    assert unpack(encode_payload(pack(SOME))) == SOME
    assert unpack(encode_payload(pack([]))) == []


def test_columns_are_known_by_their_names() -> None:
    found = unpack(table(["invented_later", "timestamp", "request_id"], [1, 2.5, "a"]))
    assert found == [AccessRecord("a", 2.5)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"[1]",
        b"{}",
        b'{"columns":[],"rows":1}',
        table(["request_id"], ["a"]),
        table(["request_id", "timestamp"], ["a"]),
        table(["request_id", "timestamp"], ["a", "noon"]),
        encode_payload(pack(SOME)).replace(b"2.0", b'"noon"'),
    ],
)
def test_what_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(ClientError):
        unpack(data)


def test_what_has_begun_is_told_apart_from_records() -> None:
    assert unpack_begun(encode_payload(pack(SOME))) is None
    (event, _) = unpack_begun(encode_payload(pack_begun(SOME))) or []
    assert (event["type"], event["request_id"], event["timestamp"], event["model"]) == (
        "request_start",
        "a",
        1.5,
        "é",
    )


def test_a_table_is_taken_apart_into_its_records() -> None:
    assert [unpack(part) for part in split_batch(encode_payload(pack(SOME)))] == [
        [record] for record in SOME
    ]
    assert split_batch(b"[1]") == [b"[1]"]
    assert split_batch(b"no json") == [b"no json"]


@pytest.mark.parametrize("data", [b'{"begun":', b'{"begun":7}', b'{"begun":[7]}', b'{"begun":{}}'])
def test_what_begins_like_a_message_of_begun_requests_and_is_none_is_refused(data: bytes) -> None:
    assert unpack_begun(data) is None
    with pytest.raises(ClientError):
        unpack(data)


def test_half_of_a_surrogate_pair_in_a_model_s_name_hides_no_begun_request() -> None:
    (event,) = (
        unpack_begun(encode_payload(pack_begun([AccessRecord("a", 1.5, model="\ud83d")]))) or []
    )
    assert event["model"] == "\ufffd"


@pytest.mark.parametrize("unknown", ["", "later", "\ud83d"])
def test_a_count_beyond_64_bits_is_refused_in_the_table_of_every_version(unknown: str) -> None:
    with pytest.raises(ClientError):
        unpack(
            table(
                ["request_id", "timestamp", "tokens_input", unknown],
                ["a", 1.5, 10**30, 1],
            )
        )

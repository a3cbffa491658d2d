"""A request names what it leaves out, and keeps its last cache marks."""

from __future__ import annotations

from shared.formats.ir import (
    Text,
)
from tests.unit.shared.formats.messages.writing import (
    user,
    write,
)


def test_what_the_reader_dropped_is_still_told() -> None:
    assert write(dropped=("seed",)).dropped == ("seed",)


def test_of_too_many_cache_marks_the_last_four_stay() -> None:
    texts = [Text(str(number), cache="1h" if number == 5 else "5m") for number in range(6)]
    written = write(user(*texts[1:]), system=(texts[0],))
    marks = [block.get("cache_control") for block in written.body["messages"][0]["content"]]
    assert marks == [None, *[{"type": "ephemeral"}] * 3, {"type": "ephemeral", "ttl": "1h"}]
    assert "cache_control" not in written.body["system"][0]
    assert written.dropped == ("cache_control",)

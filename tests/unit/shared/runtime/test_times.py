from __future__ import annotations

from shared.runtime.times import iso_time, iso_time_or_none, minute_in_utc


def test_a_time_is_written_in_utc() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00+00:00"


def test_an_unknown_time_stays_unknown() -> None:
    assert iso_time_or_none(None) is None
    assert iso_time_or_none(1.5) == "1970-01-01T00:00:01.500000+00:00"


def test_a_person_reads_a_time_to_the_minute() -> None:
    assert minute_in_utc(59.9) == "1970-01-01 00:00 UTC"

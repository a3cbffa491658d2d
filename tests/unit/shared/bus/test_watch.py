"""Silence is counted in looks, per key."""

from __future__ import annotations

from shared.bus.watch import Watch


def test_a_key_that_changes_is_never_silent():
    watch = Watch()
    assert [watch.look([("a", b"%d" % beat)])["a"] for beat in range(4)] == [0, 0, 0, 0]


def test_looks_that_find_nothing_new_add_up_until_something_is_new():
    watch = Watch()
    assert [watch.look([("a", value)])["a"] for value in (b"1", b"1", b"1", b"2", b"2")] == [
        0,
        1,
        2,
        0,
        1,
    ]


def test_a_missing_key_is_silent_from_the_first_look():
    watch = Watch()
    assert [watch.look([("a", None)])["a"] for _ in range(3)] == [1, 2, 3]
    assert watch.look([("a", b"back")])["a"] == 0


def test_a_key_not_looked_at_is_forgotten():
    watch = Watch()
    watch.look([("a", b"1"), ("b", b"1")])
    watch.look([("b", b"1")])
    assert watch.look([("a", b"1"), ("b", b"1")]) == {"a": 0, "b": 2}

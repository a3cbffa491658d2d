from __future__ import annotations

import pytest

from shared.settings.labels import check_label, label_sets
from shared.settings.problems import ConfigurationError
from shared.settings.tree import load_settings


@pytest.mark.parametrize("text", ["gpu", "host-1.local-4711", "A_b", "1"])
def test_plain_words_and_names_of_workers_are_labels(text):
    assert check_label(text) == text


@pytest.mark.parametrize("text", ["", "a b", "a,b", "-a", "ü", "a" * 81, "a\n"])
def test_anything_else_is_refused_and_named(text):
    with pytest.raises(ValueError, match="is not a label"):
        check_label(text)


def test_every_set_of_the_labels_is_there_once():
    assert [sorted(each) for each in label_sets(["b", "a", "b"])] == [["a"], ["b"], ["a", "b"]]
    assert len(list(label_sets("abcde"))) == 31
    assert list(label_sets([])) == []


@pytest.mark.parametrize("labels", [["a", "b", "c", "d", "e"], ["a b"]])
def test_settings_take_few_and_plain_labels(labels):
    with pytest.raises(ConfigurationError, match="LABELS"):
        load_settings(sdk={"labels": labels})

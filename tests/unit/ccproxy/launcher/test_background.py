from __future__ import annotations

import pytest

from ccproxy.launcher.background import NoServices, Outcome, remembered, run_program


def test_a_program_is_run_and_its_outcome_kept():
    outcome = run_program("sh", "-c", "echo out; echo err >&2; exit 3")
    assert outcome == Outcome(3, "out\n", "err\n")


def test_a_missing_program_is_named():
    with pytest.raises(NoServices, match="no `not-a-program-of-this-machine` here"):
        run_program("not-a-program-of-this-machine")


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(1, "out\n", "err\n"), "err"),
        (Outcome(1, "out\n"), "out"),
        (Outcome(5), "exit code 5"),
    ],
)
def test_the_words_of_an_outcome_are_its_errors_first(outcome, words):
    assert outcome.words == words


def test_only_variables_that_are_set_are_remembered():
    environ = {"PATH": "/bin", "CONFIG_FILE": "", "ANTHROPIC_API_KEY": "secret"}
    assert remembered(environ) == {"PATH": "/bin"}

"""The tables of programs agree with each other."""

from __future__ import annotations

from shared.permissions import programs


def test_a_program_that_runs_others_is_in_no_table_of_harmless_ones() -> None:
    harmless = (
        programs.HARMLESS_PROGRAMS
        | set(programs.FILE_READING_PROGRAMS)
        | set(programs.FILE_WRITING_PROGRAMS)
    )
    assert not harmless & programs.RUNNERS
    assert programs.INTERPRETERS < programs.RUNNERS


def test_a_program_that_only_reads_never_writes() -> None:
    assert not programs.READING_PROGRAMS & set(programs.FILE_WRITING_PROGRAMS)
    assert set(programs.FILE_READING_PROGRAMS) < programs.READING_PROGRAMS


def test_what_reports_is_a_subcommand_no_alias_replaces() -> None:
    assert programs.REPORTING_SUBCOMMANDS["git"] < programs.GIT_SUBCOMMANDS

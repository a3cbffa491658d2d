"""The DuckDB file: its one writer, its named queries, and the questions of a person. With
`analytics/opening.py`, which opens the file, the only module that knows DuckDB.

One process may open the file, and this is it. A batch is one transaction and adds each record once,
however often it is handed in, so the caller may acknowledge after `insert` and lose or double
nothing by dying at any point.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import orjson

from analytics.damage import Identity, identity_of, is_damage, is_duckdb_file, set_aside
from analytics.opening import CONFIG, EPOCH, first_line, open_file, utc_time
from analytics.select import check_select
from analytics.statements import EXPORTS, STATEMENTS, with_filters
from analytics.sums import full_hour, whole_hours
from shared.bus.channels import AccessRecord
from shared.bus.records import STORED_COLUMNS, stored_row_of
from shared.runtime.errors import ClientError, StoreUnavailable
from shared.runtime.log import get_log

INTERRUPT_SECONDS = 0.05
# of text in an answer to a person's SQL; ten thousand whole records take a third
ANSWER_BYTES = 32 * 1024 * 1024

SUMMED_AT_ONCE = timedelta(days=1)  # bounds the memory of a sum, and the wait of a batch for it
FINGERPRINT_COLUMNS = ["request_id", "timestamp", "fingerprint"]
TIMESTAMP_AT = STORED_COLUMNS.index("timestamp")

Row = dict[str, Any]
T = TypeVar("T")


class RecordRefused(ValueError):
    """A record of the batch has a value beyond the column; no record of the batch was stored."""


class Store:
    """The DuckDB file, open or closed with a `problem`. One caller at a time may `insert`; any
    number may `query` meanwhile.
    """

    def __init__(
        self,
        path: Path,
        statements: Mapping[str, str] = STATEMENTS,
        check: Callable[[Any], None] = check_select,
    ) -> None:
        self.path = path
        self.exports = path.with_name("exports")
        self._statements = statements
        self._check = check
        self.problem = "The DuckDB file is not open yet."
        self.note = ""  # what became of a damaged file, for as long as this process lives
        self._damage = ""  # what a query met in the file that is open
        self._identity: Identity | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._working: dict[asyncio.Task[Any], duckdb.DuckDBPyConnection] = {}
        # The end of the hours that are summed. It moves, and batches are committed, with the lock
        # held: a record that is committed meanwhile would be in neither the sums nor the rest.
        self.summed_until = EPOCH
        self._summing = threading.Lock()

    async def open(self) -> None:
        """Open the file after a creation or a migration; a damaged file is set aside first.

        Raises StoreUnavailable, whose message is kept as `problem`.
        """
        try:
            self._connection, self.summed_until = await asyncio.to_thread(self._open_or_begin_anew)
        except StoreUnavailable as error:
            self.problem = error.message
            raise
        # Taken after the opening, which may have made the file.
        self._identity = identity_of(self.path)
        self.problem = ""

    async def close(self, problem: str = "The DuckDB file is closed.") -> None:
        """Close the file after writing the file's log into the file. Running queries are ended:
        with a cursor of a query open, DuckDB would return the old file again.
        """
        connection = self._connection
        # Taken away first: a query that comes from here on gets `problem` instead of a cursor of a
        # closing file.
        self._connection = None
        self.problem = problem
        await asyncio.gather(
            *(_interrupt(cursor, task) for task, cursor in list(self._working.items()))
        )
        if connection is not None:
            await asyncio.to_thread(connection.close)

    def trouble(self) -> str:
        """Return why the open file must be opened anew: it was removed or replaced, or a query met
        damage.
        """
        if self._connection is None or self._damage:
            return self._damage
        if identity_of(self.path) == self._identity:
            return ""
        return (
            f"The DuckDB file {self.path} was removed or replaced while it was open; records go "
            "into a new one."
        )

    async def insert(self, records: Sequence[AccessRecord]) -> int:
        """Commit the records not yet there; the number added. Raises RecordRefused or
        StoreUnavailable.
        """
        connection = self._open_connection()
        # DuckDB commits without an error into a file that was removed; only this look finds out, so
        # each commit begins with it.
        if trouble := await asyncio.to_thread(self.trouble):
            raise StoreUnavailable(trouble)
        return await asyncio.to_thread(self._insert, connection, records)

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a named query. A query of sums reads the sums of whole hours where
        possible. A cancelled caller interrupts the query. Raises StoreUnavailable.
        """
        statement = self._statements[name]
        hours = whole_hours(parameters, self.summed_until) if "$whole_from" in statement else {}
        return await self._run(_fetch, *with_filters(statement, {**parameters, **hours}))

    async def sum_up(self, before: datetime) -> None:
        """Sum the records of every full hour before `before` that are not summed yet. Raises
        StoreUnavailable.
        """
        while self.summed_until < full_hour(before):
            await self._run(self._sum_some_hours, full_hour(before))

    async def query_freely(self, sql: str, limit: int) -> list[Row]:
        """Return at most `limit` rows of a SELECT over the tables of `select.py`.

        Raises ClientError, in words, for any other statement; StoreUnavailable. Cancelling the
        caller interrupts the query.
        """
        return await self._run(_fetch_freely, self._check, sql, limit)

    async def change(self, *names: str, **parameters: Any) -> int:
        """Run named statements as a transaction. Return the number of rows changed by the last
        statement. Raises StoreUnavailable.
        """
        return await self._run(_change, [self._statements[name] for name in names], parameters)

    async def export(
        self, parameters: Mapping[str, Any], path: Path, kind: str = "parquet"
    ) -> None:
        """Write matching records to a new file under `exports`, in a format of EXPORTS. Raises
        StoreUnavailable.
        """
        name, options = EXPORTS[kind]
        target = str(path).replace("'", "''")
        selected, named = with_filters(self._statements[name], parameters)
        await self._run(_fetch, f"COPY ({selected}) TO '{target}' ({options})", named)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work` in a thread, on a separate cursor; a cancelled caller interrupts the work."""
        cursor = self._open_connection().cursor()
        task = asyncio.create_task(asyncio.to_thread(work, cursor, *arguments))
        self._working[task] = cursor
        task.add_done_callback(self._working.pop)
        try:
            # A thread cannot be cancelled. The caller's cancellation interrupts the cursor instead,
            # and then waits until the thread has let go of it.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await _interrupt(cursor, task)
            raise
        except duckdb.InterruptException as error:  # by `close`
            raise StoreUnavailable(self.problem) from error
        except duckdb.Error as error:
            if not is_damage(str(error)):
                raise
            self._damage = f"The DuckDB file {self.path} is damaged: {first_line(error)}"
            raise StoreUnavailable(self._damage) from error

    def _open_or_begin_anew(self) -> tuple[duckdb.DuckDBPyConnection, datetime]:
        """Open the file, and return the file with the end of the summed hours; a damaged file is
        renamed, and a new file begun. Raises StoreUnavailable.
        """
        # Damage that a query has met is as good a reason as damage at the opening. It is forgotten
        # here, so that the new file starts without blame.
        damage = self._damage
        self._damage = ""
        if not damage:
            try:
                return open_file(self.path, self.exports)
            except StoreUnavailable as error:
                # Only a damaged database is renamed. A lock of another program, a lack of rights,
                # or a text file named by mistake leave the file where it is.
                if not is_damage(error.message) or not is_duckdb_file(self.path):
                    raise
                damage = error.message
        try:
            aside = set_aside(self.path)
        except OSError as error:
            # Kept for the next attempt, which must not open the damaged file again.
            self._damage = damage
            raise StoreUnavailable(f"{damage} It cannot be set aside: {error.strerror}.") from error
        self.note = f"{damage} It is kept as {aside}; the records begin anew."
        get_log().error("database_set_aside", why=damage, kept_as=str(aside))
        return open_file(self.path, self.exports)

    def _insert(
        self, connection: duckdb.DuckDBPyConnection, records: Sequence[AccessRecord]
    ) -> int:
        with self._summing:
            return _insert(connection, records, self.summed_until)

    def _sum_some_hours(self, cursor: duckdb.DuckDBPyConnection, before: datetime) -> None:
        """Move `summed_until` on by the next day that has records, or up to `before`."""
        with self._summing, _changing(cursor):
            until = self.summed_until
            (first,) = cursor.execute(
                STATEMENTS["first_unsummed"], {"until": until, "before": before}
            ).fetchall()[0]
            reached = before
            if first is not None:
                reached = min(before, full_hour(first) + SUMMED_AT_ONCE)
                cursor.execute(STATEMENTS["sum_up"], {"until": until, "before": reached})
            cursor.execute(STATEMENTS["set_summed"], {"until": reached})
            cursor.commit()
            self.summed_until = reached

    def size(self) -> int:
        """Return the bytes on disk, without the log beside the file; 0 for a missing file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def _open_connection(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            raise StoreUnavailable(self.problem)
        return self._connection


async def _interrupt(cursor: duckdb.DuckDBPyConnection, task: asyncio.Task[Any]) -> None:
    """End the work of `task` on `cursor`. The interrupt is repeated, because an interrupt before
    the statement's begin is lost.
    """
    while not task.done():
        cursor.interrupt()
        await asyncio.wait([task], timeout=INTERRUPT_SECONDS)


def _as_row(record: AccessRecord) -> list[Any]:
    row = list(stored_row_of(record))
    row[TIMESTAMP_AT] = utc_time(record.timestamp)
    return row


def _insert(
    connection: duckdb.DuckDBPyConnection, records: Sequence[AccessRecord], summed_until: datetime
) -> int:
    """Insert every record once by id, skipping the records in the file; those of summed hours are
    added to the sums.
    """
    try:
        # By id: a batch may hold a record twice, when its delivery came again.
        rows = {record.request_id: _as_row(record) for record in records}
    except (ValueError, OverflowError) as error:
        raise RecordRefused(str(error)) from error
    instants = [row[TIMESTAMP_AT] for row in rows.values()]
    # The time of the batch limits the search for known ids to a small part of the table.
    span: dict[str, Any] = {"first": min(instants), "last": max(instants), "ids": list(rows)}
    try:
        connection.begin()
        try:
            for (known,) in connection.execute(STATEMENTS["known"], span).fetchall():
                del rows[known]
            _append(connection, "access_records", STORED_COLUMNS, rows.values())
            if prints := _fingerprints(records, rows):
                _append(connection, "fingerprints", FINGERPRINT_COLUMNS, prints)
            if span["first"] < summed_until:
                late = span | {"ids": list(rows), "until": summed_until}
                connection.execute(STATEMENTS["sum_late"], late)
            connection.commit()
        except BaseException:
            # The rollback may fail for the same reason as the commit; the first error is the one to
            # tell.
            with contextlib.suppress(duckdb.Error):
                connection.rollback()
            raise
    except duckdb.Error as error:
        raise StoreUnavailable(str(error)) from error
    return len(rows)


def _fingerprints(records: Sequence[AccessRecord], added: Mapping[str, Any]) -> list[list[Any]]:
    """Return the rows of the fingerprints of the records that are added."""
    found = {record.request_id: record for record in records if record.fingerprint}
    return [
        [name, utc_time(record.timestamp), record.fingerprint]
        for name, record in found.items()
        if name in added
    ]


def _append(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: list[str],
    rows: Iterable[list[Any]],
) -> None:
    appender = connection.appender(table, columns=columns)
    try:
        appender.append_rows(rows)
        appender.flush()
    except (duckdb.DataError, duckdb.ProgrammingError) as error:
        raise RecordRefused(str(error)) from error
    finally:
        # Rows that were refused must not be written when the appender is thrown away.
        appender.clear()


def _fetch(
    cursor: duckdb.DuckDBPyConnection, statement: str, parameters: dict[str, Any]
) -> list[Row]:
    try:
        found = cursor.execute(statement, parameters)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    except duckdb.OutOfMemoryException as error:
        raise ClientError(
            f"This takes more than the {CONFIG['memory_limit']} there are; ask for less."
        ) from error
    except duckdb.OperationalError as error:
        if is_damage(str(error)):
            raise
        raise StoreUnavailable(str(error)) from error
    finally:
        cursor.close()


def _fetch_freely(
    cursor: duckdb.DuckDBPyConnection, check: Callable[[Any], None], sql: str, limit: int
) -> list[Row]:
    try:
        parsed = cursor.execute(
            "SELECT json_serialize_sql($sql::VARCHAR)", {"sql": sql}
        ).fetchall()[0][0]
        # Parsed by DuckDB without being run, and judged before it is run.
        check(orjson.loads(parsed))
        # No table can be changed in here, whatever the checks let through. Closing the cursor ends
        # the transaction.
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        return _rows_within(cursor.execute(sql), limit)
    except duckdb.InterruptException:
        raise  # its caller is gone
    except (duckdb.Error, orjson.JSONDecodeError) as error:
        if is_damage(str(error)):
            raise
        raise ClientError(f"sql: {error}", param="sql") from error
    finally:
        cursor.close()


def _rows_within(found: duckdb.DuckDBPyConnection, limit: int) -> list[Row]:
    """Return at most `limit` rows of a result. Raises ClientError for more than ANSWER_BYTES of
    text.
    """
    names = [column[0] for column in found.description or ()]
    rows: list[Row] = []
    taken = 0
    # One by one: a value may be as long as the memory of DuckDB permits, and be in every row.
    while len(rows) < limit and (row := found.fetchone()) is not None:
        taken += len(str(row))
        if taken > ANSWER_BYTES:
            raise ClientError(
                f"sql: the first {len(rows) + 1} rows take more than {ANSWER_BYTES} bytes; ask for "
                "less.",
                param="sql",
            )
        rows.append(dict(zip(names, row, strict=True)))
    return rows


def _change(
    cursor: duckdb.DuckDBPyConnection, statements: Sequence[str], parameters: dict[str, Any]
) -> int:
    with _changing(cursor):
        changed = [cursor.execute(statement, parameters).fetchall() for statement in statements]
        cursor.commit()
        return int(changed[-1][0][0])


@contextlib.contextmanager
def _changing(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Begin a transaction, lost without a commit. Raises StoreUnavailable."""
    try:
        cursor.begin()
        yield
    except duckdb.InterruptException:
        raise  # its caller is gone
    except duckdb.Error as error:
        if is_damage(str(error)):
            raise
        raise StoreUnavailable(str(error)) from error
    finally:
        cursor.close()

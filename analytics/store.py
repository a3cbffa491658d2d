"""The DuckDB file: its schema, its one writer, its named queries. The only module that knows
DuckDB.

One process may open the file, and this is it. A batch is one transaction and adds each record once,
however often it is handed in, so the caller may acknowledge after `insert` and lose or double
nothing by dying at any point.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import orjson

from analytics.damage import Identity, identity_of, is_damage, is_duckdb_file, set_aside
from analytics.select import check_select
from shared.bus.channels import AccessRecord
from shared.bus.records import COLUMNS, row_of
from shared.runtime.errors import ClientError, StoreUnavailable
from shared.runtime.log import get_log

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "256MB",
    # rows stay in memory, a kilobyte each, until the log is written into the file
    "checkpoint_threshold": "4MB",
    "threads": 2,
    "autoinstall_known_extensions": False,  # nothing is downloaded behind the owner's back
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # a query sees tables, never the variables of this program
    "max_temp_directory_size": "1GB",
}
INTERRUPT_SECONDS = 0.05
HOLDER = re.compile(r"Conflicting lock is held in .*?\(PID (\d+)\)")

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC, and naive as the column is
TIMESTAMP_AT = COLUMNS.index("timestamp")

Row = dict[str, Any]
T = TypeVar("T")


class RecordRefused(ValueError):
    """A record of the batch has a value beyond the column; no record of the batch was stored."""


def load_statements(name: str) -> dict[str, str]:
    """Return the statements of an SQL file of this package, by the names given in `--
    name:` lines.
    """
    text = files("analytics").joinpath(name).read_text()
    _, *parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {key: body.strip() for key, body in zip(parts[::2], parts[1::2], strict=True)}


MIGRATIONS = [
    sql
    for _, sql in sorted((int(name), sql) for name, sql in load_statements("schema.sql").items())
]
FRAGMENTS = load_statements("queries.sql")
STATEMENTS = {
    name: sql.replace("{matching}", FRAGMENTS["matching"])
    .replace("{sums}", FRAGMENTS["sums"])
    .replace("{columns}", ", ".join(COLUMNS))
    for name, sql in FRAGMENTS.items()
}


class Store:
    """The DuckDB file, open or closed with a `problem`. One caller at a time may `insert`; any
    number may `query` meanwhile.
    """

    def __init__(self, path: Path, statements: Mapping[str, str] = STATEMENTS) -> None:
        self.path = path
        self.exports = path.with_name("exports")
        self._statements = statements
        self.problem = "The DuckDB file is not open yet."
        self.note = ""  # what became of a damaged file, for as long as this process lives
        self._damage = ""  # what a query met in the file that is open
        self._identity: Identity | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._working: dict[asyncio.Task[Any], duckdb.DuckDBPyConnection] = {}

    async def open(self) -> None:
        """Open the file after a creation or a migration; a damaged file is set aside first.

        Raises StoreUnavailable, whose message is kept as `problem`.
        """
        try:
            self._connection = await asyncio.to_thread(self._open_or_begin_anew)
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
        return await asyncio.to_thread(_insert, connection, records)

    async def query(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a named query. A cancelled caller interrupts the query. Raises
        StoreUnavailable.
        """
        return await self._run(_fetch, self._statements[name], dict(parameters))

    async def query_freely(self, sql: str, limit: int) -> list[Row]:
        """Return at most `limit` rows of a SELECT over `requests` and `hours`.

        Raises ClientError, in words, for any other statement; StoreUnavailable. Cancelling the
        caller interrupts the query.
        """
        return await self._run(_fetch_freely, sql, limit)

    async def change(self, *names: str, **parameters: Any) -> int:
        """Run named statements as a transaction. Return the number of rows changed by the last
        statement. Raises StoreUnavailable.
        """
        return await self._run(_change, [self._statements[name] for name in names], parameters)

    async def export(self, parameters: Mapping[str, Any], path: Path) -> None:
        """Write matching records as Parquet to a new file under `exports`. Raises
        StoreUnavailable.
        """
        target = str(path).replace("'", "''")
        statement = (
            f"COPY ({self._statements['export']}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )
        await self._run(_fetch, statement, dict(parameters))

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

    def _open_or_begin_anew(self) -> duckdb.DuckDBPyConnection:
        """Open the file; a damaged file is renamed, and a new file begun. Raises
        StoreUnavailable.
        """
        # Damage that a query has met is as good a reason as damage at the opening. It is forgotten
        # here, so that the new file starts without blame.
        damage = self._damage
        self._damage = ""
        if not damage:
            try:
                return _open(self.path, self.exports)
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
        return _open(self.path, self.exports)

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


def _open(path: Path, exports: Path) -> duckdb.DuckDBPyConnection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = duckdb.connect(path, config=CONFIG)
    except (OSError, duckdb.Error) as error:
        raise StoreUnavailable(_why_closed(path, str(error))) from error
    try:
        _migrate(connection, path)
        # The views name columns that a migration may have added, so the migration comes first.
        _close_in(connection, exports)
    except (duckdb.Error, StoreUnavailable) as error:
        connection.close()
        raise StoreUnavailable(str(error)) from error
    return connection


def _why_closed(path: Path, message: str) -> str:
    if holder := HOLDER.search(message):
        return (
            f"Another program (PID {holder[1]}) holds {path}; records wait in Redis until it lets "
            "go."
        )
    return f"The DuckDB file {path} cannot be opened: {first_line(message)}"


def first_line(words: object) -> str:
    """Return the first line of DuckDB's words, without the advice or trace on further lines."""
    return next(iter(str(words).splitlines()), "")


def _migrate(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER, applied_at TIMESTAMP)"
    )
    found = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchall()[
        0
    ][0]
    if found > len(MIGRATIONS):
        raise StoreUnavailable(
            f"{path} was written by a newer CCProxy (schema {found}, this one knows "
            f"{len(MIGRATIONS)}). Upgrade CCProxy, or set OBSERVABILITY__DUCKDB_PATH to another "
            "file."
        )
    # Each version is a transaction with its own row in `schema_versions`: a crash in between
    # repeats or skips no step.
    for version, script in enumerate(MIGRATIONS[found:], start=found + 1):
        connection.begin()
        connection.execute(script)
        connection.execute(
            "INSERT INTO schema_versions VALUES (?, ?)", [version, _utc(time.time())]
        )
        connection.commit()


def _close_in(connection: duckdb.DuckDBPyConnection, exports: Path) -> None:
    """From here on no statement reaches a file but the database and exports, and none can undo
    that.
    """
    connection.execute(STATEMENTS["views"])
    directory = str(exports).replace("'", "''")
    # The order matters: the directory cannot be named once external access is off, and nothing can
    # be changed once the configuration is locked.
    connection.execute(f"SET allowed_directories = ['{directory}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _utc(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)  # in half the time `fromtimestamp` takes


def _as_row(record: AccessRecord) -> list[Any]:
    row = list(row_of(record))
    row[TIMESTAMP_AT] = _utc(record.timestamp)
    return row


def _insert(connection: duckdb.DuckDBPyConnection, records: Sequence[AccessRecord]) -> int:
    """Insert every record once by id, skipping the records in the file."""
    try:
        # By id: a batch may hold a record twice, when its delivery came again.
        rows = {record.request_id: _as_row(record) for record in records}
    except (ValueError, OverflowError) as error:
        raise RecordRefused(str(error)) from error
    instants = [row[TIMESTAMP_AT] for row in rows.values()]
    # The time of the batch limits the search for known ids to a small part of the table.
    span = {"first": min(instants), "last": max(instants), "ids": list(rows)}
    try:
        connection.begin()
        try:
            for (known,) in connection.execute(STATEMENTS["known"], span).fetchall():
                del rows[known]
            _append(connection, rows.values())
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


def _append(connection: duckdb.DuckDBPyConnection, rows: Iterable[list[Any]]) -> None:
    appender = connection.appender("access_records", columns=COLUMNS)
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


def _fetch_freely(cursor: duckdb.DuckDBPyConnection, sql: str, limit: int) -> list[Row]:
    try:
        parsed = cursor.execute(
            "SELECT json_serialize_sql($sql::VARCHAR)", {"sql": sql}
        ).fetchall()[0][0]
        # Parsed by DuckDB without being run, and judged before it is run.
        check_select(orjson.loads(parsed))
        found = cursor.execute(sql)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchmany(limit)]
    except duckdb.InterruptException:
        raise  # its caller is gone
    except (duckdb.Error, orjson.JSONDecodeError) as error:
        if is_damage(str(error)):
            raise
        raise ClientError(f"sql: {error}", param="sql") from error
    finally:
        cursor.close()


def _change(
    cursor: duckdb.DuckDBPyConnection, statements: Sequence[str], parameters: dict[str, Any]
) -> int:
    try:
        cursor.begin()
        changed = [cursor.execute(statement, parameters).fetchall() for statement in statements]
        cursor.commit()
        return int(changed[-1][0][0])
    except duckdb.Error as error:
        if is_damage(str(error)):
            raise
        raise StoreUnavailable(str(error)) from error
    finally:
        cursor.close()

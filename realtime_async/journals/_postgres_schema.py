"""
The tables of a PostgreSQL journal: how they are made, and whether those that are there are ours.

    version  of these tables
    run      run_id ↔ a number; where the run stands, which of its sessions are open, and its lease
    part     texts that records of a run share ↔ a number
    record   (run, seq), three shared texts, the body: see `_compact`

A worker adds rows and moves runs on; it has no right to change or remove a record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import psycopg

from realtime_async.errors import JournalFailure

__all__ = ["NAMESPACE", "VERSION", "Connection", "check", "check_for_reading", "migrate"]

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

NAMESPACE: Final = "realtime_async"
VERSION: Final = 1
"""Of these tables; the records have one of their own."""

# Whoever migrates holds it; any number that nobody else in the database locks will do.  "rtaj"
LOCK: Final = 0x7274616A

# No foreign keys: each row would look its run up once more, and whoever writes has just locked it.
# An update of `run` changes no column that an index has, but when a session begins or ends.
# So the row stays in its page, where there is room for it.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE SCHEMA realtime_async",
        "CREATE TABLE realtime_async.version (version integer NOT NULL)",
        "INSERT INTO realtime_async.version VALUES (0)",
        """
        CREATE TABLE realtime_async.run (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            run_id text COLLATE "C" NOT NULL UNIQUE,
            last_seq bigint NOT NULL DEFAULT 0,
            open_sessions text[] NOT NULL DEFAULT '{}',
            token bigint NOT NULL DEFAULT 0,
            written_token bigint NOT NULL DEFAULT 0,
            owner text NOT NULL DEFAULT '',
            expires_at timestamptz NOT NULL DEFAULT '-infinity'
        ) WITH (fillfactor = 70)
        """,
        "CREATE INDEX run_open ON realtime_async.run (id) WHERE open_sessions <> '{}'",
        """
        CREATE TABLE realtime_async.part (
            run bigint NOT NULL,
            number integer NOT NULL,
            json text NOT NULL,
            PRIMARY KEY (run, number)
        )
        """,
        """
        CREATE TABLE realtime_async.record (
            run bigint NOT NULL,
            seq bigint NOT NULL,
            session integer NOT NULL,
            connection integer NOT NULL,
            sort integer NOT NULL,
            body text NOT NULL,
            PRIMARY KEY (run, seq)
        )
        """,
    ),
)

# What a worker must be allowed to do.
_RIGHTS = {
    "version": ("SELECT",),
    "run": ("SELECT", "INSERT", "UPDATE"),
    "part": ("SELECT", "INSERT"),
    "record": ("SELECT", "INSERT"),
}


def migrate(connection: Connection, name: str) -> None:
    """
    Bring the tables to this release's version; several may do so at once, and doing it again changes nothing.

    Raises:
        JournalFailure: The database is something else's, or a later release's.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        version = _version(connection, name)
        for step in _STEPS[version:]:
            for statement in step:
                connection.execute(statement)
            version += 1
            connection.execute("UPDATE realtime_async.version SET version = %s", (version,))


def check(connection: Connection, name: str) -> None:
    """
    Make sure that this is a journal that may be written.

    Raises:
        JournalFailure: It is not; the message says what to do.
    """
    if _one(connection, "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"):
        # As if we had tried to write: another server may be the primary by the time we look again.
        raise psycopg.errors.ReadOnlySqlTransaction
    _check(connection, name, _RIGHTS)


def check_for_reading(connection: Connection, name: str) -> None:
    """
    Make sure that this is a journal that may be read.

    Raises:
        JournalFailure: It is not; the message says what to do.
    """
    _check(connection, name, dict.fromkeys(_RIGHTS, ("SELECT",)))


def _check(connection: Connection, name: str, needed: Mapping[str, Sequence[str]]) -> None:
    version = _version(connection, name)
    if version < VERSION:
        met = "it was never migrated" if version == 0 else f"its tables have version {version} still"
        raise JournalFailure(
            f"{name} cannot be opened: {met}, and this release needs version {VERSION}; "
            "run PostgresJournal.migrate(dsn) with a role that may create tables"
        )
    missing = [
        f"{right} ON {NAMESPACE}.{table}"
        for table, rights in needed.items()
        for right in rights
        if not _one(connection, "SELECT has_table_privilege(%s, %s)", f"{NAMESPACE}.{table}", right)
    ]
    if missing:
        raise JournalFailure(
            f"{name} cannot be opened: its role has not all of the rights that it needs; GRANT {', '.join(missing)}"
        )


def _version(connection: Connection, name: str) -> int:
    """The version of the tables; 0 where nothing was ever made."""
    encoding = _one(connection, "SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise JournalFailure(
            f"{name} cannot be opened: the encoding of its database is {encoding}; make one with UTF8"
        )
    if not _one(connection, "SELECT to_regnamespace(%s) IS NOT NULL", NAMESPACE):
        return 0
    if not _one(connection, "SELECT has_schema_privilege(%s, 'USAGE')", NAMESPACE):
        raise JournalFailure(
            f"{name} cannot be opened: its role may not use what is in schema {NAMESPACE!r}; "
            f"GRANT USAGE ON SCHEMA {NAMESPACE}"
        )
    if not _one(connection, "SELECT to_regclass(%s) IS NOT NULL", f"{NAMESPACE}.version"):
        raise JournalFailure(
            f"{name} cannot be opened: schema {NAMESPACE!r} in that database is something else's; "
            "choose another database"
        )
    if not _one(connection, "SELECT has_table_privilege(%s, 'SELECT')", f"{NAMESPACE}.version"):
        raise JournalFailure(
            f"{name} cannot be opened: its role may not read the version of its tables; "
            f"GRANT SELECT ON {NAMESPACE}.version"
        )
    version = _one(connection, f"SELECT max(version) FROM {NAMESPACE}.version")
    if version is None:
        raise JournalFailure(
            f"{name} cannot be opened: the version of its tables is gone, as it is from a copy without data; "
            "restore it from a whole copy, or choose another database"
        )
    if version > VERSION:
        raise JournalFailure(
            f"{name} cannot be opened: it has version {version} of its tables, and this release "
            f"knows {VERSION}; use the release that migrated it, or a later one"
        )
    return int(version)


def _one(connection: Connection, statement: str, *parameters: object) -> Any:
    row = connection.execute(statement, parameters or None).fetchone()
    assert row is not None
    return row[0]

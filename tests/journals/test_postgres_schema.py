"""What cannot be opened or migrated: a clear error each, and nothing half-made."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from realtime_async.errors import AgentError, ContractViolation, JournalFailure, RetryClassification
from realtime_async.journals import PostgresJournal, _postgres_schema
from realtime_async.journals._postgres_link import Address, Link, _trouble
from realtime_async.ports import JournalCursor
from realtime_async.testing.journal_contract import RUN, record
from tests.postgres_server import PASSWORD, WORKER_RIGHTS, Database, DatabaseMaker

__all__: list[str] = []


@pytest.fixture
def empty(postgres: DatabaseMaker) -> Iterator[Database]:
    """A database that nobody has migrated."""
    with postgres.database(template="template0") as database:
        yield database


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime_async.journals.postgres.PATIENCE_S", 0.0)


async def opened(dsn: str) -> None:
    async with PostgresJournal.open(dsn, patience_s=4.0):
        pass


async def refusal(dsn: str) -> JournalFailure:
    """The error of opening *dsn*, which leaves no writer, and shows no password."""
    with pytest.raises(JournalFailure) as raised:
        await opened(dsn)
    assert not [each for each in threading.enumerate() if each.name.startswith("writer of")]
    assert raised.value.retry is RetryClassification.REPAIR_NEEDED
    assert_shows_nothing(raised.value)
    return raised.value


def assert_shows_nothing(error: BaseException | None) -> None:
    """No password, neither in the error nor in what led to it."""
    while error is not None:
        assert PASSWORD not in f"{error!r} {error} {getattr(error, '__notes__', '')}"
        error = error.__cause__ or error.__context__


async def test_a_database_that_was_never_migrated_is_refused(empty: Database) -> None:
    error = await refusal(empty.dsn)

    assert "it was never migrated" in error.message
    assert "PostgresJournal.migrate(dsn)" in error.message


async def test_migrating_again_changes_nothing(empty: Database) -> None:
    await PostgresJournal.migrate(empty.admin_dsn)
    await PostgresJournal.migrate(empty.admin_dsn)

    assert empty.execute("SELECT version FROM realtime_async.version") == [(1,)]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
async def test_many_may_migrate_at_once(empty: Database, isolation: str) -> None:
    """Whatever the database prefers: who waited for another sees what that one has made."""
    empty.execute(f"ALTER DATABASE {empty.name} SET default_transaction_isolation = '{isolation}'")

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(PostgresJournal.migrate, empty.admin_dsn)

    assert empty.execute("SELECT version FROM realtime_async.version") == [(1,)]


async def test_a_role_that_may_create_nothing_cannot_migrate_but_open(empty: Database) -> None:
    with pytest.raises(JournalFailure, match=r"cannot be migrated: its role has not the right") as raised:
        await PostgresJournal.migrate(empty.dsn)
    assert_shows_nothing(raised.value)

    await PostgresJournal.migrate(empty.admin_dsn)
    for grant in WORKER_RIGHTS:
        empty.execute(grant.format(worker=empty.server.worker))

    async with PostgresJournal.open(empty.dsn) as journal:
        assert await journal.append(record(RUN, 1)) == JournalCursor(RUN, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE realtime_async.record SET body = ''",
        "DELETE FROM realtime_async.record",
        "UPDATE realtime_async.version SET version = 2",
        "CREATE TABLE realtime_async.more (id int)",
    ],
)
def test_a_worker_cannot_change_what_is_recorded(postgres_database: Database, statement: str) -> None:
    import psycopg

    with (
        psycopg.connect(postgres_database.dsn) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize("work", [PostgresJournal.migrate, opened])
async def test_a_journal_of_a_later_release_is_refused(postgres_database: Database, work: object) -> None:
    postgres_database.execute("UPDATE realtime_async.version SET version = 2")

    with pytest.raises(JournalFailure, match="version 2 of its tables, and this release knows 1"):
        await work(postgres_database.admin_dsn)  # type: ignore[operator]  # each of them takes a DSN


@pytest.mark.parametrize("work", [PostgresJournal.migrate, opened])
async def test_a_journal_that_was_copied_without_its_data_is_refused(
    postgres_database: Database, work: object
) -> None:
    postgres_database.execute("DELETE FROM realtime_async.version")

    with pytest.raises(JournalFailure, match="the version of its tables is gone"):
        await work(postgres_database.admin_dsn)  # type: ignore[operator]  # each of them takes a DSN


async def test_a_journal_that_is_open_goes_on_when_its_tables_become_those_of_a_later_release(
    postgres_database: Database,
) -> None:
    """So that workers may be replaced after the migration, one after the other."""
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        await journal.append(record(RUN, 1))
        postgres_database.execute("UPDATE realtime_async.version SET version = 2")
        await journal.append(record(RUN, 2))
        postgres_database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'realtime_async' AND datname = current_database()"
        )

        assert await journal.append(record(RUN, 3)) == JournalCursor(RUN, 3)


async def test_a_journal_of_an_earlier_release_is_to_be_migrated(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres_schema, "VERSION", 2)

    error = await refusal(postgres_database.dsn)

    assert "its tables have version 1 still, and this release needs version 2" in error.message


@pytest.mark.parametrize("work", [PostgresJournal.migrate, opened])
async def test_a_database_of_something_else_is_refused(empty: Database, work: object) -> None:
    empty.execute("CREATE SCHEMA realtime_async CREATE TABLE guests (name text)")

    with pytest.raises(JournalFailure, match="is something else's; choose another database"):
        await work(empty.admin_dsn)  # type: ignore[operator]  # each of them takes a DSN


async def test_a_database_in_another_encoding_is_refused(postgres: DatabaseMaker) -> None:
    name = f"{postgres.template}_latin"
    postgres.server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        error = await refusal(postgres.server.dsn(name))
    finally:
        postgres.server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    assert "encoding of its database is LATIN1; make one with UTF8" in error.message


@pytest.mark.parametrize(
    "revoked, said",
    [
        ("INSERT ON realtime_async.record", "GRANT INSERT ON realtime_async.record"),
        ("UPDATE ON realtime_async.run", "GRANT UPDATE ON realtime_async.run"),
        ("USAGE ON SCHEMA realtime_async", "GRANT USAGE ON SCHEMA realtime_async"),
        ("SELECT ON realtime_async.version", "GRANT SELECT ON realtime_async.version"),
    ],
)
async def test_a_right_that_is_missing_is_named(postgres_database: Database, revoked: str, said: str) -> None:
    postgres_database.execute(f"REVOKE {revoked} FROM {postgres_database.server.worker}")

    error = await refusal(postgres_database.dsn)

    assert said in error.message


async def test_a_database_that_does_not_exist_is_named(postgres: DatabaseMaker) -> None:
    error = await refusal(postgres.server.dsn("nowhere"))

    assert "/nowhere'" in error.message
    assert "there is no such database" in error.message


async def test_a_wrong_password_is_refused_at_once_and_shown_nowhere(
    postgres_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    dsn = make_conninfo(postgres_database.dsn, password=f"not-{PASSWORD}")

    with anyio.fail_after(5):
        with pytest.raises(JournalFailure, match="refuses its role or password") as raised:
            async with PostgresJournal.open(dsn):
                pass

    assert_shows_nothing(raised.value)
    assert PASSWORD not in caplog.text


async def test_a_role_that_does_not_exist_is_refused(postgres_database: Database) -> None:
    error = await refusal(make_conninfo(postgres_database.dsn, user="nobody-knows"))

    assert "refuses its role or password" in error.message


async def test_nothing_of_a_journal_shows_its_password(postgres_database: Database) -> None:
    async with PostgresJournal.open(postgres_database.dsn) as journal:
        database = journal._database
        shown = [journal, database, database._writer, database._leases, journal._commits]

        assert PASSWORD in database._writer._parameters
        assert PASSWORD not in " ".join(map(repr, shown)) + journal._commits._thread.name + database.name


@pytest.mark.parametrize(
    "dsn",
    [f"host=h {PASSWORD}", f"postgresql://u:{PASSWORD} {PASSWORD}@h/d", f"ftp://u:{PASSWORD}@h"],
    ids=["words", "url", "other"],
)
@pytest.mark.parametrize("work", [PostgresJournal.migrate, opened])
async def test_a_dsn_that_cannot_be_read_is_not_repeated(dsn: str, work: object) -> None:
    with pytest.raises(ContractViolation, match=r"expected postgresql://USER@HOST:PORT/DATABASE") as raised:
        await work(dsn)  # type: ignore[operator]  # each of them takes a DSN

    assert_shows_nothing(raised.value)


@pytest.mark.parametrize("seconds", ["30", None, True, 10**400], ids=lambda each: f"{each!r:.9}")
@pytest.mark.parametrize("what", ["lease", "patience"])
async def test_what_is_no_number_of_seconds_is_refused(what: str, seconds: Any) -> None:
    with pytest.raises(ContractViolation, match=f"the {what} is .*: give a number of seconds"):
        async with PostgresJournal.open(nowhere(), **{f"{what}_s": seconds}):
            pass


@pytest.mark.parametrize("dsn", [None, b"postgresql://h/d", "host=\ud800"], ids=ascii)
@pytest.mark.parametrize("work", [PostgresJournal.migrate, opened])
async def test_what_is_no_text_is_no_dsn(dsn: object, work: object) -> None:
    with pytest.raises(ContractViolation, match="the DSN cannot be read: expected"):
        await work(dsn)  # type: ignore[operator]  # each of them takes a DSN


@pytest.mark.parametrize(
    "words, said",
    [
        ("sslmode=verify-full sslrootcert=/nowhere", "its DSN demands a safe connection, and there is none"),
        ("sslmode=always", "a parameter of its DSN has a value that cannot be used"),
        ("keepalives=often", "a parameter of its DSN has a value that cannot be used"),
        ("service=of-nobody", "a parameter of its DSN has a value that cannot be used"),
        ("options='-c no_such=1'", "a parameter of its DSN has a value that cannot be used"),
        (
            "target_session_attrs=read-write options='-c default_transaction_read_only=on'",
            "read-only, as a standby is; point the DSN at the primary",
        ),
    ],
)
async def test_what_the_dsn_demands_in_vain_is_told(
    postgres_database: Database, words: str, said: str
) -> None:
    dsn = make_conninfo(postgres_database.dsn, **conninfo_to_dict(words))

    with pytest.raises(JournalFailure) as raised:
        async with PostgresJournal.open(dsn, patience_s=0.0):
            pass

    assert said in raised.value.message
    assert_shows_nothing(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "server does not support SSL, but SSL was required",
        'root certificate file "/home/worker/.postgresql/root.crt" does not exist',
        "SSL error: certificate verify failed",
        'server certificate for "db1" does not match host name "db2"',
    ],
)
def test_a_connection_that_cannot_be_made_safe_is_told(text: str) -> None:
    assert "and at the server's certificate" in _trouble(psycopg.OperationalError(text)).said


def test_a_safe_connection_that_was_lost_counts_as_away() -> None:
    lost = _trouble(psycopg.OperationalError("SSL connection has been closed unexpectedly"))

    assert "it cannot be reached, or went away" in lost.said


@pytest.mark.parametrize(
    "before_it", ["carol:p@", "carol:p/", "carol:1/", "carol@db1:"], ids=["at", "slash", "port", "name"]
)
def test_a_password_that_was_not_escaped_is_taken_for_no_address(before_it: str) -> None:
    """What can be read as an address is read as one; it is told without what may have been meant otherwise."""
    address = Address.of(f"postgresql://{before_it}{PASSWORD}@db1/calls")

    assert address.name == "journal 'postgresql://***@db1/calls'"


@pytest.mark.parametrize(
    "dsn, told",
    [
        ("host=db1,port=5432,user=carol,password={},dbname=calls", "db1,port***"),
        ("host=db1 port=5432;password={}", "db1:***/"),
        ("host=db1 dbname=calls,password={}", "db1/calls,password***"),
        ("host='db1 password={}'", "db1***"),
        ("postgresql://carol@db1/calls&password={}", "db1/calls***"),
        ("postgresql://carol@db1/calls;password={}", "db1/calls***"),
        ("postgresql://carol@db1/calls#{}", "db1/calls***"),
        ("postgresql://carol:{}", "carol:***/"),
        ("dbname='postgresql://db1/calls?password={}'", "/postgresql://db1/calls***"),
        ("host=db1,db2 port=5432,5433 dbname=calls", "db1,db2:5432,5433/calls"),
        ("host=/var/run/postgresql dbname=ü_1", "/var/run/postgresql/ü_1"),
        ("hostaddr=::1 port=5432", "::1:5432/"),
    ],
)
def test_words_that_were_not_divided_are_not_told_with_a_name(dsn: str, told: str) -> None:
    assert Address.of(dsn.format(PASSWORD)).name == f"journal 'postgresql://{told}'"


def nowhere() -> str:
    """A DSN that nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"postgresql://worker:{PASSWORD}@127.0.0.1:{free.getsockname()[1]}/calls"


async def test_a_server_that_is_away_is_named_after_patience() -> None:
    error = await refusal(nowhere())

    assert "cannot be reached, or went away" in error.message
    assert "127.0.0.1" in error.message


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_is_away_cannot_be_migrated() -> None:
    with pytest.raises(AgentError, match="cannot be migrated: it cannot be reached") as raised:
        await PostgresJournal.migrate(nowhere())

    assert_shows_nothing(raised.value)


async def test_a_server_that_is_read_only_is_refused(postgres_database: Database) -> None:
    postgres_database.execute(
        f"ALTER DATABASE {postgres_database.name} SET default_transaction_read_only = on"
    )

    error = await refusal(postgres_database.dsn)

    assert "read-only, as a standby is; point the DSN at the primary (SQLSTATE 25006)" in error.message


def test_without_its_driver_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['psycopg'] = None; from realtime_async.journals import PostgresJournal"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "PostgresJournal needs psycopg: pip install 'realtime-async[postgres]'" in ended.stderr


def test_the_server_compiles_nothing_that_a_journal_asks(postgres_database: Database) -> None:
    """Each opening would take it 150 ms more, for a table of one row."""
    postgres_database.execute(f"ALTER DATABASE {postgres_database.name} SET jit = on")
    link = Link(Address.of(postgres_database.dsn), 4.0)
    try:
        asked = link.run("cannot be asked", lambda connection: connection.execute("SHOW jit").fetchone())
    finally:
        link.close()

    assert asked == ("off",)

"""
A PostgreSQL server for tests: a cluster of their own in a temporary folder, which they may stop, start and kill,
or, for those that need no more than a database, the one that REALTIME_ASYNC_TEST_POSTGRES names.
"""

from __future__ import annotations

import os
import pwd
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import quote

import anyio
import attrs
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from realtime_async.journals import PostgresJournal

__all__ = [
    "PASSWORD",
    "VARIABLE",
    "Cluster",
    "Database",
    "DatabaseMaker",
    "Server",
    "cluster",
    "databases",
    "no_server",
]

START_S = 30.0
VARIABLE = "REALTIME_ASYNC_TEST_POSTGRES"
PASSWORD = "open-sesame-4711"
"""Of the role of a worker; to be met nowhere."""
WORKER_RIGHTS = (
    "GRANT USAGE ON SCHEMA realtime_async TO {worker}",
    "GRANT SELECT ON realtime_async.version TO {worker}",
    "GRANT SELECT, INSERT, UPDATE ON realtime_async.run TO {worker}",
    "GRANT SELECT, INSERT ON realtime_async.part, realtime_async.record TO {worker}",
)


def no_server() -> str:
    return (
        "these tests need PostgreSQL's programs initdb and postgres: apt-get install postgresql, or put them on PATH; "
        f"or name a server by {VARIABLE}=postgresql://SUPERUSER@HOST/DATABASE; {VARIABLE}=none leaves these tests out"
    )


def programs() -> Path | None:
    """The folder with initdb and postgres; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    return versions[-1].parent if versions else None


def _url(dsn: str, database: str, user: str | None = None, password: str | None = None) -> str:
    """Where *dsn* leads, but to *database*, for whom *dsn* names or for *user*."""
    given = conninfo_to_dict(dsn)

    def known(name: str, variable: str) -> str:
        return str(given.get(name) or os.environ.get(variable) or "")

    user, password = user or known("user", "PGUSER"), password or known("password", "PGPASSWORD")
    host, port = known("host", "PGHOST"), known("port", "PGPORT") or "5432"
    return f"postgresql://{quote(user)}:{quote(password)}@{quote(host, safe='')}:{port}/{database}"


@attrs.frozen
class Server:
    """A server, as its superuser reaches it, and the role of a worker there."""

    admin_dsn: str = attrs.field(repr=False)
    worker: str

    def execute(self, statement: str, *, database: str | None = None) -> list[tuple[Any, ...]]:
        dsn = self.admin_dsn if database is None else make_conninfo(self.admin_dsn, dbname=database)
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.SQL(statement))
            return cursor.fetchall() if cursor.description else []

    def dsn(self, database: str) -> str:
        """How a worker reaches *database*: as a URL."""
        return _url(self.admin_dsn, database, self.worker, PASSWORD)


@attrs.frozen
class Database:
    """A database of its own for one test."""

    server: Server
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    def dsn_of(self, role: str, password: str) -> str:
        return _url(self.server.admin_dsn, self.name, role, password)

    @property
    def admin_dsn(self) -> str:
        return _url(self.server.admin_dsn, self.name)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.execute(statement, database=self.name)


@contextmanager
def databases(admin_dsn: str) -> Iterator[DatabaseMaker]:
    """What makes migrated databases on a server; all are gone afterwards."""
    nonce = secrets.token_hex(4)
    server = Server(admin_dsn, f"worker_{nonce}")
    maker = DatabaseMaker(server, f"template_{nonce}")
    server.execute(f"CREATE ROLE {server.worker} LOGIN PASSWORD '{PASSWORD}'")
    server.execute(f"CREATE DATABASE {maker.template} ENCODING 'UTF8' TEMPLATE template0")
    try:
        anyio.run(PostgresJournal.migrate, make_conninfo(admin_dsn, dbname=maker.template))
        for grant in WORKER_RIGHTS:
            server.execute(grant.format(worker=server.worker), database=maker.template)
        yield maker
        server.execute(f"DROP OWNED BY {server.worker}", database=maker.template)
    finally:
        server.execute(f"DROP DATABASE {maker.template} WITH (FORCE)")
        server.execute(f"DROP ROLE IF EXISTS {server.worker}")


@attrs.define
class DatabaseMaker:
    server: Server
    template: str
    made: int = 0

    @contextmanager
    def database(self, *, template: str | None = None) -> Iterator[Database]:
        self.made += 1
        name = f"{self.template}_{self.made}"
        self.server.execute(f"CREATE DATABASE {name} TEMPLATE {template or self.template}")
        try:
            yield Database(self.server, name)
        finally:
            self.server.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Cluster:
    """A server that is ours to stop."""

    def __init__(self, directory: Path, programs: Path, fsync: Literal["on", "off"]) -> None:
        self._data = directory / "data"
        self._log = directory / "log"
        self._programs = programs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        # The server refuses to run as root.
        self._user = next(
            (name for name in ("postgres", "nobody") if os.geteuid() == 0 and _exists(name)), None
        )
        if self._user is not None:
            shutil.chown(directory, self._user)
        password = directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._process: subprocess.Popen[bytes] | None = None
        made = self._begun(
            "initdb", "--pgdata", str(self._data), "--username", "admin", "--pwfile", str(password),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--wal-segsize", "1",
        ).wait(START_S)  # fmt: skip
        if made != 0:
            raise RuntimeError(f"initdb failed with {made}\n{self._log.read_text()[-2000:]}")
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": self.port,
            "unix_socket_directories": "''",
            "shared_buffers": "'32MB'",
            "max_connections": 200,
            "fsync": fsync,
            # A commit that does not wait for the disk is seen not to.
            "wal_writer_delay": "'10s'",
        }
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    @property
    def admin_dsn(self) -> str:
        return f"postgresql://admin:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self, *, largest_file: int | None = None) -> None:
        """
        Start it, and wait until it lets somebody in.

        Args:
            largest_file: In bytes; a file that would grow beyond it is to the server as a disk without room.
        """
        deadline = time.monotonic() + START_S
        while not self._lets_in():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start\n{self._log.read_text()[-2000:]}")
            # What a killed server leaves behind may keep the next from starting at first.
            if self._process is None or self._process.poll() is not None:
                self._process = self._begun("postgres", "-D", str(self._data), largest_file=largest_file)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends what runs, SIGQUIT is as a power cut, and after SIGKILL it can't say goodbye."""
        assert self._process is not None
        children: list[str] = []
        if how is signal.SIGKILL:
            asked = ["pgrep", "--parent", str(self._process.pid)]
            children = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
        self._process.send_signal(how)
        for pid in children:
            os.kill(int(pid), how)
        self._process.wait(START_S)
        self._process = None

    def _lets_in(self) -> bool:
        try:
            psycopg.connect(self.admin_dsn).close()
        except psycopg.OperationalError:
            return False
        return True

    def _begun(
        self, program: str, *arguments: str, largest_file: int | None = None
    ) -> subprocess.Popen[bytes]:
        limit = None
        if largest_file is not None:
            limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest_file, largest_file))
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *arguments],
                cwd="/",
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else [],
                preexec_fn=limit,  # noqa: PLW1509 - a system call, and nothing that could wait
                stdout=log,
                stderr=log,
            )


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


@contextmanager
def cluster(fsync: Literal["on", "off"] = "on") -> Iterator[Cluster]:
    """
    Make a cluster and start it; it is gone afterwards.

    Args:
        fsync: "off" survives the death of the server, not that of the machine, and drops databases in no time.

    Raises:
        LookupError: This machine has no programs for it.
    """
    found = programs()
    if found is None:
        raise LookupError(no_server())
    with TemporaryDirectory(prefix="postgres-") as folder:
        made = Cluster(Path(folder), found, fsync)
        made.start()
        try:
            yield made
        finally:
            made.stop(signal.SIGQUIT)

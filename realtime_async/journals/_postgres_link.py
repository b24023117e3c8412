"""
A connection to a PostgreSQL server that may go away: it is made anew, and what was asked is asked again.

Whatever is asked must bear that, as an answer that was lost tells nothing about what was done.
No text of the server or of the driver gets into a message: it may quote the DSN, and with it a password.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from realtime_async.errors import ContractViolation, JournalCorrupt, JournalFailure
from realtime_async.journals._postgres_schema import Connection
from realtime_async.journals._verdicts import closed

__all__ = ["Address", "Link"]

T = TypeVar("T")

# The server ends a statement that takes longer than patience lasts; one that says nothing even then is not listened to.
GRACE_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 0.5


HIDDEN: Final = "***"
_NUMBERS: Final = re.compile(r"[\d,]*")
_PLAIN: Final = re.compile(r"[\w.,:/*+~-]*")


@attrs.frozen
class Address:
    """Where a journal is.  Its parameters may hold a password, and are shown nowhere."""

    name: str
    parameters: str = attrs.field(repr=False)

    @classmethod
    def of(cls, dsn: str) -> Address:
        """
        Read *dsn*, a URL or `key=value` words.

        Raises:
            ContractViolation: It is neither.
        """
        given = _read(dsn)
        if given is None:
            raise ContractViolation(
                "the DSN cannot be read: expected postgresql://USER@HOST:PORT/DATABASE, or words key=value"
            )
        defaults: dict[str, str | int] = {
            "application_name": "realtime_async",
            # A machine that is gone without a word is noticed within seconds.
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "tcp_user_timeout": 5000,
            "connect_timeout": 3,
        }
        return cls(
            f"journal 'postgresql://{_told(given)}'",
            make_conninfo(
                dsn,
                # What is asked by itself goes as UTF-8, whatever the DSN would have.
                client_encoding="utf8",
                **{key: value for key, value in defaults.items() if key not in given},
            ),
        )


def _told(given: Mapping[str, Any]) -> str:
    """Where a DSN leads, without what may have been meant for a password."""
    host = given.get("host") or given.get("hostaddr") or ""
    port = given.get("port") or ""
    if "@" not in port and not _NUMBERS.fullmatch(port):
        port = HIDDEN
    # A password that was not escaped is cut at its first @ or /, and the rest of it taken for an address.
    *unescaped, where = f"{host}{port and ':'}{port}/{given.get('dbname') or ''}".rsplit("@", 1)
    # Words that no space divides, or no question mark before them, are taken for the end of a name.
    name = _PLAIN.match(where)
    assert name is not None
    return f"{HIDDEN + '@' if unescaped else ''}{name[0]}{HIDDEN if name[0] != where else ''}"


def _read(dsn: object) -> Mapping[str, Any] | None:
    """The parameters of a DSN; None: it is none, and what libpq says of that quotes it."""
    # Where it comes from the environment, it may be missing there.
    if not isinstance(dsn, str):
        return None
    try:
        return conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError):
        return None


@attrs.frozen
class Trouble:
    """What an error of the server or of the way to it means."""

    said: str
    passes: bool = False
    """It may be over soon, and asking again does no harm."""
    ends: bool = False
    """The connection is of no more use."""
    kind: type[JournalFailure] = JournalFailure


_AWAY = Trouble(
    "it cannot be reached, or went away; see that its server runs, and that its address is right",
    passes=True,
    ends=True,
)
_SILENT = Trouble(
    "its server does not answer; look at its load, and at the network in between", passes=True, ends=True
)
_UNUSABLE = Trouble("a parameter of its DSN has a value that cannot be used; look at the DSN", ends=True)
_UNSAFE = Trouble(
    "its DSN demands a safe connection, and there is none; look at its sslmode and sslrootcert, "
    "and at the server's certificate",
    passes=True,
    ends=True,
)
_DENIED = Trouble("the server refuses its role or password; look at the DSN and at the server's pg_hba.conf")

# By SQLSTATE.
_TROUBLES = {
    "23505": Trouble(
        "it holds records beyond where their run stands; restore it from a copy", kind=JournalCorrupt
    ),
    "25006": Trouble(
        "its server is read-only, as a standby is; point the DSN at the primary", passes=True, ends=True
    ),
    "25P03": Trouble("the server ended a transaction that rested; look at its load", passes=True, ends=True),
    "25P04": Trouble(
        "the server ended a transaction that took too long; look at its load", passes=True, ends=True
    ),
    "26000": Trouble(
        "its server forgets what was prepared; a pooler in between must give each connection a session",
        passes=True,
    ),
    "28000": _DENIED,
    "28P01": _DENIED,
    "3D000": Trouble("there is no such database; create it, or look at the DSN"),
    "3F000": Trouble("its tables are gone; restore it from a copy"),
    "40001": Trouble("others write the same runs all the time", passes=True),
    "40P01": Trouble("others write the same runs all the time", passes=True),
    "42501": Trouble("its role has not the right; GRANT it"),
    "42P01": Trouble("its tables are gone; restore it from a copy"),
    "53100": Trouble("the disk of its server is full; make room there"),
    "53300": Trouble(
        "its server has no connection left; raise max_connections, or the limit of its role or database",
        passes=True,
        ends=True,
    ),
    "55P03": Trouble("others hold what is to be written; look at the server's locks", passes=True),
    "57014": Trouble("a statement took too long; look at the server's load and locks", passes=True),
    "57P01": _AWAY,
    "57P02": _AWAY,
    "57P03": _AWAY,
    "57P05": Trouble(
        "the server ended a connection that rested; look at its settings", passes=True, ends=True
    ),
    "XX001": Trouble("it is damaged; restore it from a copy", kind=JournalCorrupt),
    "XX002": Trouble("it is damaged; restore it from a copy", kind=JournalCorrupt),
}

# A refused connection bears no SQLSTATE, so its text must do; in another language, the server counts as away.
# One that is made safe and then lost says SSL, too: only what keeps it from being made safe is to be told here.
_REFUSALS: tuple[tuple[re.Pattern[str], str | Trouble], ...] = (
    (re.compile(r"starting up|shutting down|not yet accepting|recovery"), "57P03"),
    (re.compile(r"authentication failed|no password supplied|role .* does not exist|pg_hba"), "28P01"),
    (re.compile(r"database .* does not exist"), "3D000"),
    (re.compile(r"permission denied"), "42501"),
    (re.compile(r"too many|connection slots"), "53300"),
    (re.compile(r"session is read-only|server is in hot standby"), "25006"),
    (re.compile(r"does not support SSL|SSL not in use|[Cc]ertificate"), _UNSAFE),
    (
        re.compile(
            r"invalid [^:]*value|invalid port number|could not match|could not parse network address"
            r"|definition of service|service file|unrecognized configuration parameter"
        ),
        _UNUSABLE,
    ),
)


def _trouble(error: psycopg.Error) -> Trouble:
    if isinstance(error, psycopg.errors.ConnectionTimeout | _Silence):
        return _SILENT
    state = error.sqlstate
    if state is None and isinstance(error, psycopg.OperationalError):
        text = str(error)
        said = next((said for pattern, said in _REFUSALS if pattern.search(text)), "08006")
        if isinstance(said, Trouble):
            return said
        state = said
    if state is None:
        return Trouble(f"the driver raised {type(error).__name__}", ends=True)
    if state.startswith("08"):
        return _AWAY
    return _TROUBLES.get(state) or Trouble(f"the server answered with SQLSTATE {state}; look at its log")


# A worker that stops within a transaction must not keep others from its runs for longer than a statement may take.
# Every row is looked up by an index: the planner doesn't know how a table has grown since it last looked,
# and a plan that was good for a small one is kept.
# Where there is no index, as with the version, a plan counts as so dear then that it is compiled, for 150 ms.
# Who waited for a lock must see what was written meanwhile, whatever isolation the database prefers.
# A moment in another style than ISO the driver cannot read.
_SETTINGS = """
    SELECT set_config('search_path', 'pg_catalog, pg_temp', false),
        set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
        set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false),
        set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off', false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('datestyle', 'ISO', false),
        set_config('statement_timeout', %(ms)s, false),
        set_config('idle_in_transaction_session_timeout', %(ms)s, false),
        set_config('synchronous_commit', CASE current_setting('synchronous_commit')
            WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""


class _Silence(psycopg.OperationalError):
    """The server was not heard of for too long."""


class _LimitedConnection(psycopg.Connection[tuple[Any, ...]]):
    """
    A connection that is left where its server is silent.

    The system notices a machine that is gone, but not a server, or a proxy before it, that is there and says nothing.
    What was asked last may be done all the same, then or much later.
    """

    silence_s: float = math.inf

    def wait(self, gen: Generator[Any, Any, T], *how: Any, **more: Any) -> T:
        return super().wait(self._unless_silent(gen), *how, **more)

    def _unless_silent(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Pass *gen* on, which is told several times a second that nothing came."""
        try:
            wanted = next(gen)
            heard_at = time.monotonic()
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    heard_at = now
                elif now - heard_at >= self.silence_s:
                    # Before anybody tries to end a transaction on it.
                    self.pgconn.finish()
                    raise _Silence("no answer")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result


class Link:
    """One connection at a time, for one thread at a time."""

    def __init__(self, address: Address, patience_s: float) -> None:
        self.name = address.name
        self._parameters = address.parameters
        self._patience_s = patience_s
        self._connection: Connection | None = None
        self._away_since: float | None = None
        self._is_closed = threading.Event()

    def run(self, what: str, work: Callable[[Connection], T]) -> T:
        """
        Do *work* on a connection, again where that was lost or the server had no time, as long as patience lasts.

        Patience begins with the first failure after a success, whatever *work* it met.

        Args:
            what: Is said of the journal if it fails: "cannot be read".

        Raises:
            JournalFailure: It cannot be done.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                result = work(self._connected())
            except psycopg.Error as error:
                trouble, state = _trouble(error), error.sqlstate
                self._meet(trouble)
            else:
                self._away_since = None
                return result
            if not trouble.passes or self._is_impatient():
                # Outside of the handler, so that the driver's error, which knows the DSN, is not its context.
                code = f" (SQLSTATE {state})" if state else ""
                raise trouble.kind(f"{self.name} {what}: {trouble.said}{code}")
            if self._is_closed.wait(pause_s):
                raise closed(self.name)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    def once(self, work: Callable[[Connection], T]) -> T | None:
        """Do *work* if the server is there; None: it was not."""
        try:
            return work(self._connected())
        except psycopg.Error as error:
            self._meet(_trouble(error))
            return None

    def end_patience(self) -> None:
        """Let whoever uses it finish what he asks, and ask nothing more; any thread may say so."""
        self._is_closed.set()

    def close(self) -> None:
        self._is_closed.set()
        self._drop()

    def _connected(self) -> Connection:
        if self._is_closed.is_set():
            raise closed(self.name)
        if self._connection is None or self._connection.closed:
            connection = _LimitedConnection.connect(self._parameters, autocommit=True, prepare_threshold=0)
            connection.silence_s = self._patience_s + GRACE_S
            try:
                connection.execute(_SETTINGS, {"ms": str(round(self._patience_s * 1000))})
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _meet(self, trouble: Trouble) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
        if trouble.ends or (self._connection is not None and self._connection.broken):
            self._drop()

    def _is_impatient(self) -> bool:
        assert self._away_since is not None
        return time.monotonic() - self._away_since >= self._patience_s

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

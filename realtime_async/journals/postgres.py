"""A journal in a PostgreSQL database, for many workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

import anyio.to_thread

from realtime_async._core.cursors import is_position
from realtime_async._core.given import is_number, shown
from realtime_async.errors import ContractViolation
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._orphans import OrphanedRun
from realtime_async.journals._postgres_link import Address, Link
from realtime_async.journals._postgres_schema import migrate
from realtime_async.journals._postgres_store import PostgresStore
from realtime_async.journals._reading import HIGHEST_SEQ
from realtime_async.journals._stored import StoredJournal, check_place, packed
from realtime_async.journals._taken import Taken
from realtime_async.journals._verdicts import Durable, conflict, gap, released
from realtime_async.ports import JournalCursor, JournalRecord, RunId

__all__ = ["PostgresJournal"]

PATIENCE_S = 8.0
LEASE_S = 30.0
# A day: whoever is dead for so long has lost the run's caller, and the database has no date for a lease without an end.
LONGEST_LEASE_S = 86_400.0


class PostgresJournal(StoredJournal):
    """
    Runs in a PostgreSQL database that many workers share, each run written by one of them at a time.

    Make one with `open`; it belongs to the event loop that opened it, and has two connections.
    Whoever writes a run holds a lease on it, which every append renews, and the journal itself while nothing is
    appended, until each session of the run has its terminal record or the journal is closed.
    A lease keeps a run from `orphans`; it keeps nobody from resuming the run, and then its older owner's next
    append raises JournalConflict.
    """

    def __init__(self, store: PostgresStore, commits: GroupCommit) -> None:
        super().__init__(store.reading, commits)
        self._database = store

    @classmethod
    async def migrate(cls, dsn: str) -> None:
        """
        Make the tables in the database of *dsn*, or bring them to this release's version.

        It needs a role that may create a schema there; `open` doesn't.
        Several may do this at once, and doing it again changes nothing.

        Raises:
            ContractViolation: The DSN cannot be read.
            JournalFailure: The database is something else's or a later release's, or the role may not.
        """
        address = Address.of(dsn)

        def work() -> None:
            link = Link(address, PATIENCE_S)
            try:
                link.run("cannot be migrated", partial(migrate, name=link.name))
            finally:
                link.close()

        await anyio.to_thread.run_sync(work)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, dsn: str, *, patience_s: float = PATIENCE_S, lease_s: float = LEASE_S
    ) -> AsyncIterator[Self]:
        """
        Open the journal in the database of *dsn*, a URL or libpq's `key=value` words, which was migrated before.

        Args:
            patience_s: How long appends wait for a server that is away, or has no time, before their runs stop.
                Keep it below `Deadlines.journal`, as a session waits no longer than that.
                A server that says nothing for a second longer counts as away.
            lease_s: For how long a run whose worker is gone has an owner all the same; a day at most.

        Raises:
            ContractViolation: The DSN cannot be read, or a lease would expire while patience lasts, or lasts too long,
                or one of them is no number.
            JournalFailure: The server is away or refuses, or the database is no journal of this release.
                On the way out: a run has stopped, and nobody was told.
        """
        for what, seconds in (("lease", lease_s), ("patience", patience_s)):
            if not is_number(seconds):
                raise ContractViolation(f"the {what} is {shown(seconds)}: give a number of seconds")
        if not 0 <= patience_s < lease_s / 2:
            raise ContractViolation(
                f"a lease of {lease_s!r} s is too short for a patience of {patience_s!r} s: it may be half over "
                "when the server goes away; make it more than twice as long"
            )
        if lease_s > LONGEST_LEASE_S:
            raise ContractViolation(
                f"a lease of {lease_s!r} s is too long: a run whose worker is gone would wait for it; "
                f"make it {LONGEST_LEASE_S:g} s at most"
            )
        store = PostgresStore(Address.of(dsn), patience_s=patience_s, lease_s=lease_s)
        commits = GroupCommit(store, store.name)
        await commits.open()
        journal = cls(store, commits)
        try:
            yield journal
        finally:
            await journal.aclose()

    def append(self, record: JournalRecord) -> Durable | Taken:
        """
        Take *record* into the next commit.

        Up to 20,000 records, or 32 million characters, gather while a commit runs or the server is away;
        after that it raises.  A small batch goes in one statement, a large one by COPY.
        What only the server can tell, a conflict with another worker above all, is raised when it is awaited.
        """
        if self._commits.follows(record):
            return self._commits.take(record, packed(record))
        check_place(record)
        run_id, seq = record.run_id, record.journal_seq
        position = self._commits.position(run_id)
        pending = self._commits.pending(run_id, seq)
        if pending is not None:
            if pending.record != record:
                raise conflict(record)
            return pending
        if position and not 1 <= seq <= position:
            raise gap(record, position + 1)
        # Where the run is not known here, the writer finds out whether this comes next.
        return self._commits.take(record, packed(record), is_repeat=position > 0)

    async def last(self, run_id: RunId) -> JournalCursor | None:
        cursor = await super().last(run_id)
        if cursor is not None:
            self._has_read(cursor.run_id, cursor.journal_seq)
        return cursor

    async def _records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]:
        records = await super()._records_after(run_id, position)
        if records:
            self._has_read(run_id, records[-1].journal_seq)
        return records

    def _has_read(self, run_id: RunId, journal_seq: int) -> None:
        """A run that was written elsewhere meanwhile may be taken over again by whoever has read where it stands."""
        if self._commits.is_behind(run_id, journal_seq):
            self._database.read_past(run_id, journal_seq)

    async def orphans(self, *, limit: int = 10) -> Sequence[OrphanedRun]:
        """
        Claim up to *limit* runs that have not ended and whose lease has expired, the longest abandoned first.

        A run is given to one caller only, however many ask at once.
        Resume what you get with this journal within `lease_s`: a claim that nothing is appended to expires,
        and the run is an orphan again.

        Raises:
            ContractViolation: The limit is no whole number from 1 to 2**63 - 1.
            JournalFailure: The server is away, or refuses.
        """
        if not is_position(limit) or not 1 <= limit <= HIGHEST_SEQ:
            raise ContractViolation(
                f"orphans cannot be limited to {shown(limit)}: ask for 1 or more, below 2**63"
            )
        claimed = await anyio.to_thread.run_sync(self._database.claim, limit)
        for orphan in claimed:
            # Whoever claims a run is told where it stands, and must be able to give it back, too.
            self._commits.allow_again(orphan.run_id)
        return claimed

    async def release(self, run_id: str) -> None:
        """
        Give the lease of a run up, so that another worker's `orphans` finds it at once.

        What was appended is made durable before.
        From then on an append here raises JournalConflict, until somebody here reads where the run stands.
        A run that has ended, or isn't held here, is left alone; so is one that was released already, and whoever was
        cancelled may ask again.

        Raises:
            JournalFailure: The server is away: then the lease expires by itself; or the run has stopped.
        """
        run_id = RunId(run_id)
        is_again = self._commits.is_given_up(run_id)
        on_its_way = self._commits.give_up(run_id, released(run_id))
        if on_its_way is not None:
            await on_its_way
        if not await anyio.to_thread.run_sync(self._database.release, run_id) and not is_again:
            self._commits.allow_again(run_id)

"""
The database of a PostgreSQL journal: written by one thread, read by any, and each run by its owner alone.

What simply continues a run that is held here is one statement, or a COPY where there is much of it.  Everything else
is judged under the lock of the run's row, see `_postgres_judging`; so is what is tried again because its first answer
was lost, as its row then stands elsewhere than it is believed to.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from functools import partial
from typing import Protocol

import attrs
import orjson
from psycopg.errors import DiskFull, InsufficientPrivilege

from realtime_async.errors import JournalFailure
from realtime_async.journals._orphans import OrphanedRun
from realtime_async.journals._postgres_advances import PARTS_KNOWN, Advance, characters, pieces
from realtime_async.journals._postgres_copying import COPIED, advance_by_copy, may_copy
from realtime_async.journals._postgres_judging import NOBODYS, Standing, Verdict, judged
from realtime_async.journals._postgres_leases import OWNED_AT_MOST, Held, Leases
from realtime_async.journals._postgres_link import Address, Link
from realtime_async.journals._postgres_reading import PostgresReading, records, stands
from realtime_async.journals._postgres_schema import Connection, check
from realtime_async.journals._postgres_writing import STATED, advance
from realtime_async.journals._taken import Failure, Taken, fail_each, nonce_of
from realtime_async.journals._verdicts import conflict, gap
from realtime_async.ports import RunId

__all__ = ["PostgresStore"]


class _Way(Protocol):
    """How what moves runs on gets into the database: `advance`, or `advance_by_copy`."""

    def __call__(
        self, connection: Connection, advances: Sequence[Advance], *, owner: str, lease_s: float
    ) -> Sequence[Advance]: ...


# A lease is looked after so often in its life; then it is never older than half of it.
LOOKS = 3

_BEGUN = """
    INSERT INTO realtime_async.run (run_id) SELECT value FROM json_array_elements_text(%s::json)
    ON CONFLICT (run_id) DO NOTHING
"""
# In the order of their numbers, as all that lock several are, so that two workers never wait for each other.
_STANDING = """
    SELECT run_id, id, last_seq, token, written_token, open_sessions
    FROM realtime_async.run
    WHERE run_id IN (SELECT value FROM json_array_elements_text(%s::json)) ORDER BY id FOR UPDATE
"""
_PARTS = "SELECT number, json FROM realtime_async.part WHERE run = %s ORDER BY number DESC LIMIT %s"
_RENEWED = """
    UPDATE realtime_async.run SET expires_at = clock_timestamp() + %s::float8 * interval '1 second'
    FROM json_to_recordset(%s::json) AS held(run bigint, token bigint)
    WHERE run.id = held.run AND run.token = held.token RETURNING run.id
"""
# Whoever locks a row that somebody else looks at has it; the other goes on to the next.
_CLAIMED = """
    WITH lost AS (
        SELECT id, expires_at FROM realtime_async.run
        WHERE open_sessions <> '{}' AND expires_at < clock_timestamp()
            AND id NOT IN (SELECT value::bigint FROM json_array_elements_text(%(ours)s::json))
        ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    UPDATE realtime_async.run
    SET token = token + 1, owner = %(owner)s,
        expires_at = clock_timestamp() + %(lease_s)s::float8 * interval '1 second'
    FROM lost WHERE run.id = lost.id RETURNING run.run_id, run.id, run.token, run.last_seq, lost.expires_at
"""
# Another token, so that a renewal that is on its way renews nothing any more.
_RELEASED = """
    UPDATE realtime_async.run SET token = run.token + 1, owner = '', expires_at = clock_timestamp()
    FROM json_to_recordset(%s::json) AS held(run bigint, token bigint)
    WHERE run.id = held.run AND run.token = held.token
"""


@attrs.define
class _Pending:
    """What of a batch is not settled yet."""

    runs: dict[RunId, list[Taken]]
    repeats: list[Taken]
    may_copy: bool = True
    """No COPY of it has failed."""

    @classmethod
    def of(cls, batch: Sequence[Taken]) -> _Pending:
        runs: defaultdict[RunId, list[Taken]] = defaultdict(list)
        for taken in batch:
            if not taken.is_repeat:
                runs[taken.record.run_id].append(taken)
        return cls(dict(runs), [taken for taken in batch if taken.is_repeat])

    def refused(self, repeat: Taken) -> None:
        """Refuse what its writer went on with, too; what is behind that continues nothing."""
        run_id, nonce = repeat.record.run_id, nonce_of(repeat.record)
        run = self.runs.get(run_id, [])
        count = next((at for at, taken in enumerate(run) if nonce_of(taken.record) == nonce), len(run))
        for taken in run[count:]:
            taken.failure = repeat.failure
        if run[count:]:
            self.runs[run_id] = run[:count]
            self.written(run_id, 0)

    def written(self, run_id: RunId, count: int) -> None:
        """Let go of so many, which are the first of what is pending of the run."""
        self.runs[run_id] = self.runs[run_id][count:]
        if not self.runs[run_id]:
            del self.runs[run_id]


class PostgresStore:
    """One database: a connection for the writer thread, and one that whoever reads takes in turn."""

    def __init__(self, address: Address, *, patience_s: float, lease_s: float) -> None:
        self.name = address.name
        self._lease_s = lease_s
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._leases = Leases()
        self._look_at = 0.0
        self._writer = Link(address, patience_s)
        self.reading = PostgresReading(Link(address, patience_s))

    def open(self) -> None:
        try:
            self._writer.run("cannot be opened", partial(check, name=self.name))
        except BaseException:
            self._writer.close()
            raise

    def write(self, batch: Sequence[Taken]) -> None:
        pending = _Pending.of(batch)
        try:
            self._writer.run("cannot be written", partial(self._settle, pending))
        except JournalFailure as error:
            fail_each([*(taken for run in pending.runs.values() for taken in run), *pending.repeats], error)
        for taken in batch:
            if taken.failure is not None and not taken.failure.is_refusal:
                # Nobody here can write it any more, so whoever can may have it.
                self._leases.drop(taken.record.run_id)

    def _settle(self, pending: _Pending, connection: Connection) -> None:
        """Settle what is pending; where this raises, what is settled has left it."""
        # First, as what they were is what whoever appended them goes on from.
        while pending.repeats:
            self._compare(pending.repeats[-1], connection)
            repeat = pending.repeats.pop()
            if repeat.failure is not None:
                pending.refused(repeat)
        while pending.runs:
            self._advance_held(pending, connection)
            self._refuse_too_many(pending)
            if pending.runs:
                self._judge_first(pending, connection)

    def _advance_held(self, pending: _Pending, connection: Connection) -> None:
        if pending.may_copy and characters(pending.runs) > STATED and may_copy(connection):
            # Whatever becomes of it: the next try is by statements, which need less of the server, and whose way there
            # does not count as time that they take.
            pending.may_copy = False
            with suppress(InsufficientPrivilege, DiskFull):
                self._advance_pieces(pending, connection, COPIED)
                pending.may_copy = True
                return
        self._advance_pieces(pending, connection, STATED)

    def _advance_pieces(self, pending: _Pending, connection: Connection, size: int) -> None:
        for piece in pieces(dict(pending.runs), size):
            # Of a run that was not written, or has ended, the next piece continues nothing.
            advances = [
                Advance.of(held, batch)
                for run_id, batch in piece.items()
                if (held := self._continued_by(run_id, batch)) is not None
            ]
            if advances:
                way = advance_by_copy if size > STATED and characters(piece) > STATED else advance
                for each in self._advance(connection, advances, way):
                    self._note(each, pending)

    def _continued_by(self, run_id: RunId, batch: Sequence[Taken]) -> Held | None:
        """The lease of the run, if it is held here, and *batch* is what comes next."""
        held = self._leases.get(run_id)
        if held is None or held.parts is None or held.last_seq != batch[0].record.journal_seq - 1:
            return None
        return held

    def _advance(self, connection: Connection, advances: Sequence[Advance], way: _Way) -> Sequence[Advance]:
        ordered = sorted(advances, key=lambda each: each.held.run)
        return way(connection, ordered, owner=self._owner, lease_s=self._lease_s)

    def _note(self, written: Advance, pending: _Pending) -> None:
        run_id = written.batch[0].record.run_id
        pending.written(run_id, len(written.batch))
        written.happened(time.monotonic())
        if written.open_sessions:
            self._leases.hold(run_id, written.held)
            return
        # It has ended; a session that follows would take it over.
        self._leases.drop(run_id)

    def _judge_first(self, pending: _Pending, connection: Connection) -> None:
        """Judge the runs that a piece has room for, and write that piece; what is left of them continues it."""
        with connection.transaction():
            runs = {run_id: pending.runs[run_id] for run_id in next(pieces(pending.runs, STATED))}
            standings = self._standings(runs, connection)
            verdicts = {
                run_id: self._judge(run_id, batch, standings[run_id], connection)
                for run_id, batch in runs.items()
            }
            unwritten = {
                run_id: batch[verdicts[run_id].done :]
                for run_id, batch in runs.items()
                if verdicts[run_id].failure is None and batch[verdicts[run_id].done :]
            }
            # Without what is there already, each of them begins in the first piece all the more.
            advances = [
                self._taken_up(batch, standings[run_id], verdicts[run_id], connection)
                for run_id, batch in next(pieces(unwritten, STATED), {}).items()
            ]
            written = self._advance(connection, advances, advance) if advances else []
        # They were locked.
        assert len(written) == len(advances)
        for run_id, verdict in verdicts.items():
            if verdict.failure is None:
                pending.written(run_id, verdict.done)
            if run_id not in unwritten:
                self._tell(run_id, pending.runs.pop(run_id, ()), verdict, standings[run_id])
        for each in written:
            self._note(each, pending)

    def _refuse_too_many(self, pending: _Pending) -> None:
        """Fail those that begin to be held here beyond the bound; whoever is held already goes on."""
        begin = [run_id for run_id in pending.runs if self._leases.get(run_id) is None]
        if len(begin) > OWNED_AT_MOST - len(self._leases):
            self._forget_claims()
        for run_id in begin[max(0, OWNED_AT_MOST - len(self._leases)) :]:
            error = JournalFailure(
                f"{self.name} holds {OWNED_AT_MOST} runs that have not ended already; close their sessions, "
                "or release them"
            )
            fail_each(pending.runs.pop(run_id), error)

    def _standings(
        self, runs: Mapping[RunId, Sequence[Taken]], connection: Connection
    ) -> Mapping[RunId, Standing]:
        """Lock the rows of *runs*; those that begin get one."""
        begin = sorted(run_id for run_id, batch in runs.items() if batch[0].record.journal_seq == 1)
        if begin:
            connection.execute(_BEGUN, (_json_array(begin),))
        rows = connection.execute(_STANDING, (_json_array(runs),)).fetchall()
        there = {
            run_id: Standing(run, last_seq, token, written_token, frozenset(open_sessions))
            for run_id, run, last_seq, token, written_token, open_sessions in rows
        }
        return {run_id: there.get(run_id, NOBODYS) for run_id in runs}

    def _judge(
        self, run_id: RunId, batch: Sequence[Taken], standing: Standing, connection: Connection
    ) -> Verdict:
        held = self._leases.get(run_id)
        first = batch[0].record.journal_seq
        overlap = min(len(batch), standing.last_seq + 1 - first)
        try:
            stored = records(connection, run_id, first, overlap) if first >= 1 and overlap > 0 else []
        except JournalFailure as error:
            return Verdict(0, error)
        held_token = None if held is None or held.is_read_past else held.token
        return judged(batch, standing, held_token, stored)

    def _taken_up(
        self, batch: Sequence[Taken], standing: Standing, verdict: Verdict, connection: Connection
    ) -> Advance:
        numbers = (
            connection.execute(_PARTS, (standing.run, PARTS_KNOWN)).fetchall() if standing.last_seq else []
        )
        held = Held(
            standing.run,
            standing.token,
            standing.last_seq,
            {text: number for number, text in numbers},
            max((number for number, _ in numbers), default=0),
            standing.open_sessions,
        )
        return Advance.of(held, batch, becomes=standing.token + 1 if verdict.is_takeover else None)

    def _tell(self, run_id: RunId, batch: Sequence[Taken], verdict: Verdict, standing: Standing) -> None:
        """Tell what becomes of a run of which nothing is to be written."""
        if verdict.failure is not None:
            failure = Failure(verdict.failure, is_refusal=self._leases.get(run_id) is None)
            for taken in batch[verdict.done :]:
                taken.failure = failure
        elif verdict.is_takeover or not standing.open_sessions:
            # Nothing was taken over yet, or it has ended; what follows will take it over.
            self._leases.drop(run_id)

    def _compare(self, taken: Taken, connection: Connection) -> None:
        record = taken.record
        try:
            stored = records(connection, record.run_id, record.journal_seq, 1)
            if not stored:
                raise gap(record, stands(connection, record.run_id) + 1)
            if stored[0] != record:
                raise conflict(record)
        except JournalFailure as error:
            taken.failure = Failure(error, is_refusal=True)

    def tend(self) -> float | None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + self._lease_s / LOOKS
            due = self._leases.due(now, self._lease_s / (2 * LOOKS))
            if due and self._writer.once(partial(self._renew, due)) is None:
                # The server is away: whoever appends meanwhile waits for it, so this need not.
                self._look_at = now + min(1.0, self._lease_s / LOOKS)
        return max(0.0, self._look_at - now) if len(self._leases) else None

    def _renew(self, due: Sequence[Held], connection: Connection) -> bool:
        rows = connection.execute(_RENEWED, (self._lease_s, _tokens(due))).fetchall()
        renewed, now = {run for (run,) in rows}, time.monotonic()
        for each in due:
            each.renewed_at = now
            each.is_superseded = each.run not in renewed
        return True

    def _forget_claims(self) -> None:
        """Those that have been expired for as long as they lasted: whoever was slow to follow one up is refused till then."""
        self._leases.forget_claims(time.monotonic(), 2 * self._lease_s)

    def claim(self, limit: int) -> list[OrphanedRun]:
        return self.reading.run(partial(self._claim, limit))

    def _claim(self, limit: int, connection: Connection) -> list[OrphanedRun]:
        # Who claims and follows nothing up asks again and again.
        self._forget_claims()
        # What is written here may have expired while the server was away; its sessions live.  A claim has none yet.
        ours = _json_array(str(held.run) for held in self._leases.ours() if held.appended_at)
        asked = {"ours": ours, "limit": limit, "owner": self._owner, "lease_s": self._lease_s}
        orphans: list[OrphanedRun] = []
        for run_id, run, token, last_seq, since in connection.execute(_CLAIMED, asked).fetchall():
            self._leases.hold(run_id, Held(run, token, last_seq, claimed_at=time.monotonic()))
            orphans.append(OrphanedRun(RunId(run_id), last_seq, since.astimezone(UTC)))
        return sorted(orphans, key=lambda orphan: orphan.since)

    def release(self, run_id: RunId) -> bool:
        """Give the lease of a run up; False: it isn't held here."""
        held = self._leases.drop(run_id)
        if held is None:
            return False
        self.reading.run(partial(_give_up, [held]))
        return True

    def read_past(self, run_id: RunId, last_seq: int) -> None:
        """Note that a run was written elsewhere up to there, and that it is known here."""
        held = self._leases.get(run_id)
        if held is not None and held.last_seq < last_seq:
            held.is_superseded = held.is_read_past = True

    def close(self) -> None:
        # A run that has not ended is without an owner from here on.
        self._writer.once(partial(_give_up, self._leases.ours()))
        self._writer.close()
        self.reading.close()


def _give_up(held: Sequence[Held], connection: Connection) -> None:
    if held:
        connection.execute(_RELEASED, (_tokens(held),))


def _tokens(held: Iterable[Held]) -> str:
    ordered = sorted(held, key=lambda each: each.run)
    return orjson.dumps([{"run": each.run, "token": each.token} for each in ordered]).decode()


def _json_array(texts: Iterable[str]) -> str:
    return orjson.dumps([str(text) for text in texts]).decode()

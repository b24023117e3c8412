"""
Taking a session up again where its records end: the process that wrote them is dead, or superseded.

Reading changes nothing.
From the last look at the run to the first record nothing is awaited, so whoever wrote in between
wins, and this one is told by its journal.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio

from realtime_async._core.lifecycle import Phase, pending_connection_id
from realtime_async._core.recovery import RecoveredSession, RunFold
from realtime_async._shell.connecting import begin_connection
from realtime_async._shell.lane import Appended, begun_on, landed_on
from realtime_async._shell.runtime import SessionRuntime
from realtime_async.errors import AgentError, JournalConflict, JournalCorrupt, JournalFailure, JournalStalled
from realtime_async.ports import RealtimeSessionRecord, RealtimeSessionRecordKind, RunId, RunJournal

__all__ = ["read_run", "resume"]

_Kind = RealtimeSessionRecordKind

# How often a run that goes on being written is read on, before its owner is said to be alive.
ROUNDS = 20

# A run may be of any length: it is the next of its records that must come in time, this many of them at once.
READ_IN_TIME = 500

# What the end of an effect, or of a frame, repeats of its beginning.
_REPEATED = (
    "frame_id", "response_id", "close_reason", "restart_reason", "channel", "direction", "media_kind",
    "content_refs", "privacy", "retention", "redacted_summary",
)  # fmt: skip


async def read_run(journal: RunJournal, run_id: RunId, seconds: float) -> RunFold:
    """
    Fold all records of a run, those included that this process has only begun.

    Args:
        seconds: For those to become durable, and for the next records to be read.

    Raises:
        JournalCorrupt: No run can have written them.
        JournalConflict: Its owner in this process writes faster than they are read.
        JournalStalled: What this process has begun is not durable in time, or nothing more could be read.
        JournalFailure: The journal raised something else.
    """
    run = RunFold()
    for _ in range(ROUNDS):
        landed = begun_on(journal, run_id)
        await _landed(journal, landed, seconds)
        await _read_in_time(journal, run_id, run, seconds)
        begun = begun_on(journal, run_id)
        if begun is None or begun is landed or begun.record.journal_seq <= run.last_seq:
            return run
    raise JournalConflict(
        f"run {str(run_id)!r} cannot be resumed while its controller goes on writing: "
        "leave the session to that one, or let it rest and try again"
    )


async def _landed(journal: RunJournal, begun: Appended | None, seconds: float) -> None:
    if begun is None:
        return
    try:
        with anyio.fail_after(seconds):
            await landed_on(journal, begun)
    except TimeoutError as timeout:
        raise JournalStalled(
            f"record {begun.record.journal_seq} of run {str(begun.record.run_id)!r} was not durable within "
            f"{seconds} s, so nobody knows where the run stands: look at the journal's storage, then resume again"
        ) from timeout
    except JournalFailure:
        # Then it is not in the journal; what is, is where the run stands.
        return


async def _read_in_time(journal: RunJournal, run_id: RunId, run: RunFold, seconds: float) -> None:
    def renew() -> None:
        scope.deadline = anyio.current_time() + seconds

    try:
        with anyio.move_on_after(seconds) as scope:
            await _read_on(journal, run_id, run, renew)
    except AgentError:
        raise
    except Exception as error:
        raise JournalFailure(
            f"the journal raised {type(error).__name__} while run {str(run_id)!r} was read, after record "
            f"{run.last_seq}: look at its storage, then resume again"
        ) from error
    if scope.cancelled_caught:
        raise JournalStalled(
            f"nothing of run {str(run_id)!r} could be read within {seconds:g} s, after record {run.last_seq}: "
            "look at the journal's storage, then resume again, or allow more in Deadlines.journal"
        )


async def _read_on(journal: RunJournal, run_id: RunId, run: RunFold, renew: Callable[[], None]) -> None:
    """Read to where the run stands now, however fast it grows."""
    last = await journal.last(run_id)
    if last is None or last.journal_seq <= run.last_seq:
        return
    async with AsyncExitStack() as stack:
        records = journal.read(run_id, after=run.last_seq)
        if isinstance(records, AsyncGenerator):
            stack.push_async_callback(records.aclose)
        async for record in records:
            run.add(record)
            if run.last_seq >= last.journal_seq:
                return
            if run.last_seq % READ_IN_TIME == 0:
                renew()
    raise JournalCorrupt(
        f"run {str(run_id)!r} has a record {last.journal_seq}, but none after {run.last_seq} can be read: "
        "restore the journal from a copy"
    )


async def resume(rt: SessionRuntime, run: RunFold, session: RecoveredSession) -> None:
    """
    Say what became of whatever was open, then connect anew.

    Raises:
        JournalConflict: Somebody else has written meanwhile; the adapter was not called.
    """
    rt.lane.take_over(rt, run.last_seq)
    rt.previous_connection_id = session.connection_id
    rt.calls_before = tuple(session.calls)
    _settle(rt, run, session)
    try:
        connected = await begin_connection(rt)
    except BaseException:
        if rt.life.phase is Phase.NEW:
            # A controller that begins anew would count from 0: only another resume may have the session.
            rt.lane.claim(rt.life.session_id)
        raise
    # Cancelled here, there would be a connection and nobody who could close it.
    with anyio.CancelScope(shield=True):
        await rt.durable(connected)


def _settle(rt: SessionRuntime, run: RunFold, session: RecoveredSession) -> None:
    life = rt.life
    life.recover(session.state)
    for unknown in list(session.unknown()):
        life.send_cursor, life.receive_cursor = unknown.send_cursor, unknown.receive_cursor
        intent = Appended.known(unknown.intent)
        fields = {**_repeated(unknown.intent.payload), "extent": unknown.extent}
        run.add(rt.append(_Kind.OUTCOME_UNKNOWN, intent, **fields).record)
    for waiting in list(session.waiting):
        life.dropped()
        run.add(rt.append(_Kind.INPUT_DROPPED, **_repeated(waiting)).record)
    run.add(rt.append(_Kind.SESSION_RECOVERED).record)
    rt.totals.recover(session.delivery(), life.send_cursor.chunk_sequence)
    life.connection_id = pending_connection_id(life.session_id)


def _repeated(payload: RealtimeSessionRecord) -> dict[str, Any]:
    return {name: getattr(payload, name) for name in _REPEATED}

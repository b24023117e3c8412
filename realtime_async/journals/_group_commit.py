"""
Many appenders, one writer thread, one commit for all that has gathered while the last one ran.

A record is taken in the call and travels in a batch; whoever awaits it waits for its batch.
Those whom a commit wakes mostly append again at once, so the writer lets them all have their turn of the event
loop before it begins the next: one that began in the middle of the turn would take a few of them, keep the others
waiting twice as long, and meet the turn for the interpreter's lock at each of its steps.
Nobody waits for others who is woken alone; and where a turn lasts much longer than a commit, the loop has more to do
than the writer, which then goes along with it.
The first failure of a run stops it: what is queued behind it fails with it, and nothing of
the run is taken until somebody has been told, and has then asked the store where the run stands.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import NoReturn, Protocol

import anyio

from realtime_async._posting import after_turn, poster
from realtime_async.errors import JournalConflict, JournalFailure
from realtime_async.journals._compact import Packed
from realtime_async.journals._taken import Batch, Failure, Taken, fail_each, nonce_of
from realtime_async.journals._verdicts import closed, elsewhere
from realtime_async.ports import JournalRecord, RunId

__all__ = ["GroupCommit", "Store"]

# What may gather behind a commit: ten times what 50 voice sessions with spans write in 10 s.
MAX_RECORDS = 20_000
MAX_CHARACTERS = 32 * 1024 * 1024
# What is remembered of runs.  Beyond that the store itself is asked, or refuses.
MAX_RUNS = 10_000
# How long closing keeps cancellation waiting for the last commit, and the interpreter its own end.
CLOSING_S = 10.0
# How long a turn of the event loop is waited for.  A commit that did not wait would wait so long for the interpreter's
# lock, again and again.
TURN_S = 0.005
# By so much a turn may be longer than a commit that had the interpreter for itself.
TURN_TO_COMMIT = 2.0
# How fast the time of such a commit is taken to grow, where all take longer.
COMMIT_GROWTH = 1.1


class Store(Protocol):
    """What the writer thread writes to.  All of it is called by that thread only."""

    def open(self) -> None:
        """Get ready, or raise JournalFailure; then nothing is left open."""
        ...

    def write(self, batch: Sequence[Taken]) -> None:
        """
        Make all of *batch* durable but for the records that it marks with a failure.

        A record behind one of its run that failed fails too.
        Of a repeat it only finds out whether the record of that place is equal.

        Raises:
            JournalFailure: Nothing was written.
        """
        ...

    def tend(self) -> float | None:
        """
        Do what is due between two commits; it raises nothing.

        Returns:
            Seconds until it wants to be called again, if no commit comes before; None: it need not be.
        """
        ...

    def close(self) -> None: ...


class GroupCommit:
    """The queue in front of a store, and the thread behind it.  It belongs to the event loop that made it."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._post = poster()
        self._after_turn = after_turn()
        # Held for moments only: by an append, and by the writer between two commits.
        self._lock = threading.Lock()
        self._owner = threading.get_ident()
        self._gathering = Batch(self._owner)
        self._committing = Batch(self._owner)
        # Those whom the last commit woke have their turn of the event loop.
        self._is_turn = False
        self._turn_s = 0.0
        self._commit_s = math.inf
        self._positions: dict[str, int] = {}
        self._stopped: dict[str, Failure] = {}
        self._refused: dict[str, Failure] = {}
        self._is_closing = False
        self._is_idle = False
        # Released where the writer says that it is idle; once too often makes it look for nothing.
        self._wake = threading.Lock()
        self._wake.acquire()
        self._opened = anyio.Event()
        self._ended = anyio.Event()
        self._failed_to_open: JournalFailure | None = None
        self._thread = threading.Thread(target=self._run, name=f"writer of {name}", daemon=True)

    async def open(self) -> None:
        """Start the writer; cancelled, it stops by itself."""
        self._thread.start()
        try:
            await self._opened.wait()
        except BaseException:
            self._begin_closing()
            raise
        if self._failed_to_open is not None:
            self._thread.join()
            raise self._failed_to_open

    async def close(self) -> None:
        """
        Write what has been taken, and end the writer.

        Raises:
            JournalFailure: A run has stopped, and nobody was told; or the writer hasn't ended after 10 s;
                or this is another thread's event loop.
        """
        if threading.get_ident() != self._owner:
            raise elsewhere(self._name)
        self._begin_closing()
        # Without the shield a cancelled program would go on with a file that is still being written.
        with anyio.move_on_after(CLOSING_S, shield=True):
            await self._ended.wait()
            # It has nothing left to do.
            self._thread.join()
        if not self._ended.is_set():
            raise JournalFailure(
                f"{self._name} is still being written after {CLOSING_S} s: look at its disk, "
                "and read where its runs stand before they go on"
            )
        failures = (*self._stopped.values(), *self._refused.values())
        untold = [failure for failure in failures if not failure.is_told]
        if untold:
            error = untold[0].told()
            if untold[1:]:
                error.add_note(f"{len(untold) - 1} other runs of {self._name} stopped too")
            raise error

    def position(self, run_id: RunId) -> int:
        """
        Where *run_id* stands with all that was taken; 0 where only the store knows.

        Raises:
            JournalFailure: The run has stopped, an append of it was refused unseen, or the journal is closed.
        """
        with self._lock:
            if self._is_closing or run_id in self._stopped:
                self._refuse(run_id)
            self._tell_refused(run_id)
            return self._positions.get(run_id, 0)

    def follows(self, record: JournalRecord) -> bool:
        """Whether the place of *record* is known to be the next of its run."""
        run_id, seq = record.run_id, record.journal_seq
        return type(run_id) is RunId and type(seq) is int and self._positions.get(run_id) == seq - 1

    def pending(self, run_id: RunId, journal_seq: int) -> Taken | None:
        """The record of that place, if it has been taken and may not be in the store yet."""
        with self._lock:
            for taken in (*self._committing.records, *self._gathering.records):
                record = taken.record
                if (record.journal_seq, record.run_id) != (journal_seq, run_id) or taken.is_repeat:
                    continue
                # One that has failed may still be here when its run is taken up again.
                if taken.failure is None:
                    return taken
        return None

    def take(self, record: JournalRecord, packed: Packed, *, is_repeat: bool = False) -> Taken:
        """
        Take *record*, which comes next, as far as is known here.

        Args:
            is_repeat: It comes no more; the store is to say whether it has an equal one.

        Raises:
            JournalFailure: The run has stopped, an append of it was refused unseen, the journal is closed,
                or its queue is full.
        """
        run_id = record.run_id
        with self._lock:
            if self._is_closing or run_id in self._stopped:
                self._refuse(run_id)
            if self._refused:
                self._tell_refused(run_id)
            batch = self._gathering
            if len(batch.records) >= MAX_RECORDS or batch.characters >= MAX_CHARACTERS:
                raise JournalFailure(
                    f"run {str(run_id)!r} cannot append {record.journal_seq}: {len(batch.records)} records wait "
                    f"for {self._name} already, which does not keep up; look at its disk"
                )
            if len(self._positions) >= MAX_RUNS and run_id not in self._positions:
                self._forget_idle_runs()
            taken = Taken(record, packed, batch, is_repeat=is_repeat)
            # A KeyboardInterrupt may come between any two lines.  So the writer is woken first, as nobody else would wake
            # it for what is queued; and a record is counted last, so that one that is not queued leaves no gap.
            if self._is_idle and not self._is_turn:
                self._rouse()
            batch.records.append(taken)
            batch.characters += len(packed[-1])
            if not is_repeat:
                self._positions[run_id] = record.journal_seq
        return taken

    def give_up(self, run_id: RunId, why: JournalConflict) -> Taken | None:
        """
        Take no more of a run, as of one that has stopped; whoever asks where it stands takes it up again.

        It may be asked again, as who asked first may have been cancelled.

        Returns:
            The last of its records that is still on its way; None: none is.

        Raises:
            JournalFailure: The run has stopped for another reason, or the journal is closed.
        """
        with self._lock:
            if self._is_closing or (run_id in self._stopped and not self._stopped[run_id].is_given_up):
                self._refuse(run_id)
            failure = self._stopped[run_id] = Failure(why, is_given_up=True)
            failure.is_told = True
            if len(self._stopped) > MAX_RUNS:
                del self._stopped[next(iter(self._stopped))]
            self._positions.pop(run_id, None)
            on_their_way = (*self._gathering.records[::-1], *self._committing.records[::-1])
            return next((taken for taken in on_their_way if taken.record.run_id == run_id), None)

    def is_given_up(self, run_id: RunId) -> bool:
        with self._lock:
            return run_id in self._stopped and self._stopped[run_id].is_given_up

    def allow_again(self, run_id: RunId) -> None:
        """Let a stopped run be taken up again, where its failure has been raised to somebody."""
        with self._lock:
            failure = self._stopped.get(run_id)
            if failure is not None and failure.is_told:
                del self._stopped[run_id]

    def is_behind(self, run_id: RunId, journal_seq: int) -> bool:
        """
        Whether the store has a run up to there by another's hand; where it stood here is forgotten then.

        Whoever reads that may mean to go on from there; who doesn't know it is met as one who was superseded.
        """
        with self._lock:
            if self._positions.get(run_id, journal_seq) >= journal_seq:
                return False
            del self._positions[run_id]
        return True

    def _refuse(self, run_id: RunId) -> NoReturn:
        if self._is_closing:
            raise closed(self._name)
        raise self._stopped[run_id].told()

    def _tell_refused(self, run_id: RunId) -> None:
        refused = self._refused.pop(run_id, None)
        if refused is not None and not refused.is_told:
            raise refused.told()

    def _forget_idle_runs(self) -> None:
        busy = {taken.record.run_id for taken in (*self._committing.records, *self._gathering.records)}
        self._positions = {run_id: seq for run_id, seq in self._positions.items() if run_id in busy}

    def _begin_closing(self) -> None:
        with self._lock:
            self._is_closing = True
            if self._is_idle:
                self._rouse()

    def _rouse(self) -> None:
        """Have the writer look what there is to do, once the lock is free, which is held here."""
        # In this order, so that an interrupt in between wakes it for nothing, and never leaves it asleep.
        if self._wake.locked():
            self._wake.release()
        self._is_idle = False

    def _finish(self) -> None:
        self._begin_closing()
        self._thread.join(CLOSING_S)

    def _run(self) -> None:
        # A daemon thread dies with the interpreter; what it has taken must not.
        atexit.register(self._finish)
        try:
            self._store.open()
        except Exception as error:  # noqa: BLE001 - whoever opens is told; a thread has nobody to raise to
            self._failed_to_open = self._as_failure(error)
        else:
            self._post(self._opened.set)
            while (batch := self._next_batch()) is not None:
                self._commit(batch)
            self._store.close()
        finally:
            atexit.unregister(self._finish)
            self._post(self._opened.set)
            self._post(self._ended.set)

    def _next_batch(self) -> Batch | None:
        """Wait until there is something to write; None: there will not be."""
        while True:
            rest_s = self._store.tend()
            with self._lock:
                if self._is_turn:
                    rest_s = TURN_S
                elif self._gathering.records:
                    self._committing, self._gathering = self._gathering, Batch(self._owner)
                    return self._committing
                elif self._is_closing:
                    return None
                self._is_idle = True
            self._rest(rest_s)

    def _rest(self, seconds: float | None) -> None:
        """Wait until somebody wakes the writer, or for so long."""
        if self._wake.acquire(timeout=-1 if seconds is None else seconds):
            return
        with self._lock:
            is_woken, self._is_idle = not self._is_idle, False
            self._is_turn = False
        if is_woken:
            # Between the end of the wait and the look.
            self._wake.acquire()

    def _commit(self, batch: Batch) -> None:
        # A run may have stopped while this batch gathered.
        writable = [taken for taken in batch.records if taken.failure is None]
        began = time.monotonic()
        try:
            self._store.write(writable)
        except Exception as error:  # noqa: BLE001 - whoever waits is told; a thread has nobody to raise to
            fail_each(writable, self._as_failure(error))
        # What one takes longer than another is mostly the wait for the interpreter.
        self._commit_s = min(time.monotonic() - began, COMMIT_GROWTH * self._commit_s)
        failed = [taken for taken in writable if taken.failure is not None]
        with self._lock:
            self._committing = Batch(self._owner)
            if failed:
                self._stop(failed)
            self._is_turn = batch.waits > 1 and self._turn_s < TURN_TO_COMMIT * self._commit_s
        batch.records = []
        batch.is_settled = True
        if batch.event is not None:
            self._post(partial(self._begin_turn, batch.event, batch.waits))

    def _begin_turn(self, event: anyio.Event, waits: int) -> None:
        event.set()
        if waits > 1:
            self._after_turn(partial(self._end_turn, time.monotonic()))

    def _end_turn(self, began: float) -> None:
        self._turn_s = time.monotonic() - began
        with self._lock:
            if self._is_turn and self._is_idle:
                self._rouse()
            self._is_turn = False

    def _as_failure(self, error: Exception) -> JournalFailure:
        if isinstance(error, JournalFailure):
            return error
        failure = JournalFailure(f"the writer of {self._name} met {type(error).__name__}")
        failure.__cause__ = error
        return failure

    def _stop(self, failed: Sequence[Taken]) -> None:
        failures: dict[RunId, Failure] = {}
        refusals: dict[tuple[RunId, str], Failure] = {}
        for taken in failed:
            run_id, failure = taken.record.run_id, taken.failure
            assert failure is not None
            if failure.is_refusal:
                self._refused[run_id] = failure
            else:
                self._stopped[run_id] = failure
            if taken.is_repeat:
                refusals[run_id, nonce_of(taken.record)] = failure
            else:
                failures[run_id] = failure
                self._positions.pop(run_id, None)
        for taken in self._gathering.records:
            if taken.failure is None and not taken.is_repeat:
                run_id = taken.record.run_id
                # The owner goes on, and whoever was refused does not, though what he went on with comes next.
                refusal = refusals.get((run_id, nonce_of(taken.record)))
                if refusal is not None:
                    failures.setdefault(run_id, refusal)
                    self._positions.pop(run_id, None)
                taken.failure = failures.get(run_id)
        for remembered in (self._stopped, self._refused):
            while len(remembered) > MAX_RUNS:
                del remembered[next(iter(remembered))]

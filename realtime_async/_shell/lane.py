"""
One ordered lane per run: it hands out sequence numbers and appends in order.

The controllers of a run in one process share a lane; a lane that fails stops them all, and no
other run.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Awaitable
from typing import Protocol

import anyio

from realtime_async.errors import JournalFailure, JournalStalled, SessionStateError
from realtime_async.ports import JournalCursor, JournalRecord, RealtimeSessionId, RunId, RunJournal

__all__ = ["Appended", "Lane", "LaneMember", "lane_of"]


class LaneMember(Protocol):
    """A session on a lane."""

    def journal_failed(self) -> None:
        """Take note that nothing can be written any more."""


class Appended:
    """A record that the journal has taken."""

    __slots__ = ("_ack", "_known_durable", "record")

    def __init__(self, record: JournalRecord, ack: Awaitable[JournalCursor]) -> None:
        self.record = record
        self._ack = ack
        self._known_durable = False

    @property
    def is_durable(self) -> bool:
        """Whether it is known, without waiting, that it cannot be lost any more."""
        return self._known_durable or bool(getattr(self._ack, "is_durable", False))

    async def durable(self) -> None:
        if not self.is_durable:
            await self._ack
            self._known_durable = True


class LanePosition:
    """Where a run stands in this process; outlives the controllers, so that sessions can follow each other."""

    __slots__ = ("__weakref__", "failure", "members", "next_seq", "session_ids")

    def __init__(self) -> None:
        self.next_seq = 1
        self.failure: JournalFailure | None = None
        self.session_ids: set[str] = set()
        self.members: weakref.WeakSet[LaneMember] = weakref.WeakSet()


class Lane:
    """The way of one run's records into its journal."""

    def __init__(self, journal: RunJournal, run_id: RunId, position: LanePosition) -> None:
        self.run_id = run_id
        self._journal = journal
        self._position = position

    @property
    def next_seq(self) -> int:
        return self._position.next_seq

    @property
    def failure(self) -> JournalFailure | None:
        return self._position.failure

    def join(self, member: LaneMember) -> None:
        self._position.members.add(member)

    def claim(self, session_id: RealtimeSessionId) -> None:
        """
        Own *session_id* on this lane.

        Raises:
            SessionStateError: Another controller owns it.
        """
        if session_id in self._position.session_ids:
            raise SessionStateError(
                f"session {str(session_id)!r} of run {str(self.run_id)!r} has a controller already: "
                "use that one, or give this one a session_id of its own"
            )
        self._position.session_ids.add(session_id)

    def disclaim(self, session_id: RealtimeSessionId) -> None:
        self._position.session_ids.discard(session_id)

    def check(self) -> None:
        """
        Find out whether the run can still be written.

        Raises:
            JournalFailure: It cannot; this is the failure that stopped it.
        """
        if self._position.failure is not None:
            raise self._position.failure.with_traceback(None)

    def append(self, record: JournalRecord) -> Appended:
        """
        Hand over *record*, which bears `next_seq`; nothing is awaited.

        Raises:
            JournalFailure: The journal did not take it.
        """
        self.check()
        try:
            ack = self._journal.append(record)
        except JournalFailure as failure:
            self._fail(failure)
            raise
        except Exception as error:
            raise self._broken(error) from error
        self._position.next_seq += 1
        return Appended(record, ack)

    async def durable(self, appended: Appended, seconds: float) -> None:
        """
        Wait until a record cannot be lost any more.

        Raises:
            JournalFailure: It was not written.
            JournalStalled: It was not written within *seconds*.
        """
        with anyio.move_on_after(seconds) as scope:
            await self.settled(appended)
        if scope.cancelled_caught:
            stalled = JournalStalled(
                f"record {appended.record.journal_seq} of run {str(self.run_id)!r} was not durable within "
                f"{seconds:g} s: look at the journal's storage; what it holds tells where the run stands"
            )
            self._fail(stalled)
            raise stalled

    async def settled(self, appended: Appended) -> None:
        """
        Wait, however long, until a record cannot be lost any more.

        Raises:
            JournalFailure: It was not written.
        """
        try:
            await appended.durable()
        except JournalFailure as failure:
            self._fail(failure)
            raise
        except Exception as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> JournalFailure:
        failure = JournalFailure(
            f"the journal raised {type(error).__name__} for run {str(self.run_id)!r} at record {self.next_seq}: "
            "look at its storage, then start a run of its own"
        )
        self._fail(failure)
        return failure

    def _fail(self, failure: JournalFailure) -> None:
        if self._position.failure is None:
            self._position.failure = failure
        for member in list(self._position.members):
            member.journal_failed()


# Runs that no controller uses are remembered up to this number, so that the sessions of a run
# can follow each other in one process.
REMEMBERED_RUNS = 1024

_positions: dict[int, OrderedDict[RunId, LanePosition]] = {}


def lane_of(journal: RunJournal, run_id: RunId) -> Lane:
    """The lane of *run_id* in *journal* that this process has, or a new one that starts at 1."""
    runs = _runs_of(journal)
    position = runs.get(run_id)
    if position is None:
        position = runs[run_id] = LanePosition()
    runs.move_to_end(run_id)
    _forget_idle(runs)
    return Lane(journal, run_id, position)


def _runs_of(journal: RunJournal) -> OrderedDict[RunId, LanePosition]:
    key = id(journal)
    if key not in _positions:
        _positions[key] = OrderedDict()
        try:
            weakref.finalize(journal, _positions.pop, key, None).atexit = False
        except TypeError:
            # It cannot be watched, so it must live as long as its entry: its id stays its own.
            _unwatched.append(journal)
    return _positions[key]


_unwatched: list[RunJournal] = []


def _forget_idle(runs: OrderedDict[RunId, LanePosition]) -> None:
    excess = len(runs) - REMEMBERED_RUNS
    if excess <= 0:
        return
    for run_id in [run_id for run_id, position in runs.items() if not position.members][:excess]:
        del runs[run_id]

"""
One ordered lane per run: it hands out sequence numbers and appends in order.

The controllers of a run in one process share a lane; a lane that fails stops them all, and no
other run.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Awaitable
from functools import partial
from types import CoroutineType
from typing import Protocol, Self

import anyio

from realtime_async._raised import is_failure
from realtime_async._shell.acknowledging import CoroutineLine, outcome
from realtime_async.errors import JournalConflict, JournalFailure, JournalStalled, SessionStateError
from realtime_async.ports import JournalCursor, JournalRecord, RealtimeSessionId, RunId, RunJournal

__all__ = ["Appended", "Lane", "LaneMember", "begun_on", "landed_on", "lane_of"]


class LaneMember(Protocol):
    """A session on a lane."""

    @property
    def session_id(self) -> RealtimeSessionId: ...

    def journal_failed(self) -> None:
        """Take note that nothing can be written any more."""

    def superseded(self, conflict: JournalConflict) -> None:
        """Take note that another controller has the session."""


class Appended:
    """A record that the journal has taken."""

    __slots__ = ("_ack", "_known_durable", "record")

    def __init__(self, record: JournalRecord, ack: Awaitable[JournalCursor | None] | None) -> None:
        self.record = record
        # What a journal returned by mistake, None too, is no word of it that the record is durable.
        self._ack = ack
        self._known_durable = False

    @classmethod
    def known(cls, record: JournalRecord) -> Self:
        """One that was read from the journal."""
        appended = cls(record, None)
        appended._known_durable = True
        return appended

    @property
    def is_durable(self) -> bool:
        """Whether it is known, without waiting, that it cannot be lost any more."""
        # A method of that name is true as well, and tells nothing.
        return self._known_durable or getattr(self._ack, "is_durable", False) is True

    async def durable(self) -> None:
        if not self.is_durable:
            await outcome(self._ack)
            self._known_durable = True


class LanePosition:
    """Where a run stands in this process; outlives the controllers, so that sessions can follow each other."""

    __slots__ = (
        "__weakref__",
        "coroutines",
        "failure",
        "last",
        "members",
        "next_seq",
        "place",
        "session_ids",
    )

    def __init__(self, next_seq: int = 1) -> None:
        self.next_seq = next_seq
        self.place = 0
        self.coroutines = CoroutineLine()
        self.last: Appended | None = None
        self.failure: JournalFailure | None = None
        self.session_ids: set[str] = set()
        self.members: weakref.WeakSet[LaneMember] = weakref.WeakSet()


class Lane:
    """The way of one run's records into its journal."""

    def __init__(self, journal: RunJournal, run_id: RunId, position: LanePosition) -> None:
        self.run_id = run_id
        self._journal = journal
        self._position = position
        self._superseded: JournalConflict | None = None
        self._claimed: RealtimeSessionId | None = None

    @property
    def next_seq(self) -> int:
        return self._position.next_seq

    @property
    def place(self) -> int:
        """Of the run among those that this process has in the journal, from 0."""
        return self._position.place

    @property
    def failure(self) -> JournalFailure | None:
        return self._superseded or self._position.failure

    @property
    def has_to_be_awaited(self) -> bool:
        """Whether the journal has been given what it writes only while somebody awaits it."""
        return self._position.coroutines.is_waiting

    def supersede(self, conflict: JournalConflict) -> None:
        """Stop this session alone, because it has another controller."""
        self._superseded = conflict

    def join(self, member: LaneMember) -> None:
        self._position.members.add(member)

    def claim(self, session_id: RealtimeSessionId) -> None:
        """
        Own *session_id* on this lane; who owns it already goes on to.

        Raises:
            SessionStateError: Another controller owns it.
        """
        if self._claimed == session_id:
            return
        if session_id in self._position.session_ids:
            raise SessionStateError(
                f"session {str(session_id)!r} of run {str(self.run_id)!r} has a controller already, or had one: "
                "use that one, or give this one a run_id of its own, or a session_id"
            )
        self._position.session_ids.add(session_id)
        self._claimed = session_id

    def take_over(self, member: LaneMember, last_seq: int) -> None:
        """
        Go on after *last_seq* with the session of *member*, which a resume has read.

        An older controller of that session in this process is stopped; the other sessions of the run go on
        where their lane stands there too.
        """
        session_id = member.session_id
        older = [other for other in self._position.members if other is not member]
        for other in older:
            if other.session_id == session_id:
                other.superseded(
                    JournalConflict(
                        f"session {str(session_id)!r} of run {str(self.run_id)!r} was resumed by another controller: "
                        "use that one"
                    )
                )
        self._position.session_ids.discard(session_id)
        if self._position.failure is not None or self.next_seq != last_seq + 1:
            self._position.members.discard(member)
            self._position = _runs_of(self._journal).begin(self.run_id, last_seq + 1)
            self.join(member)

    def disclaim(self) -> None:
        """Own no session any more."""
        if self._claimed is not None:
            self._position.session_ids.discard(self._claimed)
            self._claimed = None

    def check(self) -> None:
        """
        Find out whether the run can still be written.

        Raises:
            JournalFailure: It cannot; this is the failure that stopped it.
        """
        failure = self.failure
        if failure is not None:
            raise failure.with_traceback(None)

    def append(self, record: JournalRecord) -> Appended:
        """
        Hand over *record*, which bears `next_seq`; nothing is awaited.

        Raises:
            JournalFailure: The journal did not take it.
        """
        self.check()
        ack: Awaitable[JournalCursor | None]
        try:
            ack = self._journal.append(record)
        except JournalFailure as failure:
            self._fail(failure)
            raise
        except Exception as error:
            raise self._broken(error) from error
        if isinstance(ack, CoroutineType):
            ack = self._position.coroutines.add(ack, partial(self._journal.append, record))
        self._position.next_seq += 1
        appended = self._position.last = Appended(record, ack)
        return appended

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
        except BaseException as error:
            if not is_failure(error):
                raise
            raise self._broken(error) from error

    def _broken(self, error: BaseException) -> JournalFailure:
        failure = JournalFailure(
            f"the journal raised {type(error).__name__} for run {str(self.run_id)!r} at record {self.next_seq}: "
            "look at its storage, then start a run of its own"
        )
        self._fail(failure)
        return failure

    def _fail(self, failure: JournalFailure) -> None:
        if self._position.failure is None:
            self._position.failure = failure
            self._position.coroutines.give_up(failure)
        for member in list(self._position.members):
            member.journal_failed()


# Runs that no controller uses are remembered up to this number, so that the sessions of a run
# can follow each other in one process.
REMEMBERED_RUNS = 1024


class _Runs(OrderedDict[RunId, LanePosition]):
    """The runs of one journal."""

    begun = 0
    """How many there have been, those that are forgotten included."""

    def begin(self, run_id: RunId, next_seq: int = 1) -> LanePosition:
        position = self[run_id] = LanePosition(next_seq)
        position.place = self.begun
        self.begun += 1
        return position


_positions: dict[int, _Runs] = {}


def lane_of(journal: RunJournal, run_id: RunId) -> Lane:
    """The lane of *run_id* in *journal* that this process has, or a new one that starts at 1."""
    runs = _runs_of(journal)
    position = runs.get(run_id)
    if position is None:
        position = runs.begin(run_id)
    runs.move_to_end(run_id)
    _forget_idle(runs)
    return Lane(journal, run_id, position)


def begun_on(journal: RunJournal, run_id: RunId) -> Appended | None:
    """
    The last record of *run_id* that this process has begun; None: none.

    It is told also where the run can be written no more: what was slow, or came before what was refused, may land yet.
    """
    position = _runs_of(journal).get(run_id)
    return None if position is None else position.last


async def landed_on(journal: RunJournal, begun: Appended) -> None:
    """
    Wait until what `begun_on` gave is durable.

    Raises:
        JournalFailure: It was not written.  That stops the run here, though nobody else has asked yet.
    """
    run_id = begun.record.run_id
    await Lane(journal, run_id, _runs_of(journal)[run_id]).settled(begun)


def _runs_of(journal: RunJournal) -> _Runs:
    key = id(journal)
    if key not in _positions:
        _positions[key] = _Runs()
        try:
            weakref.finalize(journal, _positions.pop, key, None).atexit = False
        except TypeError:
            # It cannot be watched, so it must live as long as its entry: its id stays its own.
            _unwatched.append(journal)
    return _positions[key]


_unwatched: list[RunJournal] = []


def _forget_idle(runs: _Runs) -> None:
    excess = len(runs) - REMEMBERED_RUNS
    if excess <= 0:
        return
    for run_id in [run_id for run_id, position in runs.items() if not position.members][:excess]:
        del runs[run_id]

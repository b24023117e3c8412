"""
What the parts of one session share: its life, its lane, and the calls in flight.

Every effect takes the same six steps here: intent, append, durable, call, result, append.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import attrs
from anyio.lowlevel import checkpoint_if_cancelled, current_token

from realtime_async._core.copying import copied
from realtime_async._core.fence import OutputFence
from realtime_async._core.lifecycle import Happening, Phase, SessionLife
from realtime_async._core.media import DEFAULT_AUDIO
from realtime_async._core.records import EVENT_KIND, INTENTS, RecordedError
from realtime_async._core.sidecar import RealtimeSessionSidecar, runnable
from realtime_async._core.tail import ReplayTail
from realtime_async._core.totals import DeliveryTotals
from realtime_async._raised import cancellation_in, is_failure
from realtime_async._shell.broadcast import Broadcast
from realtime_async._shell.deadlines import Deadlines
from realtime_async._shell.flights import Flight
from realtime_async._shell.lane import Appended, Lane
from realtime_async._shell.meanwhile import Meanwhile
from realtime_async._shell.nowait import given_by, taken_by
from realtime_async._shell.speaking import speak, speak_beside, voice_of
from realtime_async._shell.writing import Writer
from realtime_async.errors import (
    AgentError,
    AgentErrorKind,
    DeadlineExceeded,
    JournalConflict,
    JournalFailure,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
)
from realtime_async.ports import (
    EffectId,
    RealtimeConnectionId,
    RealtimeProviderAdapter,
    RealtimeSessionId,
    RealtimeSessionRecordKind,
)

__all__ = ["SessionRuntime", "recorded"]

_T = TypeVar("_T")

_Kind = RealtimeSessionRecordKind


class SessionRuntime:
    """One session's state, and how its parts append and call."""

    def __init__(
        self,
        sidecar: RealtimeSessionSidecar,
        adapter: RealtimeProviderAdapter,
        lane: Lane,
        session_id: RealtimeSessionId,
        writer: Writer,
        deadlines: Deadlines,
    ) -> None:
        self.given_sidecar = sidecar
        self.sidecar = runnable(sidecar)
        self.adapter = adapter
        self.lane = lane
        self.writer = writer
        self.deadlines = deadlines
        self.life = SessionLife(sidecar, session_id)
        self._envelope = writer.envelope(lane.run_id, self.life.blank)
        self.totals = DeliveryTotals()
        self.input_format = adapter.input_format or DEFAULT_AUDIO
        self.tail = ReplayTail(self.sidecar.replay_tail_s, self.input_format)
        self.fence = OutputFence()
        self.changed = Broadcast()
        self.flights: set[Flight] = set()
        self.when_quiet: Callable[[], None] | None = None
        """What the last call in flight still does on its way out."""
        self.meanwhile = Meanwhile(adapter, session_id)
        self.takes = taken_by(adapter)
        self.gives = given_by(adapter)
        self.lost_at: float | None = None
        self.dropped_before_loss = 0
        self.loss: RecordedError | None = None
        """How the connection was lost; None: it was not, or ended without a word."""
        self.when_lost: Callable[[], None] | None = None
        """What whoever supervises the session does then."""
        self.when_ended: Callable[[], None] | None = None
        """What whoever waits beside the session does then."""
        self.has_connected = False
        self.untold: Appended | None = None
        """That it is connected, where whoever connected it was cancelled before that was durable."""
        self.previous_connection_id: RealtimeConnectionId | None = None
        """That of an earlier process; None: there was none."""
        self.calls_before: tuple[str, ...] = ()
        """The tool calls that an earlier process has begun, as records name them."""
        self.on_superseded: Callable[[], None] | None = None
        self.terminal: Appended | None = None
        """The last record here, after which nothing is appended and nobody called."""
        self._log = voice_of(str(lane.run_id), str(session_id))
        self.now: Callable[[], float] = anyio.current_time
        """Seconds, on the clock of the event loop."""
        self.scope: type[anyio.CancelScope] = anyio.CancelScope
        """Makes the scopes that each frame needs one of."""
        self._checkpoint_if_cancelled: Callable[[], Awaitable[None]] = checkpoint_if_cancelled
        lane.join(self)

    @property
    def session_id(self) -> RealtimeSessionId:
        return self.life.session_id

    def keep_loop(self) -> None:
        """Have the running event loop itself tell the time, where it has a clock, and make scopes from now on."""
        loop = current_token()
        self.now = getattr(loop.native_token, "time", loop.backend_class.current_time)
        # Asking anyio each time which loop runs costs a quarter of a scope.
        self.scope = type(anyio.CancelScope())
        self._checkpoint_if_cancelled = loop.backend_class.checkpoint_if_cancelled

    def append(
        self, kind: RealtimeSessionRecordKind, intent: Appended | None = None, **fields: Any
    ) -> Appended:
        """
        Begin the record of a step that has just been taken.

        Args:
            intent: Whose result this is.
            fields: Those of `RealtimeSessionRecord` that belong to this step.
        """
        lane = self.lane
        seq = lane.next_seq
        record_id = f"realtime.record.{seq}.{self.writer.nonce}"
        if intent is not None:
            fields["effect_intent_ref"] = intent.record.payload.effect_intent_ref
            fields["effect_result_ref"] = EffectId.known_valid(record_id)
        elif kind in INTENTS:
            fields["effect_intent_ref"] = EffectId.known_valid(record_id)
        payload = self.life.record(kind, fields)
        record = copied(
            self._envelope,
            {
                "journal_seq": seq,
                "record_id": record_id,
                "event_kind": EVENT_KIND[kind],
                "timestamp_millis": int(time.time() * 1000),
                "privacy": payload.privacy,
                "content_refs": payload.content_refs,
                "payload": payload,
            },
        )
        try:
            appended = lane.append(record)
        except JournalFailure:
            # Also where that was known, and a call in flight has ended since.
            self.life.happen(Happening.JOURNAL_FAILED)
            raise
        speak(self._log, payload)
        return appended

    async def durable(self, appended: Appended, within: anyio.CancelScope | None = None) -> None:
        """
        Wait until a record cannot be lost any more, see `Lane.durable`.

        Args:
            within: A scope that the caller has entered; where it ends first, it is limit enough.
        """
        if appended.is_durable:
            return
        limit = self.deadlines.journal
        if within is not None and within.deadline <= self.now() + limit:
            await self.lane.settled(appended)
        else:
            await self.lane.durable(appended, limit)

    def check(self) -> None:
        """
        Find out whether the session can still write; one that has its terminal record need not.

        Raises:
            JournalFailure: It cannot.
        """
        if self.terminal is None:
            self.lane.check()

    def lost_if(self, error: AgentError) -> None:
        """Take note of what *error* says about the connection."""
        if isinstance(error, ProviderConnectionLost):
            self.loss = RecordedError.of(error)
            self.connection_lost()

    def connection_lost(self) -> None:
        """Take note that the connection is gone."""
        if self.lost_at is None and self.life.phase in (Phase.OPEN, Phase.RESTARTING, Phase.CLOSING):
            self.lost_at = self.now()
            self.dropped_before_loss = self.totals.dropped
        self.life.happen(Happening.CONNECTION_LOST)
        if self.when_lost is not None:
            self.when_lost()
        self.changed.notify()

    def tell(self, event: str, **facts: object) -> None:
        """Log what is in no record."""
        speak_beside(self._log, event, connection_id=str(self.life.connection_id), **facts)

    def journal_failed(self) -> None:
        """Take note that nothing can be written any more."""
        if self.terminal is None and self.life.phase is not Phase.FAILED:
            self.life.happen(Happening.JOURNAL_FAILED)
            failure = self.lane.failure
            assert failure is not None
            self.tell("journal_failed", error_kind=str(failure.kind), retry=str(failure.retry))
        self.notify_end()

    def notify_end(self) -> None:
        """Let all look again, and those who wait for something else than the session learn that it has ended."""
        self.changed.notify()
        if self.life.ended and self.when_ended is not None:
            self.when_ended()

    def superseded(self, conflict: JournalConflict) -> None:
        """Take note that another controller has the session: what is in flight is given up, unrecorded."""
        self.lane.supersede(conflict)
        self.give_up_calls(conflict)
        self.journal_failed()
        if self.on_superseded is not None:
            self.on_superseded()

    def give_up_calls(self, failure: JournalFailure) -> None:
        """Cut every call in flight; there is no journal to record it in."""
        for flight in list(self.flights):
            self._count_given_up(flight)
            flight.settled = True
            flight.error = failure
            flight.cut(failure)

    def _count_given_up(self, flight: Flight) -> None:
        """
        No record will tell what became of a frame in flight, so that the totals must.

        One whose intent the journal did not take has never been in the run.
        """
        if flight.name == "send" and flight.started and not flight.settled:
            self.totals.in_doubt += 1

    async def effect(
        self, flight: Flight, intent: Appended, seconds: float, call: Callable[[], Awaitable[_T]]
    ) -> _T:
        """
        Call the adapter once *intent* is durable, within *seconds*.

        A failure is recorded, durably, before it is raised; what a success means is the caller's to record.
        """
        try:
            with anyio.CancelScope(deadline=self.now() + seconds) as flight.scope:
                return await self.perform(flight, intent, call)
            assert flight.error is not None
            raise flight.error
        except AgentError:
            if flight.result is not None:
                await self.durable(flight.result)
            raise

    async def perform(self, flight: Flight, intent: Appended | None, call: Callable[[], Awaitable[_T]]) -> _T:
        """Do what `effect` does, inside the flight's scope, which the caller has entered."""
        self.flights.add(flight)
        try:
            if flight.cut_by is not None:
                raise flight.cut_by
            if intent is not None and not intent.is_durable:
                await self.durable(intent, flight.scope)
                # Meanwhile another may have closed the intent, or the call was given up while the journal shields its write.
                self.lane.check()
                await self._checkpoint_if_cancelled()
            flight.started = True
            result = await call()
        except BaseException as raised:
            if isinstance(raised, JournalFailure) and not flight.started:
                raise
            error = self.failure_of(flight, raised)
            flight.fail(error)
            cancellation = cancellation_in(raised)
            if cancellation is not None:
                raise cancellation from None
            if error is raised or not is_failure(raised):
                raise
            raise error from raised
        else:
            flight.succeed()
            return result
        finally:
            self.landed(flight)

    def landed(self, flight: Flight) -> None:
        """Take note that a call is over, however it ended."""
        self.flights.discard(flight)
        if self.when_quiet is not None and not self.flights:
            self.when_quiet()
        self.changed.notify()

    def failure_of(self, flight: Flight, raised: BaseException) -> AgentError:
        """What *raised* means for the call: the error that is recorded."""
        # The session's own journal does not fail in a call of the adapter; one that the adapter keeps may.
        if isinstance(raised, AgentError) and not isinstance(raised, JournalFailure):
            return raised
        retry = RetryClassification.UNKNOWN_OUTCOME if flight.started else RetryClassification.RETRYABLE
        if is_failure(raised):
            return ProviderFailure(
                f"adapter {self.adapter.adapter_ref!r} raised {type(raised).__name__} in {flight.name}: "
                "adapters raise ProviderFailure or ProviderConnectionLost; mend it there",
                retry=retry,
            )
        if flight.cut_by is not None:
            return flight.cut_by
        if flight.scope is not None and flight.scope.cancel_called:
            deadline = "send" if flight.name == "replay" else flight.name
            return DeadlineExceeded(
                f"{flight.name} of session {str(self.life.session_id)!r} ran out of its "
                f"{getattr(self.deadlines, deadline):g} s {_IN_THE_ADAPTER if flight.started else _FOR_THE_JOURNAL}, "
                f"or allow more in Deadlines.{deadline}",
                retry=retry,
            )
        return AgentError(f"{flight.name} was cancelled", kind=AgentErrorKind.CANCELLED, retry=retry)


_IN_THE_ADAPTER = "in the adapter, and may have happened: look at the provider"
_FOR_THE_JOURNAL = "before its intent was durable: look at the journal's storage"


def recorded(error: AgentError, *, in_doubt: bool = False) -> RecordedError:
    """*error* as a record holds it."""
    if in_doubt:
        return attrs.evolve(RecordedError.of(error), retry=RetryClassification.UNKNOWN_OUTCOME)
    return RecordedError.of(error)

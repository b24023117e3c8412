"""
Replacing the connection, in two halves.

The first closes the gate and says so; the second calls the adapter, then gives the new connection
what it has missed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, MutableSequence
from typing import TYPE_CHECKING

import anyio
import attrs

from realtime_async._core.accounting import RestartReport
from realtime_async._core.cursors import is_position, ranges_of
from realtime_async._core.given import shown
from realtime_async._core.lifecycle import Happening, Operation, Phase, Verdict, refusal
from realtime_async._core.restarts import RestartBudget, RestartPolicy
from realtime_async._shell.flights import Flight
from realtime_async._shell.lane import Appended
from realtime_async._shell.runtime import SessionRuntime, recorded
from realtime_async.errors import (
    AgentError,
    DeadlineExceeded,
    JournalFailure,
    ProviderConnectionLost,
    ProviderFailure,
    RestartExhausted,
    SessionStateError,
)
from realtime_async.ports import (
    RealtimeConnectResponse,
    RealtimeRestartReason,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RecordedError,
    StreamCursor,
)

if TYPE_CHECKING:
    from realtime_async._shell.receiving import Receiving
    from realtime_async._shell.sending import Sending

__all__ = ["Restarting", "checked_response"]

_Kind = RealtimeSessionRecordKind

# The connection is gone, or as good as gone: what is in flight on it would wait in vain.
_CUTTING = frozenset({RealtimeRestartReason.CONNECTION_LOST, RealtimeRestartReason.STALLED})


@attrs.frozen
class _Before:
    """How things stood when the gate closed."""

    reason: RealtimeRestartReason
    since: float
    dropped: int


class Restarting:
    def __init__(self, rt: SessionRuntime, sending: Sending, receiving: Receiving) -> None:
        self.rt = rt
        self._sending = sending
        self._receiving = receiving
        self._runs = False
        self.goes_on = False
        """Whether somebody makes attempts until one holds, and may be waiting before the next."""
        self._lifetime_attempts = 0
        self._before: _Before | None = None
        self._restored_at = 0.0
        self.started: Appended | None = None
        """The intent of the restart under way; None: there is none, or its last attempt has failed."""

    # -- the first half

    async def begin(self, reason: RealtimeRestartReason) -> list[RealtimeSessionRecord]:
        rt = self.rt
        rt.check()
        rt.life.demand(Operation.BEGIN_RESTART)
        self._claim("begin_restart")
        phase_before = rt.life.phase
        before = self._outage(reason, phase_before)
        rt.life.happen(Happening.RESTART_BEGUN)
        rt.changed.notify()
        try:
            self._cut(reason)
            await self._quiet()
            requested, started = self._announce(before)
        except BaseException:
            self._withdraw(phase_before)
            raise
        finally:
            self._runs = False
        await rt.durable(started)
        return [requested.record.payload, started.record.payload]

    def _outage(self, reason: RealtimeRestartReason, phase: Phase) -> _Before:
        """How things stood when frames began to be gated, and could be dropped."""
        rt = self.rt
        if phase is Phase.RESTART_FAILED:
            # The gate has been closed since.
            assert self._before is not None
            return attrs.evolve(self._before, reason=reason)
        if rt.lost_at is not None:
            return _Before(reason, rt.lost_at, rt.dropped_before_loss)
        return _Before(reason, rt.now(), rt.totals.dropped)

    def _claim(self, operation: str) -> None:
        if self._runs:
            raise SessionStateError(
                f"{operation} is not possible while session {str(self.rt.life.session_id)!r} has another half of a "
                "restart running: await that first"
            )
        self._runs = True

    def _cut(self, reason: RealtimeRestartReason) -> None:
        for flight in list(self.rt.flights):
            if flight.name == "receive" or (reason in _CUTTING and flight.uses_the_connection):
                # A receive is not lost: it goes on, under its intent, with the new connection.
                flight.cut(self._lost(flight))

    def _lost(self, flight: Flight) -> ProviderConnectionLost:
        fate = "it may have arrived; the journal tells" if flight.started else "it was not sent"
        return ProviderConnectionLost(
            f"{flight.name} of session {str(self.rt.life.session_id)!r} was cut, because its connection is being "
            f"replaced: {fate}",
            delivered=None if flight.started else False,
        )

    async def _quiet(self) -> None:
        """Wait until no call is in flight, so that none meets two connections."""
        rt = self.rt
        with anyio.move_on_after(rt.deadlines.restart) as scope:
            while (self._sending.wire.is_taken or self._in_flight()) and rt.life.phase is Phase.RESTARTING:
                await rt.changed.wait()
        if scope.cancelled_caught:
            raise DeadlineExceeded(
                f"the connection of session {str(rt.life.session_id)!r} cannot be replaced: "
                f"{', '.join(sorted(self._in_flight())) or 'send'} does not end: mend the adapter"
            )

    def _in_flight(self) -> list[str]:
        return [flight.name for flight in self.rt.flights if flight.uses_the_connection]

    def _announce(self, before: _Before) -> tuple[Appended, Appended]:
        rt = self.rt
        rt.check()
        if rt.life.phase is not Phase.RESTARTING:
            raise refusal(Operation.BEGIN_RESTART, rt.life.phase, rt.life.session_id)
        self._sending.transmitting.book.end()
        self._receiving.book.end()
        self._sending.replay.forget()
        requested = rt.append(_Kind.RESTART_REQUESTED, restart_reason=before.reason)
        self._before = before
        return requested, self._start()

    def _start(self) -> Appended:
        assert self._before is not None
        self.started = self.rt.append(_Kind.RESTART_STARTED, restart_reason=self._before.reason)
        return self.started

    def _withdraw(self, phase: Phase) -> None:
        """The restart was given up before it was announced."""
        rt = self.rt
        if rt.life.phase is Phase.RESTARTING and self.started is None:
            rt.life.phase = Phase.LOST if phase is Phase.OPEN and rt.lost_at is not None else phase
            rt.changed.notify()

    # -- the second half

    async def complete(self) -> list[RealtimeSessionRecord]:
        records: list[Appended] = []
        await self._complete(records)
        return [appended.record.payload for appended in records]

    async def _complete(self, records: MutableSequence[Appended]) -> None:
        """
        Have the adapter restart, then say what waits.

        Args:
            records: Takes what is written; a long drain writes thousands, of which some need but the last.
        """
        rt = self.rt
        rt.check()
        rt.life.demand(Operation.COMPLETE_RESTART)
        self._claim("complete_restart")
        try:
            if rt.life.phase is Phase.RESTART_FAILED:
                rt.life.happen(Happening.RESTART_BEGUN)
                records.append(self._start())
            response = await self._attempt(records)
        finally:
            self._runs = False
        # What follows may be overtaken by the next restart, which ends the drain.
        if response is not None:
            await self._resume(response, records)
        await rt.durable(records[-1])

    async def _attempt(self, records: MutableSequence[Appended]) -> RealtimeConnectResponse | None:
        """Have the adapter restart; None: it failed, which is recorded."""
        rt = self.rt
        intent = self.started
        assert intent is not None

        def failed(error: AgentError, flight: Flight) -> Appended:
            records.append(self.fail(error))
            return records[-1]

        flight = Flight("restart", failed)
        try:
            return await rt.effect(flight, intent, rt.deadlines.restart, self._call)
        except JournalFailure:
            raise
        except AgentError:
            rt.check()
            if rt.life.phase is not Phase.RESTART_FAILED:
                raise
            return None

    async def _call(self) -> RealtimeConnectResponse:
        rt = self.rt
        response = await rt.meanwhile.restart(rt.life.connection_id)
        return checked_response(response, rt.adapter.adapter_ref, "restart")

    def fail(self, error: AgentError) -> Appended:
        """Record that the restart under way has failed."""
        rt = self.rt
        intent, self.started = self.started, None
        assert intent is not None
        assert self._before is not None
        rt.life.happen(Happening.RESTART_FAILED)
        appended = rt.append(
            _Kind.RESTART_FAILED, intent, restart_reason=self._before.reason, error=recorded(error)
        )
        rt.changed.notify()
        return appended

    async def _resume(self, response: RealtimeConnectResponse, records: MutableSequence[Appended]) -> None:
        """Go on with the new connection: its first frames are those that it has missed."""
        rt, sending = self.rt, self._sending
        intent, self.started = self.started, None
        assert intent is not None
        assert self._before is not None
        # Nobody holds the wire while the gate is closed, and it opens with no await before the drain has it.
        sending.wire.take()
        try:
            rt.life.connection_id = response.connection_id
            rt.life.restart_count += 1
            rt.life.happen(Happening.RESTARTED)
            rt.lost_at = rt.loss = None
            self._restored_at = rt.now()
            records.append(rt.append(_Kind.RESTART_COMPLETED, intent, restart_reason=self._before.reason))
            rt.fence.connection_replaced()
            sending.replay.plan(response.input_kept_through)
            sending.drained.clear()
            rt.changed.notify()
            await sending.drain(records)
        finally:
            sending.wire.release()

    # -- both halves, until it holds

    async def restart(self, reason: RealtimeRestartReason, policy: RestartPolicy) -> RestartReport:
        """Both halves, within *policy*."""
        budget = RestartBudget(policy, self._lifetime_attempts)
        try:
            return await self.restart_within(budget, reason)
        finally:
            self._lifetime_attempts = budget.spent_ever

    async def restart_within(
        self,
        budget: RestartBudget,
        reason: RealtimeRestartReason,
        dial: Callable[[], Awaitable[None]] | None = None,
    ) -> RestartReport:
        """
        Both halves, until the new connection has taken what waited for it.

        Args:
            dial: Awaited before each attempt; None: it may be made at once.
        """
        await self.begin(reason)
        self.goes_on = True
        try:
            return await self._attempt_until_it_holds(budget, dial)
        finally:
            self.goes_on = False
            self.rt.changed.notify()

    async def _attempt_until_it_holds(
        self, budget: RestartBudget, dial: Callable[[], Awaitable[None]] | None
    ) -> RestartReport:
        # A new connection that dies while it is told what waited makes the outage no shorter.
        first = self._before
        assert first is not None
        attempts = 0
        while True:
            wait = budget.wait(random.random())
            if wait:
                await self._pause(wait)
            if dial is not None:
                await dial()
            if self.rt.life.phase is Phase.LOST:
                await self.begin(RealtimeRestartReason.CONNECTION_LOST)
            budget.spend()
            attempts += 1
            last: deque[Appended] = deque(maxlen=1)
            await self._complete(last)
            error = _failure_in(last[-1])
            if error is None and self.rt.life.phase is not Phase.LOST:
                return self._report(first, attempts)
            why = budget.refusal(error)
            if why is not None:
                raise self.exhausted(attempts, why)

    async def _pause(self, seconds: float) -> None:
        """
        Let *seconds* pass before the next attempt.

        Raises:
            SessionStateError: The session ends, so there will be none.
            JournalFailure: So, because the journal has failed.
        """
        rt = self.rt
        with anyio.move_on_after(seconds):
            while rt.life.verdict(Operation.CLOSE) is Verdict.GO:
                await rt.changed.wait()
            rt.check()
            raise refusal("restart", rt.life.phase, rt.life.session_id)

    def exhausted(self, attempts: int, why: str) -> RestartExhausted:
        return RestartExhausted(
            f"session {str(self.rt.life.session_id)!r} has no connection after {attempts} attempt(s) to restart it, "
            f"and {why}: close it, or call restart() again when the provider is back"
        )

    def _report(self, first: _Before, attempts: int) -> RestartReport:
        rt, sending = self.rt, self._sending
        unconfirmed, in_doubt = rt.totals.tell(sending.replay.given)
        return RestartReport(
            reason=first.reason,
            outage_s=self._restored_at - first.since,
            attempts=attempts,
            gated=ranges_of(sending.drained),
            replayed=ranges_of(sending.replay.given.replayed),
            dropped=rt.totals.dropped - first.dropped,
            in_doubt=in_doubt,
            unconfirmed=unconfirmed,
        )


def _failure_in(appended: Appended) -> RecordedError | None:
    payload = appended.record.payload
    return payload.error if payload.kind is _Kind.RESTART_FAILED else None


def checked_response(response: object, adapter_ref: str, call: str) -> RealtimeConnectResponse:
    """
    *response*, if it is one.

    Raises:
        ProviderFailure: The adapter returned something else.
    """
    if not isinstance(response, RealtimeConnectResponse):
        raise ProviderFailure(
            f"adapter {adapter_ref!r} returned {type(response).__name__} from {call}: "
            "it must return a RealtimeConnectResponse"
        )
    kept: object = response.input_kept_through
    if kept is None or (isinstance(kept, StreamCursor) and is_position(kept.chunk_sequence)):
        return response
    raise ProviderFailure(
        f"adapter {adapter_ref!r} returned from {call} that input is kept through {shown(kept)}: "
        "it must be a StreamCursor of a whole number, such as StreamCursor.chunk(0), or None"
    )

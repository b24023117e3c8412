"""Stopping an answer: its output is kept from the listener at once, then the provider is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from realtime_async._core.cursors import is_position
from realtime_async._core.given import shown
from realtime_async._core.lifecycle import Operation, Verdict
from realtime_async._shell.flights import Flight
from realtime_async._shell.lane import Appended
from realtime_async._shell.runtime import SessionRuntime, recorded
from realtime_async.errors import (
    AgentError,
    ContractViolation,
    JournalFailure,
    ProviderConnectionLost,
    RetryClassification,
)
from realtime_async.ports import RealtimeResponseId, RealtimeSessionRecord, RealtimeSessionRecordKind

if TYPE_CHECKING:
    from realtime_async._shell.receiving import Receiving
    from realtime_async._shell.sending import Sending

__all__ = ["Interrupting"]

_Kind = RealtimeSessionRecordKind


class Interrupting:
    def __init__(self, rt: SessionRuntime, sending: Sending, receiving: Receiving) -> None:
        self.rt = rt
        self._sending = sending
        self._receiving = receiving

    async def interrupt(
        self,
        given_id: str | None,
        played_ms: int | None,
        when_lifted: Callable[[], None] | None = None,
        when_failed: Callable[[RealtimeSessionRecord], None] | None = None,
    ) -> RealtimeSessionRecord:
        """
        Do what `RealtimeSessionController.interrupt` says.

        Args:
            when_lifted: Called where the answer goes on, as the provider refused, or was not told.
            when_failed: Called with the record of how it failed.
        """
        response_id = None if given_id is None else RealtimeResponseId(given_id)
        if played_ms is not None and not is_position(played_ms):
            raise ContractViolation(
                f"played_ms is {shown(played_ms)}: give the milliseconds that were heard, at least 0"
            )
        rt = self.rt
        rt.check()
        verdict = rt.life.demand(Operation.INTERRUPT)
        target = response_id if response_id is not None else rt.fence.current
        self._sending.transmitting.end_span()
        self._receiving.book.end()
        if verdict is Verdict.FENCE:
            rt.fence.keep(rt.fence.raise_against(response_id))
            rt.meanwhile.interrupted(target, played_ms)
            return rt.append(_Kind.OUTPUT_FENCED, response_id=target).record.payload
        intent = rt.append(_Kind.INTERRUPT_REQUESTED, response_id=target)
        raised = rt.fence.raise_against(response_id)

        def failed(error: AgentError, flight: Flight) -> Appended:
            if isinstance(error, ProviderConnectionLost):
                # Made or not: the next connection must not be asked for that answer, nor is the rest of it heard.
                rt.meanwhile.interrupted(target, played_ms)
            elif not flight.started or error.retry is not RetryClassification.UNKNOWN_OUTCOME:
                rt.fence.lift(raised)
                if when_lifted is not None:
                    when_lifted()
            # Where it was lifted there is nothing left to keep.
            rt.fence.keep(raised)
            rt.lost_if(error)
            appended = rt.append(_Kind.INTERRUPT_FAILED, intent, response_id=target, error=recorded(error))
            if when_failed is not None:
                when_failed(appended.record.payload)
            return appended

        async def call() -> None:
            # The phase may say more already: that it is replaced, or that the session closes.
            if rt.lost_at is not None:
                raise ProviderConnectionLost("the connection was lost before the interrupt", delivered=False)
            await rt.adapter.interrupt(rt.life.session_id, response_id, played_ms=played_ms)

        flight = Flight("interrupt", failed)
        try:
            await rt.effect(flight, intent, rt.deadlines.interrupt, call)
        except JournalFailure:
            rt.fence.lift(raised)
            raise
        rt.fence.keep(raised)
        result = rt.append(_Kind.INTERRUPTED, intent, response_id=target)
        await rt.durable(result)
        return result.record.payload

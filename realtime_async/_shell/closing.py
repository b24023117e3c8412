"""
The end of a session, or of its time here: whatever is open gets its result, then the provider is told.

It is over within its deadline, whatever the adapter does.
A session that is handed over ends here as one that is closed does, but for what its last records are called: no
terminal record forbids that another controller resumes it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import attrs

from realtime_async._core.lifecycle import Happening, Operation, Phase, Verdict, refusal
from realtime_async._shell.flights import Flight, tool_at_work
from realtime_async._shell.lane import Appended
from realtime_async._shell.runtime import SessionRuntime, recorded
from realtime_async.errors import (
    AgentError,
    AgentErrorKind,
    DeadlineExceeded,
    JournalFailure,
    ProviderConnectionLost,
    RetryClassification,
    SessionStateError,
)
from realtime_async.ports import RealtimeCloseReason, RealtimeSessionRecord, RealtimeSessionRecordKind

if TYPE_CHECKING:
    from realtime_async._shell.receiving import Receiving
    from realtime_async._shell.restarting import Restarting
    from realtime_async._shell.sending import Sending

__all__ = ["Closing"]

_Kind = RealtimeSessionRecordKind


@attrs.frozen
class _Ending:
    """A way to end: what its records are called, and what becomes of the session."""

    intent: RealtimeSessionRecordKind
    done: RealtimeSessionRecordKind
    failed: RealtimeSessionRecordKind


_CLOSE = _Ending(_Kind.CLOSE_REQUESTED, _Kind.CLOSED, _Kind.CLOSE_FAILED)
_HAND_OVER = _Ending(_Kind.HAND_OVER_REQUESTED, _Kind.HANDED_OVER, _Kind.HAND_OVER_FAILED)

# What may still come to its own end within half the deadline; all else would only wait.
_WORTH_WAITING_FOR = frozenset({"send", "replay", "interrupt"})


class Closing:
    def __init__(
        self,
        rt: SessionRuntime,
        sending: Sending,
        receiving: Receiving,
        restarting: Restarting,
        on_terminal: Callable[[], None],
        on_handed_over: Callable[[], None],
        *,
        has_gate: bool,
    ) -> None:
        self.rt = rt
        self._sending = sending
        self._receiving = receiving
        self._restarting = restarting
        self._on_terminal = on_terminal
        self._on_handed_over = on_handed_over
        self._has_gate = has_gate
        self._ending = _CLOSE
        self._reason = RealtimeCloseReason.NORMAL
        self._sharing = 0
        """How many wait for a close that somebody else carries out."""
        self._is_left = False
        """Whoever carried it out was cancelled before the provider was told; one of those goes on."""
        self._intent: Appended | None = None
        self._error: AgentError | None = None
        self._stuck: list[str] = []
        self._own_tool: Flight | None = None
        """The tool call that ends the session: it waits for the end, so it is neither waited for nor cut."""

    async def close(self, reason: RealtimeCloseReason) -> RealtimeSessionRecord:
        rt = self.rt
        if rt.lane.failure is not None and rt.terminal is None:
            self._give_up_all(rt.lane.failure)
            rt.lane.check()
        match rt.life.demand(Operation.CLOSE):
            case Verdict.REPEAT:
                return await self._settled()
            case Verdict.SHARE:
                return await self._shared()
            case _:
                return await self._close(reason)

    async def hand_over(self) -> RealtimeSessionRecord:
        self.rt.check()
        self.rt.life.demand(Operation.HAND_OVER)
        self._ending = _HAND_OVER
        # The provider's own session, where it has one, is the next controller's.
        return await self._close(RealtimeCloseReason.HOST_OWNED_DETACH)

    async def _settled(self) -> RealtimeSessionRecord:
        terminal = self.rt.terminal
        assert terminal is not None
        try:
            await self.rt.durable(terminal)
        except JournalFailure:
            self._forget_terminal()
            raise
        except BaseException:
            await self._written()
            raise
        self._tell_the_gate()
        return terminal.record.payload

    def _tell_the_gate(self) -> None:
        if self._ending is _CLOSE:
            self._on_terminal()
        else:
            self._on_handed_over()

    def _forget_terminal(self) -> None:
        """It is in no journal, so the session has ended without it."""
        if self.rt.terminal is not None:
            self.rt.terminal = None
            self.rt.life.happen(Happening.JOURNAL_FAILED)

    async def _shared(self) -> RealtimeSessionRecord:
        rt = self.rt
        while rt.life.phase is Phase.CLOSING:
            ends_at = rt.now() + rt.deadlines.close
            await self._until_ended_or_left(ends_at)
            if self._is_left and rt.life.phase is Phase.CLOSING:
                self._is_left = False
                return await self._carry_out(Phase.CLOSING, ends_at)
            self._end_at_last()
        rt.check()
        if self._error is not None:
            raise self._error
        return await self._settled()

    async def _until_ended_or_left(self, ends_at: float) -> None:
        rt = self.rt
        self._sharing += 1
        try:
            with anyio.CancelScope(deadline=ends_at):
                while rt.life.phase is Phase.CLOSING and not self._is_left:
                    await rt.changed.wait()
        except BaseException:
            if self._is_left and self._sharing == 1:
                # Nobody else is there to go on.
                self._abandon()
                await self._abandoned(ends_at)
            raise
        finally:
            self._sharing -= 1

    async def _close(self, reason: RealtimeCloseReason) -> RealtimeSessionRecord:
        own = tool_at_work.get()
        if own not in self.rt.flights:
            return await self._end_session(reason)
        self._own_tool = own
        own.cut_by = self._tool_was_cut()
        self.rt.flights.discard(own)
        # Whoever sees that the session ends may leave its block, which cancels the tool; the close has its deadline.
        with anyio.CancelScope(shield=True):
            record = await self._end_session(reason)
        return record  # noqa: RET504 - to its type a scope may swallow what is raised in it

    async def _end_session(self, reason: RealtimeCloseReason) -> RealtimeSessionRecord:
        rt = self.rt
        was = rt.life.phase
        if was is Phase.NEW:
            self._claim()
        rt.life.happen(Happening.CLOSE_BEGUN)
        rt.changed.notify()
        self._reason = reason
        return await self._carry_out(was, rt.now() + rt.deadlines.close)

    async def _carry_out(self, was: Phase, ends_at: float) -> RealtimeSessionRecord:
        """Do what is still to be done of the end, which somebody else may have begun."""
        rt = self.rt
        try:
            if self._intent is None:
                with anyio.CancelScope(deadline=ends_at):
                    await self._quiet(was, ends_at)
                rt.check()
                self._settle_everything()
            if rt.has_connected:
                await self._tell(ends_at)
            self._finish()
        except JournalFailure:
            self._forget_terminal()
            self._give_up_all(rt.lane.failure)
            raise
        except AgentError as error:
            self._error = error
            await self._settled()
            raise
        except BaseException:
            if not self._leave():
                self._abandon()
                await self._abandoned(ends_at)
            raise
        finally:
            rt.notify_end()
        return await self._settled()

    def _leave(self) -> bool:
        """Let one of those who wait for the end go on; False: there is none, or the provider was called already."""
        rt = self.rt
        self._is_left = self._sharing > 0 and rt.terminal is None and rt.lane.failure is None
        return self._is_left

    def _claim(self) -> None:
        """A session that never connected may be another controller's: then its end is not ours to write."""
        try:
            self.rt.lane.claim(self.rt.life.session_id)
        except SessionStateError:
            self._on_terminal()
            raise

    # -- calls in flight

    async def _quiet(self, was: Phase, ends_at: float) -> None:
        """Let calls in flight end: by themselves for half the time, then cut."""
        rt = self.rt
        if was is Phase.CONNECTING:
            self._cut(rt.flights)
        self._cut([flight for flight in rt.flights if flight.name not in _WORTH_WAITING_FOR])
        half = rt.deadlines.close / 2
        with anyio.CancelScope(deadline=ends_at - half):
            await self._until_quiet()
        self._cut(rt.flights)
        # Half of what is left is kept for the adapter's close.
        with anyio.CancelScope(deadline=ends_at - half / 2):
            await self._until_quiet()
        self._stuck = sorted(flight.name for flight in rt.flights)

    async def _until_quiet(self) -> None:
        while self.rt.flights:
            await self.rt.changed.wait()

    def _cut(self, flights: set[Flight] | list[Flight]) -> None:
        for flight in list(flights):
            self._cut_one(flight)

    def _cut_one(self, flight: Flight) -> None:
        life = self.rt.life
        if flight.name in ("restart", "receive"):
            # Closing records their end itself, in its place.
            flight.settled = True
            flight.error = refusal(Operation.COMPLETE_RESTART, life.phase, life.session_id)
            flight.cut(flight.error)
        elif flight.name == "tool":
            flight.cut(self._tool_was_cut())
        elif flight.name == "connect":
            flight.cut(refusal(Operation.CONNECT, life.phase, life.session_id))
        else:
            flight.cut(
                ProviderConnectionLost(
                    f"{flight.name} was cut, because session {str(life.session_id)!r} closes",
                    delivered=None if flight.started else False,
                )
            )

    def _tool_was_cut(self) -> AgentError:
        return AgentError(
            f"the tool call was cut, because session {str(self.rt.life.session_id)!r} closes",
            kind=AgentErrorKind.CANCELLED,
            retry=RetryClassification.UNKNOWN_OUTCOME,
        )

    # -- results for whatever is open

    def _settle_everything(self) -> None:
        """Close every intent, in the order in which a reader expects them; nothing is awaited."""
        rt = self.rt
        for flight in [*rt.flights, *([] if self._own_tool is None else [self._own_tool])]:
            if flight.cut_by is not None:
                flight.fail(flight.cut_by)
        self._sending.transmitting.book.end()
        self._receiving.book.end()
        self._receiving.tell_discarded()
        self._intent = rt.append(self._ending.intent, close_reason=self._reason)
        self._sending.gate.drop_all()
        if self._restarting.started is not None:
            self._restarting.fail(_closed(rt))
        self._receiving.book.close(_Kind.OUTPUT_ENDED)
        self._sending.transmitting.book.close(_Kind.INPUT_SENT)

    # -- the provider

    async def _tell(self, ends_at: float) -> None:
        rt = self.rt
        assert self._intent is not None

        def failed(error: AgentError, flight: Flight) -> Appended | None:
            if self._sharing and not flight.started and error.kind is AgentErrorKind.CANCELLED:
                # Whoever goes on calls the provider under the same intent, and has its result.
                return None
            return self._end_failed(error)

        flight = Flight("close", failed)
        await rt.effect(
            flight,
            self._intent,
            max(0.0, ends_at - rt.now()),
            lambda: rt.adapter.close(rt.life.session_id, self._reason),
        )

    def _finish(self) -> None:
        """Write the terminal record; a call that did not end when it was cut is named."""
        rt = self.rt
        if self._stuck:
            error = DeadlineExceeded(
                f"session {str(rt.life.session_id)!r} is closed, but the adapter's {', '.join(self._stuck)} "
                "did not end when cancelled: mend the adapter",
                retry=RetryClassification.UNKNOWN_OUTCOME,
            )
            self._end_failed(error)
            raise error
        self._end()

    def _end(self) -> None:
        rt = self.rt
        if self._ending is _HAND_OVER:
            rt.life.happen(Happening.HANDED_OVER)
        elif self._reason is RealtimeCloseReason.HOST_OWNED_DETACH:
            rt.life.happen(Happening.DETACHED)
        else:
            rt.life.happen(Happening.CLOSED)
        rt.terminal = rt.append(self._ending.done, self._intent, close_reason=self._reason)

    def _end_failed(self, error: AgentError) -> Appended:
        rt = self.rt
        rt.life.happen(Happening.CLOSE_FAILED)
        rt.terminal = rt.append(
            self._ending.failed, self._intent, close_reason=self._reason, error=recorded(error)
        )
        return rt.terminal

    # -- a close that was cancelled

    def _abandon(self) -> None:
        """What it had still to record is recorded, and nobody is called; the end follows the last call in flight."""
        rt = self.rt
        if rt.terminal is not None or rt.lane.failure is not None:
            return
        self._error = AgentError("close was cancelled", kind=AgentErrorKind.CANCELLED)
        if self._intent is None:
            self._cut(rt.flights)
            self._settle_everything()
        rt.when_quiet = self._end_abandoned
        if not rt.flights:
            rt.when_quiet()

    def _end_abandoned(self) -> None:
        rt = self.rt
        rt.when_quiet = None
        if rt.lane.failure is None:
            assert self._error is not None
            self._end_failed(self._error)
        rt.changed.notify()

    async def _abandoned(self, ends_at: float) -> None:
        """Wait for the calls that were cut; one that does not end has no say in how long."""
        with anyio.CancelScope(shield=True, deadline=ends_at):
            await self._until_ended()
        self._end_at_last()
        self.rt.notify_end()
        await self._written()

    async def _written(self) -> None:
        """
        Have all that was begun written, where that takes somebody who awaits it, or a gate waits for it.

        Nobody else will, after a close.
        """
        rt = self.rt
        if rt.terminal is not None and (rt.lane.has_to_be_awaited or self._has_gate):
            with (
                suppress(JournalFailure),
                anyio.CancelScope(shield=True, deadline=rt.now() + rt.deadlines.close),
            ):
                await rt.durable(rt.terminal)
                self._tell_the_gate()

    def _end_at_last(self) -> None:
        """Wait no longer for a call of the adapter that does not end though it was cancelled."""
        if self.rt.when_quiet is not None:
            self.rt.when_quiet()

    async def _until_ended(self) -> None:
        while self.rt.life.phase is Phase.CLOSING:
            await self.rt.changed.wait()

    def _give_up_all(self, failure: JournalFailure | None) -> None:
        """The journal has failed: nothing can be recorded, so nothing may go on."""
        assert failure is not None
        self.rt.give_up_calls(failure)
        self._sending.gate.forget_all()
        self.rt.notify_end()


def _closed(rt: SessionRuntime) -> AgentError:
    return refusal(Operation.COMPLETE_RESTART, rt.life.phase, rt.life.session_id)

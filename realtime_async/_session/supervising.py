"""
A session that restarts itself: a pump that receives, and a watch that replaces the connection.

When a restart is due is decided in the core; here it is carried out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import anyio
import attrs

from realtime_async._core.accounting import RealtimeRestartReason, RestartReport
from realtime_async._core.lifecycle import Operation, Phase, Verdict
from realtime_async._core.restarts import RestartBudget, RestartPolicy
from realtime_async._core.supervision import ASKS, Supervision
from realtime_async._session.dialing import Dialing
from realtime_async._session.inbox import Entry, Inbox
from realtime_async._shell.broadcast import Broadcast
from realtime_async.controller import RealtimeSessionController
from realtime_async.errors import (
    AgentError,
    JournalFailure,
    ProviderConnectionLost,
    ProviderFailure,
    RestartExhausted,
)
from realtime_async.ports import (
    InputSignal,
    RealtimeCloseReason,
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    Restarted,
)

__all__ = ["Supervisor"]

_Reason = RealtimeRestartReason


@attrs.define(eq=False)
class _Request:
    """A restart that the program asked for."""

    reason: RealtimeRestartReason
    over: anyio.Event
    report: RestartReport | None = None
    error: AgentError | None = None

    def settle(self, report: RestartReport | None, error: AgentError | None) -> None:
        self.report, self.error = report, error
        self.over.set()


class Supervisor:
    """
    Keeps one session connected, for as long as its policy allows.

    Args:
        heard: Called with each event as it comes in, before the loop has it.
    """

    outlives_connections: ClassVar[bool] = True

    def __init__(
        self,
        controller: RealtimeSessionController,
        policy: RestartPolicy,
        dialing: Dialing,
        heard: Callable[[RealtimeEvent], None],
    ) -> None:
        self._controller = controller
        self._rt = controller._rt
        self._heard_too = heard
        self._dialing = dialing
        self._budget = RestartBudget(policy)
        self._watched = Supervision(policy, self._rt.now())
        self._inbox = Inbox()
        self._requests: list[_Request] = []
        self._wake = Broadcast()
        self._sleeps_until = math.inf
        self._told = Broadcast()
        self._is_restarting = False
        self._generation = 0
        self._in_hand: Entry | None = None
        self._is_over = False
        self._failure: AgentError | None = None
        self.ended_by: RestartExhausted | None = None
        """What ended the session; None: nothing has, or something else."""
        self._rt.when_lost = self._wake.notify

    # -- what a session asks of it

    def sent(self, frame: RealtimeInputFrame, record: RealtimeSessionRecord) -> None:
        """Take note that a frame went out, or into the gate."""
        if record.kind is not RealtimeSessionRecordKind.BACKPRESSURE_APPLIED:
            now = self._rt.now()
            self._watched.went_out(now)
            if frame.signal is not None:
                self._asked(frame.signal, now)
            elif frame.media_kind is RealtimeMediaKind.TOOL_RESULT:
                self._watched.turn.told()
            self._wake_in_time()

    def _asked(self, signal: InputSignal, now: float) -> None:
        if signal is InputSignal.REQUEST_RESPONSE:
            self._watched.asked(now)
        if signal in ASKS:
            # No planned restart comes between a question and its answer.
            self._watched.turn.asked()

    def closed(self) -> None:
        """Take note that the session has ended; where its block was left, pump and watch are gone, and cannot tell."""
        self._end(None if self._rt.terminal is not None else self._rt.lane.failure)
        for request in self._taken_requests():
            request.settle(None, self.ended_by or self._failure or _over(self._controller.session_id))

    @property
    def is_drained(self) -> bool:
        """Whether the loop has all that was heard."""
        return not self._inbox and self._in_hand is None

    async def next_frame(self) -> RealtimeOutputFrame | None:
        return await self._inbox.take()

    async def interrupt(self, response_id: str | None, played_ms: int | None) -> RealtimeSessionRecord:
        """Stop an answer, and what is left of it here."""
        taken_out = self._inbox.take_out(response_id, self._in_hand)
        self._watched.interrupted()
        so_far = self._watched.turn.so_far
        failed: list[RealtimeSessionRecord] = []
        try:
            record = await self._controller._interrupting.interrupt(
                response_id, played_ms, taken_out.put_back, failed.append
            )
        except ProviderConnectionLost:
            # The answer was cut off with its connection, and what came of it is fenced: that was the wish.
            return failed[-1]
        except JournalFailure:
            # The provider may have been told.  The session is over, and nobody wants the rest of that answer first.
            raise
        except AgentError:
            if not failed:
                # It was not even begun, so the answer goes on; of any other it is known by now whether it does.
                taken_out.put_back()
            raise
        finally:
            taken_out.let_go()
        self._watched.turn.silenced(so_far)
        if self._watched.is_planned:
            self._wake.notify()
        return record

    async def restart(self, reason: RealtimeRestartReason) -> RestartReport:
        """Have the connection replaced; one that is being replaced already is not replaced twice."""
        self._rt.check()
        if self._rt.life.phase is not Phase.RESTARTING:
            self._rt.life.demand(Operation.BEGIN_RESTART)
        request = _Request(reason, anyio.Event())
        self._requests.append(request)
        self._wake.notify()
        # Without a connection the watch waits for this one.
        self._rt.changed.notify()
        try:
            await request.over.wait()
        except BaseException:
            if request in self._requests:
                self._requests.remove(request)
            raise
        if request.error is not None:
            raise request.error.with_traceback(None)
        assert request.report is not None
        return request.report

    # -- the pump

    async def pump(self) -> None:
        """Receive until the session ends."""
        while not self._is_over:
            if self._inbox.is_full:
                self._watched.deaf()
                await self._inbox.room()
                self._watched.listens(self._rt.now())
                self._wake_in_time()
            try:
                received = await self._controller.receive()
            except ProviderConnectionLost:
                # The watch was told; the next receive waits for the new connection.
                continue
            except ProviderFailure as refusal:
                entry = Entry(refusal, self._rt.life.restart_count)
                if self._is_restarting:
                    await self._turn_of(entry)
                self._inbox.put(entry)
                continue
            except AgentError as failure:
                self._end(failure)
                return
            if received is not None:
                entry = Entry(received.frame, self._rt.life.restart_count)
                if self._is_restarting:
                    await self._turn_of(entry)
                self._heard(received.frame.event)
                self._inbox.put(entry)
            elif self._rt.life.verdict(Operation.RECEIVE) is Verdict.NONE:
                self._end(None)
                return

    async def _turn_of(self, entry: Entry) -> None:
        """Wait until the loop may have *entry*: it hears of a restart before it hears the new connection."""
        self._in_hand = entry
        while self._is_restarting and entry.generation > self._generation:
            await self._told.wait()
        self._in_hand = None

    def _heard(self, event: RealtimeEvent) -> None:
        self._heard_too(event)
        now = self._rt.now()
        owed = self._watched.is_owed
        if self._watched.heard(event, now):
            self._budget.refill()
            if self._watched.is_settled(now):
                self._budget.settle()
        if self._watched.is_planned:
            self._wake.notify()
        elif not owed:
            self._wake_in_time()

    def _wake_in_time(self) -> None:
        """Have the watch look again, where it would sleep past what has become due meanwhile."""
        if self._watched.deadline < self._sleeps_until:
            self._wake.notify()

    def _end(self, failure: AgentError | None) -> None:
        """The session has ended; where no connection could be had, the watch says so itself."""
        self._is_over = True
        self._failure = self._failure or failure
        if self.ended_by is None:
            self._inbox.end(failure)
        self._wake.notify()
        self._rt.changed.notify()

    # -- the watch

    async def watch(self) -> None:
        """Replace the connection whenever that is due, until the session ends."""
        while not self._is_over:
            due = self._due()
            if due is None:
                await self._sleep()
            else:
                await self._replace(due)
        for request in self._taken_requests():
            request.settle(None, self._failure or _over(self._controller.session_id))

    def _due(self) -> RealtimeRestartReason | None:
        phase = self._rt.life.phase
        if phase is Phase.LOST:
            return _Reason.CONNECTION_LOST
        # A restart by hand that has failed is over, unless it waits before its next attempt.
        is_over = phase is Phase.RESTART_FAILED and not self._controller._restarting.goes_on
        if self._requests and (phase is Phase.OPEN or is_over):
            return self._requests[0].reason
        return None if phase is not Phase.OPEN else self._watched.due(self._rt.now())

    async def _sleep(self) -> None:
        """Until something happens, or the next deadline."""
        if self._rt.life.phase is not Phase.OPEN:
            # Somebody restarts by hand, or closes.
            await self._rt.changed.wait()
            return
        self._sleeps_until = self._watched.deadline
        with anyio.CancelScope(deadline=self._sleeps_until):
            await self._wake.wait()

    async def _replace(self, reason: RealtimeRestartReason) -> None:
        if reason is _Reason.AGE or self._requests:
            self._budget.grant()
        self._is_restarting = True
        try:
            report = await self._restarted(reason)
        except RestartExhausted as exhausted:
            await self._give_up(exhausted)
        except AgentError as error:
            await self._failed(error)
        else:
            self._tell(report)
        finally:
            self._is_restarting = False
            self._told.notify()

    async def _restarted(self, reason: RealtimeRestartReason) -> RestartReport:
        restarting = self._controller._restarting
        loss = self._rt.loss if reason is _Reason.CONNECTION_LOST else None
        why = self._budget.refusal(loss)
        if why is not None:
            raise restarting.exhausted(0, why)
        return await restarting.restart_within(self._budget, reason, self._dialing.turn)

    def _tell(self, report: RestartReport) -> None:
        """Let the loop know, and go on with the new connection."""
        self._generation = self._rt.life.restart_count
        fenced = self._inbox.supersede(self._generation)
        if self._in_hand is not None and self._in_hand.generation < self._generation:
            fenced += self._in_hand.is_piece
        report = attrs.evolve(report, fenced=fenced)
        self._inbox.tell(RealtimeOutputFrame.of(Restarted(report)))
        self._watched.connected(
            self._rt.now(), unanswered=sum(part.frames for part in (*report.gated, *report.replayed))
        )
        for request in self._taken_requests():
            request.settle(report, None)

    def _taken_requests(self) -> list[_Request]:
        taken, self._requests = self._requests, []
        return taken

    # -- its end

    async def _failed(self, error: AgentError) -> None:
        """A restart did not come to its end."""
        if isinstance(error, JournalFailure):
            self._end(error)
        elif self._rt.life.verdict(Operation.BEGIN_RESTART) is None:
            # The session closes, or somebody restarts it by hand: theirs is the word.
            for request in self._taken_requests():
                request.settle(None, error)
        else:
            await self._give_up(error)
        for request in self._taken_requests():
            request.settle(None, error)

    async def _give_up(self, error: AgentError) -> None:
        """Close the session, and hand back what it still had to send."""
        # No await until the close has begun, so nothing is gated meanwhile.
        frames = self._controller._sending.gate.frames()
        self.ended_by = RestartExhausted(
            f"session {str(self._controller.session_id)!r} has ended, as its connection could not be replaced: "
            f"open another, and send there what still matters of the {len(frames)} frame(s) in `frames`",
            frames=frames,
        )
        self.ended_by.__cause__ = error
        # A close that is cut off would leave the provider's side open; it has a deadline of its own.
        with anyio.CancelScope(shield=True):
            try:
                await self._controller.close(RealtimeCloseReason.PROVIDER_FAILURE)
            except AgentError as failure:
                self.ended_by.add_note(f"closing it failed too: {failure.kind}")
        self._is_over = True
        self._inbox.end(self.ended_by)
        for request in self._taken_requests():
            request.settle(None, self.ended_by)


def _over(session_id: str) -> AgentError:
    return ProviderConnectionLost(
        f"session {str(session_id)!r} ended before its connection was replaced: open a session of its own"
    )

"""
One session with a speech provider, whatever becomes of its connections.

The controller asks the core what may happen, appends what the core says, calls the adapter, and
appends how it ended.
Its parts are in `_shell`; this module is what a program sees of them.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

import anyio

from realtime_async._core.accounting import Delivery, RealtimeRestartReason, RestartReport
from realtime_async._core.given import choice
from realtime_async._core.lifecycle import RealtimeSessionState
from realtime_async._core.recovery import check_sidecar
from realtime_async._core.restarts import RestartPolicy
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async._shell.checking import check_arguments, check_restart_policy
from realtime_async._shell.closing import Closing
from realtime_async._shell.connecting import connect
from realtime_async._shell.deadlines import Deadlines
from realtime_async._shell.interrupting import Interrupting
from realtime_async._shell.iterating import FrameIterator
from realtime_async._shell.lane import lane_of
from realtime_async._shell.receiving import RealtimeReceived, Receiving
from realtime_async._shell.restarting import Restarting
from realtime_async._shell.resuming import read_run, resume
from realtime_async._shell.runtime import SessionRuntime
from realtime_async._shell.sending import Sending
from realtime_async._shell.transmitting import Turn
from realtime_async._shell.writing import writer_of
from realtime_async.completion import RealtimeCompletionGate
from realtime_async.errors import AgentError, PolicyDenied, ProviderFailure
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeProviderAdapter,
    RealtimeSessionId,
    RealtimeSessionRecord,
    RunId,
    RunJournal,
    SourceRef,
    safe_id_fragment,
)

__all__ = ["Deadlines", "RealtimeReceived", "RealtimeSessionController"]

_tokens = itertools.count()


class RealtimeSessionController:
    """
    Owns one session: nothing reaches the provider before the journal holds that it will.

    As an async context manager it closes on the way out; it does not connect on the way in.
    """

    def __init__(
        self,
        sidecar: RealtimeSessionSidecar,
        adapter: RealtimeProviderAdapter,
        journal: RunJournal,
        *,
        run_id: str,
        agent_id: str = "agent.default",
        source: SourceRef = SourceRef("host", "realtime_async"),
        runtime_package_fingerprint: str | None = None,
        session_id: str | None = None,
        gate: RealtimeCompletionGate | None = None,
        tags: Sequence[str] = (),
        deadlines: Deadlines = Deadlines(),
    ) -> None:
        """
        Prepare a session; nothing is appended, and nobody called, before `connect`.

        Args:
            runtime_package_fingerprint: What records say of the program that wrote them;
                by default the package's version and the sidecar's hash.
            session_id: By default `realtime.session.` and the run's id; needed where a run has several sessions.
            gate: Held back until this session has its terminal record.
            tags: Put on every record, beside `feature:realtime`.
        """
        check_arguments(sidecar, adapter, journal, gate=gate, deadlines=deadlines)
        run = RunId(run_id)
        session = RealtimeSessionId(
            f"realtime.session.{safe_id_fragment(run)}" if session_id is None else session_id
        )
        writer = writer_of(
            sidecar,
            session,
            agent_id=agent_id,
            source=source,
            fingerprint=runtime_package_fingerprint,
            tags=tags,
        )
        self._rt = SessionRuntime(sidecar, adapter, lane_of(journal, run), session, writer, deadlines)
        # Last of what may be refused: a gate waits for every session that it was told of.
        self._completion = gate
        self._token = next(_tokens)
        if gate is not None:
            gate.session_opens(self._token, self)
        self._rt.on_superseded = self._superseded
        self._sending = Sending(self._rt)
        self._receiving = Receiving(self._rt)
        self._interrupting = Interrupting(self._rt, self._sending, self._receiving)
        self._restarting = Restarting(self._rt, self._sending, self._receiving)
        self._closing = Closing(
            self._rt,
            self._sending,
            self._receiving,
            self._restarting,
            self._terminal_is_durable,
            self._leave_to_another,
            has_gate=gate is not None,
        )

    @classmethod
    async def resume(
        cls,
        sidecar: RealtimeSessionSidecar,
        adapter: RealtimeProviderAdapter,
        journal: RunJournal,
        *,
        run_id: str,
        agent_id: str = "agent.default",
        source: SourceRef = SourceRef("host", "realtime_async"),
        runtime_package_fingerprint: str | None = None,
        session_id: str | None = None,
        gate: RealtimeCompletionGate | None = None,
        tags: Sequence[str] = (),
        deadlines: Deadlines = Deadlines(),
        allow_other_sidecar: bool = False,
    ) -> Self:
        """
        Take up a session whose process died, or whose controller is to be replaced, on a new connection.

        What was under way is recorded as unknown, and frames that waited in the gate as dropped: their
        payloads went with the process.
        Totals and cursors go on; a number that may have been used is not used again.
        Whoever had the session is fenced: its next append raises `JournalConflict`.
        A resume that failed or was cancelled may be tried again.

        Args:
            session_id: Needed where more than one session of the run has not ended.
            allow_other_sidecar: Go on though the session was run by another configuration.

        Raises:
            SessionStateError: The run has no such session, or it has ended.
            ContractViolation: Several sessions could be meant, or the sidecar is not the session's.
            JournalConflict: Its owner, or another resume, was faster; the adapter was not called.
            JournalCorrupt: What the journal holds is no run.
            JournalFailure: It could not be read.
            ProviderFailure: The provider refused.
            DeadlineExceeded: It did not answer, or the journal was not in time.
        """
        check_arguments(sidecar, adapter, journal, gate=gate, deadlines=deadlines)
        sidecar.validate()
        run = RunId(run_id)
        records = await read_run(journal, run, deadlines.journal)
        session = records.session(run, session_id)
        if not allow_other_sidecar:
            check_sidecar(session, sidecar)
        controller = cls(
            sidecar,
            adapter,
            journal,
            run_id=run,
            agent_id=agent_id,
            source=source,
            runtime_package_fingerprint=runtime_package_fingerprint,
            session_id=session.state.session_id,
            gate=gate,
            tags=tags,
            deadlines=deadlines,
        )
        try:
            await resume(controller._rt, records, session)
        except BaseException:
            # It stays on the completion gate: unless another has taken over meanwhile, the session is nobody's now.
            controller._sending.gate.forget_all()
            raise
        return controller

    @property
    def run_id(self) -> RunId:
        return self._rt.lane.run_id

    @property
    def session_id(self) -> RealtimeSessionId:
        return self._rt.life.session_id

    @property
    def state(self) -> RealtimeSessionState:
        """Where the session stands now."""
        return self._rt.life.state()

    @property
    def delivery(self) -> Delivery:
        """What has become of every frame given to `send` so far."""
        return self._rt.totals.snapshot(self._sending.queued)

    async def connect(self) -> RealtimeSessionRecord:
        """
        Open the first connection.

        A connect that fails or is cancelled leaves the session as it was; it may be tried again.
        Once the provider has answered, a cancel scope does not cut it any more: it returns when its record is durable.
        Native cancellation does cut it there; then there is a connection, and the next connect returns that record.

        Raises:
            ContractViolation: The sidecar is not valid; nothing was appended.
            SessionStateError: The session was connected already, or has another controller.
            ProviderFailure: The provider refused.
            DeadlineExceeded: It did not answer.
            JournalFailure: The journal did not take the intent; the provider was not called.
        """
        return await connect(self._rt)

    async def send(self, frame: RealtimeInputFrame) -> RealtimeSessionRecord:
        """
        Send *frame*, or keep it in the gate while there is no connection, or while what waited for one is sent.

        Frames reach the provider in the order in which they are accepted.

        Returns:
            The last record of the frame, which is its result, its span's intent, or that it was gated.

        Raises:
            ContractViolation: The frame is too large, or cut within a sample.
            BackpressureOverflow: The gate is full, and the sidecar says to refuse.
            DeadlineExceeded: It was not accepted in time, or its call took too long: `retry` tells which.
            ProviderConnectionLost: The connection died under it, and it may have arrived.
            ProviderFailure: The provider refused it.
        """
        done = self._sending.at_once(frame)
        return await self._sending.in_turn(done) if isinstance(done, Turn) else done

    async def receive(self) -> RealtimeReceived | None:
        """
        Return the next frame, or None at the end of the stream.

        While the connection is replaced it waits.
        Cancelled, it loses nothing: the next one goes on where it stopped.

        Raises:
            ProviderConnectionLost: The connection is gone; restart it, or close.
            SessionStateError: Another one waits.
        """
        return await self._receiving.receive()

    def frames(self) -> AsyncIterator[RealtimeOutputFrame]:
        """Receive until the stream ends; an `async for` over it may be left and entered again."""
        return FrameIterator(self._next_frame)

    async def _next_frame(self) -> RealtimeOutputFrame | None:
        received = await self.receive()
        return None if received is None else received.frame

    async def interrupt(
        self, response_id: str | None = None, played_ms: int | None = None
    ) -> RealtimeSessionRecord:
        """
        Stop an answer, by default the one being given; its output is not returned any more.

        Args:
            played_ms: How much of it was heard, in milliseconds.
        """
        return await self._interrupting.interrupt(response_id, played_ms)

    async def begin_restart(
        self, reason: RealtimeRestartReason = RealtimeRestartReason.REQUESTED
    ) -> list[RealtimeSessionRecord]:
        """
        Close the gate, let the frame in flight end, and announce the restart.

        Where *reason* says that the connection is dead, what is in flight is cut instead, and in doubt.
        """
        return await self._restarting.begin(choice(RealtimeRestartReason, reason, "restart reason"))

    async def complete_restart(self) -> list[RealtimeSessionRecord]:
        """
        Have the adapter replace the connection, replay what it has forgotten, and send what waits in the gate.

        A failed attempt is returned as its record, not raised; it may be tried again.
        """
        return await self._restarting.complete()

    async def restart(
        self,
        reason: RealtimeRestartReason = RealtimeRestartReason.REQUESTED,
        policy: RestartPolicy = RestartPolicy(),
    ) -> RestartReport:
        """
        Replace the connection, trying as often as *policy* allows.

        Raises:
            RestartExhausted: No attempt succeeded; the session can still be restarted, or closed.
        """
        check_restart_policy(policy)
        return await self._restarting.restart(choice(RealtimeRestartReason, reason, "restart reason"), policy)

    async def close(self, reason: RealtimeCloseReason = RealtimeCloseReason.NORMAL) -> RealtimeSessionRecord:
        """
        End the session; again, it returns the same record.

        Frames in the gate are dropped, each in a record of its own.
        Where several close it at once, all get the one result; if the one that began is cancelled before the provider
        was told, another goes on.

        Raises:
            SessionStateError: It never connected, and its session has another controller, whose end is not this
                one's to write; nothing was written, and the completion gate does not wait for this one any more.
            ProviderFailure: The provider did not close; the session has ended all the same.
            DeadlineExceeded: So, because the adapter did not answer.
            JournalFailure: The journal had failed; the session ended without a record.
        """
        return await self._closing.close(choice(RealtimeCloseReason, reason, "close reason"))

    async def hand_over(self) -> RealtimeSessionRecord:
        """
        End the connection, and leave the session to whoever resumes it, in this process or another.

        Whatever is under way ends as it does at a close, and so do frames in the gate and tools at work, so best
        call this between turns.
        There is no terminal record: the next thing in the journal is the other controller's.
        From when it returns nothing is called and nothing is written here, and `close` returns the same record.

        Raises:
            SessionStateError: There is no connection to be handed over yet, or the session has ended.
            ProviderFailure: The provider did not close; the session can be resumed all the same.
            DeadlineExceeded: So, because the adapter did not answer.
            JournalFailure: The journal had failed; where it stands tells whoever resumes.
        """
        return await self._closing.hand_over()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Cancelled, the session would be left open at the provider; the close has a deadline of its own.
        with anyio.CancelScope(shield=True):
            try:
                await self.close(_reason_of(error))
            except AgentError:
                if error is None:
                    raise

    def _superseded(self) -> None:
        self._sending.gate.forget_all()
        self._leave_to_another()

    def _leave_to_another(self) -> None:
        if self._completion is not None:
            self._completion.session_withdrawn(self._token)

    def _terminal_is_durable(self) -> None:
        if self._completion is not None:
            self._completion.session_ended(self._token)


def _reason_of(error: BaseException | None) -> RealtimeCloseReason:
    """Why a block that ended with *error* closes its session."""
    if error is None:
        return RealtimeCloseReason.NORMAL
    parts = list(_parts(error))
    if any(isinstance(part, ProviderFailure) for part in parts):
        return RealtimeCloseReason.PROVIDER_FAILURE
    if any(isinstance(part, PolicyDenied) for part in parts):
        return RealtimeCloseReason.POLICY_DENIAL
    # Ctrl-C cancels the main task on asyncio, and is raised in it on Trio.
    if any(isinstance(part, (anyio.get_cancelled_exc_class(), KeyboardInterrupt)) for part in parts):
        return RealtimeCloseReason.CANCEL
    return RealtimeCloseReason.NORMAL


def _parts(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [part for inner in error.exceptions for part in _parts(inner)]
    return [error]

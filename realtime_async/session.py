"""
The everyday doors: `open_session` for a session that begins, `resume_session` for one whose process died.

Either connects, keeps connected, hands out a session to talk through, and closes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from realtime_async._core.accounting import Delivery, RealtimeRestartReason, RestartReport
from realtime_async._core.given import choice
from realtime_async._core.lifecycle import RealtimeSessionState
from realtime_async._core.restarts import RestartPolicy
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async._core.supervision import ASKS, Turn
from realtime_async._session.by_hand import ByHand
from realtime_async._session.dialing import Dialing
from realtime_async._session.supervising import Supervisor
from realtime_async._session.tools import Tool, ToolCalls, checked_call
from realtime_async._shell.checking import check_arguments, check_restart_policy
from realtime_async._shell.iterating import FrameIterator
from realtime_async.completion import RealtimeCompletionGate
from realtime_async.controller import Deadlines, RealtimeSessionController
from realtime_async.errors import ContractViolation, ProviderConnectionLost, SessionStateError
from realtime_async.ports import (
    AudioFormat,
    OutputAudio,
    PlaybackLedger,
    RealtimeCloseReason,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeProviderAdapter,
    RealtimeSessionRecord,
    RunJournal,
    SourceRef,
    ToolCall,
)

if TYPE_CHECKING:
    # The event loop's side of anyio has it: whoever only imports us need not wait for it.
    from anyio.abc import TaskGroup

__all__ = ["RealtimeSession", "open_session", "resume_session"]


class RealtimeSession:
    """A connected session, as an agent loop uses it; `open_session` and `resume_session` make it."""

    def __init__(
        self, controller: RealtimeSessionController, restart_policy: RestartPolicy | None, tasks: TaskGroup
    ) -> None:
        self.controller = controller
        self.playback = PlaybackLedger(controller._rt.adapter.output_format or AudioFormat())
        """
        What of each answer was heard, for a player of one's own: tell it what was played, by `play`.

        It knows what `frames` has yielded.
        """
        self._turn = Turn()
        # The session's own, or whoever waits for the end of a turn would not hear of the session's end.
        self._went_on = controller._rt.changed
        # Each `send_audio_from` under way, by its scope, and the task that it runs in.
        self._listening: dict[anyio.CancelScope, int] = {}
        controller._rt.when_ended = self._ended
        self._tools = ToolCalls(controller, tasks, self.send, self._went_on.notify)
        if restart_policy is None:
            self._connection: Supervisor | ByHand = ByHand(controller, self._tools.heard)
            return
        dialing = _dialing_to(controller._rt.sidecar, restart_policy)
        self._connection = Supervisor(controller, restart_policy, dialing, self._tools.heard)
        tasks.start_soon(self._connection.pump)
        tasks.start_soon(self._connection.watch)

    @property
    def state(self) -> RealtimeSessionState:
        return self.controller.state

    @property
    def delivery(self) -> Delivery:
        """What has become of every frame given to `send` so far."""
        return self.controller.delivery

    async def send(self, frame: RealtimeInputFrame) -> RealtimeSessionRecord:
        """
        See `RealtimeSessionController.send`.

        Raises:
            RestartExhausted: The session has ended, as its connection could not be replaced.
        """
        try:
            record = await self.controller.send(frame)
        except SessionStateError:
            self._check()
            raise
        self._connection.sent(frame, record)
        if frame.signal is not None and frame.signal in ASKS:
            self._turn.asked()
        elif frame.media_kind is RealtimeMediaKind.TOOL_RESULT:
            self._turn.told()
        return record

    async def send_audio_from(self, source: AsyncIterable[bytes | RealtimeInputFrame]) -> None:
        """
        Send what *source* yields until it ends, or the session is closed: frames, or audio in the adapter's `input_format`.

        20 ms at a time is usual; each piece becomes one frame.
        It goes on through lost connections, where the session replaces them.
        An async generator, and one that `aiter(source)` gives, is closed on the way out; anything else is left as it is.

        Raises:
            ContractViolation: It is no async iterable, or yielded something else.
            RestartExhausted: The session has ended, as its connection could not be replaced.
        """
        if not isinstance(source, AsyncIterable):
            raise ContractViolation(
                f"send_audio_from needs an async iterable, not {type(source).__name__}: "
                "give it an async generator that yields bytes"
            )
        pieces = aiter(source)
        async with AsyncExitStack() as stack:
            if isinstance(pieces, AsyncGenerator):
                # Cancelled in `send`, it would keep a microphone open until somebody collects it.
                stack.push_async_callback(pieces.aclose)
            if self.controller._rt.life.ended:
                # The end has been told, and would cut nobody off who waits for a source that says nothing.
                self._check()
                self.controller._rt.check()
                return
            with anyio.CancelScope() as scope:
                self._listening[scope] = anyio.get_current_task().id
                stack.callback(self._listening.pop, scope)
                await self._send_each(pieces)
            if scope.cancelled_caught:
                # As `send` would say.
                self._check()
                self.controller._rt.check()

    async def _send_each(self, pieces: AsyncIterator[bytes | RealtimeInputFrame]) -> None:
        stated = self.controller._rt.adapter.input_format
        async for piece in pieces:
            if isinstance(piece, RealtimeInputFrame):
                frame = piece
            else:
                frame = RealtimeInputFrame.audio(piece, audio_format=stated)
            try:
                await self.send(frame)
            except SessionStateError:
                # Whoever closed it stops listening, as `frames` ends: a microphone that goes on is no error.
                return
            except ProviderConnectionLost:
                # In doubt, which is recorded, and said again to the next connection.
                if not self._connection.outlives_connections:
                    raise

    def _ended(self) -> None:
        """The session has ended, by whomever, and with it whatever waits for something else."""
        self._connection.closed()
        # A source that says nothing would be waited for still.
        here = anyio.get_current_task().id
        for scope, task in self._listening.items():
            # A source that ends the session itself comes to its own end.
            if task != here:
                scope.cancel()

    def frames(self) -> AsyncIterator[RealtimeOutputFrame]:
        """
        Yield what the provider says, and a `Restarted` after each restart, until the session closes.

        At most 64 frames, or 1 MiB, wait for a slow loop; then the provider is slowed, and nothing grows.
        Where it interrupts, and is refused, up to twice as much waits.
        An `async for` over it may be left and entered again; it goes on where it stopped.
        After a `Restarted` come no pieces of an answer that the old connection did not finish,
        but such as its adapter had still to give: they cannot be told from those of the new connection.

        Raises:
            RestartExhausted: The connection is gone, and could not be replaced; the session is closed.
            ProviderConnectionLost: The connection is gone, where the session has no restart policy.
        """
        return FrameIterator(self._next_frame)

    async def _next_frame(self) -> RealtimeOutputFrame | None:
        frame = await self._connection.next_frame()
        if frame is not None:
            self._turn.heard(frame.event)
            if isinstance(frame.event, OutputAudio) and isinstance(frame.payload, bytes):
                self.playback.take(frame.response_id, len(frame.payload))
        self._went_on.notify()
        return frame

    async def answer(self, call: ToolCall, function: Tool) -> None:
        """
        Have *function* called for the model, within `Deadlines.tool`, and give the model what it returns.

        It is called with the members of `call.arguments` by name, in the session's task group, so the loop goes on;
        a text that it returns is sent as it is, all else as JSON, and then the model is asked to go on.
        A call id is executed once at most, and answered once, however often its connection is replaced.
        One that the provider takes back is cancelled; one that fails is answered with an error, without its text,
        and so is one whose result cannot be sent.
        A function that is not async is called too; the event loop waits for it.
        It may end the session, by `close` or `hand_over`: then its call is recorded as cut, and answered by nobody.

        Raises:
            ContractViolation: These are no call and no function.
            SessionStateError: The session has ended.
        """
        checked_call(call, function)
        try:
            self._tools.answer(call, function)
        except SessionStateError:
            self._check()
            raise

    async def interrupt(
        self, response_id: str | None = None, played_ms: int | None = None
    ) -> RealtimeSessionRecord:
        """
        See `RealtimeSessionController.interrupt`; what `frames` still had of the answer goes too.

        Where *played_ms* is left out, it is what `playback` was told of that answer, if it was told anything.
        A connection that is lost meanwhile cuts the answer off too, and raises nothing where the session replaces it.
        """
        if played_ms is None and self.playback.is_told:
            played_ms = self.playback.played_ms(response_id)
        self.playback.stop()
        so_far = self._turn.so_far
        record = await self._connection.interrupt(response_id, played_ms)
        self._turn.silenced(so_far)
        self._went_on.notify()
        return record

    async def restart(self, reason: RealtimeRestartReason = RealtimeRestartReason.REQUESTED) -> RestartReport:
        """
        Replace the connection now, under the session's policy.

        Raises:
            RestartExhausted: It could not be replaced; a session that has a restart policy is closed.
        """
        self._check()
        return await self._connection.restart(choice(RealtimeRestartReason, reason, "restart reason"))

    async def close(self, reason: RealtimeCloseReason = RealtimeCloseReason.NORMAL) -> RealtimeSessionRecord:
        """End the session; `frames` and `send_audio_from` end with it."""
        return await self.controller.close(reason)

    async def between_turns(self) -> None:
        """
        Wait for the end of a turn: nobody speaks, no answer is owed, no tool is at work, and `frames` has yielded it all.

        That is the time to leave a call, or to hand it over.
        After a restart the answer that was owed, or was cut off, is waited for, as the new connection is asked for it.
        No provider says which requests it answers together: with several under way, or one made during an answer,
        the end of the first answer counts as the end of the turn.
        It may take long, or never come, so give it a limit, by `anyio.move_on_after`.
        It returns at once where the session has ended.
        """
        while (
            not (self._turn.is_over and self._connection.is_drained and self._tools.is_idle)
            and not self.controller._rt.life.ended
        ):
            await self._went_on.wait()

    async def hand_over(self) -> RealtimeSessionRecord:
        """
        Leave the session to whoever resumes it, see `RealtimeSessionController.hand_over`.

        `frames` and `send_audio_from` end with it.

        Best called after `between_turns`: what is under way ends, and what `frames` has not yielded is lost.
        The block of `open_session` or `resume_session` writes nothing more on its way out.
        """
        return await self.controller.hand_over()

    def _check(self) -> None:
        if self._connection.ended_by is not None:
            raise self._connection.ended_by.with_traceback(None)


@asynccontextmanager
async def open_session(
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
    restart_policy: RestartPolicy | None = RestartPolicy(),
) -> AsyncIterator[RealtimeSession]:
    """
    Connect a session, keep it connected, and close it on the way out.

    It is closed as `normal`, as `cancel` where the block was cancelled, and as `provider_failure`
    where a provider's error leaves the block, or the connection could not be replaced.
    The arguments are those of `RealtimeSessionController`, and:

    Args:
        restart_policy: When and how the connection is replaced; None: only when the program says so,
            by `session.restart`.
    """
    check_restart_policy(restart_policy)
    controller = RealtimeSessionController(
        sidecar,
        adapter,
        journal,
        run_id=run_id,
        agent_id=agent_id,
        source=source,
        runtime_package_fingerprint=runtime_package_fingerprint,
        session_id=session_id,
        gate=gate,
        tags=tags,
        deadlines=deadlines,
    )
    async with controller:
        # Before it waits for a turn, which the next session could have.
        sidecar.validate()
        await _dialing_to(sidecar, restart_policy).turn()
        await controller.connect()
        async with _supervised(controller, restart_policy) as session:
            yield session


@asynccontextmanager
async def resume_session(
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
    restart_policy: RestartPolicy | None = RestartPolicy(),
    allow_other_sidecar: bool = False,
) -> AsyncIterator[RealtimeSession]:
    """
    Take up a session whose process died, on a new connection; from there on it is one of `open_session`.

    What was under way is recorded as unknown; whoever had the session is fenced.
    A tool call that was begun before is not executed again: where the provider still asks for it, the model
    is told that nobody knows whether it was done.
    The arguments are those of `open_session` and of `RealtimeSessionController.resume`, and so is what it raises.
    """
    check_arguments(sidecar, adapter, journal, gate=gate, deadlines=deadlines)
    check_restart_policy(restart_policy)
    sidecar.validate()
    await _dialing_to(sidecar, restart_policy).turn()
    controller = await RealtimeSessionController.resume(
        sidecar,
        adapter,
        journal,
        run_id=run_id,
        agent_id=agent_id,
        source=source,
        runtime_package_fingerprint=runtime_package_fingerprint,
        session_id=session_id,
        gate=gate,
        tags=tags,
        deadlines=deadlines,
        allow_other_sidecar=allow_other_sidecar,
    )
    async with controller, _supervised(controller, restart_policy) as session:
        yield session


@asynccontextmanager
async def _supervised(
    controller: RealtimeSessionController, restart_policy: RestartPolicy | None
) -> AsyncIterator[RealtimeSession]:
    """Hand out the session of a connected controller, with the tasks that it needs."""
    raised: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield RealtimeSession(controller, restart_policy, tasks)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised again outside the group, which would wrap it
            raised = error
        finally:
            tasks.cancel_scope.cancel()
    if raised is not None:
        try:
            raise raised
        finally:
            # Its traceback holds this frame, which would hold it.
            raised = None


def _dialing_to(sidecar: RealtimeSessionSidecar, policy: RestartPolicy | None) -> Dialing:
    return Dialing(sidecar.provider_route_ref, (policy or RestartPolicy()).dials_per_s)

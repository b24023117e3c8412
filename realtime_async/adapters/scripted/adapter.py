"""
The adapter that plays a script: the reference for all others, and the provider of most tests.

Without a script it takes everything and says nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn, assert_never

import anyio
import attrs

from realtime_async.adapters.scripted.log import (
    CallEnded,
    CallOutcome,
    CallStarted,
    FrameTaken,
    LogEntry,
    StepSource,
)
from realtime_async.adapters.scripted.provider import ScriptedSession
from realtime_async.adapters.scripted.script import (
    Afterwards,
    Delay,
    Drop,
    Fault,
    FrameFate,
    Hang,
    HangShielded,
    NoRoom,
    Operation,
    Played,
    Refuse,
    Script,
    in_order,
    played,
)
from realtime_async.errors import ProviderConnectionLost, ProviderFailure, SessionStateError
from realtime_async.ports import (
    AudioFormat,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionId,
)

__all__ = ["ScriptedAdapter"]


@attrs.define(eq=False)
class _Call:
    """A call under way."""

    started: CallStarted
    session: ScriptedSession
    faults: tuple[Fault, ...]
    returned: RealtimeOutputFrame | None = None
    has_taken: bool = False

    @property
    def name(self) -> str:
        return f"{self.started.operation} of session {str(self.started.session_id)!r}"


class ScriptedAdapter:
    """
    Plays a `Script` to every session, and remembers what it was asked.

    Args:
        script: What every session meets that has no script of its own.
        scripts: Scripts of single sessions, by session id.
        steps: Numbers the log's entries; share it to see the order of what others log.
        suspend: Awaited before and after the effect of each call, so that a call can be cancelled there;
            `anyio.lowlevel.checkpoint` does.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        scripts: Mapping[str, Script] | None = None,
        adapter_ref: str = "adapter.scripted",
        input_format: AudioFormat | None = None,
        output_format: AudioFormat | None = None,
        steps: StepSource | None = None,
        suspend: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.adapter_ref = adapter_ref
        self.input_format = input_format
        self.output_format = output_format
        self.steps: StepSource = itertools.count(1).__next__ if steps is None else steps
        self.calls: list[str] = []
        """The operations that were called, in order."""
        self.log: list[LogEntry] = []
        self.sent: list[RealtimeInputFrame] = []
        """The frames that the provider has, in order."""
        self.sent_on: dict[RealtimeConnectionId, list[RealtimeInputFrame]] = {}
        """The same, by the connection they went over."""
        self._script = Script() if script is None else script
        self._scripts = {} if scripts is None else scripts
        self._sessions: dict[str, ScriptedSession] = {}
        self._early: list[Played] = []
        self._suspend = suspend
        self._released = anyio.Event()
        self._logged = anyio.Event()
        self._connection_numbers = itertools.count(1)

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        return await self._connect(request.session_id, Operation.CONNECT)

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        current = self._session(session_id).connection_id
        if connection_id != current:
            raise SessionStateError(
                f"restart of {str(connection_id)!r}, but session {str(session_id)!r} is on {str(current)!r}: "
                "give the one that the last connect or restart returned"
            )
        return await self._connect(session_id, Operation.RESTART)

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        with self._call(Operation.SEND, session_id, frame=frame) as call:
            await self._before(call)
            self._take(call)
            await self._after(call)

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        with self._call(Operation.RECEIVE, session_id) as call:
            await self._before(call)
            await call.session.until_ready()
            if self._suspend is not None:
                await self._suspend()
                await call.session.until_ready()
            # From here on nothing awaits: what was taken is returned.
            call.returned = call.session.take()
            return call.returned

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        with self._call(
            Operation.INTERRUPT, session_id, response_id=response_id, played_ms=played_ms
        ) as call:
            await self._before(call)
            if not call.session.is_alive:
                raise call.session.lost()
            call.session.stop_answer(response_id)
            await self._after(call)

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None:
        with self._call(Operation.CLOSE, session_id, reason=reason) as call:
            await self._before(call)
            call.session.close()
            await self._after(call)

    def feed(self, *frames: Played, session_id: str | None = None) -> None:
        """Let the provider say *frames* next; without *session_id*, to the first session that connects."""
        said = played(frames)
        if session_id is None and not self._sessions:
            self._early.extend(said)
            return
        session = self._found(session_id)
        session.coming.extend(said)
        session.wake()

    def drop(self, session_id: str | None = None) -> None:
        """Let the connection die; what it has delivered can still be received."""
        self._found(session_id).lose_after_delivery()

    def inject(self, operation: str, *faults: Fault, session_id: str | None = None) -> None:
        """Let the next call of *operation* suffer *faults*; used again, the one after it."""
        self._found(session_id).inject(Operation(operation), in_order(operation, faults))

    def release(self) -> None:
        """Let go of the calls that hang shielded."""
        self._released.set()
        self._released = anyio.Event()

    def is_connected(self, session_id: str | None = None) -> bool:
        return self._found(session_id).is_alive

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; it is asked after each entry of the log."""
        while not condition():
            await self._logged.wait()

    async def until_called(self, operation: str, times: int = 1) -> None:
        """Wait until so many calls of *operation* have begun, over all sessions."""
        await self.until(lambda: self.calls.count(operation) >= times)

    async def until_sent(self, frames: int) -> None:
        """Wait until the provider has so many frames."""
        await self.until(lambda: len(self.sent) >= frames)

    def _session(self, session_id: str) -> ScriptedSession:
        session = self._sessions.get(session_id)
        if session is None or session.connection_id is None:
            raise SessionStateError(
                f"the scripted provider knows no session {str(session_id)!r}: connect it first"
            )
        return session

    def _found(self, session_id: str | None) -> ScriptedSession:
        if session_id is not None:
            return self._made(session_id)
        if len(self._sessions) != 1:
            raise SessionStateError(
                f"there are {len(self._sessions)} sessions: say which is meant with session_id="
            )
        return next(iter(self._sessions.values()))

    def _made(self, session_id: str) -> ScriptedSession:
        session = self._sessions.get(session_id)
        if session is None:
            session = ScriptedSession(self._scripts.get(session_id, self._script))
            self._sessions[session_id] = session
            session.coming.extend(self._early)
            self._early.clear()
        return session

    async def _connect(self, session_id: RealtimeSessionId, operation: Operation) -> RealtimeConnectResponse:
        session = self._made(session_id)
        previous = session.connection_id
        with self._call(operation, session_id) as call:
            session.replace()
            try:
                await self._before(call)
                number = next(self._connection_numbers)
                connection_id = RealtimeConnectionId(f"{self.adapter_ref}.connection.{number}")
                response = RealtimeConnectResponse(connection_id, session.open(connection_id))
                await self._after(call)
            except BaseException:
                session.abandon(previous)
                raise
            return response

    @contextmanager
    def _call(
        self,
        operation: Operation,
        session_id: RealtimeSessionId,
        *,
        frame: RealtimeInputFrame | None = None,
        response_id: RealtimeResponseId | None = None,
        played_ms: int | None = None,
        reason: RealtimeCloseReason | None = None,
    ) -> Iterator[_Call]:
        session = self._sessions[session_id] if operation is Operation.CONNECT else self._session(session_id)
        started = CallStarted(
            step=self.steps(),
            operation=operation,
            session_id=session_id,
            connection_id=session.connection_id,
            frame=frame,
            response_id=response_id,
            played_ms=played_ms,
            reason=reason,
        )
        self.calls.append(operation.value)
        self._note(started)
        call = _Call(started, session, session.begin_call(operation))
        outcome = CallOutcome.CANCELLED
        try:
            yield call
            outcome = CallOutcome.RETURNED
        except Exception:
            outcome = CallOutcome.RAISED
            raise
        finally:
            self._end(call, outcome)

    def _end(self, call: _Call, outcome: CallOutcome) -> None:
        self._note(
            CallEnded(
                step=self.steps(),
                started=call.started.step,
                operation=call.started.operation,
                session_id=call.started.session_id,
                connection_id=call.session.connection_id,
                outcome=outcome,
                frame=call.returned,
            )
        )

    def _note(self, entry: LogEntry) -> None:
        self.log.append(entry)
        self._logged.set()
        self._logged = anyio.Event()

    async def _before(self, call: _Call) -> None:
        if self._suspend is not None:
            await self._suspend()
        for fault in call.faults:
            if not isinstance(fault, Afterwards):
                await self._suffer(call, fault)

    async def _after(self, call: _Call) -> None:
        for fault in call.faults:
            if isinstance(fault, Afterwards):
                await self._suffer(call, fault.fault)
        if self._suspend is not None:
            await self._suspend()

    async def _suffer(self, call: _Call, fault: Drop | Refuse | Delay | Hang | HangShielded | NoRoom) -> None:
        match fault:
            case Delay(seconds):
                await anyio.sleep(seconds)
            case Hang():
                await anyio.sleep_forever()
            case HangShielded():
                with anyio.CancelScope(shield=True):
                    await self._released.wait()
            case NoRoom():
                return
            case Refuse() | Drop():
                self._fail(call, fault)
            case _:
                assert_never(fault)

    def _fail(self, call: _Call, fault: Refuse | Drop) -> NoReturn:
        if isinstance(fault, Refuse):
            raise ProviderFailure(f"the script refuses the {call.name}", code=fault.code, retry=fault.retry)
        if fault.fate is FrameFate.ARRIVED:
            self._take(call)
        if call.started.operation is Operation.RECEIVE:
            call.session.lose()
        else:
            call.session.lose_after_delivery()
        raise ProviderConnectionLost(
            f"the script drops the connection in the {call.name}: restart it",
            delivered=False if fault.fate is FrameFate.NOT_SENT else None,
        )

    def _take(self, call: _Call) -> None:
        """
        Let the provider have the frame, once.

        Raises:
            ProviderConnectionLost: The connection that the call began on is gone.
        """
        connection_id, frame = call.session.connection_id, call.started.frame
        if call.has_taken or frame is None or connection_id is None:
            return
        if not call.session.is_alive or connection_id != call.started.connection_id:
            raise call.session.lost()
        call.has_taken = True
        call.session.sent.append(frame)
        self.sent.append(frame)
        self.sent_on.setdefault(connection_id, []).append(frame)
        self._note(
            FrameTaken(
                step=self.steps(),
                session_id=call.started.session_id,
                connection_id=connection_id,
                frame=frame,
            )
        )
        call.session.wake()

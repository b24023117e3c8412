"""
The tools that the model calls: run in the session's task group, recorded, and answered once.

A function's arguments, its result and its errors are in no record and no log line.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from realtime_async._core.lifecycle import Operation, refusal
from realtime_async._core.tools import CallBook, CallVerdict, call_ref
from realtime_async._raised import is_failure
from realtime_async._shell.fates import Fate
from realtime_async._shell.flights import Flight, tool_at_work
from realtime_async._shell.lane import Appended
from realtime_async._shell.runtime import recorded
from realtime_async.controller import RealtimeSessionController
from realtime_async.errors import (
    AgentError,
    AgentErrorKind,
    BackpressureOverflow,
    ContractViolation,
    DeadlineExceeded,
    JournalFailure,
    ProviderConnectionLost,
    RestartExhausted,
    RetryClassification,
    SessionStateError,
)
from realtime_async.ports import (
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    StreamChannel,
    StreamDirection,
    ToolCall,
    ToolCallCancelled,
)

if TYPE_CHECKING:
    # The event loop's side of anyio has it: whoever only imports us need not wait for it.
    from anyio.abc import TaskGroup

__all__ = ["Tool", "ToolCalls"]

_Kind = RealtimeSessionRecordKind

Tool = Callable[..., object]
"""
Called with the members of the model's JSON object by name; what it returns is sent as text or as JSON.

An async function, as a rule: what can be awaited is, and the event loop waits for anything else.
"""


# Until a result that found the gate full is offered again; long beside a restart it need not be.
_AGAIN_S = 0.5


# After these there is nobody to answer.
_ENDS = (SessionStateError, JournalFailure, RestartExhausted)


class _BadArguments(AgentError):
    """The model did not keep to the function's parameters."""

    default_kind = AgentErrorKind.CONTRACT_VIOLATION


@attrs.define(eq=False)
class _Running:
    flight: Flight
    intent: Appended


class ToolCalls:
    """
    The tool calls of one session.

    Args:
        send: Takes the results; while there is no connection they wait in the gate.
        when_done: Called when a call has been answered, or given up.
    """

    def __init__(
        self,
        controller: RealtimeSessionController,
        tasks: TaskGroup,
        send: Callable[[RealtimeInputFrame], Awaitable[RealtimeSessionRecord]],
        when_done: Callable[[], None],
    ) -> None:
        self._rt = controller._rt
        self._replay = controller._sending.replay
        self._fates = controller._sending.fates
        self._tasks = tasks
        self._send = send
        self._when_done = when_done
        self._answering = 0
        self._unanswered = 0
        self._has_told = False
        self._book = CallBook(self._rt.calls_before)
        self._running: dict[str, _Running] = {}

    def heard(self, event: RealtimeEvent) -> None:
        """Stop what the provider takes back."""
        if isinstance(event, ToolCallCancelled):
            for call_id in event.call_ids:
                self._book.withdraw(call_ref(call_id))
                if call_id in self._running:
                    self._running[call_id].flight.cut(_given_up("the provider took it back"))

    def answer(self, call: ToolCall, function: Tool) -> None:
        rt = self._rt
        rt.check()
        if rt.life.verdict(Operation.SEND) is None:
            raise refusal("answer", rt.life.phase, rt.life.session_id)
        match self._book.begin(call_ref(call.call_id)):
            case CallVerdict.EXECUTE:
                self._execute(call, function)
            case CallVerdict.OUTCOME_UNKNOWN:
                self._begin(call, partial(_outcome_unknown, call))
            case CallVerdict.IGNORE:
                return

    def _execute(self, call: ToolCall, function: Tool) -> None:
        rt = self._rt
        fields = _fields(call)

        def failed(error: AgentError, flight: Flight) -> Appended:
            return rt.append(_Kind.TOOL_CALL_FAILED, running.intent, **fields, error=recorded(error))

        flight = Flight("tool", failed)
        running = _Running(flight, rt.append(_Kind.TOOL_CALL_REQUESTED, **fields))
        # Known before its task runs: a close in between gives it its result.
        rt.flights.add(flight)
        self._running[call.call_id] = running
        self._begin(call, partial(self._run, call, function, running, fields))

    @property
    def is_idle(self) -> bool:
        """Whether no call is at work, or about to be answered."""
        return not self._answering

    def _begin(self, call: ToolCall, find: Callable[[], Awaitable[RealtimeInputFrame | None]]) -> None:
        self._answering += 1
        self._unanswered += 1
        self._tasks.start_soon(self._answer, find)

    async def _answer(self, find: Callable[[], Awaitable[RealtimeInputFrame | None]]) -> None:
        """Give the model what *find* returns, and let it go on once it has all its answers."""
        try:
            await self._logged(self._answer_one(find))
            # The last of several may have been taken back, or refused: the model has the others.
            if self._has_told and not self._unanswered:
                self._has_told = False
                await self._logged(self._tell(RealtimeInputFrame.request_response()))
        finally:
            self._answering -= 1
            self._when_done()

    async def _answer_one(self, find: Callable[[], Awaitable[RealtimeInputFrame | None]]) -> None:
        try:
            result = await find()
            if result is not None:
                await self._give(result)
                self._has_told = True
        finally:
            self._unanswered -= 1

    async def _logged(self, telling: Awaitable[None]) -> None:
        try:
            await telling
        except AgentError as error:
            # The session has ended, or the provider refused, which the send has recorded.
            self._log_not_sent(error)

    async def _run(
        self, call: ToolCall, function: Tool, running: _Running, fields: dict[str, Any]
    ) -> RealtimeInputFrame | None:
        """Call the function; None: nobody waits for what came of it."""
        rt, flight = self._rt, running.flight
        try:
            result = await rt.effect(
                flight, running.intent, rt.deadlines.tool, partial(self._result, function, call, flight)
            )
            # The frame that bears the result is named, so a reader can follow whether it was sent.
            rt.append(_Kind.TOOL_CALL_COMPLETED, running.intent, **{**fields, "frame_id": result.frame_id})
            return result
        except JournalFailure:
            # The run has stopped; whoever uses the session next is told so.
            return None
        except AgentError as error:
            if flight.cut_by is not None:
                return None
            return RealtimeInputFrame.tool_result(call.call_id, _told(error))
        finally:
            del self._running[call.call_id]

    async def _result(self, function: Tool, call: ToolCall, flight: Flight) -> RealtimeInputFrame:
        # Made within the call, so that one which cannot bear its id is the failure of that.
        return RealtimeInputFrame.tool_result(call.call_id, await self._called(function, call, flight))

    async def _called(self, function: Tool, call: ToolCall, flight: Flight) -> str:
        arguments = _arguments(function, call)
        # A tool may end the session, which must not cut it then.
        before = tool_at_work.set(flight)
        try:
            returned: object = function(**arguments)
            if inspect.isawaitable(returned):
                returned = await returned
            return returned if isinstance(returned, str) else json.dumps(returned)
        except BaseException as error:
            if not is_failure(error):
                raise
            # Without its text, which may repeat what was said.
            self._rt.tell("tool_call_raised", raised=type(error).__name__)
            raise AgentError(
                f"the tool {call.name!r} raised {type(error).__name__}",
                retry=RetryClassification.UNKNOWN_OUTCOME,
            ) from error
        finally:
            tool_at_work.reset(before)

    async def _give(self, result: RealtimeInputFrame) -> None:
        """Answer the model; with an error, where the answer itself cannot be sent."""
        try:
            await self._tell(result)
        except _ENDS:
            raise
        except AgentError as error:
            self._log_not_sent(error)
            assert result.call_id is not None
            await self._tell(RealtimeInputFrame.tool_result(result.call_id, _NOT_SENT))

    def _log_not_sent(self, error: AgentError) -> None:
        self._rt.tell("tool_result_not_sent", error_kind=str(error.kind))

    async def _tell(self, frame: RealtimeInputFrame) -> None:
        """Send *frame*; again to the next connection, where one died under it and the next does not hear of it."""
        rt = self._rt
        while not rt.life.ended:
            fate = self._fates.follow(frame)
            try:
                await self._until_sent(frame, fate)
                return
            except ProviderConnectionLost:
                if await self._is_said_again(fate):
                    return
            finally:
                self._fates.leave(frame)

    async def _until_sent(self, frame: RealtimeInputFrame, fate: Fate) -> None:
        """Send *frame*, and wait for its end where it is put into the gate: by then its `send` has returned."""
        rt = self._rt
        try:
            record = await self._until_accepted(frame)
        except ProviderConnectionLost as error:
            # Nothing was awaited since.
            self._fates.settle(frame, error)
            raise
        if record.kind is _Kind.BACKPRESSURE_APPLIED:
            while not (fate.is_known or rt.life.ended):
                await rt.changed.wait()
            if fate.error is not None:
                raise fate.error.with_traceback(None)

    async def _is_said_again(self, fate: Fate) -> bool:
        """Wait for the next connection, and say whether it knows of what is in doubt, or is told of it by the tail."""
        rt = self._rt
        while rt.life.restart_count == fate.restarts:
            if rt.life.ended:
                return True
            await rt.changed.wait()
        return self._replay.covers(fate.number)

    async def _until_accepted(self, frame: RealtimeInputFrame) -> RealtimeSessionRecord:
        """Send *frame*; while the gate is full, again and again."""
        while True:
            try:
                return await self._send(frame)
            except (BackpressureOverflow, DeadlineExceeded) as error:
                if error.retry is not RetryClassification.RETRYABLE:
                    raise
            await anyio.sleep(_AGAIN_S)


async def _outcome_unknown(call: ToolCall) -> RealtimeInputFrame:
    return RealtimeInputFrame.tool_result(call.call_id, _OUTCOME_UNKNOWN)


def _fields(call: ToolCall) -> dict[str, Any]:
    return {
        "media_kind": RealtimeMediaKind.TOOL_CALL,
        "channel": StreamChannel.TOOL_CALL_ARGUMENTS,
        "direction": StreamDirection.OUTPUT_FROM_PROVIDER,
        "content_refs": (call_ref(call.call_id),),
    }


def _arguments(function: Tool, call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
        inspect.signature(function).bind(**arguments)
    except (TypeError, ValueError, RecursionError):
        raise _BadArguments(
            f"the model called the tool {call.name!r} with arguments that it does not take: "
            "describe its parameters to the provider"
        ) from None
    checked: dict[str, Any] = arguments
    return checked


# What the model is told, which will put it into words of its own.
_BAD_ARGUMENTS = '{"error": "these arguments do not fit"}'
_TOO_SLOW = '{"error": "it took too long"}'
_FAILED = '{"error": "it failed"}'
_NOT_SENT = '{"error": "there is a result, but it cannot be sent"}'
_OUTCOME_UNKNOWN = '{"error": "it was begun before, and nobody knows whether it was done"}'


def _told(error: AgentError) -> str:
    if isinstance(error, _BadArguments):
        return _BAD_ARGUMENTS
    return _TOO_SLOW if isinstance(error, DeadlineExceeded) else _FAILED


def _given_up(why: str) -> AgentError:
    return AgentError(
        f"the tool call was given up: {why}",
        kind=AgentErrorKind.CANCELLED,
        retry=RetryClassification.UNKNOWN_OUTCOME,
    )


def checked_call(call: object, function: object) -> None:
    """
    Find out whether these can be a call and its tool.

    Raises:
        ContractViolation: They cannot.
    """
    if not isinstance(call, ToolCall):
        raise ContractViolation(
            f"answer takes a ToolCall, not {type(call).__name__}: give it the `event` of the frame"
        )
    if not callable(function):
        raise ContractViolation(
            f"answer needs an async function, not {type(function).__name__}: give the tool itself"
        )

"""A call from its beginning to its end, with every operation in it, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from realtime_async import MediaSpan, RealtimeSessionSidecar
from realtime_async.adapters.scripted import FaultTable, Script, ScriptedAdapter
from realtime_async.errors import AgentError, JournalFailure
from realtime_async.ports import (
    OutputTranscript,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    StreamCursor,
)
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, SECRET, StagedSession, audio, plain_sidecar, text

__all__ = ["WholeCall", "answering", "sidecar"]

RETRY_S = 1.0
of = RealtimeOutputFrame.of
ANSWER = [
    of(ResponseStarted(), response_id="answer-1"),
    RealtimeOutputFrame.audio(FRAME, response_id="answer-1"),
    RealtimeOutputFrame.audio(FRAME, response_id="answer-1"),
    of(OutputTranscript(SECRET, final=True), response_id="answer-1"),
    of(ResponseDone("cancelled"), response_id="answer-1"),
]


def answering(
    kind: type[ScriptedAdapter] = ScriptedAdapter, faults: FaultTable | None = None
) -> ScriptedAdapter:
    """A provider that answers once, and forgets all but the first frame when its connection is replaced."""
    return kind(Script(ANSWER, faults=faults or {}, kept_through=[StreamCursor.chunk(1)]))


def sidecar(span: MediaSpan | None) -> RealtimeSessionSidecar:
    return plain_sidecar(span=span, queue_capacity=3)


class WholeCall:
    """
    Takes the steps of a call one after the other, while a receive waits beside them.

    A step that fails is noted, and the next one taken.
    """

    def __init__(self, staged: StagedSession) -> None:
        self.staged = staged
        self.errors: list[Exception] = []
        self.receiver_ended = False

    async def take(self, check: Callable[[], Awaitable[None]]) -> None:
        """Take every step, and *check* after each."""
        controller = self.staged.controller
        steps: list[Callable[[], Awaitable[object]]] = [
            partial(controller.send, audio()),
            partial(controller.send, audio()),
            partial(controller.send, text()),
            controller.interrupt,
            partial(controller.send, audio()),
            controller.begin_restart,
            partial(controller.send, audio()),
            partial(controller.send, RealtimeInputFrame.end_of_turn()),
            controller.interrupt,
            controller.complete_restart,
            partial(controller.send, audio()),
            controller.close,
        ]
        await self._step(controller.connect)
        await check()
        async with anyio.create_task_group() as tasks:
            receiver = await begin(tasks, self._receive_all)
            for step in steps:
                await self._step(step)
                await settled()
                await check()
            await anyio.sleep(RETRY_S)
            await settled()
            self.receiver_ended = receiver.is_over
            tasks.cancel_scope.cancel()

    async def _step(self, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except AgentError as error:
            self.errors.append(error)

    async def _receive_all(self) -> None:
        """Receive until the stream or the run ends; a connection that is lost is replaced by someone else."""
        while True:
            try:
                if await self.staged.controller.receive() is None:
                    return
            except JournalFailure:
                return
            except AgentError as error:
                self.errors.append(error)
                await anyio.sleep(RETRY_S)

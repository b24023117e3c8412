"""The everyday door: `open_session` connects, hands out a session to talk through, and closes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from realtime_async._core.accounting import Delivery, RealtimeRestartReason, RestartReport
from realtime_async._core.lifecycle import RealtimeSessionState
from realtime_async._core.restarts import RestartPolicy
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async._shell.iterating import FrameIterator
from realtime_async.completion import RealtimeCompletionGate
from realtime_async.controller import Deadlines, RealtimeReceived, RealtimeSessionController
from realtime_async.errors import ContractViolation
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeProviderAdapter,
    RealtimeSessionRecord,
    Restarted,
    RunJournal,
    SourceRef,
)

__all__ = ["RealtimeSession", "open_session"]


class RealtimeSession:
    """A connected session, as an agent loop uses it."""

    def __init__(self, controller: RealtimeSessionController, policy: RestartPolicy) -> None:
        self.controller = controller
        self._policy = policy
        # One entry a restart, taken out by the loop; a loop that never reads needs no more than the last.
        self._news: deque[RestartReport] = deque(maxlen=64)
        self._waiting: anyio.CancelScope | None = None

    @property
    def state(self) -> RealtimeSessionState:
        return self.controller.state

    @property
    def delivery(self) -> Delivery:
        """What has become of every frame given to `send` so far."""
        return self.controller.delivery

    async def send(self, frame: RealtimeInputFrame) -> RealtimeSessionRecord:
        """See `RealtimeSessionController.send`."""
        return await self.controller.send(frame)

    async def send_audio_from(self, source: AsyncIterable[bytes | RealtimeInputFrame]) -> None:
        """
        Send what *source* yields until it ends: frames, or audio in the adapter's `input_format`.

        20 ms at a time is usual; each piece becomes one frame.
        An async generator is closed on the way out; anything else is left as it is.

        Raises:
            ContractViolation: It is no async iterable, or yielded something else.
        """
        if not isinstance(source, AsyncIterable):
            raise ContractViolation(
                f"send_audio_from needs an async iterable, not {type(source).__name__}: "
                "give it an async generator that yields bytes"
            )
        async with AsyncExitStack() as stack:
            if isinstance(source, AsyncGenerator):
                stack.push_async_callback(source.aclose)
            async for piece in source:
                frame = piece if isinstance(piece, RealtimeInputFrame) else RealtimeInputFrame.audio(piece)
                await self.send(frame)

    def frames(self) -> AsyncIterator[RealtimeOutputFrame]:
        """
        Yield what the provider says, and a `Restarted` after each restart, until the session closes.

        Frames are taken as they are asked for: a slow loop slows the provider, and nothing grows.
        An `async for` over it may be left and entered again; it goes on where it stopped.

        Raises:
            ProviderConnectionLost: The connection is gone.
        """
        return FrameIterator(self._next_frame)

    async def _next_frame(self) -> RealtimeOutputFrame | None:
        while True:
            if self._news:
                return RealtimeOutputFrame.of(Restarted(self._news.popleft()))
            received = await self._receive()
            if received is not None:
                return received.frame
            if not self._news:
                return None

    async def _receive(self) -> RealtimeReceived | None:
        """Receive; None also where a restart has news."""
        received = None
        with anyio.CancelScope() as scope:
            # A second loop is refused by the controller; it must not take the first one's place here.
            is_first = self._waiting is None
            if is_first:
                self._waiting = scope
            try:
                received = await self.controller.receive()
            finally:
                if is_first:
                    self._waiting = None
        return received

    async def interrupt(
        self, response_id: str | None = None, played_ms: int | None = None
    ) -> RealtimeSessionRecord:
        """See `RealtimeSessionController.interrupt`."""
        return await self.controller.interrupt(response_id, played_ms)

    async def restart(self, reason: RealtimeRestartReason = RealtimeRestartReason.REQUESTED) -> RestartReport:
        """Replace the connection under the session's policy, see `RealtimeSessionController.restart`."""
        report = await self.controller.restart(reason, self._policy)
        self._news.append(report)
        if self._waiting is not None:
            # A receive that is cancelled loses nothing, so the loop may hear of this first.
            self._waiting.cancel()
        return report

    async def close(self, reason: RealtimeCloseReason = RealtimeCloseReason.NORMAL) -> RealtimeSessionRecord:
        """End the session; `frames` ends with it."""
        return await self.controller.close(reason)


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
    restart_policy: RestartPolicy = RestartPolicy(),
) -> AsyncIterator[RealtimeSession]:
    """
    Connect a session, and close it on the way out.

    It is closed as `normal`, as `cancel` where the block was cancelled, and as `provider_failure`
    where a provider's error leaves the block.
    The arguments are those of `RealtimeSessionController`; *restart_policy* is for `session.restart`.
    """
    async with RealtimeSessionController(
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
    ) as controller:
        await controller.connect()
        yield RealtimeSession(controller, restart_policy)

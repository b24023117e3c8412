"""The port of OpenAI Realtime."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

import anyio
from anyio.abc import TaskGroup

from realtime_async.adapters._given import given
from realtime_async.adapters._sessions import Sessions
from realtime_async.adapters._websocket import WebSocketLimits
from realtime_async.adapters.openai import saying
from realtime_async.adapters.openai.config import OpenAIRealtimeConfig
from realtime_async.adapters.openai.session import Dialer, Session
from realtime_async.adapters.openai.talk import Talk
from realtime_async.errors import ContractViolation
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionId,
    StreamCursor,
)

__all__ = ["OpenAIRealtimeAdapter"]

# A whole item with its audio can come in one message.
LIMITS = WebSocketLimits(max_message_bytes=32 * 2**20)


class OpenAIRealtimeAdapter(anyio.AsyncContextManagerMixin):
    """
    Serves sessions of OpenAI Realtime, each over a WebSocket of its own.

    A new connection is told the configuration and the conversation, and is asked again for an answer that was cut
    off or is still owed.
    Of a session it holds at most 200 items, 4 MiB of text, pictures and speech that was not written down, 2 MiB of
    speech that the provider has not taken yet, and what it was asked for and has not confirmed: 16 changes of the
    configuration and 32 turns, of which it forgets the oldest.

    Args:
        config: What every session begins with; `update` changes one of them.
        ssl_context: None: the system's certificates.
        limits: Of a connection, in seconds and bytes.
    """

    def __init__(
        self,
        config: OpenAIRealtimeConfig,
        *,
        ssl_context: ssl.SSLContext | None = None,
        limits: WebSocketLimits = LIMITS,
    ) -> None:
        self.adapter_ref = "adapter.openai"
        self._config = given(config, OpenAIRealtimeConfig, "config")
        self.input_format = config.input_format
        self.output_format = config.output_format
        self._ssl_context = ssl_context
        self._limits = given(limits, WebSocketLimits, "limits")
        self._token = secrets.token_hex(4)
        self._connections = 0
        self._sessions = Sessions[Session]("OpenAI adapter")
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"OpenAIRealtimeAdapter(model={self._config.model!r}, sessions={len(self._sessions)})"

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        error: Exception | None = None
        async with anyio.create_task_group() as self._tasks:
            try:
                yield self
            except Exception as raised:  # noqa: BLE001 - raised again, outside of the task group that would wrap it
                error = raised
            finally:
                for session in self._sessions.end_all():
                    session.abort()
                self._tasks.cancel_scope.cancel()
                self._tasks = None
        if error is not None:
            raise error

    # The port

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        """
        Open the session's first connection, and configure it.

        Raises:
            ProviderFailure: The provider refused the key, the model or the configuration.
            ProviderConnectionLost: It could not be reached, or hung up.
        """
        dialer = self._dialer()
        earlier = self._sessions.end(request.session_id)
        if earlier is not None:
            # Its owner is gone, and another one takes the session over.
            earlier.abort()
        talk = Talk(self._config)
        line = await dialer.open(talk)
        self._sessions.add(request.session_id, Session(talk, line))
        return RealtimeConnectResponse(self._next_connection_id())

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        """
        Hand *frame* to the connection, when there is room for it.

        A request for an answer that comes while one is being given goes out when that ends.

        Raises:
            ProviderFailure: The provider takes no such frame.
            ProviderConnectionLost: The connection is gone; *frame* was not sent.
        """
        await self._sessions.of(session_id).take_when_possible(frame)

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        """Hand *frame* over as `send` would, without waiting; False: there is no room."""
        return self._sessions.of(session_id).take(frame)

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        if self._sessions.is_over(session_id):
            return None
        session = self._sessions.of(session_id)
        while (frame := session.hear()) is None and not session.is_closed:
            await session.something_to_hear()
        return frame

    def receive_nowait(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        """Give what has come next, without waiting; None: nothing has, or the session is over."""
        return None if self._sessions.is_over(session_id) else self._sessions.of(session_id).hear()

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        """
        Stop an answer, finished or not: of what it says, nothing is received any more.

        The provider is told to forget what lies after *played_ms* of it; None: to forget nothing.

        Raises:
            ProviderConnectionLost: The connection is gone.
        """
        session = self._sessions.of(session_id)
        session.check()
        await session.room()
        saying.interrupt(session.talk, response_id, played_ms)
        await session.flush_all()

    def interrupted_meanwhile(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        """Learn of an interrupt that met no connection: `restart` asks for that answer no more."""
        self._sessions.of(session_id).interrupted_meanwhile(response_id, played_ms)

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        """
        Replace the connection, and tell the new one the configuration and the conversation.

        An answer that was being given is over as `incomplete`, and is asked for anew, unless somebody had stopped it
        or it had called a tool.
        """
        kept_through = await self._sessions.of(session_id).restart(self._dialer())
        return RealtimeConnectResponse(self._next_connection_id(), StreamCursor.chunk(kept_through))

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None:
        """
        End the session; one that is closed, or was never open, may be closed again.

        The provider has no session beyond its connection, so `host_owned_detach` closes that, too.
        """
        session = self._sessions.end(session_id)
        if session is not None:
            await session.close()

    # What OpenAI Realtime has beside the port

    async def update(self, session_id: str, config: OpenAIRealtimeConfig) -> None:
        """
        Change how the session is to be, as of `attrs.evolve(config, instructions=...)`.

        The next connections are configured so, too.
        Where the provider refuses, a `ProviderWarning` says so, and all is as before; the voice can't change after
        the first answer.

        Raises:
            ContractViolation: Model, address and formats cannot change; or it is no configuration.
            ProviderConnectionLost: The connection is gone.
        """
        given(config, OpenAIRealtimeConfig, "config")
        session = self._sessions.of(session_id)
        session.check()
        # One at a time: what the connection does not take must not add up here.
        await session.flush_all()
        saying.update(session.talk, config)
        await session.flush_all()

    def unknown_events(self, session_id: str) -> int:
        """Return how many events the provider has sent that nobody here knows; they are ignored."""
        return self._sessions.of(session_id).talk.unknown_events

    # Sessions

    def _dialer(self) -> Dialer:
        if self._tasks is None:
            raise ContractViolation("the OpenAI adapter is not running: open it with `async with`")
        return Dialer(self._tasks, self._limits, self._ssl_context)

    def _next_connection_id(self) -> RealtimeConnectionId:
        self._connections += 1
        return RealtimeConnectionId(f"openai.connection.{self._token}.{self._connections}")

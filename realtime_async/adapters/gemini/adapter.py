"""The port of Gemini Live."""

from __future__ import annotations

import secrets
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from realtime_async.adapters._given import given
from realtime_async.adapters._sessions import Sessions
from realtime_async.adapters._websocket import (
    WebSocket,
    WebSocketFailure,
    WebSocketLimits,
    open_websocket,
)
from realtime_async.adapters.gemini.config import GeminiLiveConfig, is_key
from realtime_async.adapters.gemini.coverage import Kept
from realtime_async.adapters.gemini.failures import refused_handle, setup_failure
from realtime_async.adapters.gemini.inputs import INPUT_FORMAT, Inputs
from realtime_async.adapters.gemini.session import Session
from realtime_async.adapters.gemini.setup import address, credentials, setup_message
from realtime_async.adapters.gemini.wire import OUTPUT_RATE, read_message
from realtime_async.errors import (
    ContractViolation,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
)
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
    StreamCursor,
)

__all__ = ["GeminiLiveAdapter"]

# Late pongs were reported of these servers, so more patience than usual.
LIMITS = WebSocketLimits(dead_after_s=40.0, close_s=1.0)


class GeminiLiveAdapter(anyio.AsyncContextManagerMixin):
    """
    Gemini Live over WebSocket: the Developer API.

    It may serve many sessions; `async with` holds the task group of their connections.
    Audio goes in as pcm16 mono of 16 kHz, unless a frame says otherwise, and comes out as pcm16 mono of 24 kHz.

    What the protocol lacks, and what happens instead:

    - Answers have no ids.
      The adapter numbers them; one begins with the first thing that is said of it, and ends with `turnComplete`.
    - Nothing cancels an answer.
      With `TurnTaking.MANUAL`, `interrupt` begins an activity, which stops the model; what the person then says
      belongs to it, and `end_of_turn` closes it.
      With `TextInput.CONTENT`, it sends content that adds nothing, which stops the model as any content does.
      Otherwise only speech stops the model: the session keeps the rest of the answer from its listener, and all
      that comes before the next `turnComplete` counts as that rest.
      In each case the answer ends as "cancelled" when the provider says that it is over.
    - Nothing truncates an answer: the model takes for heard what it had sent, and *played_ms* is not used.
    - Nothing clears the input: `clear_input` raises `ProviderFailure`.
    - Nothing asks for an answer, where text is realtime: text asks by itself.
      `request_response` sends its instructions as text; without any, it ends the turn that was spoken, sends
      nothing after text, and raises `ProviderFailure` where nothing was said.
    - Nothing says how much of the input the provider knows.
      After a restart the newest resumption handle brings the conversation back; what it holds is concluded from
      when answers began and ended, see `realtime_async.adapters.gemini.coverage`.
      What is doubtful is said again, but questions that the conversation holds are not asked again.
    - A function call doesn't outlive its connection: it is cancelled by a restart.

    A message that isn't understood is left out and counted in `ignored`; one that is malformed makes `receive`
    raise `ProviderFailure`, and the connection lives on.

    Args:
        config: Of every session.
        ssl_context: None: the system's certificates.
        limits: Of a connection, in seconds and bytes.
    """

    adapter_ref = "adapter.gemini"
    input_format = INPUT_FORMAT
    output_format = AudioFormat(sample_rate=OUTPUT_RATE)

    def __init__(
        self,
        config: GeminiLiveConfig,
        *,
        ssl_context: ssl.SSLContext | None = None,
        limits: WebSocketLimits = LIMITS,
    ) -> None:
        self._config = given(config, GeminiLiveConfig, "config")
        self._ssl_context = ssl_context
        self._limits = given(limits, WebSocketLimits, "limits")
        self._sessions = Sessions[Session]("Gemini adapter")
        self._ignored: Counter[str] = Counter()
        self._tasks: TaskGroup | None = None

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

    @property
    def ignored(self) -> Mapping[str, int]:
        """How often which part of a message was left out, by its name; "unknown" for names that aren't known."""
        return MappingProxyType(self._ignored)

    # The port

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        earlier = self._sessions.end(request.session_id)
        if earlier is not None:
            # Its owner is gone, and another one takes the session over.
            earlier.abort()
        session = Session(secrets.token_hex(4), self._ignored)
        response = await self._open(session)
        self._sessions.add(request.session_id, session)
        return response

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        await self._sessions.of(session_id).send(frame)

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        """Take *frame* as `send` would, without waiting; False: there is no room."""
        return self._sessions.of(session_id).send_nowait(frame)

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        if self._sessions.is_over(session_id):
            return None
        return await self._sessions.of(session_id).receive()

    def receive_nowait(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        """Give what has come next, without waiting; None: nothing has, or the session is over."""
        return None if self._sessions.is_over(session_id) else self._sessions.of(session_id).receive_nowait()

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        """Stop the answer being given, as far as the protocol allows; see the class."""
        await self._sessions.of(session_id).interrupt(response_id)

    def interrupted_meanwhile(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        """Learn of an interrupt that met no connection: what that answer was asked is not asked again."""
        self._sessions.of(session_id).interrupted_meanwhile(response_id)

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        """
        Replace the connection; the old one is closed first.

        Google's pages would rather have the new one opened before, to save the time of a handshake.
        But an old connection that lives on goes on with the conversation: what it says after the handle was given is
        in no handle, and a second connection would go on beside it with the same one, of which nobody says what
        comes of it.
        Closed first, the old one has said all that it ever will, its last handle is the newest, and no frame meets it.

        Where an answer was being given, it is over as "incomplete", and is asked for again, unless it was stopped.
        """
        session = self._sessions.of(session_id)
        await session.leave()
        return await self._open(session)

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None:
        """
        End the session, whatever the reason; one that is closed, or was never open, may be closed again.

        The provider keeps what a handle can bring back for two hours, which nothing can shorten.
        """
        session = self._sessions.end(session_id)
        if session is not None:
            await session.close()

    # Connections

    async def _open(self, session: Session) -> RealtimeConnectResponse:
        try:
            websocket = await self._set_up(session)
        except WebSocketFailure as failure:
            if session.handle is None or not refused_handle(failure):
                raise setup_failure(failure) from None
            session.begin_anew()
            try:
                websocket = await self._set_up(session)
            except WebSocketFailure as again:
                raise setup_failure(again) from None
        kept = session.kept if session.handle is not None else Kept()
        connection = session.begin(websocket, Inputs(self._config, session.calls), kept)
        return RealtimeConnectResponse(connection.connection_id, StreamCursor.chunk(kept.through))

    async def _set_up(self, session: Session) -> WebSocket:
        """
        Return a connection whose setup is complete.

        Raises:
            WebSocketFailure: There is none.
        """
        key = await self._key()
        if self._tasks is None:
            raise ContractViolation("the Gemini adapter is not running: open it with `async with`")
        websocket = await open_websocket(
            self._tasks,
            address(self._config, key),
            headers=credentials(key),
            limits=self._limits,
            ssl_context=self._ssl_context,
        )
        try:
            with anyio.fail_after(self._config.setup_s):
                await websocket.send(setup_message(self._config, session.handle))
                while not (message := read_message(await websocket.receive())).setup_complete:
                    self._ignored["before setupComplete"] += 1
        except TimeoutError:
            websocket.abort()
            raise ProviderConnectionLost(
                f"Gemini Live took the setup and did not answer within {self._config.setup_s} s: try again",
                delivered=False,
                code="timeout",
            ) from None
        except BaseException:
            websocket.abort()
            raise
        session.take(message)
        return websocket

    async def _key(self) -> str:
        given = self._config.api_key
        if isinstance(given, str):
            return given
        key, raised = await _asked(given)
        # Out here, for neither its text nor its frames go with ours: they may show the key.
        if raised is not None:
            raise ProviderFailure(
                f"api_key was asked for the key and raised {raised}: mend it there", code="unauthenticated"
            )
        if not is_key(key):
            raise ProviderFailure(
                "api_key was asked for the key and returned what is empty, or no line of printable ASCII: look for a "
                "line break at its end",
                retry=RetryClassification.NOT_RETRYABLE,
                code="unauthenticated",
            )
        return key


async def _asked(source: Callable[[], Awaitable[str]]) -> tuple[str, str | None]:
    """The key, and the name of what was raised in its place; None: nothing was."""
    try:
        return await source(), None
    except Exception as error:  # noqa: BLE001 - whatever the program's own function raises
        return "", type(error).__name__

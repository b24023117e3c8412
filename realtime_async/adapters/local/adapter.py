"""The port of the local adapter: a speech provider in this process."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Self

import anyio
import attrs
from anyio.abc import TaskGroup

from realtime_async._core.given import shown
from realtime_async.adapters._given import given, texts
from realtime_async.adapters.local.brain import COMMANDS, Brain, answer_command
from realtime_async.adapters.local.connection import Connection
from realtime_async.adapters.local.conversation import Conversation
from realtime_async.adapters.local.ears import Ears
from realtime_async.adapters.local.recogniser import recognisers
from realtime_async.adapters.local.vad import SAMPLE_RATE, voice_activity
from realtime_async.adapters.local.voice import Voice
from realtime_async.errors import (
    ContractViolation,
    ProviderFailure,
    RetryClassification,
    SessionStateError,
)
from realtime_async.ports import (
    AudioFormat,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionId,
    StreamCursor,
)

__all__ = ["LocalSpeechAdapter"]

_TAKEN_KINDS = frozenset(
    {
        RealtimeMediaKind.AUDIO,
        RealtimeMediaKind.TEXT,
        RealtimeMediaKind.TOOL_RESULT,
        RealtimeMediaKind.CONTROL,
    }
)

# Sessions that were closed, of which a late `receive` still learns so.
_CLOSED_SESSIONS = 1000


@attrs.define(eq=False)
class _Session:
    conversation: Conversation
    connection: Connection
    is_lost: bool = False
    """The connection ended, and nobody had asked for it."""
    is_closed: bool = False


class LocalSpeechAdapter(anyio.AsyncContextManagerMixin):
    """
    Hears, thinks and speaks in this process, without a network.

    It takes the input as fast as it is sent, and answers what was said once the speaker has been silent for half
    a second; written text it answers when asked for a response.
    `send` waits while a second of input lies unheard, and nothing is heard while a hundred output frames lie
    unreceived.
    The audio of an answer comes as fast as it is received: pace it, and `interrupt` when the person speaks.

    Making one takes some 0.4 s and blocks, so do it before there is a call to serve.
    From then on, no step of its work holds the event loop for more than a few milliseconds.

    Args:
        brain: Finds the answer; see `Brain`.
            Where it raises, the answer is over as `failed` and `receive` raises `ProviderFailure` from its error.
        sentences: Examples of what will be said; nothing but their words is ever heard.
        tools: The names of what the program does on a `ToolCall`.
            The brain is told at once that there is no other tool.
        voice: Speaks the answers.
        sessions: How many are served at a time; each costs 20 MB and 0.2 s, and one more is refused.

    Raises:
        ContractViolation: No adapter can be made of these.
        ImportError: The extra `local` is not installed.
    """

    def __init__(
        self,
        brain: Brain = answer_command,
        sentences: Iterable[str] = COMMANDS,
        *,
        tools: Iterable[str] = (),
        voice: Voice | None = None,
        sessions: int = 1,
    ) -> None:
        if not callable(brain):
            raise ContractViolation(f"the brain is {shown(brain)}: give a function from text to text")
        if type(sessions) is not int or sessions < 1:
            raise ContractViolation(f"the sessions are {shown(sessions)}: give how many, at least 1")
        self.adapter_ref = "adapter.local"
        self.input_format = AudioFormat(sample_rate=SAMPLE_RATE)
        self._brain = brain
        self._tools = frozenset(texts(tools, "tools"))
        self._voice = Voice() if voice is None else given(voice, Voice, "voice")
        self.output_format = AudioFormat(sample_rate=self._voice.sample_rate)
        self._sessions: dict[str, _Session] = {}
        self._closed: deque[str] = deque(maxlen=_CLOSED_SESSIONS)
        self._capacity = sessions
        self._ears = [
            Ears(voice_activity(), recogniser)
            for recogniser in recognisers(texts(sentences, "sentences"), sessions)
        ]
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
                for session_id in list(self._sessions):
                    self._close(session_id)
                self._tasks.cancel_scope.cancel()
                self._tasks = None
        if error is not None:
            raise error

    # The port

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        # Before the ears are taken, which nobody would give back.
        tasks = self._running()
        session_id = request.session_id
        if session_id in self._sessions:
            # Its owner is gone, and another one takes the session over.
            self._close(session_id)
        if not self._ears:
            raise ProviderFailure(
                f"all {self._capacity} sessions are taken: close one, or give LocalSpeechAdapter more sessions="
            )
        conversation = Conversation(self._ears.pop(), secrets.token_hex(4))
        connection = self._open(conversation, tasks)
        self._sessions[session_id] = _Session(conversation, connection)
        return _response(connection, conversation)

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        """Take *frame*, when there is room for it; audio is pcm16 in the `input_format`."""
        session = self._session(session_id)
        # Never the one after it: a frame that waited through a restart belongs behind what is replayed.
        connection = session.connection
        self._check(frame)
        while not connection.take(frame):
            await session.conversation.bell.rung()

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        """Take *frame* as `send` would, without waiting; False: there is no room."""
        connection = self._session(session_id).connection
        self._check(frame)
        return connection.take(frame)

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        if session_id not in self._sessions and session_id in self._closed:
            return None
        session = self._session(session_id)
        while True:
            frame = _next_frame(session)
            if frame is not None:
                return frame
            if session.is_closed:
                return None
            if session.is_lost:
                session.connection.check()
            await session.conversation.bell.rung()

    def receive_nowait(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        """Give what was said next, without waiting; None: nothing was, or the session is over."""
        session = self._sessions.get(session_id)
        return None if session is None else _next_frame(session)

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        """
        Stop an answer: nothing of it is received any more but its `ResponseDone`.

        The brain remembers nothing, so *played_ms* is not used.
        """
        self._session(session_id).connection.interrupt(response_id)

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        """
        Replace the connection; the new one has forgotten what was not answered.

        Where an answer was being given, it is over as `incomplete`, and comes anew once its question was replayed.
        """
        session = self._session(session_id)
        session.connection.end()
        session.connection = self._open(session.conversation, self._running())
        session.is_lost = False
        return _response(session.connection, session.conversation)

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None:
        """End the session, whatever the reason; one that is closed, or was never open, may be closed again."""
        if session_id in self._sessions:
            self._close(session_id)

    # For tests and demonstrations

    def drop(self, session_id: str) -> None:
        """Let the session's connection die, as a network would: what it had not answered is forgotten."""
        session = self._session(session_id)
        session.is_lost = True
        session.connection.end()

    # Sessions

    def _running(self) -> TaskGroup:
        if self._tasks is None:
            raise ContractViolation("the local adapter is not running: open it with `async with`")
        return self._tasks

    def _open(self, conversation: Conversation, tasks: TaskGroup) -> Connection:
        connection = Connection(conversation, self._brain, self._voice, tools=self._tools)
        tasks.start_soon(connection.run, name=f"local speech, {connection.connection_id}")
        return connection

    def _close(self, session_id: str) -> None:
        session = self._sessions.pop(session_id)
        self._closed.append(session_id)
        session.is_closed = True
        session.connection.end()
        session.conversation.outbox.clear()
        self._ears.append(session.conversation.ears)

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise SessionStateError(f"the local adapter has no session {session_id!r}: connect it first")
        return session

    def _check(self, frame: RealtimeInputFrame) -> None:
        """
        Refuse what cannot be heard or read.

        Raises:
            ProviderFailure: *frame* is neither audio in the `input_format`, nor text, a signal or the result of a tool.
        """
        if frame.media_kind not in _TAKEN_KINDS or frame.content_refs:
            raise ProviderFailure(
                f"the local adapter takes audio, text, signals and tool results, not a frame of {frame.media_kind} "
                f"with {len(frame.content_refs)} content references",
                retry=RetryClassification.NOT_RETRYABLE,
            )
        if (frame.signal if frame.media_kind is RealtimeMediaKind.CONTROL else frame.payload) is None:
            raise ProviderFailure(
                f"the local adapter was given a frame of {frame.media_kind} that bears nothing: give it a payload, or "
                "a signal where it is a control frame",
                retry=RetryClassification.NOT_RETRYABLE,
            )
        if frame.audio_format not in {None, self.input_format}:
            raise ProviderFailure(
                f"the local adapter takes audio in {self.input_format}, not in {frame.audio_format}: resample it first",
                retry=RetryClassification.NOT_RETRYABLE,
            )


def _next_frame(session: _Session) -> RealtimeOutputFrame | None:
    item = session.conversation.outbox.take()
    if isinstance(item, ProviderFailure):
        raise item
    return item


def _response(connection: Connection, conversation: Conversation) -> RealtimeConnectResponse:
    return RealtimeConnectResponse(
        connection.connection_id, StreamCursor.chunk(conversation.input_kept_through)
    )

"""
One session: the connection it has, and what outlives that.

Messages are read as they are received, in the task that receives: what waits, waits in the WebSocket, whose
bounds are the bounds of everything here.
"""

from __future__ import annotations

from collections import Counter, deque

import anyio
import attrs

from realtime_async.adapters._websocket import WebSocket, WebSocketClosed
from realtime_async.adapters.gemini.calls import ToolCalls
from realtime_async.adapters.gemini.coverage import Coverage, InputKind, Kept
from realtime_async.adapters.gemini.failures import connection_lost
from realtime_async.adapters.gemini.inputs import Inputs, Plan, Step
from realtime_async.adapters.gemini.turns import Turns
from realtime_async.adapters.gemini.wire import ServerMessage, read_message
from realtime_async.errors import ProviderConnectionLost, ProviderFailure
from realtime_async.ports import (
    RealtimeConnectionId,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeResponseId,
)

__all__ = ["Connection", "Session"]


# Those of one outage; the latest count.
_INTERRUPTS = 16
# Requests and ends of turns: a tail holds fewer.
_WITHOUT_MESSAGE = 256


@attrs.frozen(eq=False)
class Connection:
    """One WebSocket, after its setup."""

    connection_id: RealtimeConnectionId
    websocket: WebSocket
    inputs: Inputs

    def put(self, step: Step) -> bool:
        """
        Queue the message of *step*; False: there is no room.

        Raises:
            ProviderConnectionLost: The connection is gone; the message was not sent.
        """
        try:
            is_put = self.websocket.send_nowait(step.message)
        except WebSocketClosed as closed:
            raise connection_lost(closed, delivered=False) from None
        if is_put:
            self.inputs.took(step)
        return is_put


class Session:
    """
    A conversation, over all its connections.

    Args:
        prefix: Of the ids of its answers and connections.
        ignored: Counts what messages held that nothing is made of.
    """

    def __init__(self, prefix: str, ignored: Counter[str]) -> None:
        self.calls = ToolCalls()
        self.handle: str | None = None
        """The newest with which the conversation can be resumed; what it brings back is in `kept`."""
        self._coverage = Coverage()
        self._turns = Turns(f"response.{prefix}", self.calls, self._coverage)
        self._prefix = prefix
        self._connections = 0
        self._connection: Connection | None = None
        self._inbox: deque[RealtimeOutputFrame | ProviderFailure] = deque()
        self._ignored = ignored
        self._interrupts: deque[RealtimeResponseId | None] = deque(maxlen=_INTERRUPTS)
        self._without_message: deque[int] = deque(maxlen=_WITHOUT_MESSAGE)
        """The numbers of the frames that needed none when they were sent."""
        self._is_closed = False

    # Connections

    @property
    def kept(self) -> Kept:
        return self._coverage.kept

    def begin(self, websocket: WebSocket, inputs: Inputs, kept: Kept) -> Connection:
        """Go on with a new connection, to which the conversation up to *kept* is known."""
        self._connections += 1
        while self._interrupts:
            self._turns.interrupted_meanwhile(self._interrupts.popleft())
        self._turns.connection_began(kept)
        connection_id = RealtimeConnectionId(f"connection.{self._prefix}.{self._connections}")
        self._connection = Connection(connection_id, websocket, inputs)
        return self._connection

    def begin_anew(self) -> None:
        """The conversation can't be resumed, and with it goes all it knew."""
        self.handle = None
        self._coverage.resumed(Kept())

    async def leave(self) -> None:
        """Let the connection go, and keep all that it had delivered."""
        if self._connection is None:
            return
        websocket = self._connection.websocket
        try:
            await websocket.aclose()
        finally:
            self._take_rest_of(websocket)
            self._inbox.extend(self._turns.connection_ended())

    def interrupted_meanwhile(self, response_id: RealtimeResponseId | None) -> None:
        """Note an interrupt that met no connection; the next one is to ask for that answer no more."""
        self._interrupts.append(response_id)

    async def close(self) -> None:
        self._is_closed = True
        self._inbox.clear()
        if self._connection is not None:
            await self._connection.websocket.aclose()

    def abort(self) -> None:
        """Close it at once, without goodbye."""
        self._is_closed = True
        self._inbox.clear()
        if self._connection is not None:
            self._connection.websocket.abort()

    def _take_rest_of(self, websocket: WebSocket) -> None:
        try:
            while (data := websocket.receive_nowait()) is not None:
                self._take(data)
        except WebSocketClosed:
            pass

    # Input

    async def send(self, frame: RealtimeInputFrame) -> None:
        # Cancelled, it has put none of a message, or has noted what it put: a turn is begun once.
        connection = self._current()
        while not self.send_nowait(frame):
            await connection.websocket.progress()
            if self._connection is not connection:
                raise ProviderConnectionLost(
                    "the connection was replaced while the frame waited for room: send it on the new one",
                    delivered=False,
                )

    def send_nowait(self, frame: RealtimeInputFrame) -> bool:
        connection = self._open_connection()
        if self._needs_no_plan(connection.inputs, frame):
            return True
        plan = connection.inputs.plan(frame)
        if self._is_known(frame, plan.kind):
            connection.inputs.passed(frame, plan.kind)
            return True
        if not all(connection.put(step) for step in plan.steps):
            return False
        self._sent(connection, frame, plan)
        return True

    def _needs_no_plan(self, inputs: Inputs, frame: RealtimeInputFrame) -> bool:
        """Whether *frame* is replayed, and is not to be said again whatever is replayed with it."""
        if frame.media_kind is RealtimeMediaKind.TOOL_RESULT:
            # Its call is gone with its connection.
            inputs.offered_result()
            return self._is_known(frame, InputKind.RESULT)
        if frame.media_kind is not RealtimeMediaKind.CONTROL or frame.cursor is None:
            return False
        is_silent = frame.cursor.chunk_sequence in self._without_message
        if is_silent:
            inputs.passed(frame, InputKind.NOTHING)
        return is_silent

    def _is_known(self, frame: RealtimeInputFrame, kind: InputKind) -> bool:
        """Whether this is replayed, and the resumed conversation holds it: asked again, it would be answered again."""
        return frame.cursor is not None and self._coverage.knows(frame.cursor.chunk_sequence, kind)

    def _sent(self, connection: Connection, frame: RealtimeInputFrame, plan: Plan) -> None:
        connection.inputs.sent(frame, plan.kind)
        number = self._coverage.next_number if frame.cursor is None else frame.cursor.chunk_sequence
        self._coverage.sent(number, plan.kind, anyio.current_time())
        if not plan.steps:
            self._without_message.append(number)
        if plan.kind in {InputKind.ASKS, InputKind.ENDS_TURN, InputKind.RESULT}:
            self._turns.asked()

    # Output

    async def receive(self) -> RealtimeOutputFrame | None:
        while (frame := self.receive_nowait()) is None and not self._is_closed:
            # It ends with its connection, too: then there is another one, or that is what there is to say.
            await self._current().websocket.arrival()
        return frame

    def receive_nowait(self) -> RealtimeOutputFrame | None:
        """Take what has come next; None: nothing has, or the session is over."""
        while not self._is_closed:
            if self._inbox:
                item = self._inbox.popleft()
                if isinstance(item, ProviderFailure):
                    raise item
                return item
            try:
                data = self._current().websocket.receive_nowait()
            except WebSocketClosed as closed:
                raise connection_lost(closed) from None
            if data is None:
                return None
            self._take(data)
        return None

    def take(self, message: ServerMessage) -> None:
        """Have what *message* says received."""
        self._ignored.update(message.ignored)
        self._inbox.extend(self._turns.read(message, anyio.current_time()))
        if message.resumption is not None and message.resumption.handle is not None:
            self.handle = message.resumption.handle

    def _take(self, data: bytes | str) -> None:
        try:
            message = read_message(data)
        except ProviderFailure as failure:
            self._inbox.append(failure)
            return
        self.take(message)

    async def interrupt(self, response_id: RealtimeResponseId | None) -> None:
        connection = self._open_connection()
        if response_id not in {None, self._turns.current} or not self._turns.stop():
            return
        # While it waits for room, speech that is sent may stop the answer by itself.
        while (step := connection.inputs.interruption()) is not None:
            self._turns.told_to_stop()
            if connection.put(step):
                return
            await connection.websocket.progress()

    def _current(self) -> Connection:
        assert self._connection is not None, "a session is handed out with its first connection"
        return self._connection

    def _open_connection(self) -> Connection:
        """
        The connection, as long as it stands.

        Raises:
            ProviderConnectionLost: It is gone.
        """
        connection = self._current()
        try:
            connection.websocket.check()
        except WebSocketClosed as closed:
            raise connection_lost(closed, delivered=False) from None
        return connection

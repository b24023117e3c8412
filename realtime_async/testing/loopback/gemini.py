"""
A server on 127.0.0.1 that speaks Gemini Live and keeps its rules, for tests of agents and adapters.

It needs no key and no network.
What it says is its script's, what it does wrong is the test's: see `LoopbackServer` for the faults.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import attrs
import orjson
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from realtime_async.testing.loopback._faults import DropHow
from realtime_async.testing.loopback._gemini_memory import GeminiConversation, GeminiMemory
from realtime_async.testing.loopback._gemini_rules import POLICY, GeminiRules
from realtime_async.testing.loopback._gemini_script import FirstHandle, GeminiAnswer, GeminiCall, GeminiScript
from realtime_async.testing.loopback._gemini_shapes import Json, Refused
from realtime_async.testing.loopback._peer import Peer, PeerGone, PeerLeft
from realtime_async.testing.loopback._server import LoopbackServer

__all__ = [
    "FirstHandle",
    "GeminiAnswer",
    "GeminiCall",
    "GeminiConnection",
    "GeminiConversation",
    "GeminiScript",
    "LoopbackGemini",
]

_OVERSTAYED = "The client failed to close the connection after receiving a GoAway signal."

_SERVICE = "/ws/google.ai.generativelanguage."
_METHODS = tuple(
    f"{_SERVICE}{version}.GenerativeService.{method}"
    for version in ("v1beta", "v1alpha")
    for method in ("BidiGenerateContent", "BidiGenerateContentConstrained")
)


class GeminiConnection:
    """What the server has of one connection; it is kept after the connection's end."""

    def __init__(self, rules: GeminiRules) -> None:
        self.received: list[str | bytes] = []
        """Every message, as it came."""
        self.sent: list[Json] = []
        """Every message, in the order in which it was due."""
        self.refused: str | None = None
        """Why the server closed it."""
        self._rules = rules

    @property
    def conversation(self) -> GeminiConversation | None:
        """None: its setup is not there yet."""
        return self._rules.conversation

    @property
    def setup(self) -> Json | None:
        return self._rules.setup


@attrs.define
class _Trap:
    """A fault that waits for its message."""

    message: int
    fault: Callable[[], object]


class LoopbackGemini(LoopbackServer):
    """
    A Gemini Live server, of the Developer API.

    Refused, each by closing the connection as the real one does: what is malformed or has more than one field,
    anything before the setup and a second setup, an unknown model, handles that are unknown or too old, markers of
    activity where detection is automatic, `clientContent` out of place, results of calls that don't wait for one,
    messages that are too large.  A key that is missing or wrong, and one session too many, are refused by HTTP.
    Not offered: ephemeral tokens that expire, Vertex, asynchronous functions.

    Args:
        key: What a client must bear, as header `x-goog-api-key`, as a token in `Authorization`, or in the query.
    """

    def __init__(
        self, script: GeminiScript | None = None, *, key: str = "test-key", tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(path="", tls=tls)
        self.key = key
        self.log: list[GeminiConnection] = []
        """One entry for each connection that was ever served, in order."""
        self._memory = GeminiMemory(GeminiScript() if script is None else script)
        self._traps: list[_Trap] = []
        self._messages_sent = 0
        self._talks: list[_Talk] = []

    @property
    def http_url(self) -> str:
        """What the official client wants as its `base_url`."""
        return self.url.replace("ws", "http", 1)

    @property
    def script(self) -> GeminiScript:
        return self._memory.script

    @property
    def conversations(self) -> list[GeminiConversation]:
        """In the order of their first setups."""
        return self._memory.conversations

    def go_on(self) -> None:
        """Let answers go on that their script holds up."""
        self._call(lambda: self._each_talk(_Talk.go_on))

    def tell(self, *messages: Json, conversation: int | None = None) -> None:
        """Send *messages* beside the script; to the connection of one conversation, or to all."""

        def tell(talk: _Talk) -> None:
            if conversation is None or talk.conversation_number == conversation:
                self._tasks.create_task(self._finish(talk.tell(messages)))

        self._call(lambda: self._each_talk(tell))

    def drop_conversation(self, number: int, how: DropHow) -> None:
        """End the connection of one conversation, and leave the others."""

        def drop(talk: _Talk) -> None:
            if talk.conversation_number == number and (rest := talk.drop(how)) is not None:
                self._tasks.create_task(self._finish(rest))

        self._call(lambda: self._each_talk(drop))

    def go_away(self, time_left_s: float = 50.0) -> None:
        """Announce the end of every connection."""
        self.tell({"goAway": {"timeLeft": f"{time_left_s:g}s"}})

    def forget_handles(self) -> None:
        """Refuse every handle that was given."""
        self._call(self._memory.forget_handles)

    def at(self, message: int, fault: Callable[[], object]) -> None:
        """
        Have *fault* called right before a message would be sent.

            server.at(3, lambda: server.drop(DropHow.RESET))

        Args:
            message: Its number, from 1, over all connections.
            fault: Called in the server's thread; it may do whatever a test may do.
        """
        self._call(lambda: self._traps.append(_Trap(message, fault)))

    async def handle(self, peer: Peer) -> None:
        talk = _Talk(self, peer, GeminiRules(self._memory))
        self.log.append(talk.connection)
        self._talks.append(talk)
        try:
            await talk.listen()
        finally:
            self._talks.remove(talk)

    async def spring_traps(self) -> None:
        """Do what waits for the message that is about to be sent."""
        self._messages_sent += 1
        due = [trap for trap in self._traps if trap.message == self._messages_sent]
        if not due:
            return
        self._traps = [trap for trap in self._traps if trap not in due]
        for trap in due:
            trap.fault()

    def _each_talk(self, act: Callable[[_Talk], None]) -> None:
        for talk in list(self._talks):
            act(talk)

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        path, _, query = request.path.partition("?")
        # Google's client leaves two slashes where its base URL ends in one.
        if "/" + path.lstrip("/") not in _METHODS:
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        given = (
            request.headers.get("x-goog-api-key"),
            request.headers.get("Authorization", "").removeprefix("Token "),
            *parse_qs(query).get("key", []),
        )
        if self.key not in given:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "unauthenticated\n")
        if len(self._talks) >= self.script.sessions:
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many sessions\n")
        return await super()._process_request(connection, request)


class _Talk:
    """One connection while it lives: the rules, and a socket."""

    def __init__(self, server: LoopbackGemini, peer: Peer, rules: GeminiRules) -> None:
        self.connection = GeminiConnection(rules)
        self._server = server
        self._peer = peer
        self._rules = rules
        self._loop = asyncio.get_running_loop()
        # Its tasks live in the server's loop, which is asyncio's whatever the client runs on.
        # What the rules say is sent in the order in which they said it, though two tasks ask them.
        self._turn = asyncio.Lock()
        self._goes_on = asyncio.Event()

    @property
    def conversation_number(self) -> int | None:
        conversation = self._rules.conversation
        return None if conversation is None else conversation.number

    async def listen(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._speak()), tasks.create_task(self._run_out())]
            try:
                while True:
                    is_first = not self.connection.received
                    messages = await self._take(await self._peer.receive())
                    if is_first:
                        tasks.create_task(self._complete_setup(messages))
                        continue
                    await self.tell(messages)
                    self._goes_on.set()
            finally:
                for task in others:
                    task.cancel()

    def go_on(self) -> None:
        self._rules.go_on()
        self._goes_on.set()

    def drop(self, how: DropHow) -> Coroutine[Any, Any, None] | None:
        return self._peer.drop(how, None, "")

    async def tell(self, messages: Iterable[Json]) -> None:
        # One that has left is told nothing, but heard to the end of what it said.
        with suppress(PeerLeft):
            async with self._turn:
                await self._say(messages)

    async def _take(self, data: str | bytes) -> list[Json]:
        """Return what is to be said at once."""
        self.connection.received.append(data)
        async with self._turn:
            try:
                return self._rules.receive(data, self._loop.time())
            except Refused as refused:
                self.connection.refused = refused.reason
                await self._peer.close(refused.code, refused.reason[:120])
                raise PeerGone from None

    async def _complete_setup(self, messages: list[Json]) -> None:
        await asyncio.sleep(self._server.script.setup_s)
        self._rules.complete_setup()
        await self.tell(messages)

    async def _run_out(self) -> None:
        """Announce the end of the connection, and close it if the client stays."""
        script = self._server.script
        await asyncio.sleep(script.connection_s - script.go_away_s)
        await self.tell([{"goAway": {"timeLeft": f"{script.go_away_s:g}s"}}])
        await asyncio.sleep(script.go_away_s)
        self.connection.refused = _OVERSTAYED
        await self._peer.close(POLICY, _OVERSTAYED)

    async def _speak(self) -> None:
        """Say what the model says, as long as it may, and there is somebody to hear it."""
        with suppress(PeerLeft):
            while True:
                async with self._turn:
                    messages = self._rules.next_piece(self._loop.time())
                    if messages is not None:
                        await self._say(messages)
                        continue
                    self._goes_on.clear()
                await self._goes_on.wait()

    async def _say(self, messages: Iterable[Json]) -> None:
        for message in messages:
            await self._server.spring_traps()
            self.connection.sent.append(message)
            # The real server's JSON comes in binary frames.
            await self._peer.send(orjson.dumps(message))

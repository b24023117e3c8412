"""
A server on 127.0.0.1 that speaks OpenAI's Realtime protocol and keeps its rules, for tests of agents and adapters.

It needs no key and no network.
What it says is its script's, what it does wrong is the test's: see `LoopbackServer` for the faults.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import attrs
import orjson
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from realtime_async.testing.loopback._openai_answers import Answer, AnswerEnd, Call
from realtime_async.testing.loopback._openai_rules import Close, OpenAIRules, Output
from realtime_async.testing.loopback._openai_script import (
    Configuration,
    OpenAIScript,
    Progress,
    Transcribes,
)
from realtime_async.testing.loopback._openai_shapes import Json
from realtime_async.testing.loopback._peer import Peer, PeerGone, PeerLeft
from realtime_async.testing.loopback._server import LoopbackServer

__all__ = [
    "Answer",
    "AnswerEnd",
    "Call",
    "Configuration",
    "LoopbackOpenAI",
    "Moment",
    "OpenAIConnection",
    "OpenAIScript",
    "Transcribes",
]

PATH = "/v1/realtime"


class Moment(StrEnum):
    """When a fault comes that is tied to an event."""

    BEFORE = "before"
    """The event is due, and not sent yet."""
    AFTER = "after"
    """The event was sent."""


class OpenAIConnection:
    """What the server has of one connection; it is kept after the connection's end."""

    def __init__(self, rules: OpenAIRules) -> None:
        self.received: list[str | bytes] = []
        """Every message, as it came."""
        self.sent: list[Json] = []
        """Every event, in the order in which it was due."""
        self.heard_at: list[float] = []
        """When each of `heard` arrived, on the clock of `time.monotonic`."""
        self._rules = rules

    @property
    def heard(self) -> list[int]:
        """The numbers of the frames of audio that bear one, in the order of their arrival."""
        return self._rules.input.heard

    @property
    def heard_ms(self) -> float:
        """All audio that was appended, in milliseconds."""
        return self._rules.input.written_ms

    @property
    def is_configured(self) -> bool:
        """Whether a `session.update` was accepted."""
        return self._rules.is_configured

    @property
    def session(self) -> Json:
        """The configuration that holds."""
        return self._rules.session

    @property
    def items(self) -> list[Json]:
        """The conversation."""
        return [*self._rules.conversation]

    @property
    def errors(self) -> list[str]:
        """The codes of the errors that were sent."""
        return [event["error"]["code"] for event in self.sent if event["type"] == "error"]


@attrs.define
class _Trap:
    """A fault that waits for its event."""

    event: str | int
    moment: Moment
    nth: int
    fault: Callable[[], object]


class LoopbackOpenAI(LoopbackServer):
    """
    An OpenAI Realtime server.

    Refused, each with the error of the real one: what is malformed, a second response at a time, a truncate beyond
    what was said, the result of a call that nobody asked for, a commit of less than 100 ms, an append of more than
    15 MiB, a change of model or of a voice that was heard.
    Beyond that, an unconfigured connection is refused everything unless the script says otherwise.
    Not offered: transcription sessions, responses outside the conversation, MCP, `idle_timeout_ms`.

    Args:
        key: What a client must bear, as a bearer token or in the header api-key.
    """

    def __init__(
        self, script: OpenAIScript | None = None, *, key: str = "test-key", tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(path=PATH, tls=tls)
        self.key = key
        self.log: list[OpenAIConnection] = []
        """One entry for each connection that was ever served, in order."""
        self._progress = Progress(OpenAIScript() if script is None else script)
        self._traps: list[_Trap] = []
        self._events_sent = 0
        self._kinds_sent: Counter[tuple[str, Moment]] = Counter()
        self._listening_for: list[tuple[int, Callable[[], object]]] = []
        self._talks: set[_Talk] = set()

    @property
    def http_url(self) -> str:
        """What the official client wants as its `base_url`."""
        return self.url.replace("ws", "http", 1).removesuffix("/realtime")

    @property
    def heard(self) -> list[int]:
        """The numbers that all connections heard, one connection after the other."""
        return [number for connection in self.log for number in connection.heard]

    def go_on(self) -> None:
        """Let answers go on that their script holds up."""

        def release_all() -> None:
            for talk in self._talks:
                talk.go_on()

        self._call(release_all)

    def at(
        self, event: str | int, fault: Callable[[], object], *, moment: Moment = Moment.AFTER, nth: int = 1
    ) -> None:
        """
        Have *fault* called when an event is sent, once.

            server.at("response.created", lambda: server.drop(DropHow.RESET), moment=Moment.BEFORE)

        Args:
            event: Its type; or its number, from 1, over all connections.
            fault: Called in the server's thread; it may do whatever a test may do.
            nth: Which of the type's events it is, over all connections, from now on.
        """
        trap = _Trap(event, moment, nth, fault)
        self._call(lambda: self._traps.append(trap))

    def when_heard(self, number: int, fault: Callable[[], object]) -> None:
        """Have *fault* called when a frame of this number, or a later one, has arrived; once."""
        self._call(lambda: self._listening_for.append((number, fault)))

    async def handle(self, peer: Peer) -> None:
        model = parse_qs(urlsplit(peer.path).query).get("model", ["gpt-realtime"])[0]
        talk = _Talk(self, peer, self._progress, model)
        self.log.append(talk.connection)
        self._talks.add(talk)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(talk.watch_the_clock())
                await talk.listen()
        finally:
            self._talks.discard(talk)

    async def _spring_traps(self, kind: str, moment: Moment) -> None:
        """Do what waits for this event."""
        if moment is Moment.BEFORE:
            self._events_sent += 1
        due = [trap for trap in self._traps if trap.moment is moment and self._is_due(trap, kind)]
        if not due:
            return
        self._traps = [trap for trap in self._traps if trap not in due]
        for trap in due:
            trap.fault()

    def _note_heard(self, numbers: Sequence[int]) -> None:
        """Tell whoever waits for one of these."""
        self._count(lambda: None)
        due = [each for each in self._listening_for if each[0] <= max(numbers)]
        self._listening_for = [each for each in self._listening_for if each not in due]
        for _, fault in due:
            fault()

    def _is_due(self, trap: _Trap, kind: str) -> bool:
        if isinstance(trap.event, int):
            return trap.event == self._events_sent
        if trap.event != kind:
            return False
        trap.nth -= 1
        return trap.nth == 0

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key not in (bearer, request.headers.get("api-key")):
            return connection.respond(HTTPStatus.UNAUTHORIZED, '{"error": {"code": "invalid_api_key"}}\n')
        if urlsplit(request.path).path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, '{"error": {"code": "not_found"}}\n')
        return await super()._process_request(connection, request)


class _Talk:
    """One connection while it lives: the rules, a socket, and a clock."""

    def __init__(self, server: LoopbackOpenAI, peer: Peer, progress: Progress, model: str) -> None:
        self._server = server
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._rules = OpenAIRules(
            progress,
            model=model,
            number=len(server.log) + 1,
            now=self._loop.time(),
            epoch_s=int(time.time()),
        )
        self.connection = OpenAIConnection(self._rules)
        # What the rules say is sent in the order in which they said it, though two tasks ask them.
        self._turn = asyncio.Lock()
        self._is_due_changed = asyncio.Event()

    async def listen(self) -> None:
        async with self._turn:
            await self._say(self._rules.open())
        while True:
            message = await self._peer.receive()
            self.connection.received.append(message)
            async with self._turn:
                outputs = self._rules.receive(message, self._loop.time())
                self._note_heard()
                # One that has left is told nothing, but heard to the end of what it said.
                with suppress(PeerLeft):
                    await self._say(outputs)
            self._is_due_changed.set()

    def _note_heard(self) -> None:
        known = len(self.connection.heard_at)
        fresh = self.connection.heard[known:]
        if fresh:
            self.connection.heard_at += [time.monotonic()] * len(fresh)
            self._server._note_heard(fresh)

    async def watch_the_clock(self) -> None:
        while not self._rules.is_closed:
            self._is_due_changed.clear()
            try:
                async with asyncio.timeout_at(self._rules.next_due):
                    await self._is_due_changed.wait()
            except TimeoutError:
                async with self._turn:
                    try:
                        await self._say(self._rules.advance(self._loop.time()))
                    except PeerLeft:
                        return

    def go_on(self) -> None:
        self._rules.release()
        self._is_due_changed.set()

    async def _say(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Close):
                await self._peer.close(output.code, output.reason)
                raise PeerGone
            self.connection.sent.append(output)
            await self._server._spring_traps(output["type"], Moment.BEFORE)
            await self._peer.send(orjson.dumps(output).decode())
            await self._server._spring_traps(output["type"], Moment.AFTER)

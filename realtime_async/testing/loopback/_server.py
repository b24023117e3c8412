"""
A provider on 127.0.0.1: a real WebSocket server whose faults are scripted.

It runs in a thread and an event loop of its own, so clients on asyncio and on Trio meet the same one.
A provider is a subclass with a `handle`:

    class LoopbackParrot(LoopbackServer):
        async def handle(self, peer: Peer) -> None:
            await peer.send_json({"type": "session.created"})
            async for event in peer:            # decoded JSON, until the client is gone
                await peer.send_json(event)

    with LoopbackParrot() as provider:          # or: async with, on either event loop
        ...                                     # connect to provider.url
        provider.drop(DropHow.RESET)            # every connection, now
        provider.drop(DropHow.GOING_AWAY, after_received=100)       # when message 100 has arrived
        provider.stall(2.0)                     # neither reads nor writes; provider.release() ends it early
        provider.refuse(times=2, status=503)    # the next two handshakes; or seconds=0.8; status=None: TCP reset
        provider.kick(4001)                     # the next handshake succeeds, and is closed at once
        provider.read_slowly(20_000)            # bytes per second; None: as they come
        provider.garble()                       # bytes that are no frame
        provider.say("no json")                 # a message as it stands, to every connection
        provider.oversize(20_000_000)           # one message of so many bytes
        provider.duplicate(3)                   # the next three messages go twice
        provider.delay(2, behind=5)             # the next two go after the five that follow them
        await provider.until(lambda: provider.received >= 100)

All of it may be called from any thread, `handle` included.  When the call returns it has happened, or begun
where it takes a while: a close frame is on its way, a client's answer is not waited for.
Whatever `handle` raises, `PeerGone` aside, is raised again where the server is closed.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from realtime_async.errors import ContractViolation
from realtime_async.testing.loopback._faults import DropHow, Refusals
from realtime_async.testing.loopback._peer import Peer, PeerGone, SlowConnection, reset

__all__ = ["LoopbackServer"]

_SILENCE = logging.Logger("realtime_async.loopback", level=logging.CRITICAL + 1)


class LoopbackServer:
    """
    Echoes what it gets, as long as nobody overrides `handle`.

    Where *tls* is given, it is `wss://localhost`, and the context's certificate must say so.
    """

    def __init__(self, *, path: str = "/", tls: ssl.SSLContext | None = None) -> None:
        self.url = ""
        """Known from the start of the `with` on."""
        self.port = 0
        self.connections = 0
        """Handshakes that succeeded, ever."""
        self.handshakes_refused = 0
        self.received = 0
        """Messages, over all connections."""
        self.received_bytes = 0
        self.sent = 0
        """Messages, over all connections."""
        self.close_codes: Counter[int | None] = Counter()
        """How clients went; None: without a close frame, or dropped by us."""
        self.peers: list[Peer] = []
        """Those connected now."""
        self._path = path
        self._tls = tls
        self._refusals = Refusals()
        self._kicks: list[tuple[int, str]] = []
        self._bytes_per_s: float | None = None
        self._triggers: list[tuple[int, Callable[[], object]]] = []
        self._errors: list[Exception] = []
        self._handlers: set[asyncio.Task[Any]] = set()
        self._startup_error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._tasks: asyncio.TaskGroup
        self._thread = threading.Thread(target=self._run, name="loopback", daemon=True)
        self._changed = threading.Condition()
        self._is_listening = threading.Event()
        # Of the server's own loop, which is asyncio's, as all that it waits with is.
        self._stopping = asyncio.Event()

    async def handle(self, peer: Peer) -> None:
        """Serve one connection; returning closes it."""
        with suppress(PeerGone):
            while True:
                await peer.send(await peer.receive())

    # Faults

    def drop(
        self,
        how: DropHow = DropHow.RESET,
        *,
        code: int | None = None,
        reason: str = "",
        after_received: int | None = None,
    ) -> None:
        """
        End every connection.

        Args:
            code: Of the close frame, where there is one.
            after_received: Wait until so many messages have arrived, over all connections.
        """
        self._when(after_received, lambda: self._for_each(lambda peer: peer.drop(how, code, reason)))

    def stall(self, seconds: float | None = None, *, after_received: int | None = None) -> None:
        """Neither read from nor write to those connected now; None: until `release`."""
        self._when(after_received, lambda: self._stall(seconds))

    def release(self) -> None:
        """End a stall."""
        self._call(lambda: self._for_each(Peer.release))

    def refuse(self, *, times: int = 0, seconds: float = 0.0, status: int | None = 503) -> None:
        """
        Refuse handshakes: the next *times*, and those of the next *seconds*.

        Args:
            status: None: reset the TCP connection instead of answering.
        """
        self._call(lambda: self._refuse(Refusals(times, self._loop.time() + seconds, status)))

    def kick(self, code: int, reason: str = "", *, times: int = 1) -> None:
        """Close the next *times* connections right after their handshake."""
        self._call(lambda: self._kicks.extend([(code, reason)] * times))

    def read_slowly(self, bytes_per_s: float | None) -> None:
        """Read from those connected and those to come at that rate; None: as it comes."""
        self._call(lambda: self._read_slowly(bytes_per_s))

    def garble(self) -> None:
        """Send bytes that are no WebSocket frame."""
        self._call(lambda: self._for_each(lambda peer: peer.write(b"\xff\xff\xff\xffgarbage")))

    def say(self, message: str | bytes) -> None:
        """Send *message* as it stands."""
        self._call(lambda: self._for_each(lambda peer: peer.send(message)))

    def oversize(self, size: int) -> None:
        """Send a text message of *size* bytes."""
        self.say("x" * size)

    def duplicate(self, messages: int = 1) -> None:
        """Send the next *messages* twice."""
        self._call(lambda: self._set_outages(duplicates=messages))

    def delay(self, messages: int = 1, *, behind: int = 1) -> None:
        """Hold the next *messages* back until *behind* more have gone."""
        self._call(lambda: self._set_outages(held=messages, behind=behind))

    async def until(self, condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
        """
        Wait until *condition* holds; it is asked again whenever a count changes, or a message was handled.

        Raises:
            TimeoutError: It didn't within *seconds*.
        """
        await anyio.to_thread.run_sync(self.wait, condition, seconds)

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Do as `until` does, holding up the thread that asks."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TimeoutError(f"{type(self).__name__} waited {seconds} s in vain")

    # Its life

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_listening.wait()
        if self._startup_error is not None:
            raise self._startup_error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        if self._errors:
            raise ExceptionGroup(f"{type(self).__name__} failed", self._errors)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Clients of the loop that this is called from may have something left to say.
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.__exit__, kind, error, trace)

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._listen())
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for the thread
            self._startup_error = error
            self._is_listening.set()

    async def _listen(self) -> None:
        async with (
            asyncio.TaskGroup() as self._tasks,
            serve(
                self._serve,
                "127.0.0.1",
                0,
                ssl=self._tls,
                compression=None,
                process_request=self._process_request,
                create_connection=SlowConnection,
                ping_interval=None,
                close_timeout=0.5,
                max_size=None,
                # What it has read, it has; bounds here would make its reading stop and start by itself.
                max_queue=None,
                logger=_SILENCE,
            ) as server,
        ):
            self._name(server)
            self._is_listening.set()
            await self._stopping.wait()
            for handler in self._handlers:
                handler.cancel()
            for peer in self.peers:
                peer.release()
                peer.drop(DropHow.RESET, None, "")

    def _name(self, server: Server) -> None:
        self.port = next(iter(server.sockets)).getsockname()[1]
        self.url = (
            f"ws://127.0.0.1:{self.port}{self._path}"
            if self._tls is None
            else f"wss://localhost:{self.port}{self._path}"
        )

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        refusals = self._refusals
        if not refusals.due(self._loop.time()):
            return None
        self._count(lambda: self._add("handshakes_refused"))
        if refusals.status is None:
            reset(connection.transport)
            await connection.wait_closed()
            return None
        return connection.respond(refusals.status, "refused\n")

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, SlowConnection)
        peer = Peer(
            connection,
            self.connections + 1,
            is_received=self._note_received,
            is_handled=self._note_handled,
            is_sent=self._note_sent,
        )
        peer.read_slowly(self._bytes_per_s)
        self.peers.append(peer)
        self._count(lambda: self._add("connections"))
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            if self._kicks:
                await peer.close(*self._kicks.pop(0))
            else:
                await self.handle(peer)
        except* PeerGone:
            pass
        except* Exception as errors:  # noqa: BLE001 - raised again where the test ends
            self._errors.extend(errors.exceptions)
        finally:
            self._handlers.discard(handler)
            await connection.close()
            self._count(lambda: self._let_go(peer))

    # In the server's thread

    def _call(self, do: Callable[[], object]) -> None:
        """Have *do* called there, and wait until it was."""
        if threading.current_thread() is self._thread:
            do()
            return
        if not self._thread.is_alive():
            raise ContractViolation(f"{type(self).__name__} is not running: do that within its `with`")
        done: Future[None] = Future()

        def call() -> None:
            try:
                do()
            except Exception as error:  # noqa: BLE001 - for the thread that asked
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(call)
        done.result(timeout=10)

    def _when(self, after_received: int | None, fault: Callable[[], object]) -> None:
        def schedule() -> None:
            if after_received is None or self.received >= after_received:
                fault()
            else:
                self._triggers.append((after_received, fault))

        self._call(schedule)

    def _for_each(self, act: Callable[[Peer], Coroutine[Any, Any, None] | None]) -> None:
        for peer in list(self.peers):
            if (rest := act(peer)) is not None:
                self._tasks.create_task(self._finish(rest))

    async def _finish(self, rest: Coroutine[Any, Any, None]) -> None:
        with suppress(PeerGone):
            await rest

    def _let_go(self, peer: Peer) -> None:
        """Both at once: who waits for a client to be gone may ask next how it went."""
        self.peers.remove(peer)
        self.close_codes.update([peer.close_code])

    def _add(self, name: str, amount: int = 1) -> None:
        setattr(self, name, getattr(self, name) + amount)

    def _count(self, count: Callable[[], None]) -> None:
        with self._changed:
            count()
            self._changed.notify_all()

    def _note_received(self, message: str | bytes) -> None:
        with self._changed:
            self.received += 1
            self.received_bytes += len(message)
            self._changed.notify_all()
        due = [fault for count, fault in self._triggers if count <= self.received]
        self._triggers = [(count, fault) for count, fault in self._triggers if count > self.received]
        for fault in due:
            fault()

    def _note_handled(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _note_sent(self) -> None:
        with self._changed:
            self.sent += 1
            self._changed.notify_all()

    def _stall(self, seconds: float | None) -> None:
        for peer in self.peers:
            peer.stall()
            if seconds is not None:
                self._loop.call_later(seconds, peer.release)

    def _refuse(self, refusals: Refusals) -> None:
        self._refusals = refusals

    def _read_slowly(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        for peer in self.peers:
            peer.read_slowly(bytes_per_s)

    def _set_outages(self, **changes: int) -> None:
        for peer in self.peers:
            for name, value in changes.items():
                setattr(peer.outages, name, value)

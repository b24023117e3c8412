"""The other side of a connection as a socket in a thread, for what no well-behaved server does."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import anyio
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from realtime_async.adapters._websocket import WebSocket, WebSocketClosed, open_websocket

# No more than the deadlines that a connection has unless told: they must not be what ends a test.
PATIENCE_S = 10.0


class RawPeer:
    """A client's socket, and the protocol that reads it."""

    def __init__(self, tcp: socket.socket) -> None:
        self.socket = tcp
        self.protocol = ServerProtocol(max_size=None)
        self.request: Request | None = None
        self.messages: list[bytes] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.close_code: int | None = None
        self._fragments = b""

    def shake_hands(self) -> None:
        while self.request is None:
            assert self.read()

    def read(self) -> bool:
        """Take in what comes next; False: it was the end."""
        self.socket.settimeout(PATIENCE_S)
        data = self.socket.recv(65536)
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            self._take(event)
        self.flush()
        return bool(data)

    def read_to_the_end(self) -> None:
        with suppress(OSError):
            while self.read():
                pass

    def flush(self) -> None:
        frames = self.protocol.data_to_send()
        self.socket.sendall(b"".join(frames))
        if b"" in frames:
            self.socket.shutdown(socket.SHUT_WR)

    def say(self, text: str) -> None:
        self.protocol.send_text(text.encode())
        self.flush()

    def _take(self, event: object) -> None:
        if isinstance(event, Request):
            self.request = event
            self.protocol.send_response(self.protocol.accept(event))
            return
        assert isinstance(event, Frame)
        data = bytes(event.data)
        match event.opcode:
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                self._fragments += data
                if event.fin:
                    self.messages.append(self._fragments)
                    self._fragments = b""
            case Opcode.PING:
                self.pings.append(data)
            case Opcode.PONG:
                self.pongs.append(data)
            case Opcode.CLOSE:
                self.close_code = int.from_bytes(data[:2], "big")


class RawServer:
    """
    Accepts one client after the other, and gives each to *serve*.

    What *serve* raises is raised again at the end, but for a socket that the client left.
    """

    def __init__(
        self,
        serve: Callable[[RawPeer], None],
        *,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        upgrades: bool = True,
    ) -> None:
        self.peers: list[RawPeer] = []
        self.ended = threading.Event()
        """The first client was served."""
        self._serve = serve
        self._tls = tls
        self._upgrades = upgrades
        self._listener = socket.socket()
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(5)
        self.port = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/" if tls is None else f"wss://localhost:{self.port}/"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._errors: list[Exception] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            with suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        if self._errors:
            raise ExceptionGroup("the raw server failed", self._errors)

    def _run(self) -> None:
        while True:
            try:
                tcp, _ = self._listener.accept()
            except OSError:
                return
            with tcp:
                self._meet(tcp)
            self.ended.set()

    def _meet(self, tcp: socket.socket) -> None:
        try:
            tcp.settimeout(PATIENCE_S)
            if self._tls is not None:
                tcp = self._tls.wrap_socket(tcp, server_side=True)
            with tcp:
                peer = RawPeer(tcp)
                self.peers.append(peer)
                if self._upgrades:
                    peer.shake_hands()
                self._serve(peer)
        except OSError:
            pass
        except Exception as error:
            self._errors.append(error)


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[WebSocket]:
    """A connection that ends with the block, if nobody ended it."""
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            yield await open_websocket(tasks, url, **options)
            tasks.cancel_scope.cancel()


async def end_of(websocket: WebSocket) -> WebSocketClosed:
    """Take what there is, and return how it ended."""
    while True:
        try:
            await websocket.receive()
        except WebSocketClosed as ended:
            return ended

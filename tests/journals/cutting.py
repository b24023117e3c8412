"""
A way to a PostgreSQL server on loopback that is cut before a message of one's choice.

Into how many pieces the network breaks what is sent is its affair, so messages are counted by their own lengths.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

__all__ = ["Cut", "CutWire", "cut_wire"]


class Cut(Enum):
    ASKED = "what the client asked is lost"
    ANSWERED = "what the server answered is lost"


class _Messages:
    """
    One direction of a connection, taken apart.

    A message is a letter and four bytes of length, which count themselves; a client's first has no letter.
    """

    def __init__(self, direction: Cut) -> None:
        self._letter = 0 if direction is Cut.ASKED else 1
        self._rest = bytearray()

    def whole(self, piece: bytes) -> Iterator[bytes]:
        """Take *piece* in, and yield each message that it completes."""
        self._rest += piece
        while len(self._rest) >= self._letter + 4:
            length = self._letter + int.from_bytes(self._rest[self._letter : self._letter + 4], "big")
            if len(self._rest) < length:
                return
            message = bytes(self._rest[:length])
            del self._rest[:length]
            self._letter = 1
            yield message


class CutWire:
    """Passes connections on to *port*, and cuts one before its *at*-th message of one direction; then never again."""

    def __init__(self, port: int, cut: Cut, at: int) -> None:
        self._target = ("127.0.0.1", port)
        self._cut = cut
        self._left = at
        self.was_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._wake.close()
        self._thread.join()

    def arm(self, at: int) -> None:
        """Count from now on."""
        self._left, self.was_cut = at, False

    def _run(self) -> None:
        open_sockets: set[socket.socket] = set()
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    for each in (*open_sockets, self._listener, self._woken):
                        each.close()
                    self._selector.close()
                    return
                if key.fileobj is self._listener:
                    open_sockets.update(self._accept())
                elif key.data is not None:
                    self._pass_on(key.fileobj, *key.data)  # type: ignore[arg-type]  # all are sockets

    def _accept(self) -> tuple[socket.socket, ...]:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return ()
        for source, to, direction in ((client, server, Cut.ASKED), (server, client, Cut.ANSWERED)):
            self._selector.register(source, selectors.EVENT_READ, (to, direction, _Messages(direction)))
        return client, server

    def _pass_on(self, source: socket.socket, to: socket.socket, direction: Cut, messages: _Messages) -> None:
        if source.fileno() < 0:
            return
        try:
            piece = source.recv(1 << 20)
        except OSError:
            piece = b""
        passed: list[bytes] = []
        is_over = not piece
        for message in messages.whole(piece):
            if direction is self._cut and not self.was_cut:
                self._left -= 1
                self.was_cut = is_over = self._left == 0
            if is_over:
                break
            passed.append(message)
        if passed:
            # In one, as the system waits with the second of two that are small.
            with suppress(OSError):
                to.sendall(b"".join(passed))
        if not is_over:
            return
        for each in (source, to):
            with suppress(KeyError, ValueError):
                self._selector.unregister(each)
            each.close()


@contextmanager
def cut_wire(port: int, cut: Cut) -> Iterator[CutWire]:
    wire = CutWire(port, cut, -1)
    try:
        yield wire
    finally:
        wire.close()

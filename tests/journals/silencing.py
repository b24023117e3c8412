"""A way to a server on loopback that stays open and passes nothing on, until it does."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

from tests.journals.cutting import Cut

__all__ = ["SilentWire", "silent_wire"]

CLOSE_S = 20.0


@attrs.define(eq=False)
class _Way:
    """One connection: a thread for each direction."""

    ends: tuple[socket.socket, socket.socket]
    may_pass: dict[Cut, threading.Event]
    holds: threading.Event = attrs.field(factory=threading.Event)
    threads: list[threading.Thread] = attrs.field(factory=list)

    def begin(self) -> None:
        client, server = self.ends
        for direction, source, to in ((Cut.ASKED, client, server), (Cut.ANSWERED, server, client)):
            thread = threading.Thread(target=self._pass_on, args=(direction, source, to))
            self.threads.append(thread)
            thread.start()

    def _pass_on(self, direction: Cut, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 20):
                if not self.may_pass[direction].is_set():
                    self.holds.set()
                    self.may_pass[direction].wait()
                to.sendall(piece)
        self.may_pass[direction].wait()
        with suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(CLOSE_S)
            assert not thread.is_alive()
        for end in self.ends:
            end.close()


class SilentWire:
    """Passes connections on to *port*, but for those that it is told to keep silent."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ways: list[_Way] = []
        self._may_begin = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def silence(self, direction: Cut, *, those_to_come: bool) -> None:
        """Hold what goes in *direction* on the connections that there are; and all of those to come, if asked."""
        with self._lock:
            self._may_begin = not those_to_come
            for way in self._ways:
                way.may_pass[direction].clear()

    def wait_until_something_is_held(self) -> None:
        with self._lock:
            ways = [*self._ways]
        while not any(way.holds.wait(0.05) for way in ways):
            pass

    def let_go(self) -> None:
        """Pass on what was held, however late, and wait until the server has done with those who left meanwhile."""
        # The driver leaves the socket of an attempt to connect that took too long to the collector.
        gc.collect()
        held = self.let_go_at_once()
        for way in held:
            way.join()

    def let_go_at_once(self) -> list[_Way]:
        """Pass on what was held, and return the connections on which that was."""
        with self._lock:
            self._may_begin = True
            for way in self._ways:
                for may_pass in way.may_pass.values():
                    may_pass.set()
            return [way for way in self._ways if way.holds.is_set()]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with self._lock:
            ways = [*self._ways]
        for way in ways:
            for may_pass in way.may_pass.values():
                may_pass.set()
            for end in way.ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            way.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                way = _Way((client, server), {direction: threading.Event() for direction in Cut})
                with self._lock:
                    self._ways.append(way)
                    if self._may_begin:
                        for may_pass in way.may_pass.values():
                            may_pass.set()
                way.begin()


@contextmanager
def silent_wire(port: int) -> Iterator[SilentWire]:
    wire = SilentWire(port)
    try:
        yield wire
    finally:
        wire.close()

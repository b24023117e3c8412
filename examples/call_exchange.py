"""
Callers for the workers of a fleet, in place of a telephone exchange or a conference server.

    python examples/call_exchange.py --port 7000 --calls 3 --seconds 20

It listens on 127.0.0.1.  A worker that says `take` is told the run ids of calls, a line each; saying it again asks
whether the exchange is there, and an empty line says so.  A call that it was told of, and that nobody has joined ten
seconds later, is another worker's: it was gone before it could.
One that says `join RUN_ID` hears that caller, 20 ms of pcm16 at 24 kHz at a time, until the caller hangs up, and
says what it sends back.
A caller is a clock: what is said while no worker has joined is heard by nobody.
"""

from __future__ import annotations

import argparse
import math
import sys
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import count

import anyio
import attrs
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

RATE = 24_000
FRAME_S = 0.02
FRAME_BYTES = int(RATE * FRAME_S) * 2
# Longer than a worker tries to join: two that have one call would take it from each other.
AGAIN_S = 10.0
GONE = (
    anyio.DelimiterNotFound,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)


@attrs.define(eq=False)
class Caller:
    """Somebody on the telephone."""

    run_id: str
    frames: Iterable[bytes] = attrs.field(repr=False)
    pace_s: float = FRAME_S
    unheard: int = 0
    """Frames that were said to nobody."""
    heard_s: float = 0.0
    """How much of answers there was."""
    joined: int = 0
    """How many workers there were, one after the other."""
    worker: SocketStream | None = attrs.field(default=None, init=False, repr=False)
    has_hung_up: anyio.Event = attrs.field(factory=anyio.Event, init=False, repr=False)
    told: anyio.Event = attrs.field(factory=anyio.Event, init=False, repr=False)
    """A worker knows of the call."""
    answered: anyio.Event = attrs.field(factory=anyio.Event, init=False, repr=False)

    async def speak(self) -> None:
        """Speak from when the first worker has joined, and hang up."""
        await self.answered.wait()
        due = anyio.current_time()
        for frame in self.frames:
            await self._say(frame)
            due += self.pace_s
            await anyio.sleep_until(due)
        self.has_hung_up.set()
        if self.worker is not None:
            await self.worker.aclose()

    async def _say(self, frame: bytes) -> None:
        if self.worker is None:
            self.unheard += 1
            return
        try:
            await self.worker.send(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.unheard += 1
            self.worker = None

    async def talk_with(self, worker: SocketStream, answers: BufferedByteReceiveStream) -> None:
        """Let *worker* take part until it leaves, or the caller hangs up."""
        if self.has_hung_up.is_set():
            return
        self.worker = worker
        self.joined += 1
        self.answered.set()
        try:
            while True:
                self.heard_s += len(await answers.receive()) / 2 / RATE
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            if self.worker is worker:
                self.worker = None


class Exchange:
    """Brings callers and workers together."""

    def __init__(self, callers: Sequence[Caller]) -> None:
        self.callers = {caller.run_id: caller for caller in callers}
        self.takers = 0
        """Workers that wait for calls."""
        self._offered, self._waiting = anyio.create_memory_object_stream[str](len(callers))

    async def run(
        self,
        *,
        port: int = 0,
        when_open: Callable[[int], object] = lambda port: None,
        until: anyio.Event | None = None,
        stays: anyio.Event | None = None,
    ) -> None:
        """
        Serve until every caller has hung up.

        Args:
            when_open: Told the port.
            until: Nobody calls before it is set.
            stays: Workers that ask for calls that are over are told so until it is set.
        """
        async with (
            self._offered,
            self._waiting,
            await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port) as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, self._serve)
            when_open(int(listener.extra(SocketAttribute.local_port)))
            if until is not None:
                await until.wait()
            for caller in self.callers.values():
                tasks.start_soon(caller.speak)
                tasks.start_soon(self._offer_again, caller)
                await self._offered.send(caller.run_id)
            for caller in self.callers.values():
                await caller.has_hung_up.wait()
            if stays is not None:
                await stays.wait()
            tasks.cancel_scope.cancel()

    async def _offer_again(self, caller: Caller) -> None:
        """Let another worker have the call, where the one that was told of it has gone before it joined."""
        while True:
            await caller.told.wait()
            with anyio.move_on_after(AGAIN_S):
                await caller.answered.wait()
                return
            caller.told = anyio.Event()
            await self._offered.send(caller.run_id)

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            lines = BufferedByteReceiveStream(stream)
            try:
                asked = await lines.receive_until(b"\n", 400)
            except GONE:
                return
            verb, _, run_id = asked.decode(errors="replace").partition(" ")
            if verb == "take":
                await self._offer(stream, lines)
            elif run_id in self.callers:
                await self.callers[run_id].talk_with(stream, lines)

    async def _offer(self, stream: SocketStream, asked: BufferedByteReceiveStream) -> None:
        self.takers += 1
        # A stream takes one message at a time.
        turn = anyio.Lock()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tell_calls, stream, turn)
                with suppress(*GONE):
                    while await asked.receive_until(b"\n", 400) == b"take":
                        async with turn:
                            await stream.send(b"\n")
                tasks.cancel_scope.cancel()
        finally:
            self.takers -= 1

    async def _tell_calls(self, stream: SocketStream, turn: anyio.Lock) -> None:
        async for run_id in self._waiting:
            is_told = False
            try:
                async with turn:
                    await stream.send(run_id.encode() + b"\n")
                is_told = True
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return
            finally:
                if is_told:
                    self.callers[run_id].told.set()
                else:
                    # There is room, as it has just been taken out.
                    self._offered.send_nowait(run_id)


def hums_and_pauses(seconds: float, *, hum_s: float = 1.5, pause_s: float = 2.0) -> Iterator[bytes]:
    """Yield somebody who hums, waits for the answer, and hums again."""
    samples = FRAME_BYTES // 2
    for number in range(round(seconds / FRAME_S)):
        is_loud = number * FRAME_S % (hum_s + pause_s) < hum_s
        if not is_loud:
            yield bytes(FRAME_BYTES)
            continue
        at = range(number * samples, (number + 1) * samples)
        yield array("h", (round(9000 * math.sin(2 * math.pi * 220 * each / RATE)) for each in at)).tobytes()


async def main(options: argparse.Namespace) -> None:
    name = uuid.uuid4().hex[:8]
    callers = [
        Caller(f"call-{name}-{number}", hums_and_pauses(options.seconds))
        for _, number in zip(range(options.calls), count(1), strict=False)
    ]
    await Exchange(callers).run(
        port=options.port, when_open=lambda port: print(f"workers may come to 127.0.0.1:{port}", flush=True)
    )
    for caller in callers:
        print(
            f"{caller.run_id}: {caller.joined} worker(s), {caller.heard_s:.1f} s of answers, "
            f"{caller.unheard * FRAME_S:.2f} s said to nobody"
        )


def port(text: str) -> int:
    if not text.isdecimal() or not int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(
            f"{text} is no port: give one up to 65535, or 0 for any that is free"
        )
    return int(text)


def one_or_more(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of calls: give 1 or more")
    return int(text)


def above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Let callers wait for the workers of a fleet.")
    parser.add_argument("--port", type=port, default=0, help="on 127.0.0.1; any free one unless given")
    parser.add_argument("--calls", type=one_or_more, default=3)
    parser.add_argument("--seconds", type=above_zero, default=20.0, help="how long each call lasts")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("--backend trio: it is missing: pip install -e '.[trio]'")
    return options


def run(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    failure: BaseException | None = None
    try:
        anyio.run(main, options, backend=options.backend)
    except* KeyboardInterrupt:
        print("all have hung up")
    except* OSError as errors:
        failure = errors.exceptions[0]
    if failure is not None:
        sys.exit(f"call_exchange: {failure}")


if __name__ == "__main__":
    run()

"""
A worker of a fleet: it takes calls, takes up those whose worker is gone, and hands its own over when it has to go.

    export OPENAI_API_KEY=...
    python examples/worker.py --journal postgresql://worker@127.0.0.1/calls --exchange 127.0.0.1:7000

It needs the extras openai and postgres, and a database that `PostgresJournal.migrate` has prepared.
Start as many as you like; `examples/call_exchange.py` has callers for them.
SIGTERM: it takes no more calls, leaves each of its own between two turns, after ten seconds at the latest, and ends
with 0; the other workers go on with them at once.
A caller from whom nothing comes for half a minute is gone, and the call ends; an exchange that says nothing for 20
seconds, though it was asked, is dialled again.
Killed outright, its calls go on elsewhere when its leases have expired.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Final, NoReturn

import anyio
import attrs
import structlog
from anyio.abc import SocketStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from realtime_async import (
    AgentError,
    Deadlines,
    InvalidIdentifier,
    JournalFailure,
    OutputAudio,
    ProviderConnectionLost,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    SessionStateError,
    open_session,
    resume_session,
)
from realtime_async.journals import PostgresJournal

try:
    from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig, WebSocketLimits
except ImportError as missing:
    sys.exit(f"worker: {missing.name} is missing: pip install -e '.[openai,postgres]'")

OPENAI = "wss://api.openai.com/v1/realtime"
SIDECAR = RealtimeSessionSidecar.voice_defaults("fleet")
# What was sent shall arrive before its connection is left: whoever goes on with a call has none of its sound.
GOODBYE_S = 10.0
PATIENT = Deadlines(close=2 * GOODBYE_S)
# 20 ms of pcm16 at 24 kHz.
FRAME_BYTES = 960
AGAIN_S = 1.0
REACH_S = 5.0
# A caller is a clock, so one from whom so long nothing came has no connection any more.
UNHEARD_S = 30.0
# After so long without a word the exchange is asked whether it is there, and has as long to answer.
ALIVE_S = 10.0
# What was told, and waits for whoever reads it.
UNREAD: Final = deque[str]()
UNREAD_AT_MOST = 100
# Characters, of ten bytes at most.  A pipe that takes anything takes 4 KB.
PIECE = 400

Door = Callable[..., AbstractAsyncContextManager[RealtimeSession]]
GONE = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)


@attrs.define
class Worker:
    """What this process does for the fleet."""

    adapter: OpenAIRealtimeAdapter
    journal: PostgresJournal
    host: str
    port: int
    drain_s: float
    look_every_s: float
    leaving: anyio.Event = attrs.field(factory=anyio.Event)
    here: Counter[str] = attrs.field(factory=Counter)
    """The calls that it has; one that it lost and took up again is there twice until the first has ended."""

    async def work(self) -> None:
        """Take calls until told to go; return when each has ended, or is handed over."""
        async with anyio.create_task_group() as calls, anyio.create_task_group() as seeking:
            seeking.start_soon(self.take_calls, calls)
            seeking.start_soon(self.take_up_orphans, calls)
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                tell("ready")
                async for _ in signals:
                    break
            self.leaving.set()
            seeking.cancel_scope.cancel()

    async def take_calls(self, calls: TaskGroup) -> None:
        while True:
            try:
                async with await self.reached() as stream:
                    await stream.send(b"take\n")
                    lines = BufferedByteReceiveStream(stream)
                    while True:
                        # It has answered that it is there, where it says nothing else.
                        if run_id := await said_next(stream, lines):
                            calls.start_soon(self.talk, run_id, open_session)
            except (OSError, anyio.DelimiterNotFound, *GONE):
                # The calls that are here go on; the exchange may come back.
                await anyio.sleep(AGAIN_S)

    async def take_up_orphans(self, calls: TaskGroup) -> None:
        while True:
            # What is claimed must be taken up or given back, so a claim is not cut off.
            with anyio.CancelScope(shield=True), suppress(JournalFailure):
                for orphan in await self.journal.orphans():
                    calls.start_soon(self.talk, orphan.run_id, resume_session)
            await anyio.sleep(self.look_every_s)

    async def talk(self, run_id: str, door: Door) -> None:
        """Have one call here, from its beginning or from where its last worker left it."""
        if door is open_session and run_id in self.here:
            # Whoever failed to begin it twice would give up the one that goes on.
            tell(f"{run_id}: it is here already")
            return
        self.here[run_id] += 1
        try:
            if not self.leaving.is_set():
                async with (
                    self.joined(run_id) as phone,
                    door(SIDECAR, self.adapter, self.journal, run_id=run_id, deadlines=PATIENT) as session,
                ):
                    await Conversation(session, phone, self).go_on()
                tell(f"{run_id}: {session.state.lifecycle_status}, {session.delivery}")
        except* GONE:
            tell(f"{run_id}: hung up before it was joined")
        except* (AgentError, OSError) as errors:
            # This call is another worker's, or nobody's; the rest of them go on.
            tell(f"{run_id}: {first_of(errors)}")
        self.here[run_id] -= 1
        if self.here[run_id]:
            # It was taken up here meanwhile, and goes on.
            return
        del self.here[run_id]
        # What is no run's id was told above.
        with suppress(JournalFailure, InvalidIdentifier):
            # Of one that has ended, or is somebody else's by now, this does nothing.
            await self.journal.release(run_id)

    @asynccontextmanager
    async def joined(self, run_id: str) -> AsyncIterator[SocketStream]:
        """Hear a caller, and be heard."""
        async with await self.reached() as phone:
            await phone.send(f"join {run_id}\n".encode())
            yield phone

    async def reached(self) -> SocketStream:
        """
        Connect to the exchange.

        Raises:
            OSError: It cannot be reached, or not in time.
        """
        with anyio.move_on_after(REACH_S):
            return await anyio.connect_tcp(self.host, self.port)
        raise TimeoutError(
            f"the exchange at {self.host}:{self.port} takes no connection within {REACH_S:g} s"
        )


@attrs.define
class Conversation:
    """A caller and the model."""

    session: RealtimeSession
    phone: SocketStream
    worker: Worker

    async def go_on(self) -> None:
        async with anyio.create_task_group() as tasks:
            # The frames end as soon as the session begins to, which must not cut its end off.
            tasks.start_soon(self.listen, tasks.cancel_scope)
            tasks.start_soon(self.leave, tasks.cancel_scope)
            async for frame in self.session.frames():
                if isinstance(frame.event, OutputAudio) and isinstance(frame.payload, bytes):
                    with suppress(*GONE):
                        await self.phone.send(frame.payload)

    async def listen(self, conversation: anyio.CancelScope) -> None:
        """Let the model hear the caller, until one of them hangs up."""
        sound = BufferedByteReceiveStream(self.phone)
        try:
            while True:
                with anyio.fail_after(UNHEARD_S):
                    heard = await sound.receive_exactly(FRAME_BYTES)
                # What may not have arrived is told by the session's totals.
                with suppress(ProviderConnectionLost):
                    await self.session.send(RealtimeInputFrame.audio(heard))
        except (TimeoutError, *GONE):
            await self.session.close()
            conversation.cancel()
        except SessionStateError:
            # It was handed over.
            return

    async def leave(self, conversation: anyio.CancelScope) -> None:
        await self.worker.leaving.wait()
        with anyio.move_on_after(self.worker.drain_s):
            await self.session.between_turns()
        # The caller may have hung up meanwhile.
        with suppress(SessionStateError):
            await self.session.hand_over()
            conversation.cancel()


async def said_next(stream: SocketStream, lines: BufferedByteReceiveStream) -> str:
    """
    The exchange's next line.

    Raises:
        TimeoutError: Its machine or the network has died, which hangs up on nobody.
    """
    with anyio.move_on_after(ALIVE_S):
        return (await lines.receive_until(b"\n", 400)).decode(errors="replace")
    with anyio.fail_after(ALIVE_S):
        await stream.send(b"take\n")
        return (await lines.receive_until(b"\n", 400)).decode(errors="replace")


async def main(options: argparse.Namespace, config: OpenAIRealtimeConfig) -> None:
    host, port = options.exchange
    async with (
        OpenAIRealtimeAdapter(config, limits=WebSocketLimits(close_s=GOODBYE_S)) as adapter,
        PostgresJournal.open(
            options.journal, lease_s=options.lease_s, patience_s=options.lease_s / 3
        ) as journal,
    ):
        await Worker(adapter, journal, host, port, options.drain_s, options.look_every_s).work()


def configured(options: argparse.Namespace) -> OpenAIRealtimeConfig:
    key = os.environ.get("OPENAI_API_KEY")
    if not key:
        raise SystemExit("worker: there is no key: put yours into the environment as OPENAI_API_KEY")
    return OpenAIRealtimeConfig(
        model=options.model,
        api_key=key,
        base_url=options.base_url,
        instructions="You answer the telephone of a restaurant. Be brief, and speak the caller's language.",
    )


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no HOST:PORT")
    return host, int(port)


def above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def zero_or_more(text: str) -> float:
    return above_zero(text) if float(text) else 0.0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Work for a fleet of voice bots.")
    parser.add_argument(
        "--journal", required=True, metavar="DSN", help="a migrated database, as postgresql://…"
    )
    parser.add_argument(
        "--exchange",
        type=address,
        default=("127.0.0.1", 7000),
        metavar="HOST:PORT",
        help="where the callers are",
    )
    parser.add_argument(
        "--drain-s", type=zero_or_more, default=10.0, help="how long a turn may last when it has to go"
    )
    parser.add_argument(
        "--lease-s", type=above_zero, default=20.0, help="when its calls are the others', if it is killed"
    )
    parser.add_argument(
        "--look-every-s", type=above_zero, default=0.5, help="how often it looks for calls without a worker"
    )
    parser.add_argument("--model", default="gpt-realtime-2")
    parser.add_argument("--base-url", default=OPENAI, help="of a compatible server, as wss://HOST/PATH")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("--backend trio: it is missing: pip install -e '.[trio]'")
    return options


def run(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # Nor does a name that it has no letters for end a call.
        sys.stdout.reconfigure(errors="backslashreplace")
    failure: BaseException | None = None
    try:
        anyio.run(partial(main, options, configured(options)), backend=options.backend)
    except* KeyboardInterrupt:
        # Before there was anything to hand over.
        tell("no calls were taken")
    except* (AgentError, ImportError, OSError) as errors:
        failure = first_of(errors)
    if failure is not None:
        sys.exit(f"worker: {failure}")


def tell(line: object) -> None:
    """Print *line*; that nobody reads it is no reason to hang up, nor to keep a caller waiting."""
    if len(UNREAD) > UNREAD_AT_MOST:
        UNREAD.clear()
        UNREAD.append("(lines are missing here: nobody read them)\n")
    text = f"{line}\n"
    UNREAD.extend(text[at : at + PIECE] for at in range(0, len(text), PIECE))
    try:
        while UNREAD and is_read():
            print(UNREAD.popleft(), end="", flush=True)
    except OSError as error:
        # A disk that is full may have room again.  A reader who is gone stays away, and at its end the interpreter
        # would complain once more.
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_read() -> bool:
    """
    Whether standard output takes a piece at once: whoever reads it may have stopped, as a pager does.

    A pipe does then; a terminal that comes to a stop amid a piece is waited for.
    """
    try:
        return bool(select.select([], [sys.stdout], [], 0)[1])
    except (OSError, TypeError, ValueError):
        # There is none, or it is nothing that a system can be asked about.
        return True


def told(_logger: object, _method: str, event: object) -> NoReturn:
    """What the session logs is printed no other way."""
    tell(event)
    raise structlog.DropEvent


def first_of(error: BaseException) -> BaseException:
    """What a task group wraps."""
    return first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    structlog.configure(
        processors=[*structlog.get_config()["processors"], told],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    run()

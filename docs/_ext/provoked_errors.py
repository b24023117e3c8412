"""
Every public error, provoked the way a program meets it.

The page of errors shows what is raised here, and a test holds that no class is left out.
A provocation's docstring says what the program did.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, chdir, suppress
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import attrs

from realtime_async import (
    AgentError,
    BackpressureOverflow,
    ContractViolation,
    DeadlineExceeded,
    Deadlines,
    InvalidIdentifier,
    JournalConflict,
    JournalCorrupt,
    JournalFailure,
    JournalStalled,
    MissingRequiredField,
    PolicyDenied,
    ProviderConnectionLost,
    ProviderFailure,
    RealtimeCompletionGate,
    RealtimeInputFrame,
    RealtimeOverflowPolicy,
    RealtimeSessionController,
    RealtimeSessionSidecar,
    RestartExhausted,
    RestartPolicy,
    RunId,
    RunJournal,
    SessionStateError,
    open_session,
)
from realtime_async.adapters.scripted import (
    Drop,
    Fault,
    FrameFate,
    Hang,
    HangShielded,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.journals import MemoryJournal, SqliteJournal
from realtime_async.testing import FaultyJournal, JournalFault, run_virtual

__all__ = ["PROVOCATIONS", "Provocation", "met_by", "provoke"]

# A thread that writes a file is given that long before virtual time jumps.
FILE_S = 10.0


@attrs.frozen
class Provocation:
    """Something that a program does, and the error that it meets."""

    error: type[AgentError]
    do: Callable[[], Awaitable[None]]
    grace_s: float

    @property
    def name(self) -> str:
        return self.do.__name__

    @property
    def what_was_done(self) -> str:
        assert self.do.__doc__ is not None
        return self.do.__doc__.strip()


PROVOCATIONS: list[Provocation] = []

_Do = Callable[[], Awaitable[None]]


def met(error: type[AgentError], grace_s: float = 0.0) -> Callable[[_Do], _Do]:
    """Register a function that raises *error*."""

    def register(do: _Do) -> _Do:
        PROVOCATIONS.append(Provocation(error, do, grace_s))
        return do

    return register


def provoke(provocation: Provocation) -> AgentError:
    """Do what *provocation* does, in virtual time and an empty folder, and return what it raised."""
    with TemporaryDirectory() as empty, chdir(empty):
        try:
            run_virtual(provocation.do, grace_s=provocation.grace_s)
        except AgentError as error:
            return error
    raise AssertionError(f"{provocation.name} raised nothing")


def met_by(error: type[AgentError]) -> Sequence[Provocation]:
    return [each for each in PROVOCATIONS if each.error is error]


def desk(**fields: Any) -> RealtimeSessionSidecar:
    return RealtimeSessionSidecar.voice_defaults("front-desk", **fields)


def session(
    faults: dict[tuple[str, int], Fault] | None = None,
    *,
    sidecar: RealtimeSessionSidecar | None = None,
    adapter: ScriptedAdapter | None = None,
    journal: RunJournal | None = None,
    **options: Any,
) -> RealtimeSessionController:
    return RealtimeSessionController(
        desk() if sidecar is None else sidecar,
        ScriptedAdapter(Script(faults=faults or {})) if adapter is None else adapter,
        MemoryJournal() if journal is None else journal,
        run_id="call-42",
        **options,
    )


@asynccontextmanager
async def connected(*args: Any, **options: Any) -> AsyncIterator[RealtimeSessionController]:
    """The session, connected; it closes on the way out, whatever was met in between."""
    async with session(*args, **options) as controller:
        await controller.connect()
        yield controller


def text(frame_id: str = "frame.1") -> RealtimeInputFrame:
    return RealtimeInputFrame.text("A table for two.", frame_id=frame_id)


# The caller: the call itself was wrong


@met(ContractViolation)
async def wrong_payload() -> None:
    """Audio was given as text."""
    RealtimeInputFrame.audio("not audio")  # type: ignore[arg-type]  # that is the point


@met(ContractViolation)
async def half_a_sample() -> None:
    """Audio was cut within a sample."""
    RealtimeInputFrame.audio(bytes(959))


@met(ContractViolation)
async def no_async_source() -> None:
    """`send_audio_from` got a list."""
    async with open_session(desk(), ScriptedAdapter(), MemoryJournal(), run_id="call-42") as opened:
        await opened.send_audio_from([bytes(960)])  # type: ignore[arg-type]  # that is the point


@met(ContractViolation)
async def frame_too_large() -> None:
    """A frame was larger than the sidecar's `max_frame_bytes`."""
    async with connected(sidecar=desk(max_frame_bytes=1000)) as controller:
        await controller.send(RealtimeInputFrame.image(bytes(2000), frame_id="frame.1"))


@met(ContractViolation)
async def sidecar_out_of_range() -> None:
    """The sidecar's queue holds nothing; `connect` looks."""
    await session(sidecar=desk(queue_capacity=0)).connect()


@met(ContractViolation)
async def sidecar_field_unknown() -> None:
    """`voice_defaults` got a field that a sidecar doesn't have."""
    desk(queue_size=100)


@met(ContractViolation)
async def deadline_of_nothing() -> None:
    """A deadline was 0."""
    Deadlines(send=0)


@met(ContractViolation)
async def unheard_interrupt() -> None:
    """`interrupt` was told of less than nothing heard."""
    async with connected() as controller:
        await controller.interrupt(played_ms=-20)


@met(MissingRequiredField)
async def sidecar_without_route() -> None:
    """A sidecar built by hand has no route to the provider; `connect` looks."""
    await session(sidecar=RealtimeSessionSidecar("front-desk", "", "realtime.voice")).connect()


@met(InvalidIdentifier)
async def run_id_with_spaces() -> None:
    """A run was named in words."""
    RunId("call of Monday")


@met(InvalidIdentifier)
async def run_id_as_number() -> None:
    """A run was named by a number."""
    RunId(42)  # type: ignore[arg-type]  # that is the point


# The caller: not now


@met(SessionStateError)
async def send_before_connect() -> None:
    """A frame was sent before `connect`."""
    await session().send(text())


@met(SessionStateError)
async def send_after_close() -> None:
    """A frame was sent after `close`."""
    async with connected() as controller:
        await controller.close()
        await controller.send(text())


@met(SessionStateError)
async def complete_what_was_not_begun() -> None:
    """`complete_restart` came without `begin_restart`."""
    async with connected() as controller:
        await controller.complete_restart()


@met(SessionStateError)
async def two_receives() -> None:
    """Two tasks wait for the next frame."""
    raised = list[SessionStateError]()
    async with connected() as controller:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.receive)
            await anyio.wait_all_tasks_blocked()
            try:
                await controller.receive()
            except SessionStateError as error:
                raised.append(error)
            tasks.cancel_scope.cancel()
        raise raised[0]


@met(SessionStateError)
async def two_owners_in_one_process() -> None:
    """Two sessions of a run have the same id."""
    journal = MemoryJournal()
    first = session(journal=journal)
    await first.connect()
    await session(journal=journal).connect()


@met(SessionStateError)
async def gate_of_a_run_that_is_over() -> None:
    """A session was given the completion gate of a run that is complete."""
    gate = RealtimeCompletionGate()
    for mark in (name for name in dir(gate) if name.startswith("mark_")):
        getattr(gate, mark)()
    assert gate.can_complete_run()
    session(gate=gate)


@met(BackpressureOverflow)
async def gate_overflows() -> None:
    """More was sent during a restart than the gate holds, and the policy is `fail_send`."""
    async with connected(
        sidecar=desk(queue_capacity=1, overflow_policy=RealtimeOverflowPolicy.FAIL_SEND)
    ) as controller:
        await controller.begin_restart()
        await controller.send(text("frame.1"))
        await controller.send(text("frame.2"))


@met(PolicyDenied)
async def tool_not_allowed() -> None:
    """A tool of the program's own refuses; the session that it leaves closes as `policy_denial`."""
    async with open_session(desk(), ScriptedAdapter(), MemoryJournal(), run_id="call-42"):
        raise PolicyDenied("tool 'refund' is not allowed for agent 'front-desk': ask a person")


@met(DeadlineExceeded)
async def connect_takes_too_long() -> None:
    """The provider didn't answer `connect`."""
    await session({("connect", 1): Hang()}).connect()


@met(DeadlineExceeded)
async def send_takes_too_long() -> None:
    """The provider took no more input, so nobody knows whether it has the frame."""
    async with connected({("send", 1): Hang()}) as controller:
        await controller.send(text())


@met(DeadlineExceeded)
async def gate_stays_full() -> None:
    """The gate was full, and nobody completed the restart."""
    async with connected(sidecar=desk(queue_capacity=1)) as controller:
        await controller.begin_restart()
        await controller.send(text("frame.1"))
        await controller.send(text("frame.2"))


@met(DeadlineExceeded)
async def adapter_does_not_let_go() -> None:
    """An adapter shielded its `send` from cancellation, and the session was closed."""
    adapter = ScriptedAdapter(Script(faults={("send", 1): HangShielded()}))
    raised = list[DeadlineExceeded]()
    async with connected(adapter=adapter) as controller:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_and_be_cut, controller)
            await anyio.wait_all_tasks_blocked()
            try:
                await controller.close()
            except DeadlineExceeded as error:
                raised.append(error)
            adapter.release()
        raise raised[0]


async def send_and_be_cut(controller: RealtimeSessionController) -> None:
    with suppress(ProviderConnectionLost):
        await controller.send(text())


# The provider


@met(ProviderFailure)
async def provider_refuses() -> None:
    """The provider refused the connection; the words are the adapter's, here a script's."""
    await session({("connect", 1): Refuse("overloaded")}).connect()


@met(ProviderFailure)
async def adapter_raises_something_else() -> None:
    """An adapter let an error of its library through."""

    class Careless(ScriptedAdapter):
        async def interrupt(self, *args: object, **kwargs: object) -> None:
            raise KeyError("what the provider wrote")

    async with connected(adapter=Careless()) as controller:
        await controller.interrupt()


@met(ProviderFailure)
async def adapter_returns_something_else() -> None:
    """An adapter forgot to return what `connect` must."""

    class Forgetful(ScriptedAdapter):
        async def connect(self, *args: object) -> Any:
            return None

    await session(adapter=Forgetful()).connect()


@met(ProviderConnectionLost)
async def connection_lost_while_sending() -> None:
    """The connection died in a `send`, and nobody knows whether the frame arrived."""
    async with connected({("send", 1): Drop(FrameFate.VANISHED)}) as controller:
        await controller.send(text())


@met(ProviderConnectionLost)
async def cut_by_a_restart() -> None:
    """A `send` was under way when the program replaced a connection that it took for dead."""
    raised = list[ProviderConnectionLost]()
    async with connected({("send", 1): Hang()}) as controller:

        async def send() -> None:
            try:
                await controller.send(text())
            except ProviderConnectionLost as error:
                raised.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            await controller.restart("stalled")  # type: ignore[arg-type]  # a name does as well
        raise raised[0]


@met(RestartExhausted)
async def restarts_fail() -> None:
    """No attempt to restart went through."""
    async with connected({("restart", number): Refuse("overloaded") for number in (1, 2)}) as controller:
        await controller.restart(policy=RestartPolicy(attempts=2))


@met(RestartExhausted)
async def restart_is_refused_for_good() -> None:
    """The provider said that trying again cannot help."""
    async with connected({("restart", 1): Refuse("session_expired", "not_retryable")}) as controller:
        await controller.restart()


# The store


@met(JournalFailure)
async def journal_is_closed() -> None:
    """A session outlived its journal."""
    journal = MemoryJournal()
    async with connected(journal=journal) as controller:
        await journal.aclose()
        await controller.send(text())


@met(JournalFailure)
async def journal_raises_something_else() -> None:
    """A journal of one's own let an error of its database through."""

    class Careless(MemoryJournal):
        def append(self, record: object) -> Any:
            raise OSError("disk full")

    await session(journal=Careless()).connect()


@met(JournalFailure, FILE_S)
async def not_a_journal() -> None:
    """The file is another program's."""
    with sqlite3.connect("bookmarks.db") as other:
        other.execute("CREATE TABLE bookmark (url TEXT)")
    other.close()
    async with SqliteJournal.open("bookmarks.db"):
        raise AssertionError("it must not open")


@met(JournalFailure, FILE_S)
async def no_such_folder() -> None:
    """The journal's folder doesn't exist."""
    async with SqliteJournal.open("missing/calls.db"):
        raise AssertionError("it must not open")


@met(JournalConflict, FILE_S)
async def two_owners() -> None:
    """Two processes run the same call; this is the second one."""
    async with SqliteJournal.open("calls.db") as first, SqliteJournal.open("calls.db") as second:
        await session(journal=first).connect()
        await session(journal=second).connect()


@met(JournalStalled)
async def disk_does_not_answer() -> None:
    """The disk took longer than `Deadlines.journal`."""
    journal = FaultyJournal(MemoryJournal(), fail_at=1, how=JournalFault.HANG)
    await session(journal=journal).connect()


@met(JournalCorrupt, FILE_S)
async def journal_has_a_hole() -> None:
    """Somebody removed a record from the file."""
    async with SqliteJournal.open("calls.db") as journal:
        await session(journal=journal).connect()
        with sqlite3.connect("calls.db") as file:
            file.execute("DELETE FROM record WHERE seq = 1")
        file.close()
        async for _ in journal.read(RunId("call-42")):
            raise AssertionError("the hole comes first")

"""Errors that come from the provider's side, and from the store."""

from __future__ import annotations

import sqlite3
from typing import Any

import anyio

from docs._ext.provocations import FILE_S, connected, met, session, text
from realtime_async import (
    JournalConflict,
    JournalCorrupt,
    JournalFailure,
    JournalStalled,
    ProviderConnectionLost,
    ProviderFailure,
    RestartExhausted,
    RestartPolicy,
    RunId,
)
from realtime_async.adapters.scripted import (
    Drop,
    FrameFate,
    Hang,
    Refuse,
    ScriptedAdapter,
)
from realtime_async.journals import MemoryJournal, SqliteJournal
from realtime_async.testing import FaultyJournal, JournalFault

__all__: list[str] = []

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

"""How a command runs, and how it ends: one line where it fails, and an exit code that a script can go by."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import IntEnum

import anyio
import typer

from realtime_async.cli._output import flush, leave
from realtime_async.errors import AgentError, ContractViolation, JournalCorrupt
from realtime_async.journals import StoredRuns, open_journal
from realtime_async.journals._verdicts import beyond, hole
from realtime_async.ports import JournalRecord, RunId

__all__ = ["VARIABLE", "Exit", "answer", "journal_at", "masked", "plain", "records_of", "run_named"]

VARIABLE = "REALTIME_ASYNC_JOURNAL"


class Exit(IntEnum):
    """What a script can go by."""

    FINE = 0
    FINDING = 1
    """Something is wrong with what the journal holds."""
    UNANSWERED = 2
    """The question was wrong, or who could answer it can't be reached."""


INTERRUPTED = 130
"""As a shell says of a program that Ctrl-C has ended."""


def answer(work: Callable[[], Awaitable[Exit]], *, interrupted: int = INTERRUPTED) -> None:
    """Do *work* and end the program as it says, or as its failure does; Ctrl-C ends it with *interrupted*."""
    code = _exit_of(work, interrupted)
    for stream in (sys.stdout, sys.stderr):
        leave(stream)
    raise typer.Exit(code)


def _exit_of(work: Callable[[], Awaitable[Exit]], interrupted: int) -> int:
    code: int = Exit.FINE
    try:
        code = anyio.run(work)
        flush()
    except BaseException as raised:
        error = _first_of(raised)
        if isinstance(error, BrokenPipeError):
            # Whoever read along has had enough.
            return code
        if isinstance(error, KeyboardInterrupt):
            return interrupted
        if not isinstance(error, (AgentError, OSError, ImportError)):
            raise
        return _told(error, Exit.FINDING if isinstance(error, JournalCorrupt) else Exit.UNANSWERED)
    return code


def _first_of(error: BaseException) -> BaseException:
    """What task groups wrap."""
    return _first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _told(error: Exception, code: Exit) -> Exit:
    with suppress(OSError):
        print(f"realtime-async: {plain(str(error))}", file=sys.stderr)
    return code


@asynccontextmanager
async def journal_at(url: str | None) -> AsyncIterator[StoredRuns]:
    if not url:
        raise ContractViolation(
            f"no journal was named: give --journal URL, or set {VARIABLE}, "
            "to sqlite:FILE or postgresql://USER@HOST:PORT/DATABASE"
        )
    async with open_journal(url) as journal:
        yield journal


async def run_named(journal: StoredRuns, name: str) -> RunId:
    """
    Make sure that there is such a run.

    Raises:
        ContractViolation: There is none.
    """
    run_id = RunId(name)
    if await journal.last(run_id) is None:
        raise ContractViolation(
            f"the journal holds no run {name!r}: `realtime-async runs` lists those that it has"
        )
    return run_id


async def records_of(journal: StoredRuns, run_id: RunId, *, after: int = 0) -> AsyncIterator[JournalRecord]:
    """
    The records of a run, to where it stands at least.

    Raises:
        JournalCorrupt: One of them is damaged or missing, or is none of the run's.
    """
    read = 0
    stands_at = await _stands_at(journal, run_id)
    async for record in journal.read(run_id, after=after):
        read = record.journal_seq
        yield record
    if max(read, after) < stands_at:
        raise hole(run_id, max(read, after) + 1, stands_at)
    if read > stands_at:
        # Whoever writes it may have gone on meanwhile.
        stands_at = await _stands_at(journal, run_id)
        if read > stands_at:
            raise beyond(run_id, read, stands_at)


async def _stands_at(journal: StoredRuns, run_id: RunId) -> int:
    last = await journal.last(run_id)
    return 0 if last is None else last.journal_seq


def masked(url: str) -> str:
    """*url* without its password."""
    # Up to the last @: a password that was not escaped may hold one, and so may a name before it.
    url = re.sub(r"^(\w+://[^:/]*):.*@", r"\1:***@", url)
    # What names a file may be no text, and then is none in JSON either.
    return plain(re.sub(r"(password=)[^&\s]*", r"\1***", url))


def plain(text: str) -> str:
    """*text* without anything that would move a terminal's cursor or change its colours."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)
